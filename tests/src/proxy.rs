//! A TCP proxy on loopback that can be told to fail.
//!
//! ```text
//! guest ──▶ proxy (its own port) ──▶ server
//!             │
//!             ├─ cut_after(n)   all connections end after n more bytes from the server
//!             ├─ cut_now()      all connections end at once
//!             ├─ delay(d)       every piece of an answer comes so much later
//!             ├─ black_hole()   connections are accepted and stay, nothing passes either way
//!             ├─ refuse()       nobody listens: new connections are refused, old ones end
//!             └─ heal()         as at the start
//! ```
//!
//! A reader thread in each direction; all of them look at one shared state before they pass a piece
//! on, and wait on its condition variable while nothing may pass.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the proxy does with the bytes.
#[derive(Debug, Default)]
struct State {
    /// How many bytes from the server may still pass.
    budget: Option<u64>,
    delay: Duration,
    black_hole: bool,
    /// The ends of every connection that is open, to shut them from outside.
    open: Vec<TcpStream>,
    /// Connections accepted since the start.
    accepted: u64,
    /// Bytes passed to the guest since the start.
    passed: u64,
    /// The listener must go.
    closing: bool,
}

type Shared = Arc<(Mutex<State>, Condvar)>;

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    target: u16,
    shared: Shared,
    listener: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy for a port of loopback.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn start(target: u16) -> Self {
        let shared = Shared::default();
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let listener = Some(listen(socket, target, &shared));
        Self { port, target, shared, listener }
    }

    /// The port that guests connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let (state, changed) = &*self.shared;
        change(&mut state.lock().unwrap());
        changed.notify_all();
    }

    /// How many connections came until now.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.0.lock().unwrap().accepted
    }

    /// How many bytes went from the server to guests until now.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.shared.0.lock().unwrap().passed
    }

    /// Ends all connections after so many more bytes from the server, in the middle of an answer
    /// if they fall there. Connections made later pass nothing either, until [`heal`](Self::heal).
    pub fn cut_after(&self, bytes: u64) {
        self.change(|state| state.budget = Some(bytes));
    }

    /// Ends all connections; new ones work.
    pub fn cut_now(&self) {
        self.change(|state| {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Lets every piece of an answer come later.
    pub fn delay(&self, delay: Duration) {
        self.change(|state| state.delay = delay);
    }

    /// Keeps connections open and swallows what is sent.
    pub fn black_hole(&self) {
        self.change(|state| state.black_hole = true);
    }

    /// Stops listening and ends all connections.
    ///
    /// # Panics
    ///
    /// When the listening thread panicked.
    pub fn refuse(&mut self) {
        self.change(|state| state.closing = true);
        if let Some(listener) = self.listener.take() {
            // The accept that is waiting needs one connection to look up.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            listener.join().unwrap();
        }
        self.cut_now();
    }

    /// Works again as at the start, on the same port.
    ///
    /// # Panics
    ///
    /// When the port was taken by somebody else meanwhile.
    pub fn heal(&mut self) {
        self.change(|state| {
            state.budget = None;
            state.delay = Duration::ZERO;
            state.black_hole = false;
            state.closing = false;
        });
        if self.listener.is_none() {
            let socket = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
            self.listener = Some(listen(socket, self.target, &self.shared));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Threads that wait in the black hole look up and see that their connections are gone.
        self.change(|state| state.black_hole = false);
        self.refuse();
    }
}

fn listen(socket: TcpListener, target: u16, shared: &Shared) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        for guest in socket.incoming().flatten() {
            if shared.0.lock().unwrap().closing {
                return;
            }
            connect(guest, target, &shared);
        }
    })
}

fn connect(guest: TcpStream, target: u16, shared: &Shared) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    let _ = (guest.set_nodelay(true), server.set_nodelay(true));
    let copies = |stream: &TcpStream| stream.try_clone().unwrap();
    {
        let mut state = shared.0.lock().unwrap();
        state.accepted += 1;
        state.open.extend([copies(&guest), copies(&server)]);
    }
    let (guest_in, server_out) = (copies(&guest), copies(&server));
    let there = Arc::clone(shared);
    std::thread::spawn(move || pass(guest_in, server_out, &there, false));
    let back = Arc::clone(shared);
    std::thread::spawn(move || pass(server, guest, &back, true));
}

/// Passes bytes on until one end closes or the state says so.
fn pass(mut from: TcpStream, mut to: TcpStream, shared: &Shared, answers: bool) {
    let mut buffer = vec![0_u8; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let (allowed, delay) = permit(shared, count, answers);
        if answers && !delay.is_zero() {
            // The delay is what was asked for, not a wait for an event.
            std::thread::sleep(delay);
        }
        let sent = to.write_all(buffer.get(..allowed).unwrap_or_default());
        if sent.is_err() || allowed < count {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// How many of these bytes may pass, and how late. Waits while nothing may.
fn permit(shared: &Shared, count: usize, answers: bool) -> (usize, Duration) {
    let (state, changed) = &**shared;
    let mut state = state.lock().unwrap();
    while state.black_hole {
        state = changed.wait(state).unwrap();
    }
    if !answers {
        return (count, Duration::ZERO);
    }
    let allowed = match &mut state.budget {
        None => count,
        Some(left) => {
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(count);
            *left -= u64::try_from(allowed).unwrap();
            allowed
        }
    };
    state.passed += u64::try_from(allowed).unwrap();
    (allowed, state.delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Manner, serve};
    use std::time::Instant;

    fn ask(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(text).unwrap();
        let mut got = Vec::new();
        let mut buffer = [0; 100];
        while got.len() < text.len() {
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => got.extend(&buffer[..count]),
                _ => break,
            }
        }
        got
    }

    fn proxy() -> (Proxy, TcpStream) {
        let proxy = Proxy::start(serve(Manner::Echo));
        let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        (proxy, stream)
    }

    #[test]
    fn passes_bytes() {
        let (proxy, mut stream) = proxy();
        assert_eq!(ask(&mut stream, b"hello"), b"hello");
        assert_eq!((proxy.accepted(), proxy.passed()), (1, 5));
    }

    #[test]
    fn cuts_in_the_middle() {
        let (mut proxy, mut stream) = proxy();
        proxy.cut_after(3);
        assert_eq!(ask(&mut stream, b"hello"), b"hel");
        proxy.heal();
        let mut again = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert_eq!(ask(&mut again, b"hello"), b"hello");
        proxy.cut_now();
        assert_eq!(ask(&mut again, b"x"), b"");
    }

    #[test]
    fn delays() {
        let (proxy, mut stream) = proxy();
        proxy.delay(Duration::from_millis(150));
        let start = Instant::now();
        assert_eq!(ask(&mut stream, b"hello"), b"hello");
        assert!(start.elapsed() >= Duration::from_millis(150));
    }

    #[test]
    fn black_hole_swallows() {
        let (mut proxy, mut stream) = proxy();
        proxy.black_hole();
        stream.write_all(b"hello").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(stream.read(&mut [0; 5]).is_err());
        proxy.heal();
        assert_eq!(ask(&mut stream, b"").len(), 0);
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut got = [0; 5];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello");
    }

    #[test]
    fn refuses_and_heals() {
        let (mut proxy, _stream) = proxy();
        proxy.refuse();
        assert!(TcpStream::connect(("127.0.0.1", proxy.port())).is_err());
        proxy.heal();
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        assert_eq!(ask(&mut stream, b"hello"), b"hello");
    }
}
