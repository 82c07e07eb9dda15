//! Cases about names: directories, links, renaming, removal.

use crate::site::{Row, Site};
use crate::{READ, WRITE, errno};
use parrot_common::Errno;
use std::collections::BTreeSet;

pub(crate) fn missing_paths(site: &Site) {
    let (d, path) = (&site.driver, site.path("missing"));
    assert_eq!(errno(d.stat(&path, true)), Errno::ENOENT);
    assert_eq!(errno(d.stat(&path, false)), Errno::ENOENT);
    assert_eq!(errno(d.open(&path, READ, 0)), Errno::ENOENT);
    assert_eq!(errno(d.open(&path, WRITE, 0)), Errno::ENOENT);
    assert_eq!(errno(d.list(&path)), Errno::ENOENT);
    assert_eq!(errno(d.read_small(&path, 100)), Errno::ENOENT);
    assert_eq!(errno(d.readlink(&path)), Errno::ENOENT);
    assert_eq!(errno(d.unlink(&path)), Errno::ENOENT);
    assert_eq!(errno(d.rmdir(&path)), Errno::ENOENT);
    assert_eq!(errno(d.rename(&path, &site.path("other"), 0)), Errno::ENOENT);
    assert_eq!(errno(d.truncate(&path, 0)), Errno::ENOENT);
    assert_eq!(errno(d.chmod(&path, 0o600)), Errno::ENOENT);
    assert_eq!(errno(d.access(&path, 0)), Errno::ENOENT);
    assert_eq!(errno(d.mkdir(&site.path("missing/below"), 0o755)), Errno::ENOENT);
    site.put("file", b"x");
    let below = errno(d.stat(&site.path("file/below"), true));
    // A stock server does not tell the two apart.
    assert!(below == Errno::ENOTDIR || (site.row == Row::Stock && below == Errno::ENOENT));
}

pub(crate) fn existing_directory(site: &Site) {
    let (d, path) = (&site.driver, site.path("dir"));
    d.mkdir(&path, 0o755).unwrap();
    assert_eq!(errno(d.mkdir(&path, 0o755)), Errno::EEXIST);
    assert_eq!(errno(d.open(&path, READ, 0)), Errno::EISDIR);
    assert_eq!(errno(d.open(&path, WRITE, 0)), Errno::EISDIR);
    assert_eq!(errno(d.read_small(&path, 100)), Errno::EISDIR);
    site.put("file", b"x");
    assert_eq!(errno(d.list(&site.path("file"))), Errno::ENOTDIR);
}

pub(crate) fn directories(site: &Site) {
    let (d, path) = (&site.driver, site.path("dir"));
    d.mkdir(&path, 0o755).unwrap();
    assert!(d.stat(&path, false).unwrap().is_dir());
    site.put("dir/file", b"x");
    assert_eq!(errno(d.rmdir(&path)), Errno::ENOTEMPTY);
    d.unlink(&site.path("dir/file")).unwrap();
    d.rmdir(&path).unwrap();
    assert_eq!(errno(d.stat(&path, false)), Errno::ENOENT);
    // The place itself.
    assert!(d.stat(&site.path(""), true).unwrap().is_dir());
}

/// Names that a careless encoder breaks.
const ODD: [&[u8]; 10] = [
    b"a b",
    b" lead and trail ",
    b"tab\there",
    b"line\nend",
    b"100%",
    b"%41",
    "caf\u{e9}\u{4e16}".as_bytes(),
    b"not utf-8 \xff\xfe\x80",
    b"q\"'<>\\`$;|&*?[]{}~#",
    b"-dash",
];

pub(crate) fn odd_names(site: &Site) {
    let d = &site.driver;
    for (i, name) in ODD.iter().enumerate() {
        let content = format!("content {i}");
        site.put(name, content.as_bytes());
        assert_eq!(site.get(name), content.as_bytes());
        let seen = std::fs::read(
            site.tree.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name)),
        );
        assert_eq!(seen.unwrap(), content.as_bytes(), "the server has the very name");
    }
    let wanted: BTreeSet<&[u8]> = ODD.into_iter().collect();
    let entries = d.list(&site.path("")).unwrap();
    let listed: BTreeSet<&[u8]> = entries
        .iter()
        .map(|entry| entry.name.as_slice())
        .filter(|name| !name.starts_with(b".__"))
        .collect();
    assert_eq!(listed, wanted);
    for name in ODD {
        d.unlink(&site.path(name)).unwrap();
    }
}

pub(crate) fn deep_paths(site: &Site) {
    let mut name = String::new();
    // A stock server has no room for more.
    let length = if site.row == Row::Stock { 500 } else { 900 };
    while name.len() < length {
        name.push_str(if name.is_empty() { "level" } else { "/level" });
        site.driver.mkdir(&site.path(&name), 0o755).unwrap();
    }
    name.push_str("/file");
    site.put(&name, b"deep");
    assert_eq!(site.get(&name), b"deep");
}

pub(crate) fn long_names(site: &Site) {
    let name = "n".repeat(255);
    site.put(&name, b"long");
    assert_eq!(site.get(&name), b"long");
    assert!(site.driver.list(&site.path("")).unwrap().iter().any(|e| e.name == name.as_bytes()));
    let longer = site.path("n".repeat(256));
    assert_eq!(errno(site.driver.stat(&longer, false)), Errno::ENAMETOOLONG);
    // More than any request of the protocol can carry; the connection goes on.
    let longest = site.path("n/".repeat(3000));
    assert_eq!(errno(site.driver.stat(&longest, false)), Errno::ENAMETOOLONG);
    assert_eq!(site.get(&name), b"long");
    assert_eq!(errno(site.driver.stat(&site.path("a\0b"), false)), Errno::EINVAL);
}

pub(crate) fn listing(site: &Site) {
    let d = &site.driver;
    d.mkdir(&site.path("top"), 0o755).unwrap();
    assert_eq!(d.list(&site.path("top")).unwrap().len(), 0);
    site.put("top/file", b"12345");
    d.mkdir(&site.path("top/dir"), 0o700).unwrap();
    d.symlink(b"nowhere", &site.path("top/link")).unwrap();
    let mut entries = d.list(&site.path("top")).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_slice()).collect();
    assert_eq!(names, [&b"dir"[..], b"file", b"link"]);
    for entry in entries {
        let name = [b"top/", entry.name.as_slice()].concat();
        let attr = d.stat(&site.path(name), false).unwrap();
        let listed = entry.attr.expect("this driver lists with attributes");
        assert_eq!((listed.ino, listed.mode, listed.size), (attr.ino, attr.mode, attr.size));
    }
}

pub(crate) fn long_listing(site: &Site) {
    site.driver.mkdir(&site.path("many"), 0o755).unwrap();
    // Made behind the server's back: this is not about creating.
    for i in 0..3000 {
        std::fs::write(site.tree.join(format!("many/a rather long name {i}")), b"").unwrap();
    }
    let names: BTreeSet<_> =
        site.driver.list(&site.path("many")).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names.len(), 3000);
}

pub(crate) fn rename_over_existing(site: &Site) {
    let d = &site.driver;
    site.put("a", b"aaa");
    site.put("b", b"b");
    d.rename(&site.path("a"), &site.path("b"), 0).unwrap();
    assert_eq!(site.get("b"), b"aaa");
    assert_eq!(errno(d.stat(&site.path("a"), false)), Errno::ENOENT);
    d.mkdir(&site.path("dir"), 0o755).unwrap();
    d.rename(&site.path("b"), &site.path("dir/moved"), 0).unwrap();
    assert_eq!(site.get("dir/moved"), b"aaa");
}

pub(crate) fn rename_flags(site: &Site) {
    let d = &site.driver;
    site.put("a", b"aaa");
    site.put("b", b"b");
    let (a, b) = (site.path("a"), site.path("b"));
    if site.row == Row::Stock {
        assert_eq!(errno(d.rename(&a, &b, libc::RENAME_NOREPLACE)), Errno::EINVAL);
        assert_eq!(errno(d.rename(&a, &b, libc::RENAME_EXCHANGE)), Errno::EINVAL);
        assert_eq!((site.get("a"), site.get("b")), (b"aaa".to_vec(), b"b".to_vec()));
        return;
    }
    assert_eq!(errno(d.rename(&a, &b, libc::RENAME_NOREPLACE)), Errno::EEXIST);
    d.rename(&a, &b, libc::RENAME_EXCHANGE).unwrap();
    assert_eq!((site.get("a"), site.get("b")), (b"b".to_vec(), b"aaa".to_vec()));
    d.rename(&a, &site.path("c"), libc::RENAME_NOREPLACE).unwrap();
    assert_eq!(site.get("c"), b"b");
}

pub(crate) fn hard_link(site: &Site) {
    let d = &site.driver;
    site.put("a", b"shared");
    d.link(&site.path("a"), &site.path("b")).unwrap();
    let (a, b) = (d.stat(&site.path("a"), true).unwrap(), d.stat(&site.path("b"), true).unwrap());
    assert_eq!((a.dev, a.ino, a.nlink), (b.dev, b.ino, 2));
    assert_eq!(errno(d.link(&site.path("a"), &site.path("b"))), Errno::EEXIST);
}

pub(crate) fn symbolic_links(site: &Site) {
    let d = &site.driver;
    site.put("file", b"content");
    for (i, text) in
        [&b"file"[..], b"a b\tc\nd", "\u{e9}%20%41".as_bytes(), b"../x"].iter().enumerate()
    {
        // A stock server has no way to tell an escape that was meant from one that was needed.
        if site.row != Row::Local && text.contains(&b'%') {
            continue;
        }
        let path = site.path(format!("link{i}"));
        d.symlink(text, &path).unwrap();
        assert_eq!(d.readlink(&path).unwrap(), *text);
        assert!(d.stat(&path, false).unwrap().is_symlink());
    }
    let link = site.path("link0");
    assert!(d.stat(&link, true).unwrap().is_file());
    let (file, attr) = d.open(&link, READ, 0).unwrap();
    assert_eq!((attr.size, file.fstat().unwrap().size), (7, 7));
    assert_eq!(d.read_small(&link, 100).unwrap().1.unwrap(), b"content");
    assert_eq!(errno(d.symlink(b"file", &link)), Errno::EEXIST);
    assert_eq!(errno(d.readlink(&site.path("file"))), Errno::EINVAL);
    assert_eq!(errno(d.stat(&site.path("link1"), true)), Errno::ENOENT);
    d.unlink(&link).unwrap();
    assert_eq!(site.get("file"), b"content");
}

pub(crate) fn removal(site: &Site) {
    let d = &site.driver;
    d.mkdir(&site.path("dir"), 0o755).unwrap();
    site.put("file", b"x");
    assert_eq!(errno(d.rmdir(&site.path("file"))), Errno::ENOTDIR);
    let refused = errno(d.unlink(&site.path("dir")));
    assert!(matches!(refused, Errno::EISDIR | Errno::EPERM | Errno::EACCES), "{refused}");
    assert!(d.stat(&site.path("dir"), false).unwrap().is_dir());
    // A file that is removed while it is open stays readable through its handle.
    let (file, _) = d.open(&site.path("file"), READ, 0).unwrap();
    d.unlink(&site.path("file")).unwrap();
    let mut content = [0; 8];
    assert_eq!(file.pread(&mut content, 0).unwrap(), 1);
}
