//! The handlers against a scripted guest and session.

use crate::attr::Attr;
use crate::errno::Errno;
use crate::fake::{Answer, World};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason, Watch};
use crate::resolve::Lookup::{Full, Quick};
use crate::shadow::Kind;
use std::ffi::CString;
use std::os::unix::fs::symlink;

const AT_FDCWD: usize = (libc::AT_FDCWD as isize).cast_unsigned();

fn c(text: impl AsRef<[u8]>) -> CString {
    CString::new(text.as_ref()).unwrap()
}

fn at(text: &CString) -> usize {
    text.as_ptr() as usize
}

/// Resolves a name by asking to make it a directory, and tells what the session was asked.
fn mkdir(world: &mut World, name: &str) -> (Outcome, Vec<String>) {
    let name = c(name);
    let outcome = world.call(libc::SYS_mkdir, &[at(&name), 0o777], Full);
    (outcome, std::mem::take(&mut world.files.asked))
}

fn temp(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("parrot-common-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn a_local_name_passes_and_a_remote_one_is_asked_for() {
    let mut world = World::new("");
    let name = c("/etc/passwd");
    let outcome = world.call(libc::SYS_openat, &[AT_FDCWD, at(&name), 0], Quick);
    assert_eq!(outcome, Outcome::Pass(Reason::PlainUnlessMissing));
    assert!(world.files.asked.is_empty());
    let (outcome, asked) = mkdir(&mut world, "//chirp//h:1//a/../b/");
    assert_eq!((outcome, asked), (Outcome::Done(0), vec!["MkDir 0:/chirp//h:1//a/../b/".into()]));
}

#[test]
fn dots_before_a_mount_are_taken_and_none_behind_it() {
    let mut world = World::new("/no/data /chirp/h/d");
    let is = |world: &mut World, name: &str, asked: &str| {
        assert_eq!(mkdir(world, name), (Outcome::Done(0), vec![format!("MkDir 0:{asked}")]));
    };
    is(&mut world, "/tmp/../chirp/h/x", "/chirp/h/x");
    is(&mut world, "/./no/data/x", "/no/data/x");
    is(&mut world, "/no/../no/data/../x", "/no/data/../x");
    assert_eq!(mkdir(&mut world, "/no/database").0, Outcome::Pass(Reason::ResolvedPlain));
}

#[test]
fn links_that_lead_to_a_mount_are_followed() {
    let dir = temp("links");
    let here = dir.to_str().unwrap();
    let link = |target: &str, name: &str| {
        let _ = std::fs::remove_file(dir.join(name));
        symlink(target, dir.join(name)).unwrap();
    };
    link("/chirp/h/data", "far");
    link("far/sub", "farther");
    link("loop", "loop");
    let mut world = World::new("");
    let (_, asked) = mkdir(&mut world, &format!("{here}/far/x"));
    assert_eq!(asked, ["MkDir 0:/chirp/h/data/x"]);
    let (_, asked) = mkdir(&mut world, &format!("{here}/farther/x"));
    assert_eq!(asked, ["MkDir 0:/chirp/h/data/sub/x"]);
    // mkdir does not follow a link in the last place, stat does.
    assert_eq!(mkdir(&mut world, &format!("{here}/far")).0, Outcome::Pass(Reason::ResolvedPlain));
    let name = c(format!("{here}/far"));
    world.files.answers.push(Answer::Fail(Errno::ENOENT));
    let outcome = world.call(libc::SYS_stat, &[at(&name), 8192], Full);
    assert_eq!(outcome, Outcome::Fail(Errno::ENOENT));
    assert_eq!(world.files.asked, ["Stat 0:/chirp/h/data"]);
    assert_eq!(mkdir(&mut world, &format!("{here}/loop/x")).0, Outcome::Fail(Errno::ELOOP));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_redirect_is_resolved_again_from_the_root() {
    let mut world = World::new("/no/here /tmp/there");
    world.files.answers.push(Answer::Redirect(b"/chirp/other/x".to_vec()));
    let (outcome, asked) = mkdir(&mut world, "/chirp/h/link/x");
    assert_eq!(outcome, Outcome::Done(0));
    assert_eq!(asked, ["MkDir 0:/chirp/h/link/x", "MkDir 0:/chirp/other/x"]);
    world.files.answers.push(Answer::Redirect(b"/no/here/x".to_vec()));
    assert!(matches!(mkdir(&mut world, "/chirp/h/link/x").0, Outcome::Rewrite(_)));
    assert_eq!(world.guest.placed.last().unwrap(), b"/tmp/there/x\0");
}

#[test]
fn a_mapped_local_directory_is_rewritten_and_guarded() {
    let mut world = World::new("/no/w /tmp/w\n/no/r /tmp/r ro\n/no/never DENY\n/no/where ENOENT");
    let (outcome, _) = mkdir(&mut world, "/no/w/a/");
    let Outcome::Rewrite([place, mode, ..]) = outcome else { panic!("{outcome:?}") };
    assert_eq!((place, mode), (world.guest.placed[0].as_ptr() as usize, 0o777));
    assert_eq!(world.guest.placed[0], b"/tmp/w/a/\0");
    assert_eq!(mkdir(&mut world, "/no/r/a").0, Outcome::Fail(Errno::EROFS));
    assert_eq!(mkdir(&mut world, "/no/never/a").0, Outcome::Fail(Errno::EACCES));
    assert_eq!(mkdir(&mut world, "/no/where").0, Outcome::Fail(Errno::ENOENT));
    let (from, to) = (c("/no/w/a"), c("/tmp/b"));
    let outcome = world.call(libc::SYS_renameat, &[AT_FDCWD, at(&from), 7, at(&to)], Quick);
    let Outcome::Rewrite(args) = outcome else { panic!("{outcome:?}") };
    assert_eq!((args[0], args[2], args[3]), (AT_FDCWD, 7, at(&to)));
}

#[test]
fn the_deepest_rule_wins_below_a_remote_one_and_at_the_root() {
    let mut world = World::new("/ /chirp/h/root\n/tmp LOCAL\n/no DENY\n/no/but /chirp/h/but");
    assert_eq!(mkdir(&mut world, "/").1, ["MkDir 0:/"]);
    assert_eq!(mkdir(&mut world, "/etc/x").1, ["MkDir 0:/etc/x"]);
    assert_eq!(mkdir(&mut world, "/tmp/x").0, Outcome::Pass(Reason::ResolvedPlain));
    assert_eq!(mkdir(&mut world, "/no/x").0, Outcome::Fail(Errno::EACCES));
    assert_eq!(mkdir(&mut world, "//no/./but/x").1, ["MkDir 0:/no/but/x"]);
}

#[test]
fn names_relative_to_a_directory_shadow_belong_to_the_session() {
    let mut world = World::new("");
    let dir = FdClass::Shadow { id: 12, kind: Kind::Dir, writable: false };
    world.guest.fds.insert(5, dir);
    let name = c("sub/x");
    world.call(libc::SYS_mkdirat, &[5, at(&name), 0], Quick);
    world.guest.cwd = dir;
    world.call(libc::SYS_mkdir, &[at(&name), 0], Quick);
    let alias = c("/proc/self/cwd/y");
    world.call(libc::SYS_mkdir, &[at(&alias), 0], Quick);
    assert_eq!(world.files.asked, ["MkDir 12:sub/x", "MkDir 12:sub/x", "MkDir 12:y"]);
}

#[test]
fn a_relative_name_that_reaches_a_mount_is_noticed() {
    let mut world = World::new("");
    let name = c("chirp/h/x");
    world.call(libc::SYS_mkdir, &[at(&name), 0], Quick);
    assert_eq!(world.files.asked, ["MkDir 0:/chirp/h/x"]);
}

#[test]
fn rename_across_sides_is_exdev() {
    let mut world = World::new("");
    let (near, far) = (c("/tmp/a"), c("/chirp/h/b"));
    let outcome = world.call(libc::SYS_rename, &[at(&near), at(&far)], Quick);
    assert_eq!(outcome, Outcome::Fail(Errno::EXDEV));
    let outcome = world.call(libc::SYS_rename, &[at(&far), at(&far)], Quick);
    assert_eq!(outcome, Outcome::Done(0));
    assert_eq!(world.files.asked, ["Rename 0:/chirp/h/b 0:/chirp/h/b"]);
}

#[test]
fn a_served_read_moves_the_position_by_what_was_read() {
    let mut world = World::new("");
    world.guest.fds.insert(3, FdClass::Shadow { id: 16, kind: Kind::Served, writable: false });
    let mut buffer = [0_u8; 10];
    world.files.answers.push(Answer::Data(b"hello".to_vec()));
    world.files.answers.push(Answer::Data(Vec::new()));
    let args = [3, buffer.as_mut_ptr() as usize, 10];
    assert_eq!(world.call(libc::SYS_read, &args, Quick), Outcome::Done(5));
    assert_eq!(world.guest.position, 5);
    world.files.answers.push(Answer::Fail(Errno::EIO));
    assert_eq!(world.call(libc::SYS_read, &args, Quick), Outcome::Fail(Errno::EIO));
    assert_eq!(world.guest.position, 5);
    // What must wait in the middle is done again from the start.
    world.files.answers.push(Answer::Data(b"hel".to_vec()));
    world.files.answers.push(Answer::Fail(Errno::DEFER));
    assert_eq!(world.call(libc::SYS_read, &args, Quick), Outcome::Fail(Errno::DEFER));
    assert_eq!(world.guest.position, 5);
    // The shadow says read-only.
    assert_eq!(world.call(libc::SYS_write, &args, Quick), Outcome::Fail(Errno::EBADF));
    // copy_file_range and sendfile make programs fall back.
    assert_eq!(world.call(libc::SYS_copy_file_range, &[3], Quick), Outcome::Fail(Errno::EXDEV));
    assert_eq!(world.call(libc::SYS_sendfile, &[1, 3], Quick), Outcome::Fail(Errno::EINVAL));
}

/// Through a slow network each request costs a round trip: a mebibyte is one.
#[test]
fn a_mebibyte_is_one_request() {
    let mut world = World::new("");
    world.guest.fds.insert(3, FdClass::Shadow { id: 18, kind: Kind::Served, writable: true });
    let mut buffer = vec![0_u8; 1 << 20];
    world.files.answers.push(Answer::Data(vec![7; buffer.len()]));
    let args = [3, buffer.as_mut_ptr() as usize, buffer.len(), 0];
    assert_eq!(world.call(libc::SYS_pread64, &args, Quick), Outcome::Done(1 << 20));
    assert!(buffer.iter().all(|byte| *byte == 7));
    assert_eq!(world.files.asked.len(), 1);
    assert_eq!(world.call(libc::SYS_pwrite64, &args, Quick), Outcome::Done(0));
    assert_eq!(world.files.asked.len(), 2);
    // As text the bytes that were written are as many characters.
    assert_eq!(world.files.asked[1].len(), "PWrite 0:".len() + (1 << 20));
}

#[test]
fn closing_what_was_written_reports_the_failed_flush() {
    let mut world = World::new("");
    world.guest.fds.insert(3, FdClass::Shadow { id: 16, kind: Kind::Complete, writable: true });
    world.files.answers.push(Answer::Fail(Errno::ENOSPC));
    assert_eq!(world.call(libc::SYS_close, &[3], Quick), Outcome::Fail(Errno::ENOSPC));
    assert_eq!(world.call(libc::SYS_close, &[4], Quick), Outcome::Pass(Reason::PlainFd));
    assert_eq!(world.call(libc::SYS_read, &[3], Quick), Outcome::Pass(Reason::CompleteFd));
    let class = FdClass::Shadow { id: 16, kind: Kind::Complete, writable: true };
    let dup = world.call(libc::SYS_dup2, &[3, 9], Quick);
    assert_eq!(dup, Outcome::Watch(Watch::NewFd(class)));
}

#[test]
fn stat_is_written_as_the_kernel_writes_it() {
    let mut world = World::new("");
    let attr =
        Attr { ino: 7, mode: libc::S_IFREG | 0o640, size: 99, mtime: (5, 6), ..Attr::default() };
    world.files.answers.push(Answer::Data(attr.as_bytes().to_vec()));
    let name = c("/chirp/h/f");
    // SAFETY: a stat of zero bytes is a stat.
    #[expect(unsafe_code, reason = "a C structure")]
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let place = std::ptr::from_mut(&mut stat) as usize;
    assert_eq!(world.call(libc::SYS_stat, &[at(&name), place], Quick), Outcome::Done(0));
    assert_eq!((stat.st_ino, stat.st_mode, stat.st_size), (7, libc::S_IFREG | 0o640, 99));
    assert_eq!((stat.st_mtime, stat.st_mtime_nsec), (5, 6));
}

#[test]
fn unreadable_names_and_refused_calls() {
    let mut world = World::new("");
    let outcome = world.call(libc::SYS_stat, &[8, 8], Quick);
    assert_eq!(outcome, Outcome::Pass(Reason::BadAddress));
    let outcome = world.call(libc::SYS_io_uring_setup, &[1, 0], Quick);
    assert_eq!(outcome, Outcome::Fail(Errno::ENOSYS));
    assert_eq!(world.call(9999, &[], Quick), Outcome::Pass(Reason::Unknown));
}

#[test]
fn a_script_is_taken_apart() {
    let dir = temp("script");
    let script = dir.join("run");
    std::fs::write(&script, "#!/bin/sh -e\nexit 0\n").unwrap();
    let mut world = World::new("");
    let shadow = script.to_str().unwrap().as_bytes().to_vec();
    world.files.answers.push(Answer::Data(shadow));
    let (name, arg) = (c("/chirp/h/run"), c("one"));
    let argv = [at(&name), at(&arg), 0];
    let args = [at(&name), argv.as_ptr() as usize, 0];
    let outcome = world.call(libc::SYS_execve, &args, Quick);
    let Outcome::Rewrite([file, vector, ..]) = outcome else { panic!("{outcome:?}") };
    assert_eq!(world.files.asked, ["Exec 0:/chirp/h/run"]);
    let mut text = [0; 64];
    let mut word = |world: &mut World, at: usize| {
        let len = world.guest.read_str(at, &mut text).unwrap();
        String::from_utf8_lossy(&text[..len]).into_owned()
    };
    assert_eq!(word(&mut world, file), "/bin/sh");
    // SAFETY: the vector that was just made: four words and a zero.
    #[expect(unsafe_code, reason = "the guest's memory is the test's")]
    let vector = unsafe { std::slice::from_raw_parts(vector as *const usize, 5) };
    let words: Vec<_> = vector[..4].iter().map(|&at| word(&mut world, at)).collect();
    assert_eq!(words, ["/bin/sh", "-e", "/chirp/h/run", "one"]);
    assert_eq!(vector[4], 0);
    std::fs::remove_dir_all(dir).unwrap();
}
