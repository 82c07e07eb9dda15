//! The socket, with its time limits and with counting.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted, for all connections to a server.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: AtomicU64,
    pub(super) round_trips: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) connections: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or(0), Relaxed);
}

/// The socket, counting.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) tcp: TcpStream,
    pub(super) tally: Arc<Tally>,
    /// Bytes written by the present request: whether a failure came before the first of them.
    pub(super) written: usize,
}

impl Stream {
    /// Wraps a connected socket.
    pub(super) const fn new(tcp: TcpStream, tally: Arc<Tally>) -> Self {
        Self { tcp, tally, written: 0 }
    }

    fn wrote(&mut self, n: usize) -> usize {
        self.written += n;
        add(&self.tally.bytes_out, n);
        n
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.tcp.read(into)?;
        add(&self.tally.bytes_in, n);
        Ok(n)
    }
}

impl Write for Stream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.tcp.write(data)?;
        Ok(self.wrote(n))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let n = match data {
            // Without a body: the plain call is cheaper.
            [one] => self.tcp.write(one)?,
            [one, rest] if rest.is_empty() => self.tcp.write(one)?,
            _ => self.tcp.write_vectored(data)?,
        };
        Ok(self.wrote(n))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
