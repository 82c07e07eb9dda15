//! [`SessionClient`]: a session over a socket, for code inside a guest's process and for a tracer
//! that joins a running session. And [`View`]: the session's cache of a served file, mapped.
//!
//! One client is used by one thread at a time and has one request in flight. It trusts nothing
//! between two requests: the program around it may have forked (the socket is then the parent's),
//! or closed or reused every descriptor (the socket's identity is checked before each use).
#![expect(unsafe_code, reason = "system calls on the client's own memory, and a shared mapping")]

mod socket;
mod view;

pub use view::View;

use crate::bytes::{Decimal, put};
use crate::errno::Errno;
use crate::files::{Files, Op, Reply, Request, Stop};
use crate::message::{MAX_DATA, MAX_PATH, REDIRECT, ReplyHeader, RequestHeader, VERSION};
use crate::shadow::ShadowId;
use crate::sys;
use socket::Socket;
use view::Views;

/// The longest name of a session directory, bytes.
pub const MAX_SESSION: usize = 1024;

/// Writes the name of the session directory for a table of rules and the user's credentials:
/// `BASE/parrot.UID/HASH`. One user has one session per set of rules and credentials.
pub fn session_dir(
    base: &[u8],
    uid: u32,
    table: &[u8],
    credentials: &[&[u8]],
    out: &mut [u8],
) -> usize {
    let mut len = 0;
    let uid = Decimal::new(u64::from(uid));
    let hash =
        credentials.iter().filter(|part| !part.is_empty()).fold(fnv(FNV, table), |hash, part| {
            // No bytes end one and begin the next as well.
            fnv(fnv(hash, &[0xff]), part)
        });
    let hash = crate::shadow::format_id(hash);
    for part in [base, b"/parrot.", uid.text(), b"/", &hash] {
        put(out, &mut len, part);
    }
    len
}

/// Where a hash begins.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits: enough to tell one user's mountlists apart.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What brings an agent to life: called when nobody listens in the session directory. Returns when
/// a connection can be tried again.
pub type Starter = fn(session: &[u8]) -> Result<(), Errno>;

/// A session over a Unix socket.
#[derive(Debug)]
pub struct SessionClient<'d> {
    session: &'d [u8],
    starter: Option<Starter>,
    socket: Option<Socket>,
    seq: u64,
    views: Views,
    watcher: Option<Watcher>,
}

/// Sees requests and their answers, see [`SessionClient::watched`].
pub type Watcher = fn(&Request<'_>, Result<&Reply, &Stop>);

impl<'d> SessionClient<'d> {
    /// A client of the session in this directory. Connects at the first request.
    #[must_use]
    pub const fn new(session: &'d [u8], starter: Option<Starter>) -> Self {
        Self { session, starter, socket: None, seq: 0, views: Views::new(), watcher: None }
    }

    /// The same, with somebody who is told of every request after its answer.
    #[must_use]
    pub fn watched(mut self, watcher: Watcher) -> Self {
        self.watcher = Some(watcher);
        self
    }

    /// The socket's descriptor number, if there is one, so that the program can be kept off it.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        self.socket.as_ref().map(Socket::fd)
    }

    /// A connected socket; whether it was there before.
    fn connected(&mut self) -> Result<(Socket, bool), Errno> {
        if let Some(socket) = self.socket.filter(Socket::is_ours) {
            return Ok((socket, true));
        }
        if let Some(old) = self.socket.take() {
            old.close_inherited();
        }
        let socket = match (Socket::connect(self.session), self.starter) {
            (Err(Errno::ENOENT | Errno::ECONNREFUSED), Some(start)) => {
                start(self.session)?;
                Socket::connect(self.session)?
            }
            (other, _) => other?,
        };
        self.socket = Some(socket);
        let pid = u64::from(sys::getpid().cast_unsigned());
        let hello = Request::new(Op::Hello).args([VERSION, pid, 0, 0, 0]);
        match self.exchange(socket, &hello, &mut [0; MAX_SESSION]) {
            Ok(_) => Ok((socket, false)),
            Err(Stop::Fail(errno)) => {
                self.drop_socket();
                Err(errno)
            }
            Err(Stop::Redirect(_)) => Err(Errno::EPROTO),
        }
    }

    fn drop_socket(&mut self) {
        if let Some(socket) = self.socket.take() {
            sys::close(socket.fd());
        }
    }

    /// Sends a request and reads its reply.
    fn exchange(
        &mut self,
        socket: Socket,
        request: &Request<'_>,
        out: &mut [u8],
    ) -> Result<Reply, Stop> {
        self.seq += 1;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| Errno::EINVAL);
        let header = RequestHeader {
            seq: self.seq,
            op: request.op as u64,
            id: request.id,
            base: request.base,
            args: request.args,
            a_len: length(request.a)?,
            b_len: length(request.b)?,
            want: out.len().min(MAX_DATA) as u64,
        };
        socket.send(&[header.as_bytes(), request.a, request.b])?;
        let keep = request.op == Op::Open && request.args[0] & libc::O_CLOEXEC as u64 == 0;
        let mut reply = ReplyHeader::default();
        let (fds, have) = match socket.receive_reply(&mut reply, out, !keep) {
            Err(Errno::EINTR) => {
                // The reply will come some time, to nobody.
                self.drop_socket();
                return Err(Errno::EINTR.into());
            }
            other => other?,
        };
        let len = reply.len as usize;
        if reply.seq != self.seq || len > out.len() || have > len {
            return Err(Errno::EPROTO.into());
        }
        let place = out.get_mut(..len).unwrap_or_default();
        socket.receive(place.get_mut(have..).unwrap_or_default())?;
        if reply.value == REDIRECT {
            return Err(Stop::Redirect(len));
        }
        if reply.value < 0 {
            return Err(Errno(i32::try_from(-reply.value).unwrap_or(libc::EIO)).into());
        }
        Ok(Reply { value: reply.value, aux: reply.aux, len, fds })
    }
}

impl Files for SessionClient<'_> {
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let answer = self.ask(request, out);
        if let Some(watcher) = self.watcher {
            watcher(request, answer.as_ref());
        }
        answer
    }

    fn view(&mut self, id: ShadowId) -> Option<View<'_>> {
        if self.views.lacks(id) {
            return None;
        }
        if !self.views.has(id) {
            match self.call(&Request::on(Op::Attach, id), &mut []) {
                Ok(reply) => self.views.add(id, reply.fds)?,
                Err(Stop::Fail(Errno::EINVAL)) => {
                    self.views.note_lack(id);
                    return None;
                }
                Err(_) => return None,
            }
        }
        self.views.get(id)
    }
}

impl SessionClient<'_> {
    fn ask(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let limit = if request.op == Op::PWrite { MAX_DATA } else { MAX_PATH };
        if request.a.len() > limit || request.b.len() > MAX_DATA {
            return Err(Errno::ENAMETOOLONG.into());
        }
        let (socket, old) = self.connected().map_err(no_agent)?;
        match self.exchange(socket, request, out) {
            // The agent had gone (idle) before the request was sent: another one takes it.
            Err(Stop::Fail(Errno::EPIPE)) if old => {
                self.drop_socket();
                let (socket, _) = self.connected().map_err(no_agent)?;
                self.exchange(socket, request, out).map_err(|stop| self.lost(stop))
            }
            other => other.map_err(|stop| self.lost(stop)),
        }
    }
}

impl Drop for SessionClient<'_> {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take().filter(Socket::is_ours) {
            sys::close(socket.fd());
        }
    }
}

impl SessionClient<'_> {
    /// A connection that broke is no connection; the guest sees EIO.
    fn lost(&mut self, stop: Stop) -> Stop {
        match stop {
            Stop::Fail(Errno::EPIPE | Errno::ECONNRESET | Errno::EPROTO) => {
                self.drop_socket();
                Stop::Fail(Errno::EIO)
            }
            other => other,
        }
    }
}

/// Without an agent, a call on a remote object fails and never passes.
fn no_agent(errno: Errno) -> Errno {
    match errno {
        Errno::EACCES | Errno::EMFILE | Errno::ENFILE | Errno::EINTR => errno,
        _ => Errno::EIO,
    }
}
