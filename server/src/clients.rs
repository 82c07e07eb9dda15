//! The connections of all clients, and how much of the server each may have.
//!
//! - As many clients as allowed, in all and from one address.
//! - Buffers: what one client's transfer may hold at once becomes smaller the more clients there
//!   are, so that all of them together stay below [`BUFFERS`].
//! - Descriptors: whoever has many open already gets no more when most of the process's are taken.
//! - Time: a line that does not end, or a body that trickles in, ends the connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Bytes that the transfers of all clients may hold, in each direction.
const BUFFERS: usize = 40 << 20;

/// The most and the least of them for one client.
const PIECES: (usize, usize) = (16 << 10, 1 << 20);

/// Files that a client may have open when most of the process's descriptors are taken.
const MODEST: usize = 16;

/// The slowest that a body may trickle in, in bytes a second, once the usual time is over.
const TRICKLE: u64 = 1024;

/// What a body gets besides, however short.
const EXTRA: Duration = Duration::from_secs(30);

/// A client's connection, which others can shut down.
#[derive(Clone, Debug)]
pub(crate) struct Stream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tcp: TcpStream,
    made: Instant,
    /// Milliseconds after `made` when what is being read must be complete; 0 for never.
    deadline: AtomicU64,
}

impl Stream {
    /// Wraps a connection.
    pub(crate) fn of(tcp: TcpStream) -> Self {
        Self(Arc::new(Inner { tcp, made: Instant::now(), deadline: AtomicU64::new(0) }))
    }

    /// Sets the connection up: it waits for its peer, at most so long when it writes.
    pub(crate) fn prepare(&self, stalled: Duration) -> io::Result<()> {
        self.0.tcp.set_nonblocking(false)?;
        self.0.tcp.set_nodelay(true)?;
        self.0.tcp.set_write_timeout(Some(stalled))
    }

    /// How long one read waits.
    pub(crate) fn set_patience(&self, time: Duration) -> io::Result<()> {
        self.0.tcp.set_read_timeout(Some(time))
    }

    /// What is read from now on must be complete after this time.
    pub(crate) fn complete_within(&self, time: Option<Duration>) {
        let end = time.map_or(0, |time| self.0.made.elapsed().saturating_add(time).as_millis());
        self.0.deadline.store(u64::try_from(end).unwrap_or(u64::MAX), Relaxed);
    }

    /// A body of some length must be complete after the time that a transfer may stand still, or
    /// longer if it is long.
    pub(crate) fn expect_body(&self, length: u64, stalled: Duration) {
        let trickle = Duration::from_secs(length / TRICKLE).saturating_add(EXTRA);
        self.complete_within(Some(stalled.max(trickle)));
    }

    /// Ends the connection, whoever reads or writes.
    pub(crate) fn hang_up(&self) {
        // The peer may be gone already.
        let _ = self.0.tcp.shutdown(Shutdown::Both);
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let deadline = self.0.deadline.load(Relaxed);
        if deadline != 0 && self.0.made.elapsed() > Duration::from_millis(deadline) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client is too slow"));
        }
        (&self.0.tcp).read(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0.tcp).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.tcp.as_fd()
    }
}

/// What clients may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections in all.
    pub(crate) clients: usize,
    /// Connections from one address.
    pub(crate) of_one: usize,
    /// Descriptors that all clients together may have open, besides their connections.
    pub(crate) files: usize,
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Clients {
    limits: Limits,
    state: Mutex<State>,
    left: Condvar,
    count: AtomicUsize,
    files: Arc<AtomicUsize>,
    lent: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    all: HashMap<u64, (Stream, IpAddr)>,
    of: HashMap<IpAddr, usize>,
}

/// A client's place; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    clients: Arc<Clients>,
    number: u64,
}

/// Memory for a transfer that has to be held as a whole; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Loan(Arc<AtomicUsize>, usize);

/// A client's right to a descriptor; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Clients {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            left: Condvar::new(),
            count: AtomicUsize::new(0),
            files: Arc::default(),
            lent: Arc::default(),
        })
    }

    /// Takes a client in, if there is room for it.
    pub(crate) fn admit(self: &Arc<Self>, stream: &Stream, address: IpAddr) -> Option<Seat> {
        let mut state = self.state.lock();
        let of_one = state.of.get(&address).copied().unwrap_or(0);
        if state.all.len() >= self.limits.clients || of_one >= self.limits.of_one {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.all.insert(number, (stream.clone(), address));
        state.of.insert(address, of_one + 1);
        self.count.store(state.all.len(), Relaxed);
        Some(Seat { clients: Arc::clone(self), number })
    }

    /// How much one client's transfer may hold at once.
    pub(crate) fn piece(&self) -> usize {
        let (least, most) = PIECES;
        (BUFFERS / self.count.load(Relaxed).max(1)).clamp(least, most)
    }

    /// Lets a client that has some files open have another one. `None` if it has to do with those:
    /// nobody gets the last descriptors, and only those with few files the last quarter.
    pub(crate) fn permit(&self, open: usize) -> Option<Permit> {
        let limit = if open < MODEST { self.limits.files } else { self.limits.files / 4 * 3 };
        let permit = Permit(Arc::clone(&self.files));
        // Given back at once if it was one too many.
        (self.files.fetch_add(1, Relaxed) < limit).then_some(permit)
    }

    /// Lends memory for a transfer that has to be held as a whole. `None` while others have it.
    pub(crate) fn lend(&self, bytes: usize) -> Option<Loan> {
        let loan = Loan(Arc::clone(&self.lent), bytes);
        // Given back at once if it was too much.
        (self.lent.fetch_add(bytes, Relaxed).saturating_add(bytes) <= BUFFERS).then_some(loan)
    }

    /// Ends all connections and waits until they have been left, or for so long.
    pub(crate) fn hang_up(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let mut state = self.state.lock();
        for (stream, _) in state.all.values() {
            stream.hang_up();
        }
        while !state.all.is_empty() {
            if self.left.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.clients.state.lock();
        if let Some((stream, address)) = state.all.remove(&self.number) {
            stream.hang_up();
            match state.of.get_mut(&address) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(state.of.remove(&address)),
            }
        }
        self.clients.count.store(state.all.len(), Relaxed);
        drop(state);
        self.clients.left.notify_all();
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn stream() -> Stream {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Stream::of(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    }

    #[test]
    fn places_are_limited_in_all_and_for_one_address() {
        let clients = Clients::new(Limits { clients: 3, of_one: 2, files: 0 });
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let admit = |address| clients.admit(&stream(), address);
        let first = admit(one);
        let second = admit(one);
        assert!(first.is_some() && second.is_some() && admit(one).is_none());
        let third = admit(other);
        assert!(third.is_some() && admit(other).is_none());
        drop(first);
        assert!(admit(one).is_some());
        drop((second, third));
        assert!(clients.state.lock().of.is_empty());
    }

    #[test]
    fn descriptors_are_left_for_the_modest() {
        let clients = Clients::new(Limits { clients: 3, of_one: 2, files: 100 });
        let greedy: Vec<_> = (0..200).map_while(|open| clients.permit(open)).collect();
        assert_eq!(greedy.len(), 75);
        let modest: Vec<_> = (0..200).map_while(|_| clients.permit(0)).collect();
        assert_eq!(modest.len(), 25);
        drop(greedy);
        assert_eq!(clients.files.load(Relaxed), 25);
        assert!(clients.permit(20).is_some());
        let loan = clients.lend(30 << 20);
        assert!(loan.is_some() && clients.lend(16 << 20).is_none());
        drop(loan);
        assert!(clients.lend(16 << 20).is_some());
    }

    #[test]
    fn buffers_shrink_with_the_crowd() {
        let clients = Clients::new(Limits { clients: 9999, of_one: 9999, files: 0 });
        assert_eq!(clients.piece(), 1 << 20);
        clients.count.store(500, Relaxed);
        assert!(clients.piece() * 500 <= BUFFERS);
        clients.count.store(100_000, Relaxed);
        assert_eq!(clients.piece(), 16 << 10);
    }
}
