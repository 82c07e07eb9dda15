//! A link that goes on with another connection.
//!
//! This project's server keeps a *session* for each link: what is open, and its last answers. Both
//! sides count requests. When the connection breaks in the middle of an exchange, the link connects
//! anew, says from which number on it will ask again, and the whole exchange is run once more under
//! the same numbers: what the server had done is answered again, not done again.
//!
//! ```text
//!   numbers   … 41  42 │ 43   44   45
//!               ╰ owed ╯ ╰ exchange ╯      `session KEY 41`, then 41 and 42 (closes) and 43, 44, 45
//! ```
//!
//! An exchange that must not be done twice stays *unfinished* while the server is away; it is taken
//! up again when the same operation is [asked](crate::driver::asking) for again. If another comes
//! first, it is given up: its numbers are skipped, and a file that it may have opened is closed.
//!
//! A server that was restarted knows nothing of all this ([`Revived::Lost`]): then files are opened
//! again by their names, and what became of a request is settled by looking.

use super::link::Link;
use super::stream::Stream;
use super::trouble::Trouble;
use crate::error::Kind;
use parrot_chirp::wire::{Command, Dialect, Reader, Request, send};
use std::io::Read;
use std::time::Instant;

/// What became of a link that connected anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revived {
    /// It goes on: its descriptors are open.
    GoesOn,
    /// The server knows it no longer.
    Lost,
}

/// The requests that belong together and are run again together.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The number of its first request.
    start: u64,
    /// Changes to the link's descriptors since then: number, and whether it was opened.
    changes: Vec<(i64, bool)>,
    /// [`Link::orderly`] as it was at the start, once it may have changed.
    orderly: Option<bool>,
    /// It asked for a file to be opened.
    opens: bool,
    /// It broke off, and whose it is: which operation may run it again.
    pub(super) unfinished: Option<u64>,
}

impl Exchange {
    /// A request was put together.
    pub(super) const fn asked(&mut self, command: Command) {
        self.opens |= matches!(command, Command::Open | Command::Xopen | Command::Xcreate);
    }

    /// A file was opened.
    pub(super) fn opened(&mut self, fd: i64, orderly: bool) {
        self.orderly.get_or_insert(orderly);
        self.changes.push((fd, true));
    }

    /// A file that was open is being closed.
    pub(super) fn closed(&mut self, fd: i64, orderly: bool) {
        self.orderly.get_or_insert(orderly);
        self.changes.push((fd, false));
    }
}

impl Link {
    /// Has the server keep what will be open, if it does that.
    pub(super) fn begin_session(&mut self) -> Result<(), Trouble> {
        let Some(key) = random_key().filter(|_| self.extended) else { return Ok(()) };
        match self.ask(&Request::Session { key: key.as_bytes().into(), next: 1 }) {
            Ok(_) => self.key = Some(key),
            Err(Trouble::Answer(_)) => {}
            Err(trouble) => return Err(trouble),
        }
        (self.next, self.answered) = (1, 0);
        Ok(())
    }

    /// Whether it can go on with another connection when this one is broken.
    pub(super) const fn can_go_on(&self) -> bool {
        self.key.is_some()
    }

    /// Whether the server keeps anything for this link that is worth going on for.
    pub(super) fn is_worth_going_on(&self) -> bool {
        let waits = self.exchange.unfinished.is_some() || !self.owed.is_empty();
        self.can_go_on() && (waits || !self.fds.is_empty())
    }

    /// Begins an exchange; also says that the one before is over.
    pub(super) fn begin(&mut self) {
        let mut changes = std::mem::take(&mut self.exchange.changes);
        changes.clear();
        self.exchange = Exchange { start: self.next, changes, ..Exchange::default() };
    }

    /// Everything answered until now is not asked for again.
    pub(super) const fn commit(&mut self) {
        self.exchange.start = self.answered + 1;
    }

    /// Takes everything back that the exchange has noted; its descriptors are as at its start.
    fn undo(&mut self) {
        while let Some((fd, opened)) = self.exchange.changes.pop() {
            if opened {
                self.fds.remove(&fd);
            } else {
                self.fds.insert(fd);
            }
        }
        self.orderly = self.exchange.orderly.take().unwrap_or(self.orderly);
        let start = self.exchange.start;
        self.owed.retain(|(number, _)| *number < start);
    }

    /// Gives up an exchange whose replies will not be read.
    fn give_up(&mut self) {
        self.undo();
        // The closes that were not answered are asked for again under new numbers. If they had been
        // done, they hit nothing, or the file that the exchange has opened and nobody wants.
        let owed = self.owed.drain(..).map(|(_, fd)| fd);
        self.abandoned.extend(owed);
        if self.exchange.opens {
            let fd = self.next_fd();
            self.abandoned.push(fd);
        }
        self.begin();
    }

    /// Goes on with a new connection that has logged in. `operation` says whose exchange comes next.
    pub(super) fn go_on(
        &mut self,
        reader: Reader<Stream>,
        operation: u64,
    ) -> Result<Revived, Trouble> {
        let Some(key) = self.key.clone() else { return Ok(Revived::Lost) };
        if self.exchange.unfinished == Some(operation) {
            self.undo();
        } else {
            self.give_up();
        }
        let first = self.owed.front().map_or(self.exchange.start, |(number, _)| *number);
        let mut reader = reader;
        let next = i64::try_from(first).unwrap_or(i64::MAX);
        let mut line = Vec::new();
        Request::Session { key: key.as_bytes().into(), next }
            .encode(Dialect::Percent, &mut line)?;
        send(reader.get_mut(), &line, &[]).map_err(|error| Trouble::stream(&error, false))?;
        match reader.read_number()? {
            1 => {}
            BUSY => {
                let cause = "the server has not let go of the old connection".into();
                return Err(Trouble::Broken { kind: Kind::TimedOut, sent: false, cause });
            }
            _ => {
                let _ = send(reader.get_mut(), GOODBYE, &[]);
                self.key = None;
                return Ok(Revived::Lost);
            }
        }
        self.reader = reader;
        self.unpush();
        (self.next, self.answered, self.broken) = (first, first - 1, false);
        self.used = Instant::now();
        let mut closes: Vec<i64> = self.owed.drain(..).map(|(_, fd)| fd).collect();
        closes.append(&mut self.abandoned);
        if !closes.is_empty() {
            self.close(&closes)?;
        }
        self.exchange.start = self.next;
        Ok(Revived::GoesOn)
    }

    /// Tells the server that nobody will come back.
    pub(super) fn say_goodbye(&mut self) {
        if self.key.take().is_some() && !self.broken {
            // If it does not arrive, the server finds out by itself.
            let _ = send(self.reader.get_mut(), GOODBYE, &[]);
        }
    }
}

/// Ends session and connection.
const GOODBYE: &[u8] = b"\x04\n";

/// The code for "somebody else has it".
const BUSY: i64 = parrot_chirp::wire::Code::Busy as i64;

/// 128 random bits.
fn random_key() -> Option<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).ok()?;
    Some(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
