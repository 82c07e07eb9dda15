//! [`Session`]: the owner of everything remote, behind [`Files`](parrot_common::Files).
//!
//! A request comes in through [`Session::call`] on any thread and blocks until it is answered.
//! [`Session::try_call`] answers only what needs no waiting.
//!
//! | module | what |
//! | --- | --- |
//! | `mount`, `walk` | from a logical name to a file on a server |
//! | `node` | one remote file: what is open of it, under all its names |
//! | `open`, `served`, `control` | which shadow a guest gets; files whose bytes come when asked |
//! | `flush` | what guests wrote goes to the server |
//! | `release` | knowing when guests are done |
//! | `dirs`, `data`, `meta`, `tree`, `exec` | the operations |
//! | `listings` | which names will be asked for next |
//!
//! # Lock order
//!
//! ```text
//! Events::reading ─▶ Node::work ─▶ Server::nodes ─▶ Node::names ─▶ Node::gone, Node::last
//!                        │
//!                        └─▶ everything else: short, and none taken while another is held
//!                            but the journal's (objects, writers, mounts, servers, dirs, Events::*, Blocks::fetching)
//! ```
//!
//! `Node::work` is the only lock held during a request to a server, and it is one file's own. No
//! thread holds two of them. `Events::reading` is never held during a request.

mod config;
mod control;
mod data;
mod dirs;
mod exec;
mod files;
mod flush;
mod halt;
mod journal;
mod listings;
mod meta;
mod mount;
mod node;
mod open;
mod release;
mod served;
mod stats;
mod tree;
mod walk;

pub use config::{Limits, Notify, SessionConfig, pick_base, tickets};
pub use files::{InlineFiles, SessionFiles};

use crate::driver::Config;
use crate::layer::Cancel;
use crate::shadow::{Store, survive_lease_breaks};
use anyhow::Context;
use dirs::DirShadow;
use halt::{Halt, Res};
use journal::Journal;
use mount::{Mount, Server};
use node::{Complete, Node};
use parking_lot::{Mutex, RwLock};
use parrot_common::mountlist::Table;
use parrot_common::shadow::ShadowId;
use parrot_common::{Errno, Name, Op, Reply, Request, Stop};
use release::Events;
use served::Served;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The guest's process.
    pub pid: i32,
}

/// A session. Clones are the same session; it ends with the last one.
#[derive(Clone)]
pub struct Session {
    core: Arc<Core>,
}

/// What a shadow's number stands for.
#[derive(Debug, Clone)]
enum Object {
    Complete(Arc<Complete>),
    Served(Arc<Served>),
    Dir(Arc<DirShadow>),
    /// A program that is a copy of its own; the logical name of the original.
    Program(Arc<Vec<u8>>),
}

/// The inside of a session.
struct Core {
    store: Store,
    table: Table<'static>,
    driver_config: Config,
    limits: Limits,
    /// What guests see as owner of everything: this process' user and group.
    me: (u32, u32),
    mounts: RwLock<HashMap<Box<[u8]>, Arc<Mount>>>,
    servers: RwLock<HashMap<Vec<u8>, Arc<Server>>>,
    objects: RwLock<HashMap<ShadowId, Object>>,
    /// Nodes whose current shadow guests may write, by the shadow's number.
    writers: Mutex<HashMap<ShadowId, Arc<Node>>>,
    /// Patched copies of programs, by what they were made from.
    programs: Mutex<HashMap<exec::Recipe, PathBuf>>,
    events: Events,
    journal: Journal,
    stats: stats::Stats,
    clock: AtomicU64,
    teller: Arc<Teller>,
    /// Ends all waits for servers.
    cancel: Cancel,
}

/// Where the session's story goes.
struct Teller {
    log: Mutex<Option<File>>,
    notify: Notify,
    /// What the user was told last, and when.
    told: Mutex<Option<(String, Instant)>>,
}

/// The same thing is said to the user once in this time.
const REPEAT: Duration = Duration::from_secs(30);

impl Teller {
    /// Adds a line to the log, and tells the user.
    fn tell(&self, text: &str) {
        self.log(0, text);
        self.notify(text);
    }

    /// Tells the user, unless it was just said.
    fn notify(&self, text: &str) {
        let mut told = self.told.lock();
        if told.as_ref().is_some_and(|(old, at)| old == text && at.elapsed() < REPEAT) {
            return;
        }
        *told = Some((text.to_owned(), Instant::now()));
        (self.notify)(text);
    }

    fn log(&self, pid: i32, text: &str) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0.0, |now| now.as_secs_f64());
        if let Some(file) = self.log.lock().as_mut() {
            // A log that cannot be written has nobody to tell.
            let _ = file.write_all(format!("{now:.3} {pid} {text}\n").as_bytes());
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("dir", &self.core.store.dir()).finish_non_exhaustive()
    }
}

impl Session {
    /// Makes a session in its directory. What a predecessor there left unsent is sent.
    ///
    /// # Errors
    /// The directory cannot be made or used, or the table is none.
    pub fn open(config: SessionConfig) -> anyhow::Result<Self> {
        let SessionConfig { dir, table, driver, limits, notify } = config;
        match fs::DirBuilder::new().mode(0o700).recursive(true).create(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot make {}", dir.display()));
            }
            _ => {}
        }
        let dir = dir.canonicalize()?;
        // A session lives as long as its process.
        let table = Table::from_bytes(Vec::leak(table)).context("this is no compiled mountlist")?;
        let used = || format!("cannot use {}", dir.display());
        let store = Store::open(&dir).with_context(used)?;
        let journal = Journal::open(&dir).with_context(used)?;
        let events = Events::new().context("inotify")?;
        survive_lease_breaks();
        let options = File::options().append(true).create(true).mode(0o600).clone();
        let core = Arc::new(Core {
            store,
            table,
            driver_config: driver,
            limits,
            me: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            mounts: RwLock::default(),
            servers: RwLock::default(),
            objects: RwLock::default(),
            writers: Mutex::default(),
            programs: Mutex::default(),
            events,
            journal,
            stats: stats::Stats::new(),
            clock: AtomicU64::new(0),
            teller: Arc::new(Teller {
                told: Mutex::default(),
                log: Mutex::new(options.open(dir.join("log")).ok()),
                notify: notify.unwrap_or_else(|| Arc::new(|_| {})),
            }),
            cancel: Cancel::new(),
        });
        core.clean();
        if !exec::may_execute(&dir) {
            core.tell("programs cannot be run from the session directory (noexec)");
        }
        let weak = Arc::downgrade(&core);
        std::thread::Builder::new()
            .name("keeper".into())
            .stack_size(512 << 10)
            .spawn(move || release::keeper(&weak))?;
        Ok(Self { core })
    }

    /// Performs an operation; waits for servers.
    ///
    /// # Errors
    /// What the guest shall see, or a redirect (see [`parrot_common::Files::call`]).
    pub fn call(&self, who: Who, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let start = Instant::now();
        let result = self.core.dispatch(who, request, out);
        self.core.stats.count(request.op, start.elapsed(), result.is_err());
        result.map_err(|halt| self.core.stop(who, request, halt, out))
    }

    /// Performs an operation if that needs no waiting.
    ///
    /// # Errors
    /// As [`Session::call`], and [`Errno::DEFER`] when somebody must be waited for.
    pub fn try_call(&self, who: Who, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let start = Instant::now();
        let result = self.core.at_once(request, out).ok_or(Stop::Fail(Errno::DEFER))?;
        self.core.stats.count(request.op, start.elapsed(), result.is_err());
        result.map_err(|halt| self.core.stop(who, request, halt, out))
    }

    /// Sends everything that guests wrote; what could not be sent, as text.
    #[must_use = "somebody must hear of data that is not on the server"]
    pub fn finish(&self) -> Vec<String> {
        self.core.drain();
        self.core.flush_all().into_iter().map(|(text, _)| text).collect()
    }

    /// Removes the shadows' files, but for those whose bytes are nowhere else: the process is about
    /// to end. The last clone of a session does the same when it goes.
    pub fn discard(&self) {
        self.core.discard();
    }

    /// The session directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.core.store.dir()
    }

    /// Whether any guest has anything open, or anything is unsent.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.core.is_busy()
    }

    /// Adds a line to the session's log and tells the user.
    pub fn tell(&self, text: &str) {
        self.core.tell(text);
    }
}

/// The shadows go with the session, but for those whose bytes are nowhere else.
impl Drop for Core {
    fn drop(&mut self) {
        self.discard();
    }
}

impl Core {
    /// Removes what a predecessor left, after sending what it had not.
    fn clean(&self) {
        let unsent = self.adopt();
        self.remove_shadows(&unsent);
    }

    fn discard(&self) {
        let unsent = self.journal.entries().unwrap_or_default();
        self.remove_shadows(&unsent);
    }

    fn remove_shadows(&self, kept: &journal::Entries) {
        for name in ["d", "s", "x"] {
            let Ok(entries) = fs::read_dir(self.store.dir().join(name)) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                // What cannot be removed is only in the way.
                let _ =
                    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
        let Ok(entries) = fs::read_dir(self.store.dir().join("c")) else { return };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            if id.is_none_or(|id| !kept.contains_key(&id)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn tell(&self, text: &str) {
        self.teller.tell(text);
    }

    fn log(&self, pid: i32, text: &str) {
        self.teller.log(pid, text);
    }

    /// A running number for "used last".
    fn tick(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Tells the guest why an operation stopped, and the log if it wants to know.
    fn stop(&self, who: Who, request: &Request<'_>, halt: Halt, out: &mut [u8]) -> Stop {
        let (which, name) = match halt {
            Halt::Errno(errno) => return Stop::Fail(errno),
            Halt::Error(error) => {
                if error.is_noteworthy() {
                    self.log(who.pid, &error.to_string());
                    self.teller.notify(&error.to_string());
                }
                if error.is_transient() {
                    self.end_program(who, request);
                }
                return Stop::Fail(error.errno());
            }
            Halt::Redirect(name) => (0, name),
            Halt::RedirectSecond(name) => (1, name),
        };
        let which: &[u8] = if matches!(request.op, Op::Rename | Op::Link) { &[which] } else { &[] };
        let text = [which, &name].concat();
        match out.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(&text);
                Stop::Redirect(text.len())
            }
            None => Stop::Fail(Errno::ENAMETOOLONG),
        }
    }

    /// A server stayed away past the deadline: some mounts want the program ended then, so that a
    /// batch system runs it again.
    fn end_program(&self, who: Who, request: &Request<'_>) {
        let kill = self.mount_of(request).is_some_and(|mount| {
            mount.rule.on_transient == parrot_common::mountlist::OnTransient::Kill
        });
        if kill && who.pid > 1 {
            self.tell(&format!("process {} is ended: its server stays away", who.pid));
            let pid = nix::unistd::Pid::from_raw(who.pid);
            // It may have ended by itself.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// What a shadow's number stands for.
    fn object(&self, id: ShadowId) -> Result<Object, Errno> {
        self.objects.read().get(&id).cloned().ok_or(Errno::EBADF)
    }

    /// The operations on a shadow.
    fn on_shadow(&self, request: &Request<'_>, out: &mut [u8]) -> Res<Reply> {
        let Request { op, id, args, a, b, .. } = *request;
        let flag = |index: usize| args.get(index).is_some_and(|&arg| arg != 0);
        let word = |index: usize| args.get(index).copied().unwrap_or(0);
        let half = |index: usize| u32::try_from(word(index) & 0xffff_ffff).unwrap_or(0);
        let target = || self.target_of(id);
        match op {
            Op::FStat => self.fstat(id, out),
            Op::FTruncate => self.ftruncate(id, word(0)),
            Op::FChmod => self.fchmod(id, half(0)),
            Op::FChown => target().and_then(|t| self.chown(&t, [half(0), half(1)])),
            Op::FUTimes => self.futimes(id, &args),
            Op::FStatFs => self.statfs_of(id, out),
            Op::FGetXattr => target().and_then(|t| self.getxattr(&t, b, out)),
            Op::FSetXattr => target().and_then(|t| self.setxattr(&t, b, half(0))),
            Op::FListXattr => target().and_then(|t| self.listxattr(&t, out)),
            Op::FRemoveXattr => target().and_then(|t| self.removexattr(&t, b)),
            Op::PRead => self.pread(id, word(0), out),
            Op::PWrite => self.pwrite(id, a, word(0), flag(1)),
            Op::Fallocate => self.fallocate(id, half(0), word(1), word(2)),
            Op::SyncMaps => self.sync_part(id, word(0)..word(1)),
            Op::FSync => self.sync_object(id, true),
            Op::Flush => self.sync_object(id, false),
            Op::ReadDir => self.read_dir(id, word(0), out),
            Op::PathOf => self.path_of(id, out),
            Op::Complete => self.complete(id, flag(0)),
            Op::Attach => self.attach(id),
            Op::Fill => self.fill(id, word(0), word(1)),
            Op::LockPolicy => Ok(self.lock_policy(request)),
            Op::Seek => self.seek(id, word(0).cast_signed(), half(1).cast_signed()),
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    fn dispatch(&self, who: Who, request: &Request<'_>, out: &mut [u8]) -> Res<Reply> {
        let Request { op, base, args, a, b, .. } = *request;
        let name = Name { base: base[0], path: a };
        let second = Name { base: base[1], path: b };
        let flag = |index: usize| args.get(index).is_some_and(|&arg| arg != 0);
        let word = |index: usize| args.get(index).copied().unwrap_or(0);
        let half = |index: usize| u32::try_from(word(index) & 0xffff_ffff).unwrap_or(0);
        if request.id == 0 && !matches!(op, Op::Hello | Op::Log | Op::Stats | Op::Pause) {
            self.settle(request);
        }
        match op {
            Op::Hello => Ok(self.hello(out)),
            Op::Open => {
                let want = open::Want::new(half(0).cast_signed(), half(1), who.pid);
                self.open(name, want)
            }
            Op::ChDir => self.chdir(name),
            Op::Stat => self.stat(name, flag(0), out),
            Op::ReadLink => self.readlink(name, out),
            Op::Access => self.access(name, half(0), flag(1)),
            Op::MkDir => self.mkdir(name, half(0)),
            Op::RmDir => self.rmdir(name),
            Op::Unlink => self.unlink(name),
            Op::Rename => self.rename(name, second, half(0)),
            Op::Link => self.link(name, second, flag(0)),
            Op::SymLink => self.symlink(name, b),
            Op::MkNod => self.mknod(name),
            Op::Truncate => self.truncate(name, word(0)),
            Op::Chmod => self.chmod(&self.target(name, flag(1))?, half(0)),
            Op::Chown => self.chown(&self.target(name, flag(2))?, [half(0), half(1)]),
            Op::UTimes => self.utimes(&self.target(name, flag(4))?, &args),
            Op::StatFs => self.statfs(name, out),
            Op::GetXattr => self.getxattr(&self.target(name, flag(0))?, b, out),
            Op::SetXattr => self.setxattr(&self.target(name, flag(1))?, b, half(0)),
            Op::ListXattr => self.listxattr(&self.target(name, flag(0))?, out),
            Op::RemoveXattr => self.removexattr(&self.target(name, flag(0))?, b),
            Op::Exec => self.exec(name, b, flag(0), out),
            Op::SyncAll => self.sync_all(),
            Op::SyncMaps if request.id == 0 => self.sync_maps(),
            Op::Stats => data_reply(self.statistics().to_string().as_bytes(), out),
            Op::Pause => {
                std::thread::sleep(Duration::from_millis(word(0).min(1000)));
                Ok(EMPTY)
            }
            Op::Log => {
                self.log(who.pid, &String::from_utf8_lossy(a));
                if flag(0) {
                    (self.teller.notify)(&String::from_utf8_lossy(a));
                }
                Ok(EMPTY)
            }
            _ => self.on_shadow(request, out),
        }
    }

    fn hello(&self, out: &mut [u8]) -> Reply {
        let dir = self.store.dir().as_os_str().as_bytes();
        let len = dir.len().min(out.len());
        for (place, &byte) in out.iter_mut().zip(dir) {
            *place = byte;
        }
        Reply { aux: [u64::from(std::process::id()), 0, 0], len, ..EMPTY }
    }

    /// The session's statistics.
    fn statistics(&self) -> serde_json::Value {
        let mut value = self.stats.json();
        let servers: Vec<_> = self
            .servers
            .read()
            .values()
            .map(|server| {
                let counters = server.plain.counters();
                serde_json::json!({
                    "scheme": server.scheme,
                    "host": server.host,
                    "requests": counters.requests,
                    "round_trips": counters.round_trips,
                    "bytes_in": counters.bytes_in,
                    "bytes_out": counters.bytes_out,
                    "connections": counters.connections,
                    "names_cached": server.cache.len(),
                })
            })
            .collect();
        if let Some(map) = value.as_object_mut() {
            map.insert("servers".into(), servers.into());
            map.insert("shadows".into(), self.objects.read().len().into());
            map.insert("writers".into(), self.writers.lock().len().into());
        }
        value
    }
}

/// A reply that carries nothing.
pub(crate) const EMPTY: Reply = Reply { value: 0, aux: [0; 3], len: 0, fds: [-1; 2] };

/// A reply that carries bytes.
fn data_reply(bytes: &[u8], out: &mut [u8]) -> Res<Reply> {
    let place = out.get_mut(..bytes.len()).ok_or(Halt::Errno(Errno::ERANGE))?;
    place.copy_from_slice(bytes);
    Ok(Reply { len: bytes.len(), ..EMPTY })
}
