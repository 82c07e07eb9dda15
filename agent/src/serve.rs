//! The agent's side of the session protocol (see [`parrot_common::message`]).
//!
//! One thread per connection, which blocks with its guest. The thread that listens also waits for
//! the signals that end the agent, and for the time when nobody needs it any more.

use crate::session::{EMPTY, Session, Who};
use anyhow::Context;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};
use parrot_common::files::Op;
use parrot_common::message::{
    MAX_DATA, MAX_PATH, REDIRECT, REPLY_LEN, REQUEST_LEN, ReplyHeader, RequestHeader, VERSION,
};
use parrot_common::{Errno, Reply, Request, Stop};
use std::fs;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether anybody needs the agent.
const LOOK: u16 = 1000;
/// How much is read at once.
const READ: usize = 16 << 10;

/// Blocks the signals that end an agent in this thread and those it starts, to be read instead.
///
/// # Errors
/// As signalfd(2).
pub fn end_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Binds the socket of a session directory; who connects finds it listening.
///
/// # Errors
/// As socket(2), bind(2), rename(2).
pub fn listen(dir: &Path) -> anyhow::Result<UnixListener> {
    // By way of a descriptor: the directory's name may be longer than an address can hold.
    let opened = fs::File::open(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let (temporary, ready) = (short.join("sock.new"), short.join("sock"));
    // Left by one that was killed.
    let _ = fs::remove_file(&temporary);
    let listener = UnixListener::bind(&temporary).context("cannot bind the session's socket")?;
    fs::rename(&temporary, &ready).context("cannot name the session's socket")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves a session until a signal ends it, or until it was not needed for `idle`.
///
/// # Errors
/// The socket fails.
pub fn serve(session: &Session, end: &SignalFd, idle: Duration) -> anyhow::Result<()> {
    let mut listener = listen(session.dir())?;
    let connections = Arc::new(AtomicUsize::new(0));
    let mut needed = Instant::now();
    loop {
        let mut fds = [
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(end.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::from(LOOK)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
        if matches!(end.read_signal(), Ok(Some(_))) {
            let _ = fs::remove_file(session.dir().join("sock"));
            return Ok(());
        }
        if accept_all(&listener, session, &connections) {
            needed = Instant::now();
        }
        if needed.elapsed() < idle {
            continue;
        }
        if connections.load(Ordering::Acquire) > 0 || session.is_busy() {
            needed = Instant::now();
            continue;
        }
        let _ = fs::remove_file(session.dir().join("sock"));
        // Somebody may have come just now.
        if !accept_all(&listener, session, &connections) {
            return Ok(());
        }
        listener = listen(session.dir())?;
        needed = Instant::now();
    }
}

/// Takes the connections that are waiting; whether there were any.
fn accept_all(listener: &UnixListener, session: &Session, connections: &Arc<AtomicUsize>) -> bool {
    let mut any = false;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                any = true;
                connections.fetch_add(1, Ordering::AcqRel);
                let guard = Guard(Arc::clone(connections));
                let session = session.clone();
                let thread = std::thread::Builder::new().stack_size(1 << 20);
                let started = thread.spawn(move || {
                    let _guard = guard;
                    Connection::new(session, stream).run();
                });
                if let Err(error) = started {
                    // The stream is closed with the closure; the guest sees EIO.
                    eprintln_to_log(&error);
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return any,
        }
    }
}

fn eprintln_to_log(error: &std::io::Error) {
    // There is nobody to tell but the standard error, which is where agents started by hand show.
    let _ = writeln!(std::io::stderr(), "parrot-agent: cannot start a thread: {error}");
}

/// Counts a connection for as long as it lives.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One guest's connection.
struct Connection {
    session: Session,
    stream: UnixStream,
    who: Who,
    /// What was read and not used yet.
    input: Vec<u8>,
    used: usize,
    out: Vec<u8>,
}

/// A request that does not follow the protocol, or the end of the connection.
struct Closed;

impl Connection {
    fn new(session: Session, stream: UnixStream) -> Self {
        // Untouched pages of the output cost nothing.
        let (input, out) = (vec![0; READ], vec![0; MAX_DATA]);
        Self { session, stream, who: Who { pid: 0 }, input, used: 0, out }
    }

    fn run(mut self) {
        let ours = getsockopt(&self.stream, PeerCredentials)
            .is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw());
        while let Ok(header) = self.receive() {
            let sent = if ours { self.answer(&header) } else { self.refuse(&header) };
            let total = REQUEST_LEN + header.a_len as usize + header.b_len as usize;
            self.input.copy_within(total.min(self.used)..self.used, 0);
            self.used = self.used.saturating_sub(total);
            if sent.is_err() || !ours {
                return;
            }
        }
    }

    /// Reads until a whole request is in `input`.
    fn receive(&mut self) -> Result<RequestHeader, Closed> {
        let mut header = RequestHeader::default();
        let mut need = REQUEST_LEN;
        loop {
            if self.used >= need {
                if need > REQUEST_LEN {
                    return Ok(header);
                }
                let bytes = self.input.get(..REQUEST_LEN).ok_or(Closed)?;
                header.as_bytes_mut().copy_from_slice(bytes);
                let (a, b) = (header.a_len as usize, header.b_len as usize);
                if a > MAX_DATA.max(MAX_PATH) || b > MAX_DATA.max(MAX_PATH) {
                    return Err(Closed);
                }
                need += a + b;
                if self.used >= need {
                    return Ok(header);
                }
                if self.input.len() < need {
                    self.input.resize(need, 0);
                }
            }
            let place = self.input.get_mut(self.used..).ok_or(Closed)?;
            match self.stream.read(place) {
                Ok(0) => return Err(Closed),
                Ok(n) => self.used += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Closed),
            }
        }
    }

    fn answer(&mut self, header: &RequestHeader) -> Result<(), Closed> {
        let Some(op) = Op::from_raw(header.op) else {
            return self.fail(header.seq, Errno::ENOSYS);
        };
        if op == Op::Hello {
            let [version, pid, ..] = header.args;
            if version != VERSION {
                return self.fail(header.seq, Errno::EPROTO);
            }
            self.who.pid = i32::try_from(pid).unwrap_or(0);
        }
        let (a, b) = (header.a_len as usize, header.b_len as usize);
        let a = self.input.get(REQUEST_LEN..REQUEST_LEN + a).ok_or(Closed)?;
        let b = self.input.get(REQUEST_LEN + a.len()..REQUEST_LEN + a.len() + b).ok_or(Closed)?;
        let request = Request { op, id: header.id, base: header.base, args: header.args, a, b };
        let want = usize::try_from(header.want).unwrap_or(usize::MAX).min(MAX_DATA);
        let out = self.out.get_mut(..want).unwrap_or_default();
        match self.session.call(self.who, &request, out) {
            Ok(reply) => {
                let value = reply.value;
                self.send(ReplyHeader { seq: header.seq, value, ..ReplyHeader::default() }, &reply)
            }
            Err(Stop::Fail(errno)) => self.fail(header.seq, errno),
            Err(Stop::Redirect(len)) => {
                let head =
                    ReplyHeader { seq: header.seq, value: REDIRECT, ..ReplyHeader::default() };
                self.send(head, &Reply { len, ..EMPTY })
            }
        }
    }

    /// Another user's process.
    fn refuse(&mut self, header: &RequestHeader) -> Result<(), Closed> {
        self.fail(header.seq, Errno::EACCES)
    }

    fn fail(&mut self, seq: u64, errno: Errno) -> Result<(), Closed> {
        let head = ReplyHeader { seq, value: -i64::from(errno.0), ..ReplyHeader::default() };
        self.send(head, &EMPTY)
    }

    /// Sends a reply in one go: header, descriptors, data.
    fn send(&mut self, mut head: ReplyHeader, reply: &Reply) -> Result<(), Closed> {
        let fds: Vec<OwnedFd> =
            reply.fds.iter().filter(|&&fd| fd >= 0).map(|&fd| own(fd)).collect();
        let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let data = self.out.get(..reply.len).unwrap_or_default();
        head.aux = reply.aux;
        head.len = u32::try_from(data.len()).map_err(|_| Closed)?;
        head.fds = u32::try_from(raw.len()).unwrap_or(0);
        let parts = [IoSlice::new(head.as_bytes()), IoSlice::new(data)];
        let rights = [ControlMessage::ScmRights(&raw)];
        let rights = if raw.is_empty() { &[] } else { rights.as_slice() };
        let sent = loop {
            let flags = MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.stream.as_raw_fd(), &parts, rights, flags, None) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other.map_err(|_| Closed)?,
            }
        };
        if sent < REPLY_LEN + data.len() {
            let head = head.as_bytes().get(sent..).unwrap_or_default();
            let data = data.get(sent.saturating_sub(REPLY_LEN)..).unwrap_or_default();
            self.stream.write_all(head).map_err(|_| Closed)?;
            self.stream.write_all(data).map_err(|_| Closed)?;
        }
        Ok(())
    }
}

/// Takes a descriptor that a reply carries.
#[expect(unsafe_code, reason = "replies carry raw descriptors")]
fn own(fd: i32) -> OwnedFd {
    // SAFETY: the session opened it for this reply and gave it away.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
