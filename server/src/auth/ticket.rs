//! The method `ticket`: the client holds the private key of a ticket that is known here.
//!
//! ```text
//!   C: NAME                32 hexadecimal digits, or `==` when it has no more tickets
//!   S: 64, 64 bytes        or `declined`, and the next name is read
//!   C: N, N bytes          the signature
//!   S: success             or `failure`, and the next name is read
//! ```

use super::Dialogue;
use crate::failure::{Failure, Outcome};
use crate::ticket::key::{CHALLENGE, MAX_SIGNATURE, PublicKey, challenge};
use crate::ticket::{Name, TicketStore};
use crate::wire::number;

/// Names that are looked up for one client.
const MAX_NAMES: usize = 256;

/// Runs the method's exchange; `None` if the client holds no ticket that is known.
pub(super) fn subject(dialogue: &mut Dialogue<'_>) -> Outcome<Option<(Vec<u8>, Name)>> {
    for _ in 0..MAX_NAMES {
        let line = dialogue.hear()?;
        let Some(name) = Name::parse(&line) else {
            if line != b"==" {
                // The stock client goes on with its next method after a `failure`.
                dialogue.heard_already(line);
            }
            return Ok(None);
        };
        let ticket = TicketStore::read(dialogue.service.export.root(), name);
        let known = ticket
            .ok()
            .and_then(|ticket| PublicKey::parse(&ticket.key).ok().map(|key| (ticket.owner, key)));
        let Some((owner, key)) = known else {
            dialogue.say(b"declined");
            continue;
        };
        if holds(dialogue, &key)? {
            dialogue.say(b"success");
            return Ok(Some((owner, name)));
        }
        dialogue.say(b"failure");
    }
    Err(Failure::hang_up("too many tickets"))
}

/// Lets the client prove that it holds the private key.
fn holds(dialogue: &mut Dialogue<'_>, key: &PublicKey) -> Outcome<bool> {
    let challenge = challenge()?;
    dialogue.say(CHALLENGE.to_string().as_bytes());
    dialogue.out.buffer().extend_from_slice(&challenge);
    let line = dialogue.hear()?;
    let length = number::parse(&line).and_then(|length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| *length <= MAX_SIGNATURE) else {
        return Err(Failure::hang_up("no signature"));
    };
    let mut signature = vec![0; length];
    dialogue.reader.read_exact_into(&mut signature)?;
    Ok(key.verify(&challenge, &signature))
}
