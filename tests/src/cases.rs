//! The macro that makes one body into a test for every technique and place.

use crate::guest::Guest;
use crate::place::PlaceKind;
use crate::session::Technique;

/// Runs one body; the macro's tests call this.
pub fn run(technique: Technique, kind: PlaceKind, body: fn(&mut Guest)) {
    let mut guest = Guest::new(technique, kind);
    body(&mut guest);
    guest.finish();
}

/// Runs one body whose scripts are run by a static shell.
pub fn run_static(technique: Technique, kind: PlaceKind, body: fn(&mut Guest)) {
    let mut guest = Guest::new(technique, kind);
    guest.use_static_shell();
    body(&mut guest);
    guest.finish();
}

/// Makes `name::native` and one test for each technique and place.
///
/// - `case!(name, |g| …)`: both techniques, all places.
/// - `case!(name, servers, |g| …)`: both techniques, the two servers and the mapped directory.
/// - `case!(name, ours, |g| …)`: what Debian's server cannot do.
/// - `case!(name, one, |g| …)`: both techniques on our server only: for whole tools.
/// - `case!(name, fixed, |g| …)`: a guest that no library can be preloaded into, run by busybox.
/// - `case!(name, full, |g| …)`: takes long; only with `scripts/test --full`.
///
/// The file that uses it must have `Guest` in scope.
#[macro_export]
macro_rules! case {
    ($(#[$meta:meta])* $name:ident, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run, [], $body,
            native Native Plain, preload_mapped Preload Mapped, preload_local Preload Local,
            preload_ours Preload Ours, preload_debian Preload Debian,
            trace_mapped Trace Mapped, trace_local Trace Local,
            trace_ours Trace Ours, trace_debian Trace Debian);
    };
    ($(#[$meta:meta])* $name:ident, servers, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run, [], $body,
            native Native Plain, preload_mapped Preload Mapped,
            preload_ours Preload Ours, preload_debian Preload Debian,
            trace_mapped Trace Mapped, trace_ours Trace Ours, trace_debian Trace Debian);
    };
    ($(#[$meta:meta])* $name:ident, ours, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run, [], $body,
            native Native Plain, preload_mapped Preload Mapped, preload_local Preload Local,
            preload_ours Preload Ours,
            trace_mapped Trace Mapped, trace_local Trace Local, trace_ours Trace Ours);
    };
    ($(#[$meta:meta])* $name:ident, one, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run, [], $body,
            native Native Plain, preload_ours Preload Ours, trace_ours Trace Ours);
    };
    ($(#[$meta:meta])* $name:ident, fixed, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run_static, [], $body,
            native Native Plain, trace_static_mapped Trace Mapped,
            trace_static_local Trace Local, trace_static_ours Trace Ours,
            trace_static_debian Trace Debian);
    };
    ($(#[$meta:meta])* $name:ident, full, $body:expr) => {
        $crate::case!(@module $(#[$meta])* $name, run, [#[ignore = "long: scripts/test --full"]], $body,
            native Native Plain, preload_ours Preload Ours, preload_debian Preload Debian,
            trace_ours Trace Ours, trace_debian Trace Debian);
    };
    (@module $(#[$meta:meta])* $name:ident, $run:ident, $ignore:tt, $body:expr,
        $($test:ident $technique:ident $kind:ident),*) => {
        $(#[$meta])*
        mod $name {
            use super::*;
            const BODY: fn(&mut Guest) = $body;
            $($crate::case!(@test $run, $ignore, $test $technique $kind);)*
        }
    };
    (@test $run:ident, [$(#[$ignore:meta])*], $test:ident $technique:ident $kind:ident) => {
        #[test]
        $(#[$ignore])*
        fn $test() {
            $crate::cases::$run(
                $crate::Technique::$technique,
                $crate::PlaceKind::$kind,
                BODY,
            );
        }
    };
}
