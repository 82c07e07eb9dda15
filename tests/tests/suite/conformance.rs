//! Other people's conformance suites as guests: pjdfstest (what POSIX says of names, attributes and
//! errors), fsx (random reads, writes, maps and truncations of one file).
//!
//! On a mapped directory each of pjdfstest's tests does what it does natively. On a Chirp server
//! those fail that `tests/expected/` lists, each with a reason, and no others. The short forms run
//! a few groups, the long ones (`scripts/test --full`) all of it.

use parrot_tests::conformance::{As, fails_as_listed, fsx, same_as_native};
use parrot_tests::{PlaceKind, Technique};

/// The groups of the short form.
const SOME: &[&str] = &["unlink::", "open::", "link::e", "rename::e", "truncate::"];

macro_rules! mapped {
    ($($name:ident $technique:ident $who:ident;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn some() {
                same_as_native(Technique::$technique, As::$who, SOME);
            }

            #[test]
            #[ignore = "long: scripts/test --full"]
            fn all() {
                same_as_native(Technique::$technique, As::$who, &[]);
            }
        }
    )* };
}

mod pjdfstest {
    use super::*;

    mapped! {
        preload_mapped Preload Tester;
        preload_mapped_user Preload User;
        trace_mapped Trace Tester;
        trace_mapped_user Trace User;
    }

    macro_rules! chirp {
        ($($name:ident $technique:ident $kind:ident $who:ident $list:literal;)*) => { $(
            #[test]
            #[ignore = "long: scripts/test --full"]
            fn $name() {
                let (technique, kind) = (Technique::$technique, PlaceKind::$kind);
                fails_as_listed(technique, kind, As::$who, $list, &[]);
            }
        )* };
    }

    chirp! {
        preload_ours Preload Ours Tester "pjdfstest-ours.txt";
        preload_ours_user Preload Ours User "pjdfstest-ours.txt";
        preload_debian Preload Debian Tester "pjdfstest-debian.txt";
        preload_debian_user Preload Debian User "pjdfstest-debian.txt";
        trace_ours Trace Ours Tester "pjdfstest-ours.txt";
        trace_ours_user Trace Ours User "pjdfstest-ours.txt";
        trace_debian Trace Debian Tester "pjdfstest-debian.txt";
        trace_debian_user Trace Debian User "pjdfstest-debian.txt";
    }

    #[test]
    fn preload_ours_some() {
        let (technique, kind) = (Technique::Preload, PlaceKind::Ours);
        fails_as_listed(technique, kind, As::User, "pjdfstest-ours.txt", SOME);
    }

    #[test]
    fn trace_ours_some() {
        let (technique, kind) = (Technique::Trace, PlaceKind::Ours);
        fails_as_listed(technique, kind, As::User, "pjdfstest-ours.txt", SOME);
    }
}

mod random_file {
    use super::*;

    macro_rules! random_file {
        ($($name:ident $technique:ident $kind:ident;)*) => { $(
            mod $name {
                use super::*;

                #[test]
                fn some() {
                    fsx(Technique::$technique, PlaceKind::$kind, 7, 2000);
                }

                #[test]
                #[ignore = "long: scripts/test --full"]
                fn seed_1() {
                    fsx(Technique::$technique, PlaceKind::$kind, 1, 100_000);
                }

                #[test]
                #[ignore = "long: scripts/test --full"]
                fn seed_2() {
                    fsx(Technique::$technique, PlaceKind::$kind, 2, 100_000);
                }

                #[test]
                #[ignore = "long: scripts/test --full"]
                fn seed_3() {
                    fsx(Technique::$technique, PlaceKind::$kind, 3, 100_000);
                }
            }
        )* };
    }

    random_file! {
        native Native Plain;
        preload_mapped Preload Mapped;
        preload_ours Preload Ours;
        preload_debian Preload Debian;
        trace_mapped Trace Mapped;
        trace_ours Trace Ours;
        trace_debian Trace Debian;
    }
}
