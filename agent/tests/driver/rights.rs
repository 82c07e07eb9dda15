//! Access lists and quotas of both servers, as a program meets them: errnos of a local file system, and
//! a connection that goes on.

use crate::fake::impatient;
use crate::site::{Row, Site, give_to_server};
use crate::{CREATE, READ, errno};
use parrot_agent::driver::Config;
use parrot_common::Errno;
use std::fs;
use std::time::Duration;

/// Makes a directory on the server's side with a list of its own, before anybody has asked for it.
fn directory(site: &Site, name: &str, list: &str) {
    let dir = site.tree.join(name);
    fs::create_dir(&dir).unwrap();
    for file in ["old", ".__acl"] {
        fs::write(dir.join(file), list).unwrap();
    }
    give_to_server(&[&dir, &dir.join("old"), &dir.join(".__acl")]);
}

fn lists(row: Row) {
    let site = Site::with(row, &impatient());
    directory(&site, "look", "address:* l\n");
    directory(&site, "none", "unix:nobody rwlda\n");
    directory(&site, "put", "address:* lp\n");
    directory(&site, "reserve", "address:* lv(rwlda)\n");
    let d = &*site.driver;
    let create = |name: &str| d.open(&site.path(name), CREATE, 0o644);
    let read = |name: &str| d.open(&site.path(name), READ, 0);

    assert_eq!(d.stat(b"/look/old", true).unwrap().size, 12);
    assert_eq!(d.list(b"/look").unwrap().len(), 1);
    assert_eq!(errno(read("look/old")), Errno::EACCES);
    assert_eq!(errno(create("look/new")), Errno::EACCES);
    // To a stock server the right to delete in the directory above is enough.
    if row == Row::Parrot {
        assert_eq!(errno(d.unlink(b"/look/old")), Errno::EACCES);
    }

    assert_eq!(errno(d.stat(b"/none/old", true)), Errno::EACCES);
    assert_eq!(errno(d.list(b"/none")), Errno::EACCES);
    assert_eq!(errno(d.mkdir(b"/none/sub", 0o755)), Errno::EACCES);
    assert_eq!(errno(d.rename(b"/none/old", b"/put/stolen", 0)), Errno::EACCES);

    create("put/new").unwrap().0.pwrite(b"new", 0).unwrap();
    assert_eq!(errno(read("put/new")), Errno::EACCES);

    assert_eq!(errno(create("reserve/new")), Errno::EACCES);
    d.mkdir(b"/reserve/own", 0o755).unwrap();
    site.put("reserve/own/file", b"mine");
    assert_eq!(site.get("reserve/own/file"), b"mine");
}

#[test]
fn lists_are_told_as_errnos_parrot() {
    lists(Row::Parrot);
}

#[test]
fn lists_are_told_as_errnos_stock() {
    lists(Row::Stock);
}

/// A server whose tree may hold a mebibyte, and that counts right.
///
/// Processes of a stock server write the record of their root anew when they start, and now and then
/// one reads half of what another writes; then another server is tried.
fn with_quota(row: Row) -> Site {
    let config = Config { silence: Duration::from_secs(20), ..impatient() };
    let mut sites = (0..10).map(|_| Site::with_options(row, &config, &["-Q", "1M"]));
    let counts = |site: &Site| {
        let (file, _) = site.driver.open(b"/first", CREATE, 0o644).ok()?;
        file.pwrite(&[1; 1000], 0).ok()
    };
    sites.find(|site| counts(site).is_some()).expect("a server that counts right")
}

fn quota(row: Row) {
    let site = with_quota(row);
    let (file, _) = site.driver.open(b"/big", CREATE, 0o644).unwrap();
    let mut written = 0;
    let refused = loop {
        match file.pwrite(&vec![7; 100_000], written) {
            Ok(()) => written += 100_000,
            Err(error) => break error,
        }
        assert!(written < 2 << 20, "there is no limit");
    };
    assert_eq!(errno::<()>(Err(refused)), Errno::ENOSPC);
    assert!(written >= 500_000, "{written}");
    // What was written is there, the connection goes on, and room comes back.
    assert!(file.fstat().unwrap().size >= written);
    drop(file);
    site.driver.unlink(b"/big").unwrap();
    site.put("small", &[2; 10_000]);
    assert_eq!(site.get("small"), [2; 10_000]);
}

#[test]
fn a_full_server_is_told_as_an_errno_parrot() {
    quota(Row::Parrot);
}

#[test]
fn a_full_server_is_told_as_an_errno_stock() {
    quota(Row::Stock);
}
