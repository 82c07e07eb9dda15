//! Listings.

use super::link::{Link, attr_of};
use super::trouble::Trouble;
use crate::driver::Entry;
use parrot_chirp::wire::path::decode;
use parrot_chirp::wire::{Request, Stat};
use parrot_common::Errno;

/// The most bytes of names and lines that one listing may hold.
const MAX_LISTING: usize = 1 << 30;

/// What an entry costs besides its name.
const ENTRY: usize = size_of::<Entry>();

/// All entries, with attributes if the server can give them in one request.
pub(super) fn list(link: &mut Link, path: &[u8]) -> Result<Vec<Entry>, Trouble> {
    if link.extended {
        link.ask(&Request::Xgetlongdir { path: path.into() })?;
        return entries(link, true);
    }
    match link.ask(&Request::Getlongdir { path: path.into() }) {
        Ok(_) => entries(link, false),
        // An old server, which knows the names only.
        Err(Trouble::Answer(Errno::EINVAL)) => {
            link.ask(&Request::Getdir { path: path.into() })?;
            names(link)
        }
        Err(trouble) => Err(trouble),
    }
}

fn is_dots(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// Name and attributes in turn, up to an empty line.
///
/// Names are raw unless `encoded`, so a name may hold a line end: what should be attributes and is
/// not belongs to the name.
fn entries(link: &mut Link, encoded: bool) -> Result<Vec<Entry>, Trouble> {
    let mut entries = Vec::new();
    let mut used = 0;
    loop {
        let mut name = line(link, &mut used)?;
        if name.is_empty() {
            return Ok(entries);
        }
        let attr = loop {
            let next = line(link, &mut used)?;
            match Stat::parse(&next) {
                Some(stat) => break attr_of(&stat),
                None if encoded || name.len() > 255 => {
                    return link.nonsense("a listing without the attributes of a name");
                }
                None => {
                    name.push(b'\n');
                    name.extend_from_slice(&next);
                }
            }
        };
        if encoded && name.contains(&b'%') {
            name = decode(&name).into_owned();
        }
        if !is_dots(&name) {
            entries.push(Entry { name, attr: Some(attr) });
        }
    }
}

/// A raw name a line, up to an empty line.
fn names(link: &mut Link) -> Result<Vec<Entry>, Trouble> {
    let mut entries = Vec::new();
    let mut used = 0;
    loop {
        let name = line(link, &mut used)?;
        if name.is_empty() {
            return Ok(entries);
        }
        if !is_dots(&name) {
            entries.push(Entry { name, attr: None });
        }
    }
}

/// One line, as long as the listing is not beyond all measure.
fn line(link: &mut Link, used: &mut usize) -> Result<Vec<u8>, Trouble> {
    let line = match link.line() {
        Ok(line) => line.to_vec(),
        Err(trouble) => return link.fail(trouble),
    };
    *used += line.len() + ENTRY;
    if *used > MAX_LISTING { link.nonsense("a listing without end") } else { Ok(line) }
}
