//! The Chirp protocol: files of a Chirp server, this project's own (`parrot-chirpd`) or a stock one.
//!
//! One request is one system call out and, as a rule, one in; several travel together where the
//! session asks for several things ([`Driver::stat_many`], [`Driver::read_small`], long reads and
//! writes). What each part does:
//!
//! ```text
//!  ChirpDriver ── paths ──┐                 ┌── login: address, socket, who we are
//!                         ├──▶ pool ────────┤
//!  ChirpFile ─ descriptors┘  (connections)  └── link: requests out, replies in
//! ```
//!
//! The server of this project knows a few requests more (nanoseconds, the flags of `renameat2`);
//! each new connection asks once whether they are there.
//!
//! A connection that breaks is made again at once, and once, for requests that can be asked twice;
//! the others are settled by looking ([`settle`](crate::driver::settle)). Waiting for a server
//! that is away is the retry layer's part.

mod config;
mod dir;
mod file;
mod link;
mod login;
mod names;
mod pool;
mod session;
mod small;
mod stat;
mod stream;
mod ticket;
mod trouble;

use crate::driver::settle::{Before, Change, Settled, look_before, settle};
use crate::driver::{
    Capabilities, Config, Counters, Driver, DriverDef, Entry, OpenFlags, RemoteFile, SetTime,
    Space, asking,
};
use crate::error::{Error, Kind, Result};
use config::ChirpConfig;
use file::{Bound, ChirpFile};
use link::Link;
use parking_lot::Mutex;
use parrot_chirp::wire::path::decode_link_target;
use parrot_chirp::wire::{Request, Word};
use parrot_common::{Attr, Errno};
use pool::{Conn, Pool, Repeat};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use trouble::Trouble;

/// The driver's line in the list.
pub const DEF: DriverDef = DriverDef {
    scheme: "chirp",
    summary: "Chirp servers: /chirp/HOST[:PORT]/PATH.",
    capabilities: CAPABILITIES,
    connect,
};

const CAPABILITIES: Capabilities = Capabilities {
    write: true,
    random: true,
    symlink: true,
    link: true,
    xattr: true,
    nanoseconds: true,
    list_attrs: true,
};

/// How many operations are remembered that may be asked for again.
const BEFORE_MAX: usize = 256;

/// The longest text of a symbolic link.
const LINK_MAX: i64 = 4096;

/// The most bytes of an attribute's value or of a list of attributes.
const XATTR_MAX: usize = 1 << 20;

fn connect(host: &str, config: &Config) -> Result<Arc<dyn Driver>> {
    let config = ChirpConfig::new(host, config)?;
    let server = config.server();
    let pool = Arc::new(Pool::new(config));
    Ok(Arc::new(ChirpDriver {
        pool,
        server,
        before: Mutex::default(),
        marks: AtomicU64::new(0),
        random: RandomState::new(),
    }))
}

/// All files of one server.
#[derive(Debug)]
struct ChirpDriver {
    pool: Arc<Pool>,
    server: String,
    /// What was at names before operations that may be asked for again.
    before: Mutex<VecDeque<(u64, Before)>>,
    /// Marks of new files: how many were given, and what makes them ours.
    marks: AtomicU64,
    random: RandomState,
}

type Exchange<T> = std::result::Result<T, Trouble>;

impl ChirpDriver {
    fn error(&self, trouble: Trouble, operation: &'static str, path: &[u8]) -> Error {
        trouble.error(operation, format!("{}{}", self.server, String::from_utf8_lossy(path)))
    }

    /// Whether the server's errors say what a file system would.
    fn is_exact(&self) -> bool {
        self.pool.is_extended()
    }

    /// An exchange that may be repeated.
    fn read<T>(
        &self,
        operation: &'static str,
        path: &[u8],
        mut work: impl FnMut(&mut Link) -> Exchange<T>,
    ) -> Result<T> {
        self.pool
            .run(Repeat::Freely, |_, link| work(link))
            .map_err(|trouble| self.error(trouble, operation, path))
    }

    /// A request that may be repeated and whose reply is one number.
    fn ask(&self, operation: &'static str, path: &[u8], request: &Request<'_>) -> Result<()> {
        self.read(operation, path, |link| link.ask(request).map(drop))
    }

    /// A request that must not be done twice.
    fn change(
        &self,
        operation: &'static str,
        path: &[u8],
        change: &Change<'_>,
        request: &Request<'_>,
    ) -> Result<()> {
        let work = |_: &Arc<Conn>, link: &mut Link| link.ask(request).map(drop);
        self.settled(operation, path, (change, Before::Unknown), work).map(drop)
    }

    /// An exchange that must not be done twice. When its reply is lost, the server is looked at:
    /// `None` says that the change is there.
    fn settled<T>(
        &self,
        operation: &'static str,
        path: &[u8],
        (change, before): (&Change<'_>, Before),
        mut work: impl FnMut(&Arc<Conn>, &mut Link) -> Exchange<T>,
    ) -> Result<Option<T>> {
        let mut result = self.pool.run(Repeat::Unsent, &mut work);
        if matches!(&result, Err(trouble) if trouble.is_lost()) {
            match settle(self, change, before) {
                Ok(Settled::Done) => return Ok(None),
                Ok(Settled::NotDone) => result = self.pool.run(Repeat::Unsent, work),
                Ok(Settled::Unknown) | Err(_) => {}
            }
        }
        result.map(Some).map_err(|trouble| self.error(trouble, operation, path))
    }

    /// What is at a name before a change whose answer may get lost, where only that will tell later
    /// what became of it. A server with sessions says it by itself.
    fn look_before(&self, path: &[u8]) -> Result<Before> {
        if self.pool.has_sessions() {
            return Ok(Before::Unknown);
        }
        let operation = asking::current();
        if let Some(found) = self.known_before(operation) {
            return Ok(found);
        }
        let found = look_before(self, path)?;
        self.remember(operation, found);
        Ok(found)
    }

    /// The mark of what the present operation is to make, the same each time that it is asked for, if
    /// the server makes marks; and whether it was asked for before.
    fn marked(&self) -> (Before, bool) {
        let operation = asking::current();
        if let Some(known) = self.known_before(operation) {
            return (known, true);
        }
        let before = match self.pool.has_sessions() {
            true => Before::Marked(self.new_mark()),
            false => Before::Unknown,
        };
        self.remember(operation, before);
        (before, false)
    }

    /// Makes something that must not be there yet. When the answer is lost and the server was
    /// restarted, it is known by its mark, and `None` says that it is there.
    fn make<T>(
        &self,
        operation: &'static str,
        path: &[u8],
        (change, before, again): (&Change<'_>, Before, bool),
        work: impl FnMut(&Arc<Conn>, &mut Link) -> Exchange<T>,
    ) -> Result<Option<T>> {
        match self.settled(operation, path, (change, before), work) {
            Err(error)
                if again
                    && matches!(before, Before::Marked(_))
                    && error.kind() == Kind::Remote(Errno::EEXIST)
                    && settle(self, change, before)? == Settled::Done =>
            {
                Ok(None)
            }
            result => result,
        }
    }

    fn remember(&self, operation: u64, found: Before) {
        if operation != 0 {
            let mut before = self.before.lock();
            if before.len() >= BEFORE_MAX {
                before.pop_front();
            }
            before.push_back((operation, found));
        }
    }

    /// Makes a file that must not be there yet.
    fn create(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<(Bound, Attr)> {
        let (before, again) = self.marked();
        let mark = before.mark();
        let work = |conn: &Arc<Conn>, link: &mut Link| {
            let (fd, attr) = file::open(link, path, flags, mode, mark)?;
            Ok((Bound { conn: Arc::clone(conn), fd }, attr))
        };
        if let Some(made) = self.make("open", path, (&Change::Create(path), before, again), work)? {
            return Ok(made);
        }
        let flags = OpenFlags { create: false, exclusive: false, truncate: false, ..flags };
        self.pool
            .run(Repeat::Opening, |conn, link| {
                let (fd, attr) = file::open(link, path, flags, 0, None)?;
                Ok((Bound { conn: Arc::clone(conn), fd }, attr))
            })
            .map_err(|trouble| self.error(trouble, "open", path))
    }

    /// Below 10^9, another one for each file.
    fn new_mark(&self) -> u32 {
        let count = self.marks.fetch_add(1, Relaxed);
        u32::try_from(self.random.hash_one(count) % 1_000_000_000).unwrap_or(0)
    }

    /// What was seen when the operation was asked for first.
    fn known_before(&self, operation: u64) -> Option<Before> {
        let before = self.before.lock();
        before.iter().find(|(of, _)| *of == operation).map(|(_, found)| *found)
    }

    /// A request for at most `limit` bytes.
    fn data(
        &self,
        operation: &'static str,
        path: &[u8],
        limit: usize,
        request: &Request<'_>,
    ) -> Result<Vec<u8>> {
        self.read(operation, path, |link| {
            let length = link.ask(request)?;
            link.data(length, limit)
        })
    }
}

impl Driver for ChirpDriver {
    fn capabilities(&self) -> Capabilities {
        Capabilities { nanoseconds: self.pool.is_extended(), ..CAPABILITIES }
    }

    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<(Box<dyn RemoteFile>, Attr)> {
        let (bound, attr) = if flags.create && flags.exclusive {
            self.create(path, flags, mode)?
        } else {
            let opened = self.pool.run(Repeat::Opening, |conn, link| {
                let (fd, attr) = file::open(link, path, flags, mode, None)?;
                Ok((Bound { conn: Arc::clone(conn), fd }, attr))
            });
            opened.map_err(|trouble| self.error(trouble, "open", path))?
        };
        let name = format!("{}{}", self.server, String::from_utf8_lossy(path));
        self.pool.keep_alive();
        let file = ChirpFile::new(&self.pool, name, path, flags, (bound, &attr));
        Ok((Box::new(file), attr))
    }

    fn stat(&self, path: &[u8], follow: bool) -> Result<Attr> {
        self.read("stat", path, |link| stat::stat(link, path, follow))
    }

    fn stat_many(&self, paths: &[&[u8]]) -> Vec<Result<Attr>> {
        let each = |trouble: Trouble, path: &&[u8]| self.error(trouble, "stat", path);
        match self.pool.run(Repeat::Freely, |_, link| stat::stat_many(link, paths)) {
            Ok(found) => {
                let told = found.into_iter().zip(paths);
                told.map(|(attr, path)| attr.map_err(|trouble| each(trouble, path))).collect()
            }
            Err(trouble) => paths.iter().map(|path| Err(each(trouble.clone(), path))).collect(),
        }
    }

    fn read_small(&self, path: &[u8], limit: u64) -> Result<(Attr, Option<Vec<u8>>)> {
        small::read_small(&self.pool, path, limit)
            .map_err(|trouble| self.error(trouble, "open", path))
    }

    fn list(&self, path: &[u8]) -> Result<Vec<Entry>> {
        let result = self.read("list", path, |link| dir::list(link, path));
        match result {
            // A stock server does not say what is wrong.
            Err(error) if error.kind() == Kind::Remote(Errno::ENOENT) && !self.is_exact() => {
                let errno = match self.stat(path, true) {
                    Ok(attr) if !attr.is_dir() => Errno::ENOTDIR,
                    _ => Errno::ENOENT,
                };
                Err(error.become_kind(Kind::Remote(errno), ""))
            }
            result => result,
        }
    }

    fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        let (before, again) = match self.pool.has_sessions() {
            true => self.marked(),
            false => (self.look_before(path)?, false),
        };
        let work = |_: &Arc<Conn>, link: &mut Link| {
            let request = match before.mark() {
                Some(mark) if link.can_go_on() => Request::Xmkdir { path: path.into(), mode, mark },
                _ => Request::Mkdir { path: path.into(), mode },
            };
            link.ask(&request).map(drop)
        };
        let change = (&Change::Mkdir(path), before, again);
        match self.make("mkdir", path, change, work).map(drop) {
            // To a stock server a missing parent is one where nobody has rights; programs that
            // make missing parents wait for ENOENT.
            Err(error) if error.kind() == Kind::Remote(Errno::EACCES) && !self.is_exact() => {
                let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                let parent = path.get(..end).filter(|parent| !parent.is_empty()).unwrap_or(b"/");
                let errno = match self.stat(parent, true).map_err(|error| error.kind()) {
                    Err(Kind::Remote(Errno::ENOENT)) => Errno::ENOENT,
                    _ => Errno::EACCES,
                };
                Err(error.become_kind(Kind::Remote(errno), ""))
            }
            result => result,
        }
    }

    fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.change("rmdir", path, &Change::Remove(path), &Request::Rmdir { path: path.into() })
    }

    fn unlink(&self, path: &[u8]) -> Result<()> {
        self.change("unlink", path, &Change::Remove(path), &Request::Unlink { path: path.into() })
    }

    fn rename(&self, from: &[u8], to: &[u8], flags: u32) -> Result<()> {
        let change = Change::Rename { from, to, flags };
        let work = |_: &Arc<Conn>, link: &mut Link| {
            let (path, target) = (from.into(), to.into());
            let request = match (flags, link.extended) {
                (0, _) => Request::Rename { path, target },
                (_, true) => Request::Renameat2 { path, target, flags },
                // What a file system says that does not know the flag.
                (_, false) => return Err(Trouble::Answer(Errno::EINVAL)),
            };
            link.ask(&request).map(drop)
        };
        let before = self.look_before(from)?;
        self.settled("rename", from, (&change, before), work)?;
        self.pool.names.moved(from, to, flags & libc::RENAME_EXCHANGE != 0);
        Ok(())
    }

    fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let request = Request::Link { path: from.into(), target: to.into() };
        self.change("link", to, &Change::Link { from, to }, &request)
    }

    fn symlink(&self, text: &[u8], path: &[u8]) -> Result<()> {
        let request = Request::Symlink { target: text.into(), path: path.into() };
        self.change("symlink", path, &Change::Symlink { text, path }, &request)
    }

    fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        let request = Request::Readlink { path: path.into(), length: LINK_MAX };
        let limit = usize::try_from(LINK_MAX).unwrap_or(0);
        let text = self.data("readlink", path, limit, &request)?;
        Ok(decode_link_target(&text).into_owned())
    }

    fn truncate(&self, path: &[u8], size: u64) -> Result<()> {
        let length = i64::try_from(size).unwrap_or(i64::MAX);
        self.ask("truncate", path, &Request::Truncate { path: path.into(), length })
    }

    fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        self.ask("chmod", path, &Request::Chmod { path: path.into(), mode })
    }

    fn utimes(&self, path: &[u8], atime: SetTime, mtime: SetTime, follow: bool) -> Result<()> {
        self.read("utimes", path, |link| stat::utimes(link, path, atime, mtime, follow))
    }

    fn access(&self, path: &[u8], mode: u32) -> Result<()> {
        if mode == 0 {
            // The protocol would ask for the right to read.
            return self.stat(path, true).map(drop);
        }
        self.ask("access", path, &Request::Access { path: path.into(), mode })
    }

    fn statfs(&self, path: &[u8]) -> Result<Space> {
        self.read("statfs", path, |link| stat::statfs(link, path))
    }

    fn getxattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<Vec<u8>> {
        let (at, name): (_, Word<'_>) = (path.into(), name.into());
        let request = match follow {
            true => Request::Getxattr { path: at, name },
            false => Request::Lgetxattr { path: at, name },
        };
        self.data("getxattr", path, XATTR_MAX, &request)
    }

    fn setxattr(
        &self,
        path: &[u8],
        name: &[u8],
        value: &[u8],
        flags: u32,
        follow: bool,
    ) -> Result<()> {
        let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
        let (at, word, options) = (path.into(), name.into(), i64::from(flags));
        let request = match follow {
            true => Request::Setxattr { path: at, name: word, length, flags: options },
            false => Request::Lsetxattr { path: at, name: word, length, flags: options },
        };
        let replace = flags & XATTR_REPLACE != 0;
        let set = |link: &mut Link| match link.ask_with(&request, value) {
            // There is no code for a missing attribute.
            Err(Trouble::Answer(Errno::EINVAL | Errno::EIO)) if replace => {
                Err(Trouble::Answer(Errno::ENODATA))
            }
            result => result.map(drop),
        };
        if flags & XATTR_CREATE == 0 {
            return self.read("setxattr", path, set);
        }
        let change = Change::CreateXattr { path, name, value, follow };
        self.settled("setxattr", path, (&change, Before::Unknown), |_, link| set(link)).map(drop)
    }

    fn listxattr(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        let at = path.into();
        let request = match follow {
            true => Request::Listxattr { path: at },
            false => Request::Llistxattr { path: at },
        };
        self.data("listxattr", path, XATTR_MAX, &request)
    }

    fn removexattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<()> {
        let (at, word) = (path.into(), name.into());
        let request = match follow {
            true => Request::Removexattr { path: at, name: word },
            false => Request::Lremovexattr { path: at, name: word },
        };
        self.change("removexattr", path, &Change::RemoveXattr { path, name, follow }, &request)
    }

    fn settle(&self, change: &Change<'_>) -> Result<Settled> {
        let before = self.known_before(asking::current());
        settle(self, change, before.unwrap_or(Before::Unknown))
    }

    fn counters(&self) -> Counters {
        let tally = &self.pool.tally;
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        Counters {
            requests: get(&tally.requests),
            round_trips: get(&tally.round_trips),
            bytes_in: get(&tally.bytes_in),
            bytes_out: get(&tally.bytes_out),
            connections: get(&tally.connections),
        }
    }
}

/// The flags of setxattr(2), as numbers of this trait's type.
const XATTR_CREATE: u32 = libc::XATTR_CREATE.cast_unsigned();
const XATTR_REPLACE: u32 = libc::XATTR_REPLACE.cast_unsigned();
