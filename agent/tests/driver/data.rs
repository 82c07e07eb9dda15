//! Cases about the content of files.

use crate::site::{Row, Site};
use crate::{CREATE, READ, WRITE, errno};
use parrot_agent::driver::OpenFlags;
use parrot_common::Errno;

pub(crate) fn end_of_file(site: &Site) {
    site.put("file", b"0123456789");
    let (file, _) = site.driver.open(&site.path("file"), READ, 0).unwrap();
    let mut buf = [b'-'; 8];
    assert_eq!(file.pread(&mut buf, 4).unwrap(), 6);
    assert_eq!(&buf, b"456789--");
    assert_eq!(file.pread(&mut buf, 10).unwrap(), 0);
    assert_eq!(file.pread(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.pread(&mut [], 0).unwrap(), 0);
    // Longer than one request, at the end of a file that has grown since it was opened.
    let (writer, _) = site.driver.open(&site.path("file"), WRITE, 0).unwrap();
    writer.pwrite(b"abc", 10).unwrap();
    let mut long = vec![0; 5 << 20];
    assert_eq!(file.pread(&mut long, 2).unwrap(), 11);
    assert_eq!(&long[..11], b"23456789abc");
}

pub(crate) fn big_offset(site: &Site) {
    let (file, _) = site.driver.open(&site.path("sparse"), CREATE, 0o644).unwrap();
    let far = (5 << 30) + 3;
    file.pwrite(b"far", far).unwrap();
    assert_eq!(file.fstat().unwrap().size, far + 3);
    let (file, attr) = site.driver.open(&site.path("sparse"), READ, 0).unwrap();
    assert_eq!(attr.size, far + 3);
    let mut buf = [1; 5];
    assert_eq!(file.pread(&mut buf, far - 2).unwrap(), 5);
    assert_eq!(&buf, b"\0\0far");
    assert_eq!(site.driver.read_small(&site.path("sparse"), 1 << 20).unwrap().1, None);
    let refused = file.pread(&mut buf, u64::MAX - 10);
    assert!(matches!(refused, Ok(0)) || errno(refused) == Errno::EINVAL);
    assert_eq!(file.pread(&mut buf, far).unwrap(), 3, "and the connection goes on");
}

/// Bytes that tell where they belong.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from((i ^ (i >> 8) ^ (i >> 16)) & 0xff).unwrap()).collect()
}

pub(crate) fn long_transfers(site: &Site) {
    // More than a window of pieces, and more than one request can carry, with odd ends.
    let content = pattern((19 << 20) + 12_345);
    let (file, _) = site.driver.open(&site.path("long"), CREATE, 0o644).unwrap();
    file.pwrite(&content, 0).unwrap();
    file.fsync().unwrap();
    let (file, attr) = site.driver.open(&site.path("long"), READ, 0).unwrap();
    assert_eq!(attr.size, 19 * (1 << 20) + 12_345);
    let mut buf = vec![0; content.len() + 100];
    assert_eq!(file.pread(&mut buf, 0).unwrap(), content.len());
    assert!(buf[..content.len()] == content, "what was written is read");
    let mut part = vec![0; (2 << 20) + 1];
    assert_eq!(file.pread(&mut part, 777).unwrap(), part.len());
    assert!(part == content[777..777 + part.len()]);
}

pub(crate) fn append(site: &Site) {
    site.put("log", b"start\n");
    let flags = OpenFlags { append: true, ..WRITE };
    let (one, _) = site.driver.open(&site.path("log"), flags, 0).unwrap();
    let (two, _) = site.driver.open(&site.path("log"), flags, 0).unwrap();
    one.pwrite(b"one\n", 0).unwrap();
    two.pwrite(b"two\n", 0).unwrap();
    one.pwrite(b"three\n", 0).unwrap();
    assert_eq!(site.get("log"), b"start\none\ntwo\nthree\n");
}

pub(crate) fn exclusive_create(site: &Site) {
    let flags = OpenFlags { exclusive: true, truncate: false, ..CREATE };
    let path = site.path("lock");
    let (file, attr) = site.driver.open(&path, flags, 0o600).unwrap();
    assert_eq!((attr.size, attr.mode & 0o777), (0, 0o600));
    file.pwrite(b"mine", 0).unwrap();
    assert_eq!(errno(site.driver.open(&path, flags, 0o600)), Errno::EEXIST);
    assert_eq!(site.get("lock"), b"mine");
    site.driver.symlink(b"nowhere", &site.path("link")).unwrap();
    let through = site.driver.open(&site.path("link"), flags, 0o600);
    // A stock server resolves links by itself before it opens.
    if site.row != Row::Stock {
        assert_eq!(errno(through), Errno::EEXIST);
    }
}

pub(crate) fn open_flags(site: &Site) {
    let d = &site.driver;
    site.put("file", b"content");
    let (reader, _) = d.open(&site.path("file"), READ, 0).unwrap();
    let refused = errno(reader.pwrite(b"x", 0));
    assert!(matches!(refused, Errno::EBADF | Errno::EINVAL), "{refused}");
    let both = OpenFlags { write: true, ..READ };
    let (file, attr) = d.open(&site.path("file"), both, 0).unwrap();
    assert_eq!(attr.size, 7);
    file.pwrite(b"C", 0).unwrap();
    let mut buf = [0; 7];
    assert_eq!(file.pread(&mut buf, 0).unwrap(), 7);
    assert_eq!(&buf, b"Content");
    let create = OpenFlags { create: true, ..WRITE };
    assert_eq!(d.open(&site.path("file"), create, 0o644).unwrap().1.size, 7);
    assert_eq!(d.open(&site.path("file"), CREATE, 0o644).unwrap().1.size, 0);
    // A link to a missing file is made there.
    d.symlink(b"made", &site.path("link")).unwrap();
    d.open(&site.path("link"), create, 0o644).unwrap();
    assert!(d.stat(&site.path("made"), false).unwrap().is_file());
}

pub(crate) fn truncate(site: &Site) {
    let d = &site.driver;
    site.put("file", b"0123456789");
    d.truncate(&site.path("file"), 4).unwrap();
    assert_eq!(site.get("file"), b"0123");
    d.truncate(&site.path("file"), 6).unwrap();
    assert_eq!(site.get("file"), b"0123\0\0");
    let (file, _) = d.open(&site.path("file"), WRITE, 0).unwrap();
    file.ftruncate(1 << 33).unwrap();
    assert_eq!(file.fstat().unwrap().size, 1 << 33);
    file.ftruncate(2).unwrap();
    assert_eq!(site.get("file"), b"01");
}

pub(crate) fn read_small(site: &Site) {
    let d = &site.driver;
    for length in [0, 1, 1000, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 300_000] {
        let content = pattern(length);
        site.put("file", &content);
        let (attr, data) = d.read_small(&site.path("file"), 1 << 20).unwrap();
        assert_eq!(attr.size, u64::try_from(length).unwrap());
        assert!(data.unwrap() == content, "{length}");
        let limit = u64::try_from(length).unwrap();
        assert!(d.read_small(&site.path("file"), limit).unwrap().1.is_some());
        if limit > 0 {
            assert!(d.read_small(&site.path("file"), limit - 1).unwrap().1.is_none());
        }
    }
    if site.row == Row::Local {
        return;
    }
    // Another open file in the way changes nothing, and once warm it is one round trip.
    site.put("small", b"small");
    let _held = d.open(&site.path("file"), READ, 0).unwrap();
    d.read_small(&site.path("small"), 100).unwrap();
    let before = d.counters();
    assert_eq!(d.read_small(&site.path("small"), 100).unwrap().1.unwrap(), b"small");
    let after = d.counters();
    assert_eq!(after.requests - before.requests, 3);
    assert_eq!(after.connections, before.connections);
}

pub(crate) fn many_files(site: &Site) {
    // More descriptors than a connection has, were they not closed.
    for i in 0..1500_u32 {
        let (file, _) = site.driver.open(&site.path("file"), CREATE, 0o644).unwrap();
        file.pwrite(&i.to_le_bytes(), 0).unwrap();
    }
    assert_eq!(site.get("file"), 1499_u32.to_le_bytes());
    let open: Vec<_> =
        (0..200).map(|_| site.driver.open(&site.path("file"), READ, 0).unwrap().0).collect();
    for file in open.iter().rev() {
        assert_eq!(file.fstat().unwrap().size, 4);
    }
}

pub(crate) fn threads(site: &Site) {
    let content = pattern(3 << 20);
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let content = &content;
            scope.spawn(move || {
                let name = format!("file{thread}");
                for _ in 0..3 {
                    site.put(&name, content);
                    assert!(site.get(&name) == *content);
                    site.driver.stat(&site.path(&name), false).unwrap();
                    assert!(site.driver.list(&site.path("")).unwrap().len() <= 13);
                }
            });
        }
    });
    let connections = site.driver.counters().connections;
    assert!(connections <= 8, "{connections} connections");
}
