//! What the session promises about names, links, versions, rights and the ends of programs.

mod session;

use parrot_agent::Who;
use parrot_common::shadow::Kind;
use parrot_common::{Errno, Name, Op, Request, Stop};
use session::{Temp, World};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::time::{Duration, Instant};

const CREATE: i32 = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;

/// Waits for something that another thread or process does.
fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < end, "it did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn links_are_followed_and_lead_out_of_the_mount() {
    let world = World::new();
    fs::create_dir(world.there("d")).unwrap();
    world.put("d/f", b"123");
    symlink("d/../d/f", world.there("link")).unwrap();
    symlink("d", world.there("dirlink")).unwrap();
    symlink("/etc/passwd", world.there("out")).unwrap();
    symlink("../../x", world.there("d/up")).unwrap();
    symlink("loop", world.there("loop")).unwrap();
    symlink("missing", world.there("dangling")).unwrap();
    assert_eq!(world.stat("/r/link").unwrap().size, 3);
    assert!(world.attr(World::named(Op::Stat, "/r/link", &[0])).unwrap().is_symlink());
    assert_eq!(world.stat("/r/dirlink/f").unwrap().size, 3);
    assert!(world.attr(World::named(Op::Stat, "/r/dirlink/", &[0])).unwrap().is_dir());
    assert_eq!(world.redirect(World::named(Op::Stat, "/r/out", &[1])), "/etc/passwd");
    assert_eq!(world.redirect(World::named(Op::Stat, "/r/dirlink/up/y", &[1])), "/x/y");
    assert_eq!(world.stat("/r/loop"), Err(Errno::ELOOP));
    assert_eq!(world.stat("/r/dangling"), Err(Errno::ENOENT));
    let open = |name: &str, flags| world.open(name, flags).map(|_| ());
    assert_eq!(open("/r/link", libc::O_NOFOLLOW), Err(Errno::ELOOP));
    assert_eq!(open("/r/link", libc::O_DIRECTORY), Err(Errno::ENOTDIR));
    assert_eq!(open("/r/d", libc::O_WRONLY), Err(Errno::EISDIR));
    assert_eq!(open("/r/d", libc::O_CREAT), Err(Errno::EISDIR));
    assert_eq!(open("/r/d/f", libc::O_CREAT | libc::O_EXCL), Err(Errno::EEXIST));
    assert_eq!(open("/r/link", libc::O_CREAT | libc::O_EXCL), Err(Errno::EEXIST));
    assert_eq!(open("/r/d", libc::O_TMPFILE | libc::O_RDWR), Err(Errno::EOPNOTSUPP));
    // Through a dangling link a file is made where the link points.
    world.open("/r/dangling", CREATE).unwrap();
    assert!(world.there("missing").exists());
    let (_, text) = world.call(World::named(Op::ReadLink, "/r/out", &[])).unwrap();
    assert_eq!(text, b"/etc/passwd");
    world.two(Op::Rename, "/r/link", "/r/link2").unwrap();
    assert!(world.there("link2").is_symlink());
}

#[test]
fn an_open_file_follows_renames_and_survives_its_removal() {
    let world = World::new();
    let mut open = world.open("/r/a", CREATE).unwrap();
    open.file.write_all(b"one").unwrap();
    world.two(Op::Rename, "/r/a", "/r/b").unwrap();
    open.file.write_all(b"two").unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(fs::read(world.there("b")).unwrap(), b"onetwo");
    assert!(!world.there("a").exists());
    let (_, path) = world.call(World::on(Op::PathOf, open.id, &[])).unwrap();
    assert_eq!(path, b"/r/b");
    world.call(World::named(Op::Unlink, "/r/b", &[])).unwrap();
    open.file.write_all(b"three").unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(world.fstat(open.id).unwrap().size, 11);
    assert_eq!(world.fstat(open.id).unwrap().nlink, 0);
    assert!(!world.there("b").exists());
    // A new file of the old name is another file.
    let mut new = world.open("/r/b", CREATE).unwrap();
    assert_ne!(new.id, open.id);
    new.file.write_all(b"new").unwrap();
    world.flush(new.id).unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(fs::read(world.there("b")).unwrap(), b"new");
    // A served file, too.
    world.put("s", b"0123456789");
    let served = world.open("/r/s", libc::O_RDWR).unwrap();
    world.two(Op::Rename, "/r/b", "/r/s").unwrap();
    let (_, data) = world.call(World::on(Op::PRead, served.id, &[0])).unwrap();
    assert_eq!(data, b"0123456789");
    assert_eq!(world.stat("/r/s").unwrap().size, 3);
}

#[test]
fn directories_and_what_is_open_below_follow_a_rename() {
    let world = World::new();
    world.call(World::named(Op::MkDir, "/r/d", &[0o755])).unwrap();
    world.call(World::named(Op::MkDir, "/r/d/e", &[0o755])).unwrap();
    let mut open = world.open("/r/d/e/f", CREATE).unwrap();
    let dir = world.open("/r/d/e", libc::O_DIRECTORY).unwrap();
    open.file.write_all(b"x").unwrap();
    world.two(Op::Rename, "/r/d", "/r/moved").unwrap();
    open.file.write_all(b"y").unwrap();
    drop(open);
    assert_eq!(world.stat("/r/moved/e/f").unwrap().size, 2);
    world.call(Request::named(Op::Unlink, Name { base: dir.id, path: b"f" })).unwrap();
    world.call(World::named(Op::RmDir, "/r/moved/e", &[])).unwrap();
    let gone = world.open_at(dir.id, "new", CREATE).map(|_| ());
    assert_eq!(gone, Err(Errno::ENOENT));
    assert_eq!(world.fstat(dir.id).unwrap().nlink, 0);
    assert!(world.list(dir.id).is_empty());
    assert!(world.session.is_busy());
    drop(dir);
    until(|| !world.session.is_busy());
}

#[test]
fn an_unseen_close_is_flushed_before_the_next_name_is_answered() {
    let world = World::new();
    let open = world.open("/r/f", CREATE).unwrap();
    (&open.file).write_all(b"from a child").unwrap();
    let mut copy = open.file.try_clone().unwrap();
    copy.write_all(b"!").unwrap();
    drop((open, copy));
    assert_eq!(world.stat("/r/none"), Err(Errno::ENOENT));
    assert_eq!(fs::read(world.there("f")).unwrap(), b"from a child!");
    assert!(!world.session.is_busy());
}

#[test]
fn only_changed_blocks_are_sent() {
    let world = World::new();
    let open = world.open("/r/f", CREATE).unwrap();
    let sent = || {
        let (_, text) = world.call(Request::new(Op::Stats)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        value["bytes_sent"].as_u64().unwrap()
    };
    let block = vec![7; 1 << 20];
    (&open.file).write_all(&block).unwrap();
    world.flush(open.id).unwrap();
    let before = sent();
    assert_eq!(before, 1 << 20);
    (&open.file).write_all(b"a line\n").unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(sent() - before, 7);
    open.file.write_at(b"z", 5).unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(sent() - before, 7 + (64 << 10));
    // A hole is not sent.
    open.file.set_len(100 << 20).unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(fs::metadata(world.there("f")).unwrap().len(), 100 << 20);
    assert!(sent() - before < 1 << 20);
    open.file.set_len(10).unwrap();
    world.flush(open.id).unwrap();
    assert_eq!(fs::read(world.there("f")).unwrap(), [7, 7, 7, 7, 7, b'z', 7, 7, 7, 7]);
}

#[test]
fn the_policy_of_a_mount_is_kept() {
    let world = World::with("ro", 1 << 20);
    world.put("f", b"x");
    assert_eq!(world.open("/r/f", libc::O_RDWR).map(|_| ()), Err(Errno::EROFS));
    assert_eq!(world.open("/r/new", CREATE).map(|_| ()), Err(Errno::EROFS));
    assert_eq!(world.open("/r/f", libc::O_RDONLY | libc::O_TRUNC).map(|_| ()), Err(Errno::EROFS));
    let call = |request| world.call(request).map(|_| ());
    assert_eq!(call(World::named(Op::MkDir, "/r/d", &[0o755])), Err(Errno::EROFS));
    assert_eq!(call(World::named(Op::Unlink, "/r/f", &[])), Err(Errno::EROFS));
    assert_eq!(call(World::named(Op::Chmod, "/r/f", &[0o600, 1])), Err(Errno::EROFS));
    assert_eq!(call(World::named(Op::Access, "/r/f", &[2, 1])), Err(Errno::EROFS));
    assert_eq!(call(World::named(Op::Access, "/r/f", &[4, 1])), Ok(()));
    world.open("/r/f", libc::O_RDONLY).unwrap();
    let world = World::with("r", 1 << 20);
    world.put("f", b"#!/bin/sh\n");
    fs::set_permissions(world.there("f"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(world.call(World::named(Op::Exec, "/r/f", &[])).map(|_| ()), Err(Errno::EACCES));
    assert_eq!(world.open("/r/new", CREATE).map(|_| ()), Err(Errno::EACCES));
}

#[test]
fn a_program_is_run_from_its_shadow() {
    let world = World::new();
    fs::copy("/bin/echo", world.there("prog")).unwrap();
    world.put("text", b"no program");
    let (_, path) = world.call(World::named(Op::Exec, "/r/prog", &[])).unwrap();
    let path = String::from_utf8(path).unwrap();
    assert!(path.ends_with("/prog"));
    let output = std::process::Command::new(&path).arg("hi").output().unwrap();
    assert_eq!(output.stdout, b"hi\n");
    assert_eq!(world.call(World::named(Op::Exec, "/r/text", &[])).map(|_| ()), Err(Errno::EACCES));
    // While it runs it cannot be written.
    let mut child = {
        fs::copy("/bin/sleep", world.there("nap")).unwrap();
        let (_, path) = world.call(World::named(Op::Exec, "/r/nap", &[])).unwrap();
        std::process::Command::new(String::from_utf8(path).unwrap()).arg("60").spawn().unwrap()
    };
    until(|| world.open("/r/nap", libc::O_WRONLY).map(|_| ()) == Err(Errno::ETXTBSY));
    assert_eq!(world.open("/r/nap", CREATE).map(|_| ()), Err(Errno::ETXTBSY));
    assert!(fs::metadata(world.there("nap")).unwrap().len() > 0);
    assert!(world.session.is_busy());
    child.kill().unwrap();
    child.wait().unwrap();
    world.open("/r/nap", CREATE).unwrap();
    // Another loader: a copy that names it.
    let loader = Request { b: b"/no/such/loader", ..World::named(Op::Exec, "/r/prog", &[]) };
    let (_, copy) = world.call(loader).unwrap();
    let copy = String::from_utf8(copy).unwrap();
    assert!(std::process::Command::new(&copy).output().is_err());
    assert!(fs::read(&copy).unwrap().ends_with(b"/no/such/loader\0"));
}

#[test]
fn what_is_mapped_for_writing_goes_back() {
    let world = World::new();
    world.put("f", &vec![b'a'; 200_000]);
    let open = world.open("/r/f", libc::O_RDWR).unwrap();
    let (reply, _) = world.call(World::on(Op::Complete, open.id, &[1])).unwrap();
    let file = session::file(reply.fds[0]);
    file.write_at(b"mapped", 100_000).unwrap();
    let (_, data) = world.call(World::on(Op::PRead, open.id, &[100_000])).unwrap();
    assert!(data.starts_with(b"mappeda"));
    world.call(World::on(Op::FSync, open.id, &[])).unwrap();
    let there = fs::read(world.there("f")).unwrap();
    assert_eq!((&there[100_000..100_006], there.len()), (b"mapped".as_slice(), 200_000));
    // A write to the descriptor is seen in the map, and both reach the server.
    let write = Request { a: b"written", ..World::on(Op::PWrite, open.id, &[5]) };
    world.call(write).unwrap();
    let mut seen = [0; 7];
    file.read_exact_at(&mut seen, 5).unwrap();
    assert_eq!(&seen, b"written");
    file.write_at(b"M", 0).unwrap();
    drop(file);
    drop(open);
    world.stat("/r").unwrap();
    let there = fs::read(world.there("f")).unwrap();
    assert!(there.starts_with(b"Maaaawrittena"));
    until(|| !world.session.is_busy());
}

#[test]
fn a_dead_agents_unsent_data_are_sent_by_the_next() {
    let world = World::new();
    let open = world.open("/r/f", CREATE).unwrap();
    let clean = world.open("/r/clean", CREATE).unwrap();
    (&clean.file).write_all(b"clean").unwrap();
    world.flush(clean.id).unwrap();
    (&open.file).write_all(b"not flushed").unwrap();
    // As if the agent had been killed: its directory, as it lies there, is another one's.
    let copy = world.temp.0.join("s2");
    let status =
        std::process::Command::new("cp").arg("-a").args([&world.temp.0.join("s"), &copy]).status();
    assert!(status.unwrap().success());
    fs::write(world.there("clean"), "changed by others").unwrap();
    let list = format!("/r /local/-{}\n", world.remote.display());
    let config = parrot_agent::SessionConfig::new(copy.clone(), session::table(&list));
    let next = parrot_agent::Session::open(config).unwrap();
    assert_eq!(fs::read(world.there("f")).unwrap(), b"not flushed");
    assert_eq!(fs::metadata(copy.join("journal")).unwrap().len(), 0);
    assert_eq!(fs::read_dir(copy.join("c")).unwrap().count(), 0);
    assert!(next.finish().is_empty());
}

#[test]
fn session_cache_asks_once() {
    let world = World::with("cache=session", 1000);
    world.put("f", b"one");
    world.put("big", &vec![1; 300_000]);
    let read = |name: &str| {
        let mut text = Vec::new();
        world.open(name, libc::O_RDONLY).unwrap().file.read_to_end(&mut text).unwrap();
        text
    };
    assert_eq!(read("/r/f"), b"one");
    assert_eq!(world.stat("/r/none"), Err(Errno::ENOENT));
    let big = world.open("/r/big", libc::O_RDONLY).unwrap().id;
    let before = world.requests();
    fs::write(world.there("f"), "two").unwrap();
    fs::write(world.there("none"), "two").unwrap();
    assert_eq!(read("/r/f"), b"one");
    assert_eq!(world.stat("/r/none"), Err(Errno::ENOENT));
    assert_eq!(world.open("/r/big", libc::O_RDONLY).unwrap().id, big);
    assert_eq!(world.requests(), before);
    // What the session itself changes it sees.
    world.call(World::named(Op::Unlink, "/r/f", &[])).unwrap();
    assert_eq!(world.stat("/r/f"), Err(Errno::ENOENT));
}

#[test]
fn strict_mounts_reach_the_server_every_time() {
    let world = World::with("cache=strict", 1 << 20);
    world.put("f", b"one");
    let open = world.open("/r/f", libc::O_RDONLY).unwrap();
    let read = || world.call(World::on(Op::PRead, open.id, &[0])).unwrap().1;
    assert_eq!(read(), b"one");
    fs::write(world.there("f"), "three").unwrap();
    assert_eq!(read(), b"three");
    assert_eq!(world.stat("/r/f").unwrap().size, 5);
    assert_eq!(world.call(World::on(Op::Attach, open.id, &[])).map(|_| ()), Err(Errno::EINVAL));
    let new = world.open("/r/new", CREATE).unwrap();
    let write = Request { a: b"abc", ..World::on(Op::PWrite, new.id, &[0]) };
    world.call(write).unwrap();
    assert_eq!(fs::read(world.there("new")).unwrap(), b"abc");
}

#[test]
fn attributes_change_and_agree() {
    let world = World::new();
    let open = world.open("/r/f", CREATE).unwrap();
    (&open.file).write_all(b"12345").unwrap();
    let times = [1_000_000, 500, 2_000_000, 600];
    world.call(World::on(Op::FUTimes, open.id, &times)).unwrap();
    world.call(World::on(Op::FChmod, open.id, &[0o640])).unwrap();
    let attr = world.stat("/r/f").unwrap();
    assert_eq!((attr.size, attr.mtime, attr.mode & 0o7777), (5, (2_000_000, 600), 0o640));
    assert_eq!(world.fstat(open.id).unwrap(), attr);
    assert!(attr.blocks >= 1 && attr.blksize == 1 << 20);
    drop(open);
    assert_eq!(world.stat("/r/f").unwrap().mtime, (2_000_000, 600));
    let id = u64::from(attr.uid);
    assert!(world.call(World::named(Op::Chown, "/r/f", &[id, u64::from(u32::MAX), 1])).is_ok());
    let other = world.call(World::named(Op::Chown, "/r/f", &[id + 1, id, 1])).map(|_| ());
    assert_eq!(other, Err(Errno::EPERM));
    world.call(World::named(Op::Truncate, "/r/f", &[2])).unwrap();
    assert_eq!(world.stat("/r/f").unwrap().size, 2);
    world.two(Op::Link, "/r/f", "/r/g").unwrap();
    assert_eq!(world.stat("/r/f").unwrap().nlink, 2);
    assert_eq!(world.stat("/r/g").unwrap().ino, attr.ino);
    let (_, space) = world.call(World::named(Op::StatFs, "/r/f", &[])).unwrap();
    assert_eq!(space.len(), 56);
    let xattr = |op, text: &'static [u8]| {
        let name = Name { base: 0, path: b"/r/f" };
        world.call(Request { b: text, ..Request::named(op, name) }).map(|(_, data)| data)
    };
    if xattr(Op::SetXattr, b"user.k\0value").is_ok() {
        assert_eq!(xattr(Op::GetXattr, b"user.k").unwrap(), b"value");
        assert_eq!(xattr(Op::ListXattr, b"").unwrap(), b"user.k\0");
        xattr(Op::RemoveXattr, b"user.k").unwrap();
        assert_eq!(xattr(Op::GetXattr, b"user.k"), Err(Errno::ENODATA));
    }
    assert_eq!(xattr(Op::GetXattr, b"security.selinux"), Err(Errno::EOPNOTSUPP));
}

#[test]
fn many_threads_fetch_a_block_once() {
    let world = World::with("", 1000);
    let bytes: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    world.put("big", &bytes);
    let open = world.open("/r/big", libc::O_RDONLY).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let (world, open, bytes) = (&world, &open, &bytes);
            scope.spawn(move || {
                for step in 0..50_usize {
                    let at = (step * 160_000 + thread * 7919) % (bytes.len() - 1000);
                    let (_, data) =
                        world.call(World::on(Op::PRead, open.id, &[at as u64])).unwrap();
                    assert!(data[..1000] == bytes[at..at + 1000], "at {at}");
                }
            });
        }
    });
    let id = open.id;
    drop(open);
    until(|| !world.session.is_busy());
    assert_eq!(world.open("/r/big", libc::O_RDONLY).unwrap().id, id);
}

#[test]
fn many_threads_write_files_of_their_own() {
    let world = World::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..30 {
                    let name = format!("/r/f{thread}");
                    let mut open = world.open(&name, CREATE).unwrap();
                    let text = format!("{thread} {round}").repeat(1000);
                    open.file.write_all(text.as_bytes()).unwrap();
                    if round % 2 == 0 {
                        world.flush(open.id).unwrap();
                    }
                    drop(open);
                    let mut back = String::new();
                    let mut again = world.open(&name, libc::O_RDONLY).unwrap();
                    again.file.read_to_string(&mut back).unwrap();
                    assert!(back == text, "{name} {round}");
                    drop(again);
                    assert_eq!(world.stat(&name).unwrap().size, text.len() as u64);
                    assert_eq!(fs::read(world.there(&name[3..])).unwrap(), text.as_bytes());
                }
            });
        }
    });
    assert!(world.session.finish().is_empty());
    let old = File::open(world.there("f0")).unwrap();
    drop(old);
    until(|| !world.session.is_busy());
}

/// Many append to a file that none has made yet: some get the shadow of the new file, some come
/// when it is sent and get a strict one. No record is lost.
#[test]
fn appenders_of_a_new_file_lose_nothing() {
    const WRITERS: usize = 24;
    let world = World::new();
    for round in 0..60 {
        let name = format!("/r/new{round}");
        std::thread::scope(|scope| {
            for number in 0..WRITERS {
                let (world, name) = (&world, &name);
                scope.spawn(move || {
                    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
                    let mut open = world.open(name, flags).unwrap();
                    let record = format!("{number}\n");
                    if open.kind == Kind::Complete {
                        open.file.write_all(record.as_bytes()).unwrap();
                    } else {
                        let request = World::on(Op::PWrite, open.id, &[0, 1]);
                        world.call(Request { a: record.as_bytes(), ..request }).unwrap();
                    }
                    world.flush(open.id).unwrap();
                    drop(open);
                    world.stat(name).unwrap();
                });
            }
        });
        let text = fs::read_to_string(world.there(&format!("new{round}"))).unwrap();
        let mut found: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, (0..WRITERS).collect::<Vec<_>>(), "round {round}: {text:?}");
    }
}

/// What a mount has fetched once it shows ever after, though another mount of the same server asks
/// anew each time.
#[test]
fn a_settled_mount_keeps_the_size_with_the_bytes() {
    let world = World::new();
    world.put("f", b"fourteen bytes");
    let list = format!(
        "/old /local/-{0} cache=session\n/new /local/-{0} cache=strict\n",
        world.remote.display()
    );
    let both = World::listed(Temp::new(), &world.remote, &list, 1 << 20);
    let mut old = String::new();
    both.open("/old/f", libc::O_RDONLY).unwrap().file.read_to_string(&mut old).unwrap();
    assert_eq!(old, "fourteen bytes");
    world.put("f", b"nineteen bytes long");
    assert_eq!(both.stat("/new/f").unwrap().size, 19);
    let strict = both.open("/new/f", libc::O_RDONLY).unwrap();
    assert_eq!(both.fstat(strict.id).unwrap().size, 19);
    assert_eq!(both.stat("/old/f").unwrap().size, 14);
    let again = both.open("/old/f", libc::O_RDONLY).unwrap();
    assert_eq!(again.file.metadata().unwrap().len(), 14);
    assert_eq!(both.fstat(again.id).unwrap().size, 14);
}

/// Names that are looked at in the order of a listing are asked for together: those that come next
/// are known for as long as the one that was asked for.
#[test]
fn what_comes_next_in_a_listing_is_asked_for_at_once() {
    let world = World::with("ttl=3", 1 << 20);
    fs::create_dir(world.there("d")).unwrap();
    for n in 10..60 {
        world.put(&format!("d/{n}"), b"x");
    }
    let dir = world.open("/r/d", libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    assert_eq!(world.list(dir.id).len(), 52);
    std::thread::sleep(Duration::from_secs(4));
    let size = |name: &str| world.stat(&format!("/r/d/{name}")).unwrap().size;
    assert_eq!((size("10"), size("11")), (1, 1));
    for name in ["d/15", "d/40"] {
        world.put(name, b"longer");
    }
    assert_eq!((size("15"), size("40")), (1, 6), "known from before, and asked for now");
    fs::remove_file(world.there("d/50")).unwrap();
    assert_eq!(world.stat("/r/d/50"), Err(Errno::ENOENT));
    assert_eq!((size("51"), size("59")), (1, 1));
}

/// Whoever reads a large file from its beginning finds more of it there than he has asked for.
#[test]
fn a_sequential_reader_is_read_ahead_of() {
    let world = World::with("", 1000);
    let bytes: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_le_bytes).collect();
    world.put("big", &bytes);
    let open = world.open("/r/big", libc::O_RDONLY).unwrap();
    let (reply, _) = world.call(World::on(Op::Attach, open.id, &[])).unwrap();
    let (control, data) = (session::file(reply.fds[0]), session::file(reply.fds[1]));
    let there = || {
        let mut states = [0; 250];
        let len = control.read_at(&mut states, 64).unwrap();
        states[..len].iter().filter(|state| **state != 0).count()
    };
    let block = 128 << 10;
    for _ in 0..2 {
        let begin = there() as u64 * block;
        world.call(World::on(Op::Fill, open.id, &[begin, 1])).unwrap();
    }
    // Two of the first request and five of the second were waited for.
    until(|| there() > 7);
    let mut all = Vec::new();
    while let Ok((reply, part)) = world.call(World::on(Op::PRead, open.id, &[all.len() as u64]))
        && reply.len > 0
    {
        all.extend(part);
    }
    assert!(all == bytes);
    let mut cached = vec![0; bytes.len()];
    data.read_exact_at(&mut cached, 0).unwrap();
    assert!(cached == bytes);
}

#[test]
fn locks_are_refused_where_the_mount_says_so() {
    for (options, refused) in [("locks=refuse", 1), ("", 0)] {
        let world = World::with(options, 1 << 20);
        world.put("f", b"x");
        for flags in [libc::O_RDONLY, libc::O_RDWR] {
            let open = world.open("/r/f", flags).unwrap();
            let (reply, _) = world.call(World::on(Op::LockPolicy, open.id, &[])).unwrap();
            assert_eq!(reply.value, refused, "{options} {flags}");
        }
    }
}

#[test]
fn what_is_here_needs_no_waiting() {
    let world = World::with("", 1 << 10);
    world.put("large", &vec![7; 400 << 10]);
    let open = world.open("/r/large", libc::O_RDONLY).unwrap();
    let mut out = vec![0; 1000];
    let mut at_once =
        |request: Request<'_>| world.session.try_call(Who { pid: 1 }, &request, &mut out);
    let deferred = Err(Stop::Fail(Errno::DEFER));
    let first = World::on(Op::PRead, open.id, &[5]);
    assert_eq!(at_once(first), deferred);
    world.call(first).unwrap();
    assert_eq!(at_once(first).unwrap().len, 1000);
    assert_eq!(at_once(World::on(Op::PRead, open.id, &[300 << 10])), deferred);
    assert_eq!(at_once(World::on(Op::PRead, open.id, &[400 << 10])).unwrap().len, 0);
    let end = World::on(Op::Seek, open.id, &[0, 2]);
    assert_eq!(at_once(end).unwrap().value, 400 << 10);
    assert!(at_once(World::named(Op::Access, "/r/large", &[0, 1])).is_ok());
    let execute = World::named(Op::Access, "/r/large", &[1, 1]);
    assert_eq!(at_once(execute), Err(Stop::Fail(Errno::EACCES)));
}
