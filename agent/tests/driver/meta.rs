//! Cases about attributes.

use crate::site::{Row, Site};
use crate::{READ, errno};
use parrot_agent::driver::SetTime;
use parrot_agent::error::Kind;
use parrot_common::Errno;

pub(crate) fn attributes(site: &Site) {
    let d = &site.driver;
    site.put("file", b"12345");
    let attr = d.stat(&site.path("file"), true).unwrap();
    assert!(attr.is_file() && attr.ino != 0 && attr.nlink == 1 && attr.size == 5);
    let (file, opened) = d.open(&site.path("file"), READ, 0).unwrap();
    let again = file.fstat().unwrap();
    for other in [opened, again] {
        assert_eq!((other.dev, other.ino, other.mode), (attr.dev, attr.ino, attr.mode));
        assert_eq!((other.size, other.mtime), (attr.size, attr.mtime));
    }
    assert!(d.stat(&site.path(""), true).unwrap().is_dir());
    let nanoseconds = (0..20).any(|i| {
        let name = format!("n{i}");
        site.put(&name, b"x");
        d.stat(&site.path(&name), true).unwrap().mtime.1 != 0
    });
    assert_eq!(nanoseconds, site.row != Row::Stock);
    assert_eq!(d.capabilities().nanoseconds, nanoseconds);
}

pub(crate) fn many_attributes(site: &Site) {
    let d = &site.driver;
    site.put("file", b"12345");
    d.symlink(b"file", &site.path("link")).unwrap();
    let long = "n".repeat(4000);
    let names: Vec<Vec<u8>> = (0..2000)
        .map(|i| match i % 4 {
            0 => site.path("file"),
            1 => site.path("missing"),
            2 => site.path("link"),
            _ if i % 100 == 3 => site.path(&long),
            _ => site.path(""),
        })
        .collect();
    let paths: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let before = d.counters();
    let found = d.stat_many(&paths);
    let trips = d.counters().round_trips - before.round_trips;
    assert_eq!(found.len(), 2000);
    for (i, attr) in found.into_iter().enumerate() {
        match i % 4 {
            0 => assert_eq!(attr.unwrap().size, 5),
            1 => assert_eq!(errno(attr), Errno::ENOENT),
            2 => assert!(attr.unwrap().is_symlink()),
            _ if i % 100 == 3 => assert_eq!(errno(attr), Errno::ENAMETOOLONG),
            _ => assert!(attr.unwrap().is_dir()),
        }
    }
    assert!(trips < 1000, "pipelined: {trips} waits for 2000 names");
    assert_eq!(d.stat_many(&[]).len(), 0);
}

pub(crate) fn modes(site: &Site) {
    let d = &site.driver;
    site.put("file", b"x");
    d.mkdir(&site.path("dir"), 0o755).unwrap();
    for mode in [0o600, 0o644, 0o755] {
        d.chmod(&site.path("file"), mode).unwrap();
        assert_eq!(d.stat(&site.path("file"), true).unwrap().mode & 0o777, mode);
    }
    d.chmod(&site.path("dir"), 0o700).unwrap();
    assert_eq!(d.stat(&site.path("dir"), true).unwrap().mode & 0o777, 0o700);
}

pub(crate) fn times(site: &Site) {
    let d = &site.driver;
    let path = site.path("file");
    site.put("file", b"x");
    d.utimes(&path, SetTime::At(1_000_000_000, 0), SetTime::At(1_100_000_000, 0), true).unwrap();
    let attr = d.stat(&path, true).unwrap();
    assert_eq!((attr.atime.0, attr.mtime.0), (1_000_000_000, 1_100_000_000));
    d.utimes(&path, SetTime::Omit, SetTime::At(1_200_000_000, 5), true).unwrap();
    let attr = d.stat(&path, true).unwrap();
    assert_eq!((attr.atime.0, attr.mtime.0), (1_000_000_000, 1_200_000_000));
    assert_eq!(attr.mtime.1, if site.row == Row::Stock { 0 } else { 5 });
    d.utimes(&path, SetTime::Now, SetTime::Omit, false).unwrap();
    let attr = d.stat(&path, true).unwrap();
    assert!(attr.atime.0 > 1_700_000_000);
    assert_eq!(attr.mtime.0, 1_200_000_000);
    d.utimes(&path, SetTime::Omit, SetTime::Omit, true).unwrap();
    let missing = d.utimes(&site.path("missing"), SetTime::Now, SetTime::Now, true);
    assert_eq!(errno(missing), Errno::ENOENT);

    d.symlink(b"file", &site.path("link")).unwrap();
    let old = SetTime::At(1_000_000_000, 0);
    let result = d.utimes(&site.path("link"), old, old, false);
    if site.row == Row::Stock {
        assert_eq!(result.unwrap_err().kind(), Kind::Unsupported);
    } else {
        result.unwrap();
        assert_eq!(d.stat(&site.path("link"), false).unwrap().mtime.0, 1_000_000_000);
    }
    assert_eq!(d.stat(&path, true).unwrap().mtime.0, 1_200_000_000, "the target is untouched");
}

pub(crate) fn access_rights(site: &Site) {
    let d = &site.driver;
    site.put("file", b"x");
    for mode in [0, 4, 2, 6] {
        d.access(&site.path("file"), mode).unwrap();
    }
    d.access(&site.path(""), 0).unwrap();
    d.access(&site.path(""), 4).unwrap();
    if site.row != Row::Local {
        d.mkdir(&site.path("closed"), 0o755).unwrap();
        std::fs::write(site.tree.join("closed/file"), b"x").unwrap();
        std::fs::write(site.tree.join("closed/.__acl"), b"unix:nobody-else rwlda\n").unwrap();
        assert_eq!(errno(d.open(&site.path("closed/file"), READ, 0)), Errno::EACCES);
        assert_eq!(errno(d.list(&site.path("closed"))), Errno::EACCES);
        assert_eq!(errno(d.access(&site.path("closed/file"), 4)), Errno::EACCES);
    }
}

pub(crate) fn space(site: &Site) {
    site.put("file", b"x");
    for name in ["", "file"] {
        let space = site.driver.statfs(&site.path(name)).unwrap();
        assert!(space.bsize > 0 && space.blocks > 0 && space.blocks >= space.bfree);
    }
    assert_eq!(errno(site.driver.statfs(&site.path("missing"))), Errno::ENOENT);
}

pub(crate) fn extended_attributes(site: &Site) {
    let d = &site.driver;
    let path = site.path("file");
    site.put("file", b"x");
    for name in [&b"user.missing"[..], b"security.selinux"] {
        assert_eq!(errno(d.getxattr(&path, name, true)), Errno::ENODATA);
        assert_eq!(errno(d.getxattr(&path, name, false)), Errno::ENODATA);
    }
    assert_eq!(errno(d.removexattr(&path, b"user.missing", true)), Errno::ENODATA);
    let missing = d.getxattr(&site.path("missing"), b"user.x", true);
    assert_eq!(errno(missing), Errno::ENOENT);
    match d.setxattr(&path, b"user.one", b"value \0\n\xff", 0, true) {
        Err(error) if error.errno() == Errno::EOPNOTSUPP => return,
        result => result.unwrap(),
    }
    assert_eq!(d.getxattr(&path, b"user.one", true).unwrap(), b"value \0\n\xff");
    let create = libc::XATTR_CREATE.cast_unsigned();
    let replace = libc::XATTR_REPLACE.cast_unsigned();
    assert_eq!(errno(d.setxattr(&path, b"user.one", b"2", create, true)), Errno::EEXIST);
    assert_eq!(errno(d.setxattr(&path, b"user.two", b"2", replace, true)), Errno::ENODATA);
    d.setxattr(&path, b"user.two", b"", create, false).unwrap();
    let names = d.listxattr(&path, true).unwrap();
    let mut names: Vec<_> = names.split(|byte| *byte == 0).collect();
    names.sort_unstable();
    assert_eq!(names, [&b""[..], b"user.one", b"user.two"]);
    d.removexattr(&path, b"user.one", true).unwrap();
    assert_eq!(errno(d.getxattr(&path, b"user.one", true)), Errno::ENODATA);
}

pub(crate) fn counters(site: &Site) {
    let d = &site.driver;
    let before = d.counters();
    assert_eq!((before.requests, before.connections), (0, 0), "nothing happens before it is asked");
    d.stat(&site.path(""), true).unwrap();
    let first = d.counters();
    for _ in 0..10 {
        d.stat(&site.path(""), true).unwrap();
    }
    let last = d.counters();
    assert_eq!(last.requests - first.requests, 10);
    if site.row != Row::Local {
        assert_eq!(last.round_trips - first.round_trips, 10);
        assert_eq!((first.connections, last.connections), (1, 1), "one connection is kept");
        assert!(last.bytes_in > first.bytes_in && last.bytes_out > first.bytes_out);
    }
}
