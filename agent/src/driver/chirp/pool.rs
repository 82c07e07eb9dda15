//! The connections to one server.
//!
//! A connection carries one exchange at a time. An exchange takes a connection that nobody uses;
//! if there is none, a new one is made, up to the configured number; then it waits for the
//! connection that the fewest are waiting for. A file belongs to the connection it was opened on
//! and waits for that one. A connection that is *down* has broken, and [goes on](super::session)
//! when it is used next; one that is *broken* is of no more use.
//!
//! Lock order: the list of connections, never held while anything waits for the network; then the
//! link of one connection; then its list of files to close.

use super::config::{ChirpConfig, Method};
use super::link::Link;
use super::login::{connect, not_sent};
use super::names::Names;
use super::session::Revived;
use super::stream::Tally;
use super::trouble::Trouble;
use crate::driver::asking;
use crate::error::Kind;
use parking_lot::{Condvar, Mutex};
use parrot_chirp::wire::Request;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Weak};

/// A connection that several files and exchanges share.
#[derive(Debug)]
pub(super) struct Conn {
    link: Mutex<Link>,
    /// Exchanges that have it or wait for it.
    users: AtomicUsize,
    broken: AtomicBool,
    down: AtomicBool,
    /// The operation whose exchange broke off here; 0 is none.
    unfinished: AtomicU64,
    /// Descriptors to close as soon as nobody speaks.
    closing: Mutex<Vec<i64>>,
}

impl Conn {
    fn new(link: Link) -> Arc<Self> {
        Arc::new(Self {
            link: Mutex::new(link),
            users: AtomicUsize::new(1),
            broken: AtomicBool::new(false),
            down: AtomicBool::new(false),
            unfinished: AtomicU64::new(0),
            closing: Mutex::new(Vec::new()),
        })
    }

    /// Runs an exchange, alone. The caller is counted as a user already.
    fn speak<T>(
        &self,
        pool: &Pool,
        repeat: Repeat,
        work: impl FnMut(&mut Link) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut link = self.link.lock();
        let result = pool.exchange(&mut link, repeat, work);
        self.note(&link);
        drop(link);
        self.users.fetch_sub(1, SeqCst);
        self.close_pending();
        if matches!(result, Err(Trouble::Broken { .. })) {
            pool.forget_broken();
        }
        result
    }

    /// Runs an exchange, alone, for a file of this connection.
    pub(super) fn with<T>(
        &self,
        pool: &Pool,
        repeat: Repeat,
        work: impl FnMut(&mut Link) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.users.fetch_add(1, SeqCst);
        self.speak(pool, repeat, work)
    }

    fn note(&self, link: &Link) {
        self.broken.store(link.is_broken() && !link.can_go_on(), SeqCst);
        self.down.store(link.is_broken(), SeqCst);
        self.unfinished.store(link.exchange.unfinished.unwrap_or(0), SeqCst);
    }

    /// Whether the connection is known to be of no more use.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(SeqCst)
    }

    /// Whether another operation broke off here and comes first.
    fn is_reserved(&self) -> bool {
        let operation = self.unfinished.load(SeqCst);
        operation != 0 && operation != asking::current() && asking::is_expected(operation)
    }

    /// Whether the present thread's operation broke off here, and goes on here when it is asked for
    /// again.
    fn is_awaited(&self) -> bool {
        match asking::current() {
            0 => false,
            operation => self.unfinished.load(SeqCst) == operation,
        }
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
            if link.is_broken() && link.can_go_on() {
                return;
            }
            let fds = std::mem::take(&mut *self.closing.lock());
            if !link.is_broken() {
                // A failure is found by whoever speaks next.
                let _ = link.close(&fds);
                link.begin();
                self.note(&link);
            }
        }
    }
}

impl Conn {
    /// Says something if files are open here and nothing was said for a while; a connection that
    /// turns out to be broken goes on while the server still knows it. Whether files are open.
    fn keep_alive(&self, pool: &Pool) -> bool {
        let Some(mut link) = self.link.try_lock() else { return true };
        if link.fds.is_empty() || self.is_broken() {
            return false;
        }
        if link.used.elapsed() >= pool.config.keep_alive {
            let nothing = Request::Fstat { fd: -1 };
            // A failure is found by whoever speaks next.
            let _ = pool.exchange(&mut link, Repeat::Freely, |link| match link.ask(&nothing) {
                Err(Trouble::Answer(_)) => Ok(()),
                result => result.map(drop),
            });
            self.note(&link);
        }
        drop(link);
        self.close_pending();
        true
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.link.get_mut().say_goodbye();
    }
}

/// How a request may be sent again when the connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is the same as once.
    Freely,
    /// As `Freely`, but it opens a file, which would stay open a second time.
    Opening,
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
    sessions: AtomicBool,
    /// Where the open files are now.
    pub(super) names: Names,
    /// A thread looks after idle connections.
    keeping: AtomicBool,
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
            sessions: AtomicBool::new(false),
            names: Names::default(),
            keeping: AtomicBool::new(false),
        }
    }

    /// Whether the server, as last met, knows the extensions.
    pub(super) fn is_extended(&self) -> bool {
        self.extended.load(SeqCst)
    }

    /// Whether the server, as last met, keeps sessions.
    pub(super) fn has_sessions(&self) -> bool {
        self.sessions.load(SeqCst)
    }

    /// Runs an exchange on some connection, and once more on a new one if that was lost and
    /// `repeat` allows it.
    pub(super) fn run<T>(
        &self,
        repeat: Repeat,
        mut work: impl FnMut(&Arc<Conn>, &mut Link) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let repeatable = repeat != Repeat::Unsent;
        let mut run = |conn: &Arc<Conn>| conn.speak(self, repeat, |link| work(conn, link));
        let conn = self.take(repeat)?;
        match run(&conn) {
            Err(trouble) if trouble.again(repeatable) && !conn.is_awaited() => run(&self.make()?),
            result => result,
        }
    }

    /// Runs an exchange on a link; once more under the same numbers if the link broke and goes on.
    fn exchange<T>(
        &self,
        link: &mut Link,
        repeat: Repeat,
        mut work: impl FnMut(&mut Link) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let operation = asking::current();
        let once = repeat == Repeat::Unsent;
        // What may be done twice at no cost is not worth being taken up.
        let stays = operation != 0 && repeat != Repeat::Freely;
        let taken_up = stays && link.exchange.unfinished == Some(operation);
        if let Some(other) = link.exchange.unfinished.take_if(|_| !taken_up)
            && other != operation
            && asking::is_expected(other)
        {
            link.exchange.unfinished = Some(other);
            let cause = "an operation that broke off comes first".into();
            return Err(Trouble::Broken { kind: Kind::Disconnected, sent: false, cause });
        }
        if let Err(trouble) = link.check(once) {
            if !link.can_go_on() {
                return Err(trouble);
            }
            if self.revive(link, operation)? == Revived::Lost {
                return Err(forgotten(taken_up));
            }
        }
        if !taken_up {
            link.begin();
        }
        let mut again = true;
        loop {
            let result = work(link);
            link.unpush();
            let Err(Trouble::Broken { kind, .. }) = &result else {
                link.begin();
                return result;
            };
            if *kind == Kind::Protocol {
                link.key = None;
            }
            if !link.can_go_on() {
                return result;
            }
            link.exchange.unfinished = Some(operation);
            let mut away = None;
            if *kind == Kind::Disconnected && std::mem::take(&mut again) {
                match self.revive(link, operation) {
                    Ok(Revived::GoesOn) => continue,
                    Ok(Revived::Lost) => return result,
                    Err(trouble) => away = Some(trouble),
                }
            }
            if stays {
                // The same operation will be asked for again, and go on here.
                asking::expect_again();
                return away.map_or(result, Err).map_err(not_sent);
            }
            link.exchange.unfinished = None;
            return match away {
                Some(trouble) if !once => Err(trouble),
                _ => result,
            };
        }
    }

    /// Has a link go on with a new connection.
    fn revive(&self, link: &mut Link, operation: u64) -> Result<Revived, Trouble> {
        let first = *self.method.lock();
        let (reader, method) = connect(&self.config, &self.tally, first)?;
        *self.method.lock() = Some(method);
        link.go_on(reader, operation).map_err(not_sent)
    }

    /// A file was opened: its connection is to stay.
    pub(super) fn keep_alive(self: &Arc<Self>) {
        if self.keeping.swap(true, SeqCst) {
            return;
        }
        let pool = Arc::downgrade(self);
        let pause = self.config.keep_alive / 4;
        let keep = move || {
            loop {
                std::thread::sleep(pause);
                let Some(pool) = Weak::upgrade(&pool) else { return };
                let conns = pool.conns.lock().clone();
                let open = conns.iter().filter(|conn| conn.keep_alive(&pool)).count();
                if open == 0 {
                    // Whoever opens a file from now on starts another thread; who has just done it
                    // has seen this one.
                    pool.keeping.store(false, SeqCst);
                    if !pool.has_files() || pool.keeping.swap(true, SeqCst) {
                        return;
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("keepalive".into()).stack_size(128 << 10);
        if thread.spawn(keep).is_err() {
            self.keeping.store(false, SeqCst);
        }
    }

    fn has_files(&self) -> bool {
        let conns = self.conns.lock().clone();
        conns.iter().any(|conn| conn.link.try_lock().is_none_or(|link| !link.fds.is_empty()))
    }

    /// A connection, counted as used.
    fn take(&self, repeat: Repeat) -> Result<Arc<Conn>, Trouble> {
        let mut conns = self.conns.lock();
        loop {
            let usable = || conns.iter().filter(|conn| !conn.is_broken() && !conn.is_reserved());
            let unused = || usable().filter(|conn| conn.users.load(SeqCst) == 0);
            let awaited = usable().find(|conn| repeat != Repeat::Freely && conn.is_awaited());
            let fine = || unused().find(|conn| !conn.down.load(SeqCst));
            let idle = awaited.or_else(fine).or_else(|| unused().next());
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
        let (reader, method) = connect(&self.config, &self.tally, first)?;
        *self.method.lock() = Some(method);
        let link = Link::new(reader).map_err(not_sent)?;
        self.extended.store(link.extended, SeqCst);
        self.sessions.store(link.can_go_on(), SeqCst);
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
                if !link.is_worth_going_on() && conn.closing.lock().is_empty() {
                    link.key = None;
                }
                conn.note(&link);
            }
            !conn.is_broken()
        });
    }

    /// For what this driver refuses by itself.
    pub(super) fn unsupported(cause: &'static str) -> Trouble {
        Trouble::Other(Kind::Unsupported, cause.into())
    }
}

/// The server has ended the session of a link; `sent` as in [`Trouble::Broken`].
fn forgotten(sent: bool) -> Trouble {
    let cause = "the server knows our session no longer".into();
    Trouble::Broken { kind: Kind::Disconnected, sent, cause }
}
