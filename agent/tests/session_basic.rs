//! The session's first duties: names, attributes, reading, writing behind, directories.

mod session;

use parrot_common::shadow::Kind;
use parrot_common::{Errno, Name, Op, Request};
use session::World;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

#[test]
fn a_small_file_is_read_from_a_complete_shadow_with_one_request() {
    let world = World::new();
    world.put("f", b"hello");
    assert_eq!(world.stat("/r/f").unwrap().size, 5);
    let before = world.requests();
    let mut open = world.open("/r/f", libc::O_RDONLY).unwrap();
    assert_eq!(open.kind, Kind::Complete);
    let mut text = String::new();
    open.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    // The local driver's read_small counts as one open.
    assert_eq!(world.requests() - before, 1);
    let again = world.open("/r/f", libc::O_RDONLY).unwrap();
    assert_eq!((again.id, world.requests() - before), (open.id, 2));
    // Changed behind our back: a new version, and the old one stays as it is.
    fs::write(world.there("f"), "other").unwrap();
    let mut new = world.open("/r/f", libc::O_RDONLY).unwrap();
    assert_ne!(new.id, open.id);
    text.clear();
    new.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "other");
    let mut old = [0; 5];
    open.file.read_exact_at(&mut old, 0).unwrap();
    assert_eq!(&old, b"hello");
}

#[test]
fn stat_is_one_request_and_then_none_until_the_attributes_are_old() {
    let world = World::new();
    fs::create_dir_all(world.there("a/b")).unwrap();
    world.put("a/b/f", b"x");
    world.stat("/r/a/b/f").unwrap();
    let before = world.requests();
    for _ in 0..10 {
        world.stat("/r/a/b/f").unwrap();
    }
    assert_eq!(world.requests(), before);
    assert_eq!(world.stat("/r/a/b/f/x"), Err(Errno::ENOTDIR));
    assert_eq!(world.stat("/r/a/b/f/"), Err(Errno::ENOTDIR));
    assert_eq!(world.stat("/r/a/c/f"), Err(Errno::ENOENT));
    assert_eq!(world.stat("/r/a/b/../b//./f").unwrap().size, 1);
}

#[test]
fn a_new_file_is_written_behind_and_is_there_after_the_flush() {
    let world = World::new();
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    let mut open = world.open("/r/new", flags).unwrap();
    assert_eq!(open.kind, Kind::Complete);
    open.file.write_all(b"some text").unwrap();
    assert_eq!(fs::read(world.there("new")).unwrap(), b"");
    world.flush(open.id).unwrap();
    assert_eq!(fs::read(world.there("new")).unwrap(), b"some text");
    open.file.write_all(b" and more").unwrap();
    // Others of the session see it at once, the server before anybody asks it.
    assert_eq!(world.stat("/r/new").unwrap().size, 18);
    assert_eq!(fs::read(world.there("new")).unwrap(), b"some text and more");
    let mut text = String::new();
    let mut reader = world.open("/r/new", libc::O_RDONLY).unwrap();
    assert_eq!(reader.id, open.id);
    reader.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "some text and more");
    open.file.set_len(4).unwrap();
    // Closed without a flush: seen when the next name is asked for.
    drop(open);
    drop(reader);
    world.stat("/r").unwrap();
    assert_eq!(fs::read(world.there("new")).unwrap(), b"some");
    assert!(world.session.finish().is_empty());
}

#[test]
fn what_exists_is_written_through() {
    let world = World::new();
    world.put("f", b"0123456789");
    let mut reader = world.open("/r/f", libc::O_RDONLY).unwrap();
    let open = world.open("/r/f", libc::O_RDWR).unwrap();
    assert_eq!((open.kind, open.id & 3), (Kind::Served, 2));
    let write = Request { a: b"abc", ..World::on(Op::PWrite, open.id, &[2, 0]) };
    let (reply, _) = world.call(write).unwrap();
    assert_eq!((reply.value, reply.aux[0]), (3, 5));
    assert_eq!(fs::read(world.there("f")).unwrap(), b"01abc56789");
    let (_, data) = world.call(World::on(Op::PRead, open.id, &[1])).unwrap();
    assert_eq!(data, b"1abc56789");
    let mut text = String::new();
    reader.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "01abc56789");
    let append = Request { a: b"end", ..World::on(Op::PWrite, open.id, &[0, 1]) };
    let (reply, _) = world.call(append).unwrap();
    assert_eq!(reply.aux[0], 13);
    assert_eq!(world.fstat(open.id).unwrap().size, 13);
    assert_eq!(world.stat("/r/f").unwrap().size, 13);
    world.call(World::on(Op::FTruncate, open.id, &[4])).unwrap();
    assert_eq!(fs::read(world.there("f")).unwrap(), b"01ab");
    // Data calls that nobody caught fail.
    assert!((&open.file).read(&mut [0; 4]).is_err());
    assert!((&open.file).write(b"x").is_err());
}

#[test]
fn a_large_file_is_served() {
    let world = World::with("", 1000);
    let bytes: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    world.put("big", &bytes);
    let open = world.open("/r/big", libc::O_RDONLY).unwrap();
    assert_eq!((open.kind, open.id & 3), (Kind::Served, 0));
    let (_, data) = world.call(World::on(Op::PRead, open.id, &[1_000_000])).unwrap();
    assert_eq!(data, &bytes[1_000_000..1_065_536]);
    let (reply, _) = world.call(World::on(Op::Attach, open.id, &[])).unwrap();
    let (control, data) = (session::file(reply.fds[0]), session::file(reply.fds[1]));
    let mut word = [0; 8];
    control.read_exact_at(&mut word, 0).unwrap();
    assert_eq!(u64::from_le_bytes(word), 4_000_000);
    world.call(World::on(Op::Fill, open.id, &[2_000_000, 300_000])).unwrap();
    let mut part = vec![0; 300_000];
    data.read_exact_at(&mut part, 2_000_000).unwrap();
    assert_eq!(part, &bytes[2_000_000..2_300_000]);
    let (reply, _) = world.call(World::on(Op::Complete, open.id, &[0])).unwrap();
    let mut all = Vec::new();
    session::file(reply.fds[0]).read_to_end(&mut all).unwrap();
    assert!(all == bytes);
    let (reply, _) = world.call(World::on(Op::Seek, open.id, &[0, 2])).unwrap();
    assert_eq!(reply.value, 4_000_000);
}

#[test]
fn directories_follow_renames_and_are_listed() {
    let world = World::new();
    for name in ["/r/d", "/r/d/sub"] {
        world.call(World::named(Op::MkDir, name, &[0o755])).unwrap();
    }
    world.put("d/f", b"1");
    let open = world.open("/r/d", libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
    assert_eq!(open.kind, Kind::Dir);
    let names: Vec<_> = world.list(open.id).into_iter().map(|line| line.0).collect();
    assert_eq!(names, [".", "..", "f", "sub"]);
    let line = world.list(open.id).into_iter().find(|line| line.0 == "f").unwrap();
    assert_eq!((line.1, line.2), (world.stat("/r/d/f").unwrap().ino, libc::DT_REG));
    world.two(Op::Rename, "/r/d", "/r/e").unwrap();
    let name = Name { base: open.id, path: b"f" };
    let found = world.attr(Request::named(Op::Stat, name)).unwrap();
    assert_eq!(found.size, 1);
    let (_, path) = world.call(World::on(Op::PathOf, open.id, &[])).unwrap();
    assert_eq!(path, b"/r/e");
    assert_eq!(
        world.redirect(Request::named(Op::Stat, Name { base: open.id, path: b"../../x" })),
        "/x"
    );
    assert_eq!(world.stat("/r/d"), Err(Errno::ENOENT));
    assert_eq!(world.call(World::named(Op::RmDir, "/r/e", &[])).map(|_| ()), Err(Errno::ENOTEMPTY));
}

/// What is compared and sent as one piece.
const BLOCK: usize = 64 << 10;

#[test]
fn of_a_map_what_is_synced_is_sent() {
    let world = World::new();
    let (open, shadow, id) = world.mapped("m", &vec![b'a'; 4 * BLOCK]);
    for block in [0, 2] {
        shadow.write_all_at(b"b", block * BLOCK as u64 + 5).unwrap();
    }
    let (from, to) = (2 * BLOCK as u64, 2 * BLOCK as u64 + 4096);
    let before = world.bytes_sent();
    world.call(World::on(Op::SyncMaps, id, &[from, to])).unwrap();
    assert_eq!(world.bytes_sent() - before, BLOCK as u64);
    assert_eq!((world.byte("m", 5), world.byte("m", 2 * BLOCK + 5)), (b'a', b'b'));
    world.call(World::on(Op::FSync, open.id, &[])).unwrap();
    assert_eq!(world.byte("m", 5), b'b');
    // Beyond the end, there is nothing.
    world.call(World::on(Op::SyncMaps, id, &[1 << 40, 1 << 41])).unwrap();
    assert_eq!(world.stat("/r/m").unwrap().size, 4 * BLOCK as u64);
}

#[test]
fn a_write_to_a_mapped_file_sends_its_own_block() {
    let world = World::new();
    let (open, shadow, _) = world.mapped("m", &vec![b'a'; 4 * BLOCK]);
    shadow.write_all_at(b"b", 5).unwrap();
    let before = world.bytes_sent();
    let write = World::on(Op::PWrite, open.id, &[3 * BLOCK as u64 - 1]);
    world.call(Request { a: b"cc", ..write }).unwrap();
    assert_eq!(world.bytes_sent() - before, 2 * BLOCK as u64);
    assert_eq!((world.byte("m", 5), world.byte("m", 3 * BLOCK)), (b'a', b'c'));
    // A map shows what was written, and all of it is sent in the end.
    let mut seen = [0; 2];
    shadow.read_exact_at(&mut seen, 3 * BLOCK as u64 - 1).unwrap();
    assert_eq!(&seen, b"cc");
    world.flush(open.id).unwrap();
    assert_eq!(world.byte("m", 5), b'b');
}

#[test]
fn a_mapped_file_that_is_cut_or_grows_is_not_sent_again() {
    let world = World::new();
    let (open, shadow, id) = world.mapped("m", &vec![b'a'; 4 * BLOCK]);
    let before = world.bytes_sent();
    for size in [4 * BLOCK + 100, 64 * BLOCK, 3 * BLOCK + 100] {
        world.call(World::on(Op::FTruncate, open.id, &[size as u64])).unwrap();
        world.flush(open.id).unwrap();
        assert_eq!(world.fstat(open.id).unwrap().size, size as u64);
    }
    // The blocks that were cut, and no others.
    assert!(world.bytes_sent() - before < 4 * BLOCK as u64, "{}", world.bytes_sent() - before);
    // What is written far behind the end leaves zeros between, which are not sent either.
    let before = world.bytes_sent();
    let far = 900 * BLOCK as u64;
    shadow.write_all_at(b"z", far).unwrap();
    world.call(World::on(Op::SyncMaps, id, &[far, far + 1])).unwrap();
    world.flush(open.id).unwrap();
    assert!(world.bytes_sent() - before < 4 * BLOCK as u64, "{}", world.bytes_sent() - before);
    let mut whole = vec![b'a'; 3 * BLOCK + 100];
    whole.resize(900 * BLOCK, 0);
    whole.push(b'z');
    assert!(fs::read(world.there("m")).unwrap() == whole);
}
