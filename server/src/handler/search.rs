//! `search`: names below directories that match a pattern.
//!
//! ```text
//!   0:<name>:<stat line or nothing>:     a match
//!   <errno>:<where>:<path>:              trouble; where: 1 open, 2 read, 4 attributes
//! ```
//!
//! Lines go out as they are found, so a search of any size takes little memory. Links to directories
//! are not followed: a search ends, and stays where it was asked to look.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::stat_of;
use crate::acl::{HIDDEN_PREFIX, Rights};
use crate::failure::{Failure, Outcome};
use crate::glob;
use crate::session::Session;
use crate::store::{Follow, tree};
use crate::wire::{PathArg, number};

/// Stop at the first match.
const FIRST: i64 = 1;
/// Send attributes.
const METADATA: i64 = 2;
/// Give names from the root on.
const FROM_ROOT: i64 = 4;
/// Only what the client may read, write, execute.
const MAY: [(i64, Rights, Access); 3] = [
    (16, Rights::READ, Access::READ_OK),
    (32, Rights::WRITE, Access::WRITE_OK),
    (64, Rights::EXECUTE, Access::EXEC_OK),
];

/// What went wrong, in lines of trouble.
const OPEN: i64 = 1;
const READ: i64 = 2;
const ATTRIBUTES: i64 = 4;

/// Directories may be nested this deep, more than paths can name.
const MAX_DEPTH: usize = 2000;

/// A search below one directory.
struct Search<'s> {
    session: &'s mut Session,
    patterns: Vec<&'s [u8]>,
    flags: i64,
    /// The path of the directory in which the search began; empty for the root.
    base: Vec<u8>,
}

/// One directory on the way down.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    rights: Rights,
    /// Its path below the base; empty for the base itself.
    path: Vec<u8>,
}

/// `search`: 0, result lines, an empty line.
pub(crate) fn search(
    session: &mut Session,
    right: Rights,
    pattern: &[u8],
    paths: &[u8],
    flags: i64,
) -> Outcome {
    session.out.number(0);
    for path in paths.split(|byte| *byte == b'|') {
        let path = PathArg::parse(path)?;
        let base = if *path == *b"/" { Vec::new() } else { path.to_vec() };
        let patterns = pattern.split(|byte| *byte == b'|').filter(|one| !one.is_empty()).collect();
        let mut search = Search { session, patterns, flags, base };
        let found = match search.begin(right, &path) {
            Ok(level) => search.run(level)?,
            Err(error) => search.trouble(error, OPEN, b"").map(|()| false)?,
        };
        if found {
            break;
        }
    }
    session.out.buffer().push(b'\n');
    Ok(())
}

impl Search<'_> {
    fn begin(&self, right: Rights, path: &[u8]) -> Result<Level, Errno> {
        let service = Arc::clone(&self.session.service);
        let place = service.export.locate(path, Follow::Yes)?;
        place.existing()?;
        if !self.session.rights_to(&place)?.has(right) {
            return Err(Errno::PERM);
        }
        self.open(place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?, Vec::new())
    }

    fn open(&self, fd: OwnedFd, path: Vec<u8>) -> Result<Level, Errno> {
        let rights = self.session.rights(fd.as_fd())?;
        let entries = Dir::read_from(&fd)?;
        Ok(Level { fd, entries, rights, path })
    }

    /// Walks down; tells whether to stop because of a match.
    fn run(&mut self, base: Level) -> Outcome<bool> {
        let mut levels = vec![base];
        while let Some(here) = levels.last_mut() {
            let entry = match here.entries.next() {
                None => {
                    levels.pop();
                    continue;
                }
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    let path = std::mem::take(&mut here.path);
                    levels.pop();
                    self.trouble(error, READ, &path)?;
                    continue;
                }
            };
            let name = entry.file_name();
            let bytes = name.to_bytes();
            // A name with a line end cannot be told.
            let untold = bytes.starts_with(HIDDEN_PREFIX) || bytes.contains(&b'\n');
            if untold || matches!(bytes, b"." | b"..") {
                continue;
            }
            let path = [&here.path, b"/".as_slice(), bytes].concat();
            if self.is_match(&path) && self.report(here, name, &path)? && self.asks(FIRST) {
                return Ok(true);
            }
            let depth = levels.len();
            if let Some(here) = levels.last()
                && self.leads_on(&path)
                && let Some(below) = self.enter(here.fd.as_fd(), entry.file_type(), name, &path)?
                && depth < MAX_DEPTH
            {
                levels.push(below);
            }
            if self.session.out.is_full() {
                self.session.flush()?;
                self.session.still_there()?;
            }
        }
        Ok(false)
    }

    fn asks(&self, flag: i64) -> bool {
        self.flags & flag != 0
    }

    /// A pattern matches the whole path below the base, or any trailing part of it.
    fn is_match(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let tails = slashes.filter_map(|(at, _)| path.get(at + 1..));
        let mut all = std::iter::once(path).chain(tails);
        all.any(|part| self.patterns.iter().any(|pattern| glob::matches(pattern, part)))
    }

    /// Tells whether there may be matches below a directory.
    fn leads_on(&self, path: &[u8]) -> bool {
        let mut patterns = self.patterns.iter();
        patterns.any(|one| !one.starts_with(b"/") || glob::may_match_below(one, path))
    }

    /// Opens a directory that is to be searched next.
    fn enter(
        &mut self,
        dir: BorrowedFd<'_>,
        kind: FileType,
        name: &CStr,
        path: &[u8],
    ) -> Outcome<Option<Level>> {
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            return Ok(None);
        }
        let opened = tree::open_for_listing(dir, name.to_bytes());
        match opened.and_then(|fd| self.open(fd, path.to_vec())) {
            // A file where kinds are not known from the listing, or one that is gone.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(None),
            Ok(level) if level.rights.has(Rights::LIST) => Ok(Some(level)),
            Ok(_) => self.trouble(Errno::PERM, OPEN, path).map(|()| None),
            Err(error) => self.trouble(error, OPEN, path).map(|()| None),
        }
    }

    /// Puts a match into the reply, if the client may do with it what it asked about.
    fn report(&mut self, here: &Level, name: &CStr, path: &[u8]) -> Outcome<bool> {
        let wanted: Vec<_> = MAY.iter().filter(|(flag, ..)| self.asks(*flag)).collect();
        let access = wanted.iter().fold(Access::EXISTS, |all, (_, _, access)| all | *access);
        if wanted.iter().any(|(_, right, _)| !here.rights.has(*right))
            || (!access.is_empty() && !may(here.fd.as_fd(), name, access))
        {
            return Ok(false);
        }
        let mut stat = Vec::new();
        if self.asks(METADATA) {
            match rustix::fs::statat(&here.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(about) => stat_of(&about).push_line(&mut stat),
                Err(Errno::NOENT) => return Ok(false),
                Err(error) => self.trouble(error, ATTRIBUTES, path)?,
            }
            stat.pop();
        }
        let base = if self.asks(FROM_ROOT) { self.base.as_slice() } else { b"" };
        let out = self.session.out.buffer();
        for part in [b"0:", base, path, b":", &stat, b":\n"] {
            out.extend_from_slice(part);
        }
        Ok(true)
    }

    fn trouble(&mut self, error: Errno, place: i64, path: &[u8]) -> Outcome {
        let root = self.base.is_empty() && path.is_empty();
        let out = self.session.out.buffer();
        number::push(out, i64::from(error.raw_os_error()));
        out.push(b':');
        number::push(out, place);
        let whole: [&[u8]; 4] = [b":", &self.base, path, if root { b"/:\n" } else { b":\n" }];
        whole.iter().for_each(|part| out.extend_from_slice(part));
        self.session.flush_if_full().map_err(Failure::from)
    }
}

/// Asks the system what the server's account may do.
fn may(dir: BorrowedFd<'_>, name: &CStr, access: Access) -> bool {
    rustix::fs::accessat(dir, name, access, AtFlags::EACCESS).is_ok()
}
