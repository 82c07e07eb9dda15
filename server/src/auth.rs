//! Logging in: the client proposes methods until one works.
//!
//! ```text
//!   C: unix          S: yes            the method is known and allowed (else `no`)
//!   …the method's own exchange…        ending in its verdict
//!                    S: yes, unix, ann three lines: the login's verdict, method, subject
//! ```
//!
//! A method that failed sends nothing more, and the next name is read. The identity is
//! `method:subject`.

mod address;
mod unix;

use std::net::SocketAddr;

use crate::failure::{Failure, Outcome};
use crate::outbox::Outbox;
use crate::server::{Service, Stream};
use crate::wire::Reader;

/// Attempts before a client is hung up on.
const MAX_ATTEMPTS: usize = 32;

/// A login method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// The owner of a file that the client makes: only for clients on this host.
    Unix,
    /// The client's host name.
    Hostname,
    /// The client's address.
    Address,
}

impl Method {
    const ALL: [Self; 3] = [Self::Unix, Self::Hostname, Self::Address];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Hostname => "hostname",
            Self::Address => "address",
        }
    }
}

/// The connection of a client that logs in.
pub(crate) struct Dialogue<'s> {
    reader: &'s mut Reader<Stream>,
    out: Outbox,
    service: &'s Service,
    peer: SocketAddr,
}

impl Dialogue<'_> {
    fn say(&mut self, line: &[u8]) {
        self.out.buffer().extend_from_slice(line);
        self.out.buffer().push(b'\n');
    }

    fn hear(&mut self) -> Outcome<Vec<u8>> {
        self.out.flush(self.reader.get_mut())?;
        Ok(self.reader.read_line()?.to_vec())
    }
}

/// Runs the dialogue and returns the identity.
pub(crate) fn log_in(
    service: &Service,
    reader: &mut Reader<Stream>,
    peer: SocketAddr,
) -> Outcome<Vec<u8>> {
    let mut dialogue = Dialogue { reader, out: Outbox::default(), service, peer };
    for _ in 0..MAX_ATTEMPTS {
        let name = dialogue.hear()?;
        let method = Method::ALL.into_iter().find(|method| method.name().as_bytes() == name);
        let Some(method) = method.filter(|method| service.options.allows(*method)) else {
            dialogue.say(b"no");
            continue;
        };
        dialogue.say(b"yes");
        let subject = match method {
            Method::Unix => unix::subject(&mut dialogue)?,
            Method::Hostname => address::host_name(&mut dialogue),
            Method::Address => Some(address::address(&mut dialogue)),
        };
        let Some(subject) = subject else { continue };
        let subject = printable(&subject);
        dialogue.say(b"yes");
        dialogue.say(method.name().as_bytes());
        dialogue.say(&subject);
        let Dialogue { mut out, reader, .. } = dialogue;
        out.flush(reader.get_mut())?;
        return Ok([method.name().as_bytes(), b":", &subject].concat());
    }
    Err(Failure::hang_up("too many attempts to log in"))
}

/// Replaces what would break a line or a word.
fn printable(subject: &[u8]) -> Vec<u8> {
    subject.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'_' }).collect()
}
