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
mod ticket;
mod unix;

use std::net::SocketAddr;

use crate::failure::{Failure, Outcome};
use crate::outbox::Outbox;
use crate::server::{Service, Stream};
use crate::ticket::Name;
use crate::wire::Reader;

/// Attempts before a client is hung up on.
const MAX_ATTEMPTS: usize = 32;

/// A login method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// The owner of a file that the client makes: only for clients on this host.
    Unix,
    /// The key of a ticket that was registered here.
    Ticket,
    /// The client's host name.
    Hostname,
    /// The client's address.
    Address,
}

impl Method {
    const ALL: [Self; 4] = [Self::Unix, Self::Ticket, Self::Hostname, Self::Address];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Ticket => "ticket",
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
    /// A line that was read and is still to be answered.
    heard: Option<Vec<u8>>,
}

/// Who a client is.
pub(crate) struct Identity {
    /// The identity whose rights the client has: with a ticket, those of its owner.
    pub(crate) who: Vec<u8>,
    /// The ticket whose masks cut them.
    pub(crate) ticket: Option<Name>,
    /// The identity that it logged in with.
    pub(crate) name: Vec<u8>,
}

impl Dialogue<'_> {
    fn say(&mut self, line: &[u8]) {
        self.out.buffer().extend_from_slice(line);
        self.out.buffer().push(b'\n');
    }

    fn hear(&mut self) -> Outcome<Vec<u8>> {
        if let Some(line) = self.heard.take() {
            return Ok(line);
        }
        self.out.flush(self.reader.get_mut())?;
        Ok(self.reader.read_line()?.to_vec())
    }

    /// Puts a line back that was meant for whoever reads next.
    fn heard_already(&mut self, line: Vec<u8>) {
        self.heard = Some(line);
    }
}

/// Runs the dialogue and returns the identity.
pub(crate) fn log_in(
    service: &Service,
    reader: &mut Reader<Stream>,
    peer: SocketAddr,
) -> Outcome<Identity> {
    let mut dialogue = Dialogue { reader, out: Outbox::default(), service, peer, heard: None };
    for _ in 0..MAX_ATTEMPTS {
        let name = dialogue.hear()?;
        let method = Method::ALL.into_iter().find(|method| method.name().as_bytes() == name);
        let Some(method) = method.filter(|method| service.options.allows(*method)) else {
            dialogue.say(b"no");
            continue;
        };
        dialogue.say(b"yes");
        let mut lent = None;
        let subject = match method {
            Method::Ticket => ticket::subject(&mut dialogue)?.map(|ticket| {
                let (_, name) = lent.insert(ticket);
                name.as_bytes().to_vec()
            }),
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
        let name = [method.name().as_bytes(), b":", &subject].concat();
        return Ok(match lent {
            Some((owner, ticket)) => Identity { who: owner, ticket: Some(ticket), name },
            None => Identity { who: name.clone(), ticket: None, name },
        });
    }
    Err(Failure::hang_up("too many attempts to log in"))
}

/// Replaces what would break a line or a word.
fn printable(subject: &[u8]) -> Vec<u8> {
    subject.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'_' }).collect()
}
