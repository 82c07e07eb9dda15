//! A plain blocking Chirp client on one connection: what the same requests cost without Parrot.

use crate::measure::{Plan, Timing, measure};
use crate::ops::Kind;
use parrot_chirp::wire::{Dialect, OpenFlags, Reader, Request, Stat, send};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Reads go round in this much of a file, as in the guest.
const WINDOW: i64 = 1 << 20;
/// Large ones in this much.
const LARGE_WINDOW: i64 = 16 << 20;
/// Size of a whole file, as [`crate::protocols`] makes it.
pub(crate) const WHOLE: usize = 1 << 20;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection, logged in.
#[derive(Debug)]
pub(crate) struct Client {
    reader: Reader<TcpStream>,
    line: Vec<u8>,
    /// The server knows this project's requests; what Parrot would send is what is measured.
    extended: bool,
}

impl Client {
    /// Connects, logs in by address and asks what the server knows.
    ///
    /// # Errors
    /// No connection, or the login is refused.
    pub(crate) fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        // A server that says nothing is a failure, not a wait without end.
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = Reader::new(stream);
        send(reader.get_mut(), b"address\n", &[])?;
        // Method agreed, method's verdict, login's verdict; then method and subject.
        for _ in 0..3 {
            if reader.read_line()? != b"yes" {
                return Err(io::Error::other("the server refuses a login by address"));
            }
        }
        reader.read_line()?;
        reader.read_line()?;
        let mut client = Self { reader, line: Vec::new(), extended: false };
        client.extended = client.call(&Request::Xstat { path: "/".into(), follow: 1 }).is_ok();
        if client.extended {
            client.attributes()?;
        }
        Ok(client)
    }

    /// Sends a request and reads its number.
    fn call(&mut self, request: &Request<'_>) -> io::Result<i64> {
        self.line.clear();
        request.encode(Dialect::Percent, &mut self.line).map_err(io::Error::other)?;
        send(self.reader.get_mut(), &self.line, &[])?;
        match self.reader.read_number()? {
            number if number < 0 => Err(io::Error::other(format!("the server answers {number}"))),
            number => Ok(number),
        }
    }

    fn attributes(&mut self) -> io::Result<Stat> {
        let line = self.reader.read_line()?;
        Stat::parse(line).ok_or_else(|| io::Error::other("the server sends no attributes"))
    }

    fn stat(&mut self, path: &str) -> io::Result<Stat> {
        self.call(&match self.extended {
            true => Request::Xstat { path: path.into(), follow: 1 },
            false => Request::Stat { path: path.into() },
        })?;
        self.attributes()
    }

    fn open(&mut self, path: &str, flags: libc::c_int) -> io::Result<i64> {
        let (path, flags) = (path.into(), OpenFlags::from_libc(flags));
        let fd = self.call(&match self.extended {
            true => Request::Xopen { path, flags, mode: 0 },
            false => Request::Open { path, flags, mode: 0 },
        })?;
        self.attributes()?;
        Ok(fd)
    }

    fn close(&mut self, fd: i64) -> io::Result<()> {
        self.call(&Request::Close { fd }).map(drop)
    }

    fn pread(&mut self, fd: i64, offset: i64, into: &mut [u8]) -> io::Result<()> {
        let length = i64::try_from(into.len()).map_err(io::Error::other)?;
        if self.call(&Request::Pread { fd, length, offset })? != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.reader.read_exact_into(into)
    }

    fn pwrite(&mut self, fd: i64, offset: i64, from: &[u8]) -> io::Result<()> {
        let length = i64::try_from(from.len()).map_err(io::Error::other)?;
        self.line.clear();
        let request = Request::Pwrite { fd, length, offset };
        request.encode(Dialect::Percent, &mut self.line).map_err(io::Error::other)?;
        send(self.reader.get_mut(), &self.line, from)?;
        if self.reader.read_number()? == length {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn getfile(&mut self, path: &str, into: &mut [u8]) -> io::Result<()> {
        let length = self.call(&Request::Getfile { path: path.into() })?;
        if usize::try_from(length) != Ok(into.len()) {
            return Err(io::Error::other(format!("the file has {length} bytes")));
        }
        self.reader.read_exact_into(into)
    }

    fn putfile(&mut self, path: &str, from: &[u8]) -> io::Result<()> {
        let length = i64::try_from(from.len()).map_err(io::Error::other)?;
        self.call(&Request::Putfile { path: path.into(), mode: 0o644, length })?;
        send(self.reader.get_mut(), from, &[])?;
        if self.reader.read_number()? == length {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Asks for a file's attributes, for whoever counts.
    ///
    /// # Errors
    /// The request fails.
    pub(crate) fn ask(&mut self, path: &str) -> io::Result<()> {
        self.stat(path).map(drop)
    }

    /// Measures the requests that stand for one operation.
    ///
    /// # Errors
    /// The first error of a request, or an operation that has no requests.
    pub(crate) fn run(&mut self, kind: Kind, path: &str, plan: Plan) -> io::Result<Timing> {
        match kind {
            Kind::Stat => measure(plan, || self.stat(path).map(drop)),
            Kind::Open => measure(plan, || {
                let fd = self.open(path, libc::O_RDONLY)?;
                self.close(fd)
            }),
            Kind::Pread1 => self.reads(path, 1, plan),
            Kind::Pread8k => self.reads(path, 8 << 10, plan),
            Kind::Pread1m => self.reads(path, 1 << 20, plan),
            Kind::Pwrite1 => self.writes(path, 1, plan),
            Kind::Pwrite8k => self.writes(path, 8 << 10, plan),
            Kind::Pwrite1m => self.writes(path, 1 << 20, plan),
            Kind::Getfile => {
                let mut file = vec![0; WHOLE];
                measure(plan, || self.getfile(path, &mut file))
            }
            Kind::Putfile => {
                let file = vec![1; WHOLE];
                measure(plan, || self.putfile(path, &file))
            }
            _ => Err(io::Error::other(format!("no request stands for {}", kind.word()))),
        }
    }

    fn reads(&mut self, path: &str, size: usize, plan: Plan) -> io::Result<Timing> {
        let fd = self.open(path, libc::O_RDONLY)?;
        let (mut block, mut at) = (vec![0; size], 0);
        let step = i64::try_from(size).map_err(io::Error::other)?;
        let window = if step < WINDOW { WINDOW } else { LARGE_WINDOW };
        let timing = measure(plan, || {
            let offset = at;
            at = (at + step) % window;
            self.pread(fd, offset, &mut block)
        })?;
        self.close(fd)?;
        Ok(timing)
    }

    fn writes(&mut self, path: &str, size: usize, plan: Plan) -> io::Result<Timing> {
        let fd = self.open(path, libc::O_RDWR)?;
        let block = vec![1; size];
        let timing = measure(plan, || self.pwrite(fd, 0, &block))?;
        self.close(fd)?;
        Ok(timing)
    }
}
