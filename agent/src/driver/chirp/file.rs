//! An open file: a descriptor on one connection, and how to get it back when that breaks.
//!
//! Long reads and writes travel in pieces, several at a time: the next requests are on their way
//! while a reply is read. Requests to read are short, and so are replies to writes, so neither side
//! can stop the other by not reading.

use super::link::Link;
use super::names::FileName;
use super::pool::{Conn, Pool, Repeat};
use super::trouble::Trouble;
use crate::driver::{OpenFlags, RemoteFile, asking};
use crate::error::{Error, Kind, Result};
use parking_lot::Mutex;
use parrot_chirp::wire::{self, Command, Request};
use parrot_common::{Attr, Errno};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The length of one read or write.
pub(super) const PIECE: usize = 1 << 20;

/// How much is looked through for what was perhaps appended.
const SEARCHED: usize = 16 << 20;

/// How many pieces are on their way at once, from the server and to it.
const READS: usize = 8;
const WRITES: usize = 4;

/// Opens a file on a connection.
pub(super) fn open(
    link: &mut Link,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
    mark: Option<u32>,
) -> std::result::Result<(i64, Attr), Trouble> {
    let request = match mark {
        Some(mark) if link.can_go_on() => {
            Request::Xcreate { path: path.into(), flags: wire_flags(flags), mode, mark }
        }
        _ => open_request(link.extended, path, flags, mode),
    };
    let fd = link.ask(&request)?;
    let attr = link.attr()?;
    link.opened(fd);
    if attr.is_dir() {
        link.close(&[fd])?;
        return Err(Trouble::Answer(Errno::EISDIR));
    }
    Ok((fd, attr))
}

/// The request that opens a file, with its times in full if the server can tell them.
pub(super) fn open_request(
    extended: bool,
    path: &[u8],
    flags: OpenFlags,
    mode: u32,
) -> Request<'_> {
    let path = path.into();
    let flags = wire_flags(flags);
    if extended {
        Request::Xopen { path, flags, mode }
    } else {
        Request::Open { path, flags, mode }
    }
}

fn wire_flags(flags: OpenFlags) -> wire::OpenFlags {
    let access = match (flags.read, flags.write || flags.append) {
        (true, true) => libc::O_RDWR,
        (false, true) => libc::O_WRONLY,
        _ => libc::O_RDONLY,
    };
    let set = [
        (flags.append, libc::O_APPEND),
        (flags.create, libc::O_CREAT),
        (flags.exclusive, libc::O_EXCL),
        (flags.truncate, libc::O_TRUNC),
    ];
    let all = set.into_iter().filter(|(wanted, _)| *wanted).fold(access, |all, (_, f)| all | f);
    wire::OpenFlags::from_libc(all)
}

/// Where the file is open now.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) conn: Arc<Conn>,
    pub(super) fd: i64,
}

/// An open file.
#[derive(Debug)]
pub(super) struct ChirpFile {
    pool: Arc<Pool>,
    /// For messages.
    name: String,
    path: FileName,
    flags: OpenFlags,
    /// Device and inode, which a file that is opened again must still have.
    identity: (u64, u64),
    /// The size as last told: a shorter read ends there for sure.
    size: AtomicU64,
    bound: Mutex<Bound>,
    /// Operations that are to be asked for again, how many of their bytes are written, and whether
    /// the next were perhaps appended.
    progress: Mutex<Vec<(u64, usize, bool)>>,
    /// Of a file that is appended to: where it ended when we last looked, and how much we have
    /// added since.
    end: Mutex<(u64, u64)>,
}

impl ChirpFile {
    pub(super) fn new(
        pool: &Arc<Pool>,
        name: String,
        path: &[u8],
        flags: OpenFlags,
        (bound, attr): (Bound, &Attr),
    ) -> Self {
        Self {
            pool: Arc::clone(pool),
            name,
            path: pool.names.add(path),
            flags: OpenFlags { create: false, exclusive: false, truncate: false, ..flags },
            identity: (attr.dev, attr.ino),
            size: AtomicU64::new(attr.size),
            bound: Mutex::new(bound),
            progress: Mutex::default(),
            end: Mutex::new((attr.size, 0)),
        }
    }

    /// How much of its data the present operation had written before it was asked for again, and
    /// whether it is in doubt about the next piece.
    fn progress_of_operation(&self) -> (usize, bool) {
        let progress = self.progress.lock();
        let mine = progress.iter().find(|(of, ..)| *of == asking::current());
        mine.map_or((0, false), |(_, done, in_doubt)| (*done, *in_doubt))
    }

    /// Whether that was noted for an operation that will be asked for again.
    fn note_progress(&self, done: usize, in_doubt: bool) -> bool {
        let operation = asking::current();
        let mut progress = self.progress.lock();
        progress.retain(|(of, ..)| *of != operation);
        let noted = operation != 0;
        if noted && (done > 0 || in_doubt) {
            progress.push((operation, done, in_doubt));
        }
        noted
    }

    /// Writes one exchange's worth; `done` counts on.
    fn write_some(
        &self,
        repeat: Repeat,
        window: usize,
        (data, done): (&[u8], &mut usize),
        offset: u64,
    ) -> Result<()> {
        let before = *done;
        let result = self.run("write", repeat, |link, fd| {
            write_pieces(link, fd, data, offset, (&mut *done, window))
        });
        let again = matches!(&result, Err(error) if error.is_transient());
        self.note_progress(if again { *done } else { 0 }, false);
        if result.is_ok() && *done == before {
            return Err(Error::remote(Errno::EIO, "write", self.name.clone()));
        }
        result
    }

    /// Adds data at the end; looks what became of a piece whose answer was lost.
    fn append(&self, data: &[u8]) -> Result<()> {
        let (mut done, mut in_doubt) = self.progress_of_operation();
        let mut lost = None;
        while done < data.len() {
            if in_doubt {
                let rest = data.get(done..).unwrap_or_default();
                done += match self.settle_append(rest.get(..PIECE).unwrap_or(rest), done) {
                    // Nobody will ask again: what counts is what happened first.
                    Err(error) if asking::current() == 0 => return Err(lost.unwrap_or(error)),
                    result => result?,
                };
                in_doubt = false;
                continue;
            }
            let before = done;
            let result = self.write_some(Repeat::Unsent, 1, (data, &mut done), 0);
            self.end.lock().1 += wide(done - before);
            match result {
                Err(error) if error.is_in_doubt() && error.is_transient() => {
                    // A server that says nothing is not asked at once.
                    let at_once = error.kind() == Kind::Disconnected && lost.is_none();
                    in_doubt = true;
                    if !at_once {
                        let noted = self.note_progress(done, true);
                        return Err(error.doubted(!noted));
                    }
                    lost = Some(error);
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Finds out how much of a piece was appended whose answer was lost: what follows the place
    /// where the file ended is looked through. Another program's data may be there too.
    fn settle_append(&self, piece: &[u8], done: usize) -> Result<usize> {
        let unknown = |why: &'static str| {
            self.note_progress(0, false);
            Error::new(Kind::Disconnected, "write", self.name.clone(), why).doubted(true)
        };
        let away = |error: Error| {
            let noted = error.is_transient() && self.note_progress(done, true);
            error.doubted(!noted)
        };
        let (seen, own) = *self.end.lock();
        let end = seen.saturating_add(own);
        let size = self.fstat().map_err(away)?.size;
        let added = size.checked_sub(end).ok_or_else(|| unknown("it is shorter now"))?;
        let added = usize::try_from(added).ok().filter(|added| *added <= SEARCHED);
        let mut tail = vec![0; added.ok_or_else(|| unknown("it has grown very much"))?];
        match self.read_by_name(&mut tail, end) {
            Ok(got) if got == tail.len() => {}
            Err(error) if error.is_transient() => return Err(away(error)),
            _ => return Err(unknown("what was written cannot be read")),
        }
        let there = if piece.starts_with(&tail) {
            tail.len()
        } else if own > 0 {
            // Others write too, so what is there may be what we have added before.
            return Err(unknown("others have added to it"));
        } else if tail.windows(piece.len()).any(|part| part == piece) {
            piece.len()
        } else {
            0
        };
        *self.end.lock() = (size, 0);
        Ok(there)
    }

    /// Reads with a descriptor of its own: this file may be open for writing only.
    fn read_by_name(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        let path = self.path.lock().clone();
        let read = self.pool.run(Repeat::Opening, |_, link| {
            let (fd, attr) = open(link, &path, flags, 0, None)?;
            let read = match (attr.dev, attr.ino) == self.identity {
                true => read_pieces(link, fd, buf, offset),
                false => Err(stale("another file has its name")),
            };
            if !matches!(read, Err(Trouble::Broken { .. })) {
                link.close(&[fd])?;
            }
            read
        });
        read.map_err(|trouble| trouble.error("read", self.name.clone()))
    }

    /// Runs an exchange about this file, once more on a new connection if that may be.
    fn run<T>(
        &self,
        operation: &'static str,
        repeat: Repeat,
        mut work: impl FnMut(&mut Link, i64) -> std::result::Result<T, Trouble>,
    ) -> Result<T> {
        let repeatable = repeat != Repeat::Unsent;
        let mut attempt = || {
            let (conn, fd) = {
                let bound = self.bound.lock();
                (Arc::clone(&bound.conn), bound.fd)
            };
            let result = conn.with(&self.pool, repeat, |link| work(link, fd));
            (conn, result)
        };
        let (conn, mut result) = attempt();
        if conn.is_broken() && matches!(&result, Err(trouble) if trouble.again(repeatable)) {
            result = self.open_again(&conn).and_then(|()| attempt().1);
        }
        result.map_err(|trouble| trouble.error(operation, self.name.clone()))
    }

    /// Opens the file on another connection than `old`, and makes sure that it is the same file.
    fn open_again(&self, old: &Arc<Conn>) -> std::result::Result<(), Trouble> {
        let mut bound = self.bound.lock();
        if !Arc::ptr_eq(&bound.conn, old) {
            return Ok(());
        }
        let path = self.path.lock().clone();
        let opened = self.pool.run(Repeat::Opening, |conn, link| {
            let (fd, attr) = open(link, &path, self.flags, 0, None)?;
            if (attr.dev, attr.ino) != self.identity {
                link.close(&[fd])?;
                return Err(stale("another file has its name"));
            }
            Ok(Bound { conn: Arc::clone(conn), fd })
        });
        *bound = match opened {
            Err(Trouble::Answer(Errno::ENOENT | Errno::ENOTDIR | Errno::EISDIR)) => {
                return Err(stale("it was gone when the connection was made again"));
            }
            result => result?,
        };
        Ok(())
    }
}

fn stale(cause: &'static str) -> Trouble {
    Trouble::Other(Kind::Stale, cause.into())
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// A number of the wire; what does not fit is beyond any file.
fn signed(n: u64) -> std::result::Result<i64, Trouble> {
    i64::try_from(n).map_err(|_| Trouble::Answer(Errno::EINVAL))
}

/// Reads until `buf` is full or a reply is short; tells how many bytes.
fn read_pieces(
    link: &mut Link,
    fd: i64,
    buf: &mut [u8],
    offset: u64,
) -> std::result::Result<usize, Trouble> {
    let total = buf.len();
    let (mut asked, mut done, mut waiting) = (0, 0, 0);
    let ask = |link: &mut Link, asked: &mut usize| {
        let length = PIECE.min(total - *asked);
        let offset = signed(offset.saturating_add(wide(*asked)))?;
        *asked += length;
        link.push(&Request::Pread { fd, length: signed(wide(length))?, offset })
    };
    for piece in buf.chunks_mut(PIECE) {
        while asked < total && waiting < READS {
            ask(link, &mut asked)?;
            waiting += 1;
        }
        if link.pushed() > 0 {
            link.flush(&[])?;
        }
        waiting -= 1;
        let read = link.number(Command::Pread).and_then(|n| link.data_into(n, piece));
        match read {
            Ok(n) if n == piece.len() => done += n,
            short => {
                skip_reads(link, waiting)?;
                return short.map(|n| done + n);
            }
        }
    }
    Ok(done)
}

/// Reads replies that are of no more use.
fn skip_reads(link: &mut Link, count: usize) -> std::result::Result<(), Trouble> {
    for _ in 0..count {
        match link.number(Command::Pread) {
            Ok(n) => link.skip(n, PIECE)?,
            Err(Trouble::Answer(_)) => {}
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

/// Writes until all is written or a reply is short. `done` says how many bytes were written without
/// a gap before, and counts those that are written now: should the exchange be run again, it begins
/// there.
fn write_pieces(
    link: &mut Link,
    fd: i64,
    data: &[u8],
    offset: u64,
    (done, window): (&mut usize, usize),
) -> std::result::Result<(), Trouble> {
    let mut written = Ok(());
    let data = data.get(*done..).unwrap_or_default();
    let mut pieces = data.chunks(PIECE);
    let mut lengths = data.chunks(PIECE).map(<[u8]>::len);
    let (mut at, mut waiting, mut whole) = (offset.saturating_add(wide(*done)), 0, true);
    let before = *done;
    loop {
        while whole && waiting < window {
            let Some(piece) = pieces.next() else { break };
            let (length, offset) = (signed(wide(piece.len()))?, signed(at)?);
            link.push(&Request::Pwrite { fd, length, offset })?;
            link.flush(piece)?;
            at = at.saturating_add(wide(piece.len()));
            waiting += 1;
        }
        if waiting == 0 {
            return written;
        }
        waiting -= 1;
        let length = lengths.next().unwrap_or(0);
        let n = match link.number(Command::Pwrite) {
            Ok(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Err(Trouble::Answer(errno)) => {
                // What came before the first gap counts; the error is for the rest.
                written = if *done == before { Err(Trouble::Answer(errno)) } else { written };
                whole = false;
                continue;
            }
            Err(trouble) => return Err(trouble),
        };
        if n > length {
            return link.nonsense("more was written than was sent");
        }
        if whole {
            *done += n;
            whole = n == length;
            if whole {
                link.commit();
            }
        }
    }
}

impl RemoteFile for ChirpFile {
    fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset.saturating_add(wide(done));
            let rest = buf.get_mut(done..).unwrap_or_default();
            let wanted = rest.len();
            let n = self.run("read", Repeat::Freely, |link, fd| read_pieces(link, fd, rest, at))?;
            done += n;
            // A short reply is the end, unless the file is known to go on.
            if n == 0
                || (n < wanted && offset.saturating_add(wide(done)) >= self.size.load(Relaxed))
            {
                break;
            }
        }
        Ok(done)
    }

    fn pwrite(&self, data: &[u8], offset: u64) -> Result<()> {
        if self.flags.append {
            self.append(data)?;
        } else {
            let mut done = self.progress_of_operation().0;
            while done < data.len() {
                self.write_some(Repeat::Freely, WRITES, (data, &mut done), offset)?;
            }
            self.size.fetch_max(offset.saturating_add(wide(done)), Relaxed);
        }
        self.note_progress(0, false);
        Ok(())
    }

    fn fstat(&self) -> Result<Attr> {
        let attr = self.run("fstat", Repeat::Freely, |link, fd| {
            let extended = link.extended;
            link.ask(&if extended { Request::Xfstat { fd } } else { Request::Fstat { fd } })?;
            link.attr()
        })?;
        self.size.store(attr.size, Relaxed);
        Ok(attr)
    }

    fn fsync(&self) -> Result<()> {
        self.run("fsync", Repeat::Freely, |link, fd| link.ask(&Request::Fsync { fd })).map(drop)
    }

    fn ftruncate(&self, size: u64) -> Result<()> {
        self.run("ftruncate", Repeat::Freely, |link, fd| {
            link.ask(&Request::Ftruncate { fd, length: signed(size)? })
        })?;
        self.size.store(size, Relaxed);
        Ok(())
    }
}

impl Drop for ChirpFile {
    fn drop(&mut self) {
        let bound = self.bound.get_mut();
        if !bound.conn.is_broken() {
            bound.conn.close(bound.fd);
        }
    }
}
