//! `session`: a client names its session, to be able to go on with it on another connection.

use std::sync::Arc;

use crate::acl::Rights;
use crate::failure::Outcome;
use crate::report::Subject;
use crate::session::Session;
use crate::wire::Code;

/// How many hexadecimal digits a key has: 128 random bits.
const DIGITS: usize = 32;

/// `session`: 0 for a new session, 1 for one that goes on. The request itself is not counted.
pub(crate) fn session(session: &mut Session, _: Rights, key: &[u8], next: i64) -> Outcome {
    let text = std::str::from_utf8(key).ok().filter(|text| text.len() == DIGITS);
    let key = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    let next = u64::try_from(next).ok().filter(|next| *next > 0);
    let (Some(key), Some(next)) = (key, next) else { return Err(Code::InvalidRequest.into()) };
    if session.is_named() || session.has_files() {
        return Err(Code::InvalidRequest.into());
    }
    let service = Arc::clone(&session.service);
    let stream = session.reader.get_ref().clone();
    let (lease, kept) = service.parking.attach(&session.name, key, &stream)?;
    let goes_on = kept.is_some();
    session.go_on(lease, kept.unwrap_or_default(), next);
    session.out.number(i64::from(goes_on));
    service.reports.line(Subject::Tcp, || {
        let who = String::from_utf8_lossy(&session.who);
        if goes_on { format!("{who} goes on at {next}") } else { format!("{who} begins a session") }
    });
    Ok(())
}
