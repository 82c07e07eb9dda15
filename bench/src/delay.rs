//! A stretch of network: a proxy on loopback through which every answer comes later, and that counts
//! round trips. The machines that this runs on often have no `netem`.
//!
//! Bytes of an answer are stamped when they arrive and let go when their time has come, so a delay
//! lengthens a round trip and does not narrow the stream. A *round trip* is counted when a client
//! sends after it has received: requests that travel together are one.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How much passes at once.
const PIECE: usize = 1 << 16;
/// A sleeping thread comes late; the last stretch is waited for awake.
const AWAKE: Duration = Duration::from_micros(70);

/// The proxy; it ends with this program.
#[derive(Debug)]
pub(crate) struct Delay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    trips: Arc<AtomicU64>,
}

/// A piece of an answer, and when it may go on.
type Late = (Instant, Vec<u8>);

impl Delay {
    /// Starts a proxy in front of a server; its threads run where this one does.
    ///
    /// # Errors
    /// It cannot listen.
    pub(crate) fn start(server: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let trips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&trips);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose server is gone sees its connection end.
                let _ = connect(client, server, delay, &counted);
            }
        });
        Ok(Self { address, trips })
    }

    /// Round trips until now.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::Relaxed)
    }
}

fn connect(
    client: TcpStream,
    server: SocketAddr,
    delay: Duration,
    trips: &Arc<AtomicU64>,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    // Whether the last that passed was an answer.
    let answered = Arc::new(AtomicBool::new(true));
    let (there, back, trips) = (Arc::clone(&answered), answered, Arc::clone(trips));
    std::thread::spawn(move || {
        pass(from_client, to_server, || {
            if there.swap(false, Ordering::Relaxed) {
                trips.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    if delay.is_zero() {
        std::thread::spawn(move || pass(server, client, || back.store(true, Ordering::Relaxed)));
        return Ok(());
    }
    let (late_tx, late_rx) = channel();
    std::thread::spawn(move || stamp(server, delay, &late_tx));
    std::thread::spawn(move || release(client, &late_rx, &back));
    Ok(())
}

/// Passes bytes on at once.
fn pass(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut()) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        seen();
        if to.write_all(piece.get(..count).unwrap_or_default()).is_err() {
            break;
        }
    }
    end(&from, &to);
}

/// Says of each piece when it may go on.
fn stamp(mut from: TcpStream, delay: Duration, late_tx: &Sender<Late>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let bytes = piece.get(..count).unwrap_or_default().to_vec();
        if late_tx.send((Instant::now() + delay, bytes)).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

/// Lets pieces go when their time has come.
fn release(mut to: TcpStream, late_rx: &Receiver<Late>, answered: &AtomicBool) {
    while let Ok((due, bytes)) = late_rx.recv() {
        let left = due.saturating_duration_since(Instant::now());
        std::thread::sleep(left.saturating_sub(AWAKE));
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        answered.store(true, Ordering::Relaxed);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn end(one: &TcpStream, other: &TcpStream) {
    // Both may be closed already.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers every byte with two.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() {
                        stream.write_all(&[byte[0], byte[0]]).unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn answers_come_late_and_round_trips_are_counted() {
        for delay in [Duration::ZERO, Duration::from_millis(30)] {
            let proxy = Delay::start(server(), delay).unwrap();
            let mut stream = TcpStream::connect(proxy.address).unwrap();
            let started = Instant::now();
            for byte in 0..3 {
                stream.write_all(&[byte]).unwrap();
                let mut answer = [0; 2];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [byte, byte]);
            }
            assert!(started.elapsed() >= 3 * delay);
            assert_eq!(proxy.trips(), 3);
            // Sent together, they are one more.
            stream.write_all(&[7, 8, 9]).unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
            assert_eq!(proxy.trips(), 4);
        }
    }
}
