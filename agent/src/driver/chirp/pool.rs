//! The connections to one server.
//!
//! A connection carries one exchange at a time. An exchange takes a connection that nobody uses;
//! if there is none, a new one is made, up to the configured number; then it waits for the
//! connection that the fewest are waiting for. A file belongs to the connection it was opened on
//! and waits for that one.
//!
//! Lock order: the list of connections, never held while anything waits for the network; then the
//! link of one connection; then its list of files to close.

use super::config::{ChirpConfig, Method};
use super::link::Link;
use super::login::connect;
use super::stream::Tally;
use super::trouble::Trouble;
use crate::error::Kind;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// A connection that several files and exchanges share.
#[derive(Debug)]
pub(super) struct Conn {
    link: Mutex<Link>,
    /// Exchanges that have it or wait for it.
    users: AtomicUsize,
    broken: AtomicBool,
    /// Descriptors to close as soon as nobody speaks.
    closing: Mutex<Vec<i64>>,
}

impl Conn {
    fn new(link: Link) -> Arc<Self> {
        Arc::new(Self {
            link: Mutex::new(link),
            users: AtomicUsize::new(1),
            broken: AtomicBool::new(false),
            closing: Mutex::new(Vec::new()),
        })
    }

    /// Speaks alone. The caller is counted as a user already.
    fn speak<T>(&self, work: impl FnOnce(&mut Link) -> T) -> T {
        let mut link = self.link.lock();
        let result = work(&mut link);
        self.broken.store(link.is_broken(), SeqCst);
        drop(link);
        self.users.fetch_sub(1, SeqCst);
        self.close_pending();
        result
    }

    /// Speaks alone, for a file of this connection.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Link) -> T) -> T {
        self.users.fetch_add(1, SeqCst);
        self.speak(work)
    }

    /// Whether the connection is known to be of no more use.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(SeqCst)
    }

    /// Closes a descriptor now, or when whoever speaks has finished.
    pub(super) fn close(&self, fd: i64) {
        self.closing.lock().push(fd);
        self.close_pending();
    }

    /// Whoever fails to get the link leaves the work to its holder, who looks after letting go.
    fn close_pending(&self) {
        while !self.closing.lock().is_empty() {
            let Some(mut link) = self.link.try_lock() else { return };
            let fds = std::mem::take(&mut *self.closing.lock());
            if !link.is_broken() {
                // A failure is found by whoever speaks next.
                let _ = link.close(&fds);
                self.broken.store(link.is_broken(), SeqCst);
            }
        }
    }
}

/// How a request may be sent again when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is the same as once.
    Freely,
    /// Only if it certainly did not reach the server.
    Unsent,
}

/// All connections to one server.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) config: ChirpConfig,
    pub(super) tally: Arc<Tally>,
    conns: Mutex<Vec<Arc<Conn>>>,
    /// Connections being made, which count as existing.
    making: AtomicUsize,
    /// One of them has been made, or could not be.
    made: Condvar,
    /// The login method that worked.
    method: Mutex<Option<Method>>,
    extended: AtomicBool,
}

impl Pool {
    /// No connection yet.
    pub(super) fn new(config: ChirpConfig) -> Self {
        Self {
            config,
            tally: Arc::default(),
            conns: Mutex::default(),
            making: AtomicUsize::new(0),
            made: Condvar::new(),
            method: Mutex::default(),
            extended: AtomicBool::new(false),
        }
    }

    /// Whether the server, as last met, knows the extensions.
    pub(super) fn is_extended(&self) -> bool {
        self.extended.load(SeqCst)
    }

    /// Runs an exchange on some connection, and once more on a new one if that was lost and
    /// `repeat` allows it.
    pub(super) fn run<T>(
        &self,
        repeat: Repeat,
        mut work: impl FnMut(&Arc<Conn>, &mut Link) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let repeatable = repeat == Repeat::Freely;
        let mut run = |conn: Arc<Conn>| {
            let result = conn.speak(|link| {
                link.check(!repeatable)?;
                let result = work(&conn, link);
                link.unpush();
                result
            });
            if conn.is_broken() {
                self.forget_broken();
            }
            result
        };
        match run(self.take()?) {
            Err(trouble) if trouble.again(repeatable) => run(self.make()?),
            result => result,
        }
    }

    /// A connection, counted as used.
    fn take(&self) -> Result<Arc<Conn>, Trouble> {
        let mut conns = self.conns.lock();
        loop {
            let usable = || conns.iter().filter(|conn| !conn.is_broken());
            let idle = usable().find(|conn| conn.users.load(SeqCst) == 0);
            let making = self.making.load(SeqCst);
            let full = usable().count() + making >= self.config.connections;
            let least = || usable().min_by_key(|conn| conn.users.load(SeqCst));
            if let Some(conn) = idle.or_else(|| if full { least() } else { None }) {
                conn.users.fetch_add(1, SeqCst);
                return Ok(Arc::clone(conn));
            }
            if !full {
                break;
            }
            // All of them are being made.
            self.made.wait(&mut conns);
        }
        self.making.fetch_add(1, SeqCst);
        drop(conns);
        let made = self.make();
        let conns = self.conns.lock();
        self.making.fetch_sub(1, SeqCst);
        drop(conns);
        self.made.notify_all();
        made
    }

    /// A new connection, counted as used.
    fn make(&self) -> Result<Arc<Conn>, Trouble> {
        let first = *self.method.lock();
        let (link, method) = connect(&self.config, &self.tally, first)?;
        *self.method.lock() = Some(method);
        self.extended.store(link.extended, SeqCst);
        let conn = Conn::new(link);
        self.conns.lock().push(Arc::clone(&conn));
        Ok(conn)
    }

    /// Drops the broken connections, and those that are seen to be when one broke: a server that
    /// went away took all of them along.
    pub(super) fn forget_broken(&self) {
        self.conns.lock().retain(|conn| {
            if let Some(mut link) = conn.link.try_lock()
                && link.is_gone()
            {
                link.cut();
                conn.broken.store(true, SeqCst);
            }
            !conn.is_broken()
        });
    }

    /// For what this driver refuses by itself.
    pub(super) fn unsupported(cause: &'static str) -> Trouble {
        Trouble::Other(Kind::Unsupported, cause.into())
    }
}
