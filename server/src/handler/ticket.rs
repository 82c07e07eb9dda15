//! Tickets: registering, changing and telling them. What they are: [`ticket`](crate::ticket).

use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::acl::Rights;
use crate::failure::Outcome;
use crate::session::Session;
use crate::store::Follow;
use crate::ticket::file::{Ticket, can_be_kept};
use crate::ticket::key::PublicKey;
use crate::ticket::store::{MAX_MASKS, TicketStore, now};
use crate::ticket::{self, Name};
use crate::wire::{Code, number};

/// The largest public key that is read, in bytes of text: 16384 bits need half of it.
const MAX_KEY: i64 = 8 << 10;

/// The identity that stands for a word of a request.
fn subject<'s>(session: &'s Session, word: &'s [u8]) -> &'s [u8] {
    if word == b"self" { &session.who } else { word }
}

/// The ticket that a request names.
fn named(word: &[u8]) -> Outcome<Name> {
    Ok(Name::of_identity(word).ok_or(Code::InvalidRequest)?)
}

/// Fails unless the client may see or change a ticket: its owner may, also by a ticket, and the
/// superuser.
fn need_owner(session: &Session, ticket: &Ticket) -> Result<(), Errno> {
    let owner = ticket.owner == session.who || session.is_superuser();
    if owner { Ok(()) } else { Err(Errno::ACCESS) }
}

/// Fails on a server that changes nothing.
fn need_changes(session: &Session) -> Outcome {
    if session.service.options.read_only { Err(Code::NotAuthorized.into()) } else { Ok(()) }
}

/// `ticket_register`: keeps a public key. The ticket gives no rights before `ticket_modify`.
pub(crate) fn register(
    session: &mut Session,
    _: Rights,
    word: &[u8],
    seconds: i64,
    length: i64,
) -> Outcome {
    let owner = subject(session, word).to_vec();
    need_changes(session)?;
    if owner != session.who && !session.is_superuser() {
        return Err(Code::NotAuthorized.into());
    }
    if !(0..=MAX_KEY).contains(&length) || seconds <= 0 || !can_be_kept(&owner) {
        return Err(Code::InvalidRequest.into());
    }
    let mut scratch = session.take_scratch(session.body_left());
    let key = session.read_body(&mut scratch)?.to_vec();
    session.return_scratch(scratch);
    if PublicKey::parse(&key).is_err() {
        return Err(Code::InvalidRequest.into());
    }
    let service = Arc::clone(&session.service);
    let root = service.export.root();
    let mut end = service.tickets.end(seconds);
    if let Some(own) = session.ticket {
        // A ticket's tickets end with it.
        end = end.min(TicketStore::read(root, own)?.end);
    }
    let masks = vec![(b"/".to_vec(), Rights::NONE)];
    service.tickets.add(root, &Ticket { owner, key, end, masks })?;
    session.out.number(0);
    Ok(())
}

/// `ticket_modify`: sets what a ticket may in a directory and below; the caller must have as much.
pub(crate) fn modify(
    session: &mut Session,
    _: Rights,
    word: &[u8],
    path: &[u8],
    rights: &[u8],
) -> Outcome {
    let name = named(word)?;
    let rights = Rights::parse(rights).ok_or(Code::InvalidRequest)?;
    need_changes(session)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    session.need_to(&place, rights)?;
    place.existing()?;
    if !place.is(FileType::Directory) {
        return Err(Code::NotDirectory.into());
    }
    // By its real name, because that is how it will be met.
    let directory = service.export.path_of(place.reference()?)?;
    if !can_be_kept(&directory) {
        return Err(Code::InvalidRequest.into());
    }
    service.tickets.change(service.export.root(), name, |ticket| {
        need_owner(session, ticket)?;
        ticket.set_mask(&directory, rights);
        if ticket.masks.len() > MAX_MASKS { Err(Errno::DQUOT) } else { Ok(()) }
    })?;
    session.out.number(0);
    Ok(())
}

/// `ticket_delete`: forgets a ticket, also one that has ended.
pub(crate) fn delete(session: &mut Session, _: Rights, word: &[u8]) -> Outcome {
    let name = named(word)?;
    need_changes(session)?;
    let service = Arc::clone(&session.service);
    let root = service.export.root();
    need_owner(session, &TicketStore::read_any(root, name)?)?;
    service.tickets.remove(root, name)?;
    session.out.number(0);
    Ok(())
}

/// `ticket_list`: 0, a length and an identity for each valid ticket, `0` on a line.
pub(crate) fn list(session: &mut Session, _: Rights, word: &[u8]) -> Outcome {
    let owner = subject(session, word);
    if owner != session.who && !session.is_superuser() {
        return Err(Code::NotAuthorized.into());
    }
    let owner = if owner == b"all" { None } else { Some(owner) };
    let names = TicketStore::all_of(session.service.export.root(), owner)?;
    session.out.number(0);
    for name in names {
        session.out.data(&ticket::identity(name));
    }
    session.out.number(0);
    Ok(())
}

/// `ticket_get`: 0, owner and public key with their lengths, the seconds left, the masks, `0`.
pub(crate) fn get(session: &mut Session, _: Rights, word: &[u8]) -> Outcome {
    let name = named(word)?;
    let read = TicketStore::read(session.service.export.root(), name);
    // As the stock server has it.
    let ticket = read.map_err(|_| Code::InvalidRequest)?;
    need_owner(session, &ticket)?;
    session.out.number(0);
    session.out.data(&ticket.owner);
    session.out.data(&ticket.key);
    session.out.number(ticket.end.saturating_sub(now()).max(0));
    let out = session.out.buffer();
    for (directory, rights) in &ticket.masks {
        out.extend_from_slice(directory);
        out.push(b' ');
        rights.push_letters(out);
        out.push(b'\n');
    }
    number::push_line(out, 0);
    Ok(())
}
