//! The lane: under `parrot-trace`, names that are none of ours do not stop; everything else does, and
//! programs that the library would disturb are left alone.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Session, Technique, programs};

/// How often a guest waited while it made this many rounds of twenty calls on local names.
fn waits(session: &Session, rounds: u32) -> u32 {
    let program = guest("lane", Link::Dynamic).display().to_string();
    let run = session.bash(&format!("{program} count $L {rounds}")).code(0);
    run.out().trim().parse().unwrap()
}

/// A stop is a wait. Without the lane each call is one.
#[test]
fn local_names_do_not_stop() {
    let open = Session::new(Technique::Trace);
    let closed = Session::new(Technique::Trace).env("PARROT_NO_LANE", "1");
    let (open_waits, closed_waits) = (waits(&open, 100), waits(&closed, 100));
    assert!(closed_waits >= 1000, "{closed_waits} waits without the lane");
    assert!(open_waits < 100, "{open_waits} waits with the lane");
    open.finish();
    closed.finish();
}

/// With mounts of one's own, too; where relative names may lead to them, these stop.
#[test]
fn with_a_mountlist() {
    let remote = Session::new(Technique::Trace).mount("/mnt-x=/local/-/tmp");
    let mapped = Session::new(Technique::Trace).mount("/mnt-x=/tmp");
    assert!(waits(&remote, 100) < 100);
    assert!(waits(&mapped, 100) > 500);
    remote.finish();
    mapped.finish();
}

fn leads_to_mounts(technique: Technique, kind: PlaceKind) {
    let g = Guest::new(technique, kind);
    g.setup("mkdir -p $R/d/e; echo remote > $R/d/f; mkdir -p $L/t; echo local > $L/t/f");
    g.steps(
        r#"ln -sfn $R/d $L/link; cat $L/link/f; test -d $L/link/e && echo e
cd $R/d && cat f && test ! -e g && echo g > g && cat g && test -e e && rm g && test ! -e g && echo gone
cd $R/d && ls $L/t && cat $L/t/../t/f && cd $L/t && cat f && cat ../link/f
cd $L/t && cat missing; cat $L/missing/x; cat $L/t/f/x
ln -sfn $L/t $L/swap; cat $L/swap/f; ln -sfn $R/d $L/swap; cat $L/swap/f; rm $L/swap; cat $L/swap/f
cd $R/d && mkdir -p new/dir && rmdir new/dir && ls && rm -r new; cd $L && mkdir -p new/dir && rm -r new && ls
exec 9< $R/d; ls /proc/self/fd/9/; exec 9<&-
"#,
    );
    g.finish();
}

#[test]
fn names_that_lead_to_mounts_native() {
    leads_to_mounts(Technique::Native, PlaceKind::Plain);
}

#[test]
fn names_that_lead_to_mounts_trace() {
    leads_to_mounts(Technique::Trace, PlaceKind::Ours);
}

#[test]
fn names_that_lead_to_mounts_trace_local() {
    leads_to_mounts(Technique::Trace, PlaceKind::Local);
}

/// realpath is done by calls of the library's own there; it says what libc's says, word for word.
#[test]
fn realpath_is_libcs() {
    let said = |technique| {
        let session = Session::new(technique);
        let program = guest("lane", Link::Dynamic).display().to_string();
        let run = session.bash(&format!(
            "cd $L && mkdir -p q/w && ln -sfn q l && ln -sfn loop loop && ln -sfn /nowhere dang
             touch q/f && ln -sfn q/f lf && ln -sfn l/w/.. long
             {program} paths / // /usr/ /usr/. /usr/.. /usr/missing /usr/missing/x /bin/sh /bin/sh/ \
               /bin/sh/. /bin/sh/.. /bin/sh/x . .. l/w l/w/.. l//w/ l/f l/f/ l/f/.. loop loop/x dang \
               dang/ lf lf/ '' long long/f $(printf '%300s' | tr ' ' a) \
               /usr/$(printf '%3000s' | sed 's|  |/b|g') ./l ../$(basename $L)/q | sed \"s|$(dirname $L)|L|g\""
        ));
        let out = run.code(0).out();
        session.finish();
        out
    };
    let native = said(Technique::Native);
    assert!(native.lines().count() > 30, "{native}");
    assert_eq!(said(Technique::Trace), native);
    assert_eq!(said(Technique::Preload), native);
}

/// A thread that waits in open(2) can be cancelled.
#[test]
fn a_waiting_open_is_cancelled() {
    for technique in [Technique::Native, Technique::Preload, Technique::Trace] {
        let session = Session::new(technique);
        let program = guest("lane", Link::Dynamic).display().to_string();
        let run = session.bash(&format!("{program} cancel $L/fifo"));
        assert_eq!(run.clone().code(0).out(), "cancelled\n", "{technique:?}: {}", run.describe());
        session.finish();
    }
}

/// Programs that cannot have the library in them start without it and without a word: musl's, those
/// of the address sanitizer, and those of users who may not read it.
#[test]
fn programs_that_do_not_bear_the_library() {
    let g = Guest::new(Technique::Trace, PlaceKind::Ours);
    g.setup("echo hello > $R/f");
    let musl = guest("inline", Link::MuslDynamic).display().to_string();
    g.says(&format!("{musl} open $R/f; cat $R/f"), "hello\nhello\n");
    let run = g.run(
        "printf '#include <stdio.h>\\nint main(int n, char **w) { FILE *f = fopen(w[1], \"r\"); int c;
           while (n && (c = getc(f)) != EOF) putchar(c); return 0; }' > $L/a.c
         gcc -fsanitize=address -o $L/a $L/a.c && ASAN_OPTIONS=detect_leaks=0 $L/a $R/f",
    );
    assert_eq!(run.clone().code(0).out(), "hello\n", "{}", run.describe());
    g.finish();
}

/// A library that the guest's user may not read is not asked for.
#[test]
fn another_user_hears_nothing_of_the_library() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("only root can become somebody else");
        return;
    }
    let session = Session::new(Technique::Native);
    let bin = session.local().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["parrot-trace", "libparrot.so"] {
        std::fs::copy(programs::program(name), bin.join(name)).unwrap();
    }
    let run = session.bash(
        "chmod 700 $L/bin; $L/bin/parrot-trace -- \
         setpriv --reuid 65534 --clear-groups sh -c 'cd /; id -u; env | grep -c libparrot'",
    );
    assert_eq!((run.out(), run.err()), ("65534\n0\n".into(), String::new()), "{}", run.describe());
    session.finish();
}
