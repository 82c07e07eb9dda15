//! What requests do, by family. Each function is a row of [`commands`](crate::commands).
//!
//! A handler gets the session, the right its row names, and its arguments. It puts a complete
//! reply into the outbox, or fails before it has put anything there that must stand.

pub(crate) mod attributes;
pub(crate) mod data;
pub(crate) mod directory;
pub(crate) mod file;
pub(crate) mod identity;
pub(crate) mod names;
pub(crate) mod resume;
pub(crate) mod search;
pub(crate) mod strided;
pub(crate) mod thirdput;
pub(crate) mod ticket;
pub(crate) mod whole;
pub(crate) mod xattr;

use rustix::io::Errno;

use crate::acl::ACL_FILE;
use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::Place;
use crate::wire::{Code, Stat};

/// Permission bits that a client may give to a file. Set-user-id and set-group-id would give away
/// the powers of the server's account.
const FILE_MODE: u32 = 0o777;

/// The largest mark: nanoseconds of a time.
const MOST_MARK: u32 = 999_999_999;

/// Permission bits that a client may give to a directory.
const DIRECTORY_MODE: u32 = 0o3777;

/// Fails unless the client may change an object or its name: it needs rights, and the name must
/// not be one that the server keeps for itself.
fn need_change(session: &Session, place: &Place<'_>, rights: Rights) -> Outcome {
    session.need_to(place, rights)?;
    not_hidden(place)
}

/// Fails if a name is one that the server keeps for itself.
fn not_hidden(place: &Place<'_>) -> Outcome {
    if place.is_hidden() { Err(Code::NotAuthorized.into()) } else { Ok(()) }
}

/// Tells whether an object is an access control list.
fn is_acl(place: &Place<'_>) -> bool {
    place.name == ACL_FILE.as_bytes()
}

/// A length or an offset that must not be negative.
fn unsigned(n: i64) -> Result<u64, Errno> {
    u64::try_from(n).map_err(|_| Errno::INVAL)
}

/// Puts the system's attributes into the form of the wire.
fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let nanoseconds = |n: u64| u32::try_from(n).unwrap_or(0);
    Stat {
        dev: stat.st_dev,
        ino: stat.st_ino,
        mode: stat.st_mode,
        nlink: wide(stat.st_nlink),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev,
        size: stat.st_size.cast_unsigned(),
        blksize: u64::try_from(signed(stat.st_blksize)).unwrap_or(0),
        blocks: stat.st_blocks.cast_unsigned(),
        atime: stat.st_atime,
        mtime: stat.st_mtime,
        ctime: stat.st_ctime,
        atime_nsec: nanoseconds(stat.st_atime_nsec),
        mtime_nsec: nanoseconds(stat.st_mtime_nsec),
        ctime_nsec: nanoseconds(stat.st_ctime_nsec),
    }
}

/// Appends a stat line, with or without nanoseconds.
fn push_stat(session: &mut Session, stat: &rustix::fs::Stat, nanoseconds: bool) {
    let stat = stat_of(stat);
    let out = session.out.buffer();
    if nanoseconds { stat.push_line_ns(out) } else { stat.push_line(out) }
}

/// Widens a field whose width differs between machines.
fn wide(n: impl Into<u64>) -> u64 {
    n.into()
}

/// Widens a field whose width differs between machines.
fn signed(n: impl Into<i64>) -> i64 {
    n.into()
}
