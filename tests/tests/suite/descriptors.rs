//! An open remote file is a real descriptor: it passes through fork, exec, dup, messages, and from
//! a preloaded shell into a traced static child, with one position for all.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Technique, case};

const ALPHABET: &str = "echo abcdefghijklmnopqrstuvwxyz > $R/alphabet";
/// The same, in a file too large to be fetched whole.
const LARGE: &str = "truncate -s 300M $R/alphabet; echo -n abcdefghijklmnopqrstuvwxyz | dd of=$R/alphabet conv=notrunc status=none";

fn share(g: &Guest, setup: &str, link: Link) {
    g.setup(setup);
    g.same(&format!("{} $R/alphabet $R/made", guest("share", link).display()));
}

case!(shared, |g| share(g, ALPHABET, Link::Dynamic));
case!(shared_large, |g| share(g, LARGE, Link::Dynamic));
case!(shared_fixed, fixed, |g| share(g, ALPHABET, Link::Static));
case!(shared_fixed_large, fixed, |g| share(g, LARGE, Link::Musl));

case!(by_shell, |g| {
    g.setup(ALPHABET);
    g.setup("seq 1000 > $R/numbers");
    g.steps(
        r#"exec 3< $R/alphabet; head -c 5 <&3 > /dev/null; dd bs=1 count=3 status=none <&3; exec 3<&-
exec 3< $R/numbers; for i in 1 2 3; do read -r x <&3; echo $x; done; (read -r x <&3; echo sub $x); read -r x <&3; echo $x; exec 3<&-
exec 4> $R/out; echo a >&4; sh -c 'echo b >&4'; (echo c >&4); bash -c 'exec echo d >&4'; echo e >&4; exec 4>&-; cat $R/out
exec 4>> $R/out; (echo f >&4) & wait; echo g >&4; exec 4>&-; cat $R/out
exec 5<> $R/out; head -c 2 <&5 > /dev/null; echo X >&5; exec 5>&-; wc -c < $R/out
{ sed -n 1q; cat; } < $R/out | wc -l
exec 3< $R/alphabet 4<&3; dd bs=4 count=1 status=none <&3; dd bs=4 count=1 status=none <&4; exec 3<&-; dd bs=4 count=1 status=none <&4; exec 4<&-
echo deleted > $R/del; exec 3< $R/del; rm $R/del; cat <&3; exec 3<&-; cat $R/del
exec 3> $R/del; rm $R/del; echo nowhere >&3; exec 3>&-; ls $R
exec 3> $R/ren; echo one >&3; mv $R/ren $R/ren2; echo two >&3; exec 3>&-; cat $R/ren2
ls -l /proc/self/fd/3 3< $R/alphabet | sed 's/.*-> //'
readlink /proc/self/fd/3 3< $R/alphabet
/usr/bin/python3 -c 'import os,sys; print(os.read(3, 3), os.lseek(3, 0, 1), os.fstat(3).st_size)' 3< $R/alphabet
"#,
    );
});

/// The offset is shared between a preloaded shell and static children that the tracer runs.
fn into_static(kind: PlaceKind, setup: &str) {
    let mut g = Guest::new(Technique::Preload, kind);
    g.set_deadline(40);
    g.setup(setup);
    let marks = guest("marks", Link::Musl).display().to_string();
    let share = guest("share", Link::Static).display().to_string();
    g.steps(&format!(
        r#"exec 3< $R/alphabet; dd bs=3 count=1 status=none <&3; busybox dd bs=4 count=1 2>/dev/null <&3; dd bs=3 count=1 status=none <&3; exec 3<&-
exec 3< $R/alphabet; busybox head -c 5 <&3; exec 3<&-
{share} child 3 6 3< $R/alphabet
exec 3< $R/alphabet; {share} child 3 6; {share} child 3 4; head -c 2 <&3; exec 3<&-
{marks} inherited 3 $L/s 0 5 20 3< $R/alphabet
exec 4> $R/out; echo a >&4; {share} append 4 b; busybox sh -c 'echo c >&4'; echo d >&4; exec 4>&-; cat $R/out
busybox sh -c 'cat <&3; busybox true' 3< $R/out
busybox sh -c 'exec 3< $R/alphabet; dd bs=3 count=1 status=none <&3; busybox dd bs=3 count=1 2>/dev/null <&3'
"#
    ));
    g.finish();
}

#[test]
fn into_static_mapped() {
    into_static(PlaceKind::Mapped, ALPHABET);
}

#[test]
fn into_static_ours() {
    into_static(PlaceKind::Ours, ALPHABET);
}

#[test]
fn into_static_debian() {
    into_static(PlaceKind::Debian, ALPHABET);
}

#[test]
fn into_static_large_ours() {
    into_static(PlaceKind::Ours, LARGE);
}

#[test]
fn into_static_large_debian() {
    into_static(PlaceKind::Debian, LARGE);
}
