//! One connection to a server that has let us in: requests out, replies in.
//!
//! ```text
//!   push, push, …   requests are put together in `out`
//!   flush           one system call sends them (and a body)
//!   number, attr, … the replies, in the order of the requests; the buffer of the reader keeps what
//!                   arrived behind, so that one system call brings them as well
//! ```
//!
//! Closing a file is sent and not waited for: its reply is *owed*, and read before the next
//! reply that somebody wants. After any [`Trouble::Broken`] the link is out of step and unusable,
//! unless the server has a [session](super::session) for it: then it goes on with another
//! connection.

use super::session::Exchange;
use super::stream::{Stream, Tally, add};
use super::trouble::Trouble;
use crate::error::Kind;
use nix::sys::socket::{MsgFlags, recv};
use parrot_chirp::wire::code::client_errno;
use parrot_chirp::wire::{Command, Dialect, Reader, Request, Stat, send};
use parrot_common::{Attr, Errno};
use std::collections::{BTreeSet, VecDeque};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection that was used this recently is not asked for its health.
const FRESH: Duration = Duration::from_secs(1);

/// A logged-in connection. Whoever holds it alone may speak.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) reader: Reader<Stream>,
    tally: Arc<Tally>,
    /// Requests not sent yet.
    pub(super) out: Vec<u8>,
    /// How many they are.
    unsent: u64,
    /// Whether something was sent since a reply was last waited for.
    asked: bool,
    /// Replies to `close` that are to come and that nobody waits for: number and descriptor.
    pub(super) owed: VecDeque<(u64, i64)>,
    /// The number that the next request to be pushed has, from 1 on.
    pub(super) next: u64,
    /// The number of the last request whose reply has come.
    pub(super) answered: u64,
    /// The key under which the server keeps what is open here, if it does.
    pub(super) key: Option<String>,
    /// Descriptors that nobody wants and that may be open.
    pub(super) abandoned: Vec<i64>,
    /// The present exchange.
    pub(super) exchange: Exchange,
    /// Our open descriptors, to know which one the server will give next.
    pub(super) fds: BTreeSet<i64>,
    /// Whether the server gives the lowest free descriptor, as far as was seen.
    pub(super) orderly: bool,
    /// Whether the server knows the extensions.
    pub(super) extended: bool,
    /// Out of step, or cut.
    pub(super) broken: bool,
    pub(super) used: Instant,
}

impl Link {
    /// Takes over a connection after its login, and finds out whether the server knows the
    /// extensions.
    pub(super) fn new(reader: Reader<Stream>) -> Result<Self, Trouble> {
        let tally = Arc::clone(&reader.get_ref().tally);
        let mut link = Self {
            reader,
            tally,
            out: Vec::with_capacity(4096),
            unsent: 0,
            asked: false,
            owed: VecDeque::new(),
            next: 1,
            answered: 0,
            key: None,
            abandoned: Vec::new(),
            exchange: Exchange::default(),
            fds: BTreeSet::new(),
            orderly: true,
            extended: false,
            broken: false,
            used: Instant::now(),
        };
        // A descriptor that is not there: -12 from a server that knows the request, else -8.
        let probe = link.ask(&Request::Xfstat { fd: -1 });
        link.extended = match probe {
            Err(Trouble::Answer(errno)) => errno != Errno::EINVAL,
            Err(trouble) => return Err(trouble),
            Ok(_) => return Err(Trouble::protocol("success for a request that must fail")),
        };
        link.begin_session()?;
        Ok(link)
    }

    /// Whether this link is of no more use.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Ends the connection; the peer hears of it now, not when the last file lets go of the link.
    pub(super) fn cut(&mut self) {
        if !self.broken {
            self.broken = true;
            let _ = self.reader.get_ref().tcp.shutdown(Shutdown::Both);
        }
    }

    /// Cuts the connection after a failure that leaves it out of step.
    fn judge<T>(&mut self, result: Result<T, impl Into<Trouble>>) -> Result<T, Trouble> {
        let result = result.map_err(Into::into);
        if let Err(Trouble::Broken { .. }) = &result {
            self.cut();
        }
        result
    }

    /// Makes sure, as far as this side can know, that the server is there before a request is
    /// sent: of a link used just now it is believed, unless it must be `certain`.
    pub(super) fn check(&mut self, certain: bool) -> Result<(), Trouble> {
        let now = Instant::now();
        let fresh = !certain && now.duration_since(self.used) < FRESH;
        if !self.broken
            && (fresh || self.is_quiet())
            && (!self.owed.is_empty() || self.is_drained())
        {
            self.used = now;
            return Ok(());
        }
        self.cut();
        let cause = "the connection had broken before".into();
        Err(Trouble::Broken { kind: Kind::Disconnected, sent: false, cause })
    }

    fn is_drained(&self) -> bool {
        self.reader.buffered().is_empty()
    }

    /// Whether the peer is known to have gone. Never waits.
    pub(super) fn is_gone(&self) -> bool {
        self.broken || !matches!(self.peek(), Ok(1..) | Err(nix::Error::EAGAIN))
    }

    /// What the socket has for us: 0 is the end, `EAGAIN` nothing yet.
    fn peek(&self) -> nix::Result<usize> {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        loop {
            match recv(self.reader.get_ref().tcp.as_raw_fd(), &mut [0], flags) {
                Err(nix::Error::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Whether the peer has said nothing but what it owes: no end, no error, no unasked words.
    fn is_quiet(&mut self) -> bool {
        loop {
            if !self.reader.has_line() {
                match self.peek() {
                    Err(nix::Error::EAGAIN) => return true,
                    Ok(1..) => {}
                    _ => return false,
                }
            }
            if self.owed.is_empty() || self.reader.read_number().is_err() {
                return false;
            }
            self.owed.pop_front();
            self.answered += 1;
        }
    }

    /// Adds a request to those to be sent.
    pub(super) fn push(&mut self, request: &Request<'_>) -> Result<(), Trouble> {
        request.encode(Dialect::Percent, &mut self.out)?;
        add(&self.tally.requests, 1);
        self.unsent += 1;
        self.next += 1;
        self.exchange.asked(request.command());
        Ok(())
    }

    /// How many bytes of requests wait to be sent.
    pub(super) const fn pushed(&self) -> usize {
        self.out.len()
    }

    /// Sends what was pushed, and `body` behind it.
    pub(super) fn flush(&mut self, body: &[u8]) -> Result<(), Trouble> {
        let stream = self.reader.get_mut();
        stream.written = 0;
        let result = send(stream, &self.out, body);
        let sent = self.reader.get_ref().written > 0;
        self.out.clear();
        self.unsent = 0;
        self.asked = true;
        self.judge(result.map_err(|error| Trouble::stream(&error, sent)))
    }

    /// Drops what was pushed and not sent.
    pub(super) fn unpush(&mut self) {
        self.out.clear();
        self.next -= std::mem::take(&mut self.unsent);
    }

    /// The first line of the next reply: a count, or the server's error.
    pub(super) fn number(&mut self, command: Command) -> Result<i64, Trouble> {
        if std::mem::take(&mut self.asked) {
            add(&self.tally.round_trips, 1);
        }
        while !self.owed.is_empty() {
            let result = self.reader.read_number();
            self.judge(result)?;
            self.owed.pop_front();
            self.answered += 1;
        }
        let result = self.reader.read_number();
        let number = self.judge(result)?;
        self.answered += 1;
        if number < 0 {
            return Err(Trouble::Answer(Errno(client_errno(number, command))));
        }
        Ok(number)
    }

    /// Sends one request and waits for the first line of its reply.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<i64, Trouble> {
        self.ask_with(request, &[])
    }

    /// Sends one request with its body and waits for the first line of the reply.
    pub(super) fn ask_with(&mut self, request: &Request<'_>, body: &[u8]) -> Result<i64, Trouble> {
        self.push(request)?;
        self.flush(body)?;
        self.number(request.command())
    }

    /// A line of text inside a reply. After a failure the caller must call [`Link::fail`].
    pub(super) fn line(&mut self) -> Result<&[u8], Trouble> {
        self.reader.read_line().map_err(Into::into)
    }

    /// The attribute line inside a reply.
    pub(super) fn attr(&mut self) -> Result<Attr, Trouble> {
        let result = self.line().and_then(|line| {
            Stat::parse(line)
                .map(|stat| attr_of(&stat))
                .ok_or_else(|| Trouble::protocol("a line that should hold attributes"))
        });
        self.judge(result)
    }

    /// The data inside a reply whose first line said `length`, at most `limit` bytes.
    pub(super) fn data(&mut self, length: i64, limit: usize) -> Result<Vec<u8>, Trouble> {
        let length = usize::try_from(length).ok().filter(|length| *length <= limit);
        let result = length.ok_or_else(|| Trouble::protocol("more data than was asked for"));
        let mut data = vec![0; self.judge(result)?];
        self.fill(&mut data)?;
        Ok(data)
    }

    /// As [`Link::data`], into a buffer; tells how many bytes came.
    pub(super) fn data_into(&mut self, length: i64, buf: &mut [u8]) -> Result<usize, Trouble> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let result = match buf.get_mut(..length) {
            Some(part) => self.reader.read_exact_into(part).map_err(|e| Trouble::stream(&e, true)),
            None => Err(Trouble::protocol("more data than was asked for")),
        };
        self.judge(result)?;
        Ok(length)
    }

    /// Throws the data of a reply away.
    pub(super) fn skip(&mut self, length: i64, limit: usize) -> Result<(), Trouble> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let result = if length > u64::try_from(limit).unwrap_or(u64::MAX) {
            Err(Trouble::protocol("more data than was asked for"))
        } else {
            self.reader.skip(length).map_err(|error| Trouble::stream(&error, true))
        };
        self.judge(result)
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), Trouble> {
        let result = self.reader.read_exact_into(buf);
        self.judge(result.map_err(|error| Trouble::stream(&error, true)))
    }

    /// Gives up on a reply that makes no sense.
    pub(super) fn nonsense<T>(&mut self, cause: &'static str) -> Result<T, Trouble> {
        self.fail(Trouble::protocol(cause))
    }

    /// Gives up after a failure of [`Link::line`].
    pub(super) fn fail<T>(&mut self, trouble: Trouble) -> Result<T, Trouble> {
        self.judge(Err(trouble))
    }

    /// Notes a descriptor that the server gave.
    pub(super) fn opened(&mut self, fd: i64) {
        self.exchange.opened(fd, self.orderly);
        if self.orderly && fd != self.next_fd() {
            self.orderly = false;
        }
        self.fds.insert(fd);
    }

    /// The lowest descriptor that is not ours now.
    pub(super) fn next_fd(&self) -> i64 {
        let mut next = 0;
        for fd in &self.fds {
            if *fd != next {
                break;
            }
            next += 1;
        }
        next
    }

    /// The descriptor that the next `open` will give, as long as the server was seen to give the
    /// lowest free one. A request on a wrong guess hits no file of ours.
    pub(super) fn guess(&self) -> Option<i64> {
        self.orderly.then(|| self.next_fd())
    }

    /// Sends a `close` for each descriptor, without waiting for the answers.
    pub(super) fn close(&mut self, fds: &[i64]) -> Result<(), Trouble> {
        for fd in fds {
            self.push(&Request::Close { fd: *fd })?;
            self.closed(*fd);
        }
        let asked = self.asked;
        let result = self.flush(&[]);
        self.asked = asked;
        result
    }

    /// Notes that a `close` is on its way and its reply will be owed.
    pub(super) fn closed(&mut self, fd: i64) {
        if self.fds.remove(&fd) {
            self.exchange.closed(fd, self.orderly);
        }
        let before = u64::try_from(self.owed.len()).unwrap_or(0);
        self.owed.push_back((self.answered + before + 1, fd));
    }
}

/// The attributes as the session has them.
pub(super) fn attr_of(stat: &Stat) -> Attr {
    Attr {
        dev: stat.dev,
        ino: stat.ino,
        mode: stat.mode,
        nlink: u32::try_from(stat.nlink).unwrap_or(u32::MAX),
        uid: stat.uid,
        gid: stat.gid,
        rdev: stat.rdev,
        size: stat.size,
        blksize: stat.blksize,
        blocks: stat.blocks,
        atime: (stat.atime, i64::from(stat.atime_nsec)),
        mtime: (stat.mtime, i64::from(stat.mtime_nsec)),
        ctime: (stat.ctime, i64::from(stat.ctime_nsec)),
    }
}
