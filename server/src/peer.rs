//! Another Chirp server, of which this one is a client: for `thirdput` and `whoareyou`.
//!
//! The server logs in by what it is, its host name or its address, and never by the account it
//! works as: its clients could do with that account's files on other servers what they liked.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use rustix::io::Errno;

use crate::space::OpenFile;
use crate::wire::{Code, DEFAULT_PORT, Dialect, LineError, Reader, Request, send};

/// How long to wait for one address of the other server to answer.
const CONNECT: Duration = Duration::from_secs(10);

/// The most bytes that the kernel is asked to send at once.
const PIECE: usize = 1 << 20;

/// Login methods, in the order in which they are tried.
const METHODS: [&str; 2] = ["hostname", "address"];

/// A connection to another server.
#[derive(Debug)]
pub(crate) struct Peer {
    reader: Reader<TcpStream>,
    /// Whom the other server takes us for.
    subject: Vec<u8>,
}

/// The code for trouble with the connection to another server.
fn trouble(error: &io::Error) -> Code {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Code::TimedOut,
        _ => Code::Disconnected,
    }
}

fn bad_line(error: LineError) -> Code {
    trouble(&error.into())
}

impl Peer {
    /// Connects to `HOST` or `HOST:PORT` and logs in.
    ///
    /// # Errors
    /// [`Code::GroupUnreachable`] (the protocol's only "host unreachable") if nobody answers there,
    /// [`Code::NotAuthenticated`] if no login method works.
    pub(crate) fn connect(host: &[u8], patience: Duration) -> Result<Self, Code> {
        let stream = dial(host).ok_or(Code::GroupUnreachable)?;
        let ready = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(patience)));
        let ready = ready.and_then(|()| stream.set_write_timeout(Some(patience)));
        ready.map_err(|error| trouble(&error))?;
        let mut peer = Self { reader: Reader::new(stream), subject: Vec::new() };
        for method in METHODS {
            if peer.log_in(method).map_err(bad_line)? {
                return Ok(peer);
            }
        }
        Err(Code::NotAuthenticated)
    }

    /// Tries one login method: the other server says whether it knows it, whether it worked, and
    /// then once more, with the method and the subject.
    fn log_in(&mut self, method: &str) -> Result<bool, LineError> {
        send(self.reader.get_mut(), method.as_bytes(), b"\n")?;
        for _ in ["known", "worked"] {
            if self.reader.read_line()? != b"yes" {
                return Ok(false);
            }
        }
        if self.reader.read_line()? != b"yes" {
            return Ok(false);
        }
        let method = self.reader.read_line()?.to_vec();
        let subject = self.reader.read_line()?;
        self.subject = [&*method, b":", subject].concat();
        Ok(true)
    }

    /// Whom the other server takes us for.
    pub(crate) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Asks for something that is answered by one number.
    ///
    /// # Errors
    /// The other server's code, or one for trouble with the connection.
    pub(crate) fn ask(&mut self, request: &Request<'_>) -> Result<i64, Code> {
        let mut line = Vec::new();
        request
            .encode(Dialect::Percent, &mut line)
            .map_err(|error| Code::from_errno(error.errno()))?;
        send(self.reader.get_mut(), &line, b"").map_err(|error| trouble(&error))?;
        self.number()
    }

    fn number(&mut self) -> Result<i64, Code> {
        match self.reader.read_number().map_err(bad_line)? {
            number @ 0.. => Ok(number),
            code => Err(Code::from_wire(code).unwrap_or(Code::Unknown)),
        }
    }

    /// Sends `length` bytes of a file after a `putfile` was agreed to, without copying them here.
    ///
    /// # Errors
    /// As [`Peer::ask`]. [`Code::Busy`] if the file is shorter by now; the connection is of no more
    /// use then.
    pub(crate) fn send_file(&mut self, file: &OpenFile, length: u64) -> Result<(), Code> {
        let mut offset = 0;
        while offset < length {
            let room = usize::try_from(length - offset).unwrap_or(PIECE).min(PIECE);
            match rustix::fs::sendfile(self.reader.get_ref(), file, Some(&mut offset), room) {
                Ok(0) => return Err(Code::Busy),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error @ (Errno::PIPE | Errno::CONNRESET | Errno::AGAIN)) => {
                    // The other server may have said why before it hung up.
                    return Err(self.number().err().unwrap_or(trouble(&error.into())));
                }
                Err(error) => return Err(Code::from_errno(error.raw_os_error())),
            }
        }
        self.number().map(drop)
    }
}

/// Connects to the first address that answers.
fn dial(host: &[u8]) -> Option<TcpStream> {
    let host = std::str::from_utf8(host).ok()?;
    let named = host.to_socket_addrs();
    let addresses = match named {
        Ok(addresses) => addresses,
        // Without a port. A bare IPv6 address has colons of its own.
        Err(_) => (host.trim_matches(['[', ']']), DEFAULT_PORT).to_socket_addrs().ok()?,
    };
    addresses.into_iter().find_map(|address| TcpStream::connect_timeout(&address, CONNECT).ok())
}
