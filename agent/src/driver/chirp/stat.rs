//! Attributes: asked for one by one or many at once, and times set.

use super::link::Link;
use super::pool::Pool;
use super::trouble::Trouble;
use crate::driver::{SetTime, Space};
use parrot_chirp::wire::{Request, StatFs};
use parrot_common::{Attr, Errno};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many requests for attributes are on their way at once.
const WINDOW: usize = 128;

/// How many bytes of them are sent at once: what a server that writes and does not read takes
/// into its buffers, so that the two never wait for each other.
const BATCH: usize = 8 << 10;

type Exchange<T> = Result<T, Trouble>;

fn request(extended: bool, path: &[u8], follow: bool) -> Request<'_> {
    let path = path.into();
    match (extended, follow) {
        (true, _) => Request::Xstat { path, follow: i64::from(follow) },
        (false, true) => Request::Stat { path },
        (false, false) => Request::Lstat { path },
    }
}

/// Attributes of one name.
pub(super) fn stat(link: &mut Link, path: &[u8], follow: bool) -> Exchange<Attr> {
    link.ask(&request(link.extended, path, follow))?;
    link.attr()
}

/// Attributes of many names, without following, in as few round trips as buffers allow.
pub(super) fn stat_many(link: &mut Link, paths: &[&[u8]]) -> Exchange<Vec<Exchange<Attr>>> {
    let command = request(link.extended, b"/", false).command();
    let mut found: Vec<Exchange<Attr>> = Vec::with_capacity(paths.len());
    let mut refused: Vec<Option<Trouble>> = Vec::with_capacity(paths.len());
    while found.len() < paths.len() {
        while let Some(path) = paths.get(refused.len())
            && refused.len() - found.len() < WINDOW
            && link.pushed() < BATCH
        {
            refused.push(link.push(&request(link.extended, path, false)).err());
        }
        if link.pushed() > 0 {
            link.flush(&[])?;
        }
        // The first half is read, then more is sent while the second half is on its way.
        let rest = refused.len() - found.len();
        let half = if refused.len() == paths.len() { rest } else { rest.div_ceil(2) };
        for _ in 0..half {
            let refusal = refused.get_mut(found.len()).and_then(Option::take);
            let attr = match refusal {
                Some(trouble) => Err(trouble),
                None => link.number(command).and_then(|_| link.attr()),
            };
            match attr {
                Err(trouble @ Trouble::Broken { .. }) => return Err(trouble),
                attr => found.push(attr),
            }
        }
    }
    Ok(found)
}

/// Figures of the file system. A stock server tells them for directories only.
pub(super) fn statfs(link: &mut Link, path: &[u8]) -> Exchange<Space> {
    let mut path = path;
    loop {
        match link.ask(&Request::Statfs { path: path.into() }) {
            Err(Trouble::Answer(Errno::ENOTDIR)) if path.len() > 1 => {
                let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                path = path.get(..end).filter(|parent| !parent.is_empty()).unwrap_or(b"/");
            }
            result => {
                result?;
                break;
            }
        }
    }
    let parsed = match link.line() {
        Ok(line) => StatFs::parse(line),
        Err(trouble) => return link.fail(trouble),
    };
    let Some(found) = parsed else {
        return link.nonsense("a line that should hold the figures of a file system");
    };
    Ok(Space {
        kind: found.kind.cast_unsigned(),
        bsize: found.bsize.cast_unsigned(),
        blocks: found.blocks.cast_unsigned(),
        bfree: found.bfree.cast_unsigned(),
        bavail: found.bavail.cast_unsigned(),
        files: found.files.cast_unsigned(),
        ffree: found.ffree.cast_unsigned(),
    })
}

/// Sets times.
///
/// A stock server takes two whole seconds, always both, and always follows a last link: what is
/// to stay is asked for first, and a link is refused.
pub(super) fn utimes(
    link: &mut Link,
    path: &[u8],
    atime: SetTime,
    mtime: SetTime,
    follow: bool,
) -> Exchange<()> {
    if link.extended {
        let ((atime, atime_nsec), (mtime, mtime_nsec)) = (numbers(atime), numbers(mtime));
        let follow = i64::from(follow);
        let path = path.into();
        let request = Request::Utimens { path, atime, atime_nsec, mtime, mtime_nsec, follow };
        return link.ask(&request).map(drop);
    }
    let omits = atime == SetTime::Omit || mtime == SetTime::Omit;
    let known = if omits || !follow { stat(link, path, follow)? } else { Attr::default() };
    if known.is_symlink() {
        return Err(Pool::unsupported("a stock server cannot set the times of a link"));
    }
    if atime == SetTime::Omit && mtime == SetTime::Omit {
        return Ok(());
    }
    let (atime, mtime) = (seconds(atime, known.atime), seconds(mtime, known.mtime));
    link.ask(&Request::Utime { path: path.into(), atime, mtime }).map(drop)
}

fn numbers(time: SetTime) -> (i64, i64) {
    match time {
        SetTime::Omit => (0, libc::UTIME_OMIT),
        SetTime::Now => (0, libc::UTIME_NOW),
        SetTime::At(seconds, nanoseconds) => (seconds, nanoseconds),
    }
}

fn seconds(time: SetTime, known: (i64, i64)) -> i64 {
    match time {
        SetTime::Omit => known.0,
        SetTime::Now => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        SetTime::At(seconds, _) => seconds,
    }
}
