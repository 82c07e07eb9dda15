//! One client: its connection, its identity, its descriptors, and the loop that serves it.
//!
//! Requests are read and answered in order. Replies are sent when no further request has arrived:
//! requests that were sent together are answered together, and a client that waits is never kept
//! waiting. A client that fails or misbehaves ends its own thread and nothing else.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::acl::{Acl, Rights};
use crate::auth::Identity;
use crate::clients::Permit;
use crate::failure::{Failure, Outcome};
use crate::outbox::Outbox;
use crate::report::Subject;
use crate::resume::log::{Log, Step};
use crate::resume::{Kept, Lease};
use crate::server::{Service, Stream};
use crate::space::OpenFile;
use crate::stats::Tally;
use crate::store::Place;
use crate::ticket::{Name, TicketStore};
use crate::wire::{Code, Command, LineError, MAX_FDS, Reader, Request};
use crate::{auth, commands};

/// A line that begins with this byte ends the connection.
const END: u8 = 4;

/// The most bytes of a body that are held at once.
pub(crate) const PIECE: usize = 1 << 20;

/// A descriptor of a client.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) fd: Arc<OpenFile>,
    /// Whether the right to write was there when it was opened.
    pub(crate) writable: bool,
    /// Counts it among those that the process can have open.
    pub(crate) permit: Option<Permit>,
}

/// The state of one client.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) service: Arc<Service>,
    pub(crate) reader: Reader<Stream>,
    pub(crate) out: Outbox,
    /// The identity whose rights the client has.
    pub(crate) who: Vec<u8>,
    /// The identity that it logged in with; another than `who` for a ticket.
    pub(crate) name: Vec<u8>,
    /// The ticket that the client logged in with, if it did: its masks cut those rights.
    pub(crate) ticket: Option<Name>,
    files: Vec<Option<Opened>>,
    /// What makes it possible to go on with another connection.
    named: Option<(Lease, Log)>,
    /// Bytes of the current request's body that were not read yet.
    body: u64,
    /// A buffer for bodies, borrowed by one handler at a time.
    scratch: Vec<u8>,
    /// Whether the connection waits as long as for a transfer, not as for a request.
    patient: bool,
    /// Whether the end of the time for the current body is set.
    timed: bool,
    /// Bytes of bodies that were read for the current request, and of files sent around the outbox.
    moved: (u64, u64),
    tally: Tally,
}

/// Serves a client until it leaves or fails.
pub(crate) fn serve(service: Arc<Service>, stream: Stream, peer: SocketAddr) {
    let report = Arc::clone(&service);
    let error = match start(service, stream, peer) {
        Ok(mut session) => {
            let failure = session.run();
            let figures = session.tally.figures();
            report.reports.line(Subject::Stats, || format!("{peer}: {figures}"));
            session.park();
            failure
        }
        Err(failure) => failure,
    };
    report.reports.line(Subject::Tcp, || match error {
        Failure::Broken(error) => format!("{peer} left: {error}"),
        Failure::Refused(code) => format!("{peer} left: {code:?}"),
    });
}

fn start(service: Arc<Service>, stream: Stream, peer: SocketAddr) -> Outcome<Session> {
    stream.set_patience(service.options.idle_clients)?;
    // All of the login must be over by then: nobody occupies a place without a name for long.
    stream.complete_within(Some(service.options.idle_clients + service.options.unix_timeout));
    let mut reader = Reader::new(stream);
    let Identity { who, ticket, name } = auth::log_in(&service, &mut reader, peer)?;
    service.reports.line(Subject::Auth, || format!("{peer} is {}", String::from_utf8_lossy(&name)));
    Ok(Session {
        tally: service.stats.of(peer.ip().to_canonical()),
        scratch: Vec::new(),
        service,
        reader,
        out: Outbox::default(),
        who,
        name,
        ticket,
        files: Vec::new(),
        named: None,
        body: 0,
        patient: false,
        timed: false,
        moved: (0, 0),
    })
}

impl Session {
    /// Answers requests until the connection ends, and says why it did.
    fn run(&mut self) -> Failure {
        let mut line = Vec::new();
        loop {
            if let Err(failure) = self.one_request(&mut line) {
                // Replies to earlier requests may still be waiting; the peer may be gone.
                let _ = self.flush();
                return failure;
            }
        }
    }

    /// Before the next line is read: sends what the client may be waiting for, if it has to be waited
    /// for, and sets the time that it may take.
    fn make_ready(&mut self) -> Outcome {
        let waits = !self.reader.has_line();
        if waits || self.out.is_full() || self.out.holds(self.piece()) {
            self.flush()?;
        }
        if waits && self.patient {
            self.reader.get_ref().set_patience(self.service.options.idle_clients)?;
            self.patient = false;
        }
        if waits {
            // The time to begin a line, and the time to end it.
            let time = self.service.options.idle_clients.saturating_mul(2);
            self.reader.get_ref().complete_within(Some(time));
            self.save_memory();
        }
        Ok(())
    }

    fn one_request(&mut self, line: &mut Vec<u8>) -> Outcome {
        self.make_ready()?;
        line.clear();
        line.extend_from_slice(self.reader.read_line()?);
        match line.first() {
            None => return Ok(()),
            Some(&END) => {
                self.named = None;
                return Err(LineError::Closed.into());
            }
            Some(_) => {}
        }
        if self.service.options.access.latency > 0 {
            std::thread::sleep(Duration::from_micros(self.service.options.access.latency));
        }
        self.timed = false;
        let (mark, position) = (self.out.mark(), self.out.position());
        let request = Request::parse(line);
        let command = request.as_ref().ok().map(Request::command);
        let step = self.named.as_mut().map(|(_, log)| log.step(line, command));
        let result = match (request, &step) {
            (_, Some(Step::Astray)) => {
                self.named = None;
                return Err(Failure::hang_up("a request that is not what its number stands for"));
            }
            (Ok(request), step) => {
                self.body = request.body_len().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                match step {
                    Some(Step::Again(answer)) => self.answer_again(&request, answer),
                    _ => commands::run(self, request),
                }
            }
            (Err(error), _) => Err(error.into()),
        };
        self.service.reports.line(Subject::Chirp, || {
            let line = String::from_utf8_lossy(line);
            match &result {
                Ok(()) => line.into_owned(),
                Err(failure) => format!("{line}: {failure:?}"),
            }
        });
        self.count(command);
        self.skip_body()?;
        match result {
            Err(Failure::Refused(code)) => {
                // A handler that sent part of its reply breaks the connection instead.
                self.out.undo(mark.min(self.out.mark()));
                self.out.code(code);
            }
            other => other?,
        }
        if step.is_some() {
            self.note(line, command, position);
        }
        Ok(())
    }

    /// Counts a request; what attributes or names weigh is not counted.
    fn count(&mut self, command: Option<Command>) {
        let (sent, stored) = std::mem::take(&mut self.moved);
        let sent = sent + self.out.take_data();
        let reads = matches!(
            command,
            Some(Command::Pread | Command::Sread | Command::Getfile | Command::Getstream)
        );
        let writes = matches!(
            command,
            Some(Command::Pwrite | Command::Swrite | Command::Putfile | Command::Putstream)
        );
        let pick = |counts: bool, bytes| if counts { bytes } else { 0 };
        self.service.stats.count(&mut self.tally, pick(reads, sent), pick(writes, stored));
    }

    /// Gives large buffers back before waiting for a request, where many wait.
    fn save_memory(&mut self) {
        let piece = self.piece();
        if self.scratch.capacity() > piece {
            self.scratch = Vec::new();
        }
        self.out.shrink(piece);
    }

    /// Fails when work that takes longer than a client may be idle is for a client that has hung up.
    pub(crate) fn still_wanted(&self, since: Instant) -> Outcome {
        if since.elapsed() < self.service.options.idle_clients {
            return Ok(());
        }
        let mut peer = [PollFd::new(self.reader.get_ref(), PollFlags::RDHUP)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut peer, Some(&now)) {
            Ok(1..) => Err(Failure::hang_up("the client did not wait for the result")),
            _ => Ok(()),
        }
    }

    /// How much a transfer may hold in memory at once.
    pub(crate) fn piece(&self) -> usize {
        self.service.clients.piece()
    }

    /// Counts what `putstream` stored.
    pub(crate) fn stored(&mut self, bytes: usize) {
        self.moved.1 += u64::try_from(bytes).unwrap_or(0);
    }

    /// Gives an answer once more; the body that the client sends again is thrown away.
    fn answer_again(&mut self, request: &Request<'_>, answer: &[u8]) -> Outcome {
        if let (Request::Putfile { length, .. }, Some(rest)) =
            (request, answer.strip_prefix(b"0\n"))
            && !rest.is_empty()
        {
            self.out.number(0);
            self.flush()?;
            self.expect_body(u64::try_from(*length).unwrap_or(0));
            self.skip_body()?;
            self.out.buffer().extend_from_slice(rest);
        } else {
            self.out.buffer().extend_from_slice(answer);
        }
        Ok(())
    }

    /// Notes an answer, of which everything since `position` is a part.
    fn note(&mut self, line: &[u8], command: Option<Command>, position: u64) {
        let Some((_, log)) = &mut self.named else { return };
        let (sent, answer) = self.out.since(position);
        match (command, sent) {
            (_, 0) => log.answered(line, command, Some(answer)),
            // Its first line goes out before the body comes in.
            (Some(Command::Putfile), 2) => {
                log.answered(line, command, Some(&[b"0\n", answer].concat()));
            }
            _ => log.answered(line, command, None),
        }
    }

    /// Whether the session has a name, by which it can go on later.
    pub(crate) const fn is_named(&self) -> bool {
        self.named.is_some()
    }

    /// Whether anything is open.
    pub(crate) fn has_files(&self) -> bool {
        self.files.iter().any(Option::is_some)
    }

    /// Goes on as a session that may have been here before; its next request has this number.
    pub(crate) fn go_on(&mut self, lease: Lease, kept: Kept, next: u64) {
        let Kept { files, mut log } = kept;
        log.begin(next);
        self.files = files;
        self.named = Some((lease, log));
    }

    /// The connection has ended: what is open waits for another one, if it has a name.
    fn park(&mut self) {
        if let Some((lease, log)) = self.named.take() {
            lease.park(Kept { files: std::mem::take(&mut self.files), log });
        }
    }

    /// Sends `length` bytes of a file, from an offset or from its position, without copying them
    /// here. The header that promised them was sent: a file that shrank ends the connection.
    pub(crate) fn send_file(
        &mut self,
        file: &OpenFile,
        offset: Option<u64>,
        length: u64,
    ) -> Outcome {
        let (mut offset, mut left) = (offset, length);
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let sent = rustix::fs::sendfile(self.reader.get_ref(), file, offset.as_mut(), room);
            match sent {
                Ok(0) => return Err(Failure::hang_up("a file shrank while it was sent")),
                Ok(n) => {
                    let n = u64::try_from(n).unwrap_or(left);
                    left -= n;
                    self.moved.0 += n;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::Broken(error.into())),
            }
        }
        Ok(())
    }

    /// Sends the replies that are waiting.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush(self.reader.get_mut())
    }

    /// Fails if the client has left: what takes long and nobody waits for ends here.
    pub(crate) fn still_there(&self) -> Outcome {
        let events = PollFlags::RDHUP;
        let mut waiting = [PollFd::new(self.reader.get_ref(), events)];
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut waiting, Some(&now)) {
            Ok(1..) => Err(Failure::hang_up("the client left during a long request")),
            // Whether it is there will be seen when the reply is sent.
            _ => Ok(()),
        }
    }

    /// Makes room for a part of a long reply.
    pub(crate) fn flush_if_full(&mut self) -> io::Result<()> {
        if self.out.is_full() { self.flush() } else { Ok(()) }
    }

    /// Bytes of the body that were not read yet.
    pub(crate) const fn body_left(&self) -> u64 {
        self.body
    }

    /// Declares a body that the request's line did not: that of `putfile`.
    pub(crate) const fn expect_body(&mut self, length: u64) {
        self.body = length;
    }

    /// Reads the next part of the body, as much as `into` takes or is left.
    pub(crate) fn read_body<'b>(&mut self, into: &'b mut [u8]) -> Outcome<&'b [u8]> {
        let wanted = usize::try_from(self.body).unwrap_or(usize::MAX).min(into.len());
        let part = into.get_mut(..wanted).unwrap_or_default();
        self.be_patient(wanted)?;
        self.reader.read_exact_into(part)?;
        self.body -= u64::try_from(wanted).unwrap_or(0);
        self.stored(wanted);
        Ok(part)
    }

    /// Lends the buffer for a body of some length, at most [`Session::piece`] bytes of it.
    ///
    /// It comes back by [`Session::return_scratch`]; if it does not, the next is a new one.
    pub(crate) fn take_scratch(&mut self, length: u64) -> Vec<u8> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let wanted = usize::try_from(length).unwrap_or(PIECE).min(self.piece());
        if scratch.len() < wanted {
            scratch.resize(wanted, 0);
        }
        scratch
    }

    /// Takes the buffer back.
    pub(crate) fn return_scratch(&mut self, scratch: Vec<u8>) {
        self.scratch = scratch;
    }

    fn skip_body(&mut self) -> Outcome {
        if self.body > 0 {
            self.be_patient(usize::try_from(self.body).unwrap_or(usize::MAX))?;
            self.reader.skip(self.body)?;
            self.body = 0;
        }
        Ok(())
    }

    /// Before a body that has not arrived: sends the replies that the client may be waiting for,
    /// and waits as long as a transfer may stand still.
    pub(crate) fn be_patient(&mut self, wanted: usize) -> io::Result<()> {
        if self.reader.buffered().len() >= wanted {
            return Ok(());
        }
        self.flush()?;
        if !self.patient {
            self.reader.get_ref().set_patience(self.service.options.stalled)?;
            self.patient = true;
        }
        if !self.timed {
            self.timed = true;
            let stalled = self.service.options.stalled;
            match wanted {
                // Nobody knows how much will come.
                usize::MAX => self.reader.get_ref().complete_within(None),
                _ => self.reader.get_ref().expect_body(self.body, stalled),
            }
        }
        Ok(())
    }

    /// What the client may do in a directory.
    pub(crate) fn rights(&self, dir: BorrowedFd<'_>) -> Result<Rights, Errno> {
        let listed = self.service.acls.of(dir)?.rights_with(&self.who, &self.service.groups);
        let Some(ticket) = self.ticket else { return Ok(self.service.cut(listed, &self.who)) };
        // Read each time: the ticket may end, or be taken away.
        let ticket = match TicketStore::read(self.service.export.root(), ticket) {
            Ok(ticket) => ticket,
            Err(_) => return Ok(Rights::NONE),
        };
        let mask = ticket.mask(&self.service.export.path_of(dir)?);
        // What the superuser may by his own name, he does not lend.
        Ok(self.service.cut(listed.only(mask), b""))
    }

    /// Tells whether the client is the superuser himself, not the holder of a ticket of his.
    pub(crate) fn is_superuser(&self) -> bool {
        let superuser = self.service.options.superuser.as_deref();
        self.ticket.is_none() && superuser.is_some_and(|name| name.as_bytes() == self.who)
    }

    /// The list that governs an object: its own if it is a directory, else that of its directory.
    pub(crate) fn acl_of(&self, place: &Place<'_>) -> Result<Arc<Acl>, Errno> {
        if place.is(rustix::fs::FileType::Directory) {
            self.acl(place.reference()?.as_fd())
        } else {
            self.acl(place.dir.as_fd())
        }
    }

    /// The list that governs a directory.
    pub(crate) fn acl(&self, dir: BorrowedFd<'_>) -> Result<Arc<Acl>, Errno> {
        self.service.acls.of(dir)
    }

    /// Fails unless the client has rights in a directory.
    pub(crate) fn need(&self, dir: BorrowedFd<'_>, rights: Rights) -> Outcome {
        if self.rights(dir)?.has(rights) { Ok(()) } else { Err(Code::NotAuthorized.into()) }
    }

    /// What the client may do to an object: the rights in it if it is a directory, else those in
    /// the directory that holds it.
    pub(crate) fn rights_to(&self, place: &Place<'_>) -> Result<Rights, Errno> {
        if place.is(rustix::fs::FileType::Directory) && place.name != b"." {
            self.rights(place.reference()?.as_fd())
        } else {
            self.rights(place.dir.as_fd())
        }
    }

    /// Fails unless the client has rights to an object.
    pub(crate) fn need_to(&self, place: &Place<'_>, rights: Rights) -> Outcome {
        if self.rights_to(place)?.has(rights) { Ok(()) } else { Err(Code::NotAuthorized.into()) }
    }

    /// The client's descriptor.
    pub(crate) fn file(&self, fd: i64) -> Result<&Opened, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.files.get(fd));
        slot.and_then(Option::as_ref).ok_or(Errno::BADF)
    }

    /// Gives a file the lowest free descriptor.
    pub(crate) fn add_file(&mut self, mut file: Opened) -> Result<i64, Errno> {
        let open = self.files.iter().flatten().count();
        file.permit = Some(self.service.clients.permit(open).ok_or(Errno::MFILE)?);
        let free = self.files.iter().position(Option::is_none).unwrap_or(self.files.len());
        if free >= MAX_FDS {
            return Err(Errno::MFILE);
        }
        if free == self.files.len() {
            self.files.push(None);
        }
        if let Some(slot) = self.files.get_mut(free) {
            *slot = Some(file);
        }
        i64::try_from(free).map_err(|_| Errno::MFILE)
    }

    /// Tells whether [`Session::add_file`] would find room.
    pub(crate) fn has_room(&self) -> bool {
        let open = self.files.iter().flatten().count();
        open < MAX_FDS && self.service.clients.permit(open).is_some()
    }

    /// Takes a descriptor away.
    pub(crate) fn remove_file(&mut self, fd: i64) -> Result<Opened, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.files.get_mut(fd));
        slot.and_then(Option::take).ok_or(Errno::BADF)
    }
}
