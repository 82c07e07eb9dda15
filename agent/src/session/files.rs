//! [`SessionFiles`] and [`InlineFiles`]: the session as handlers see it, in its own process.

use super::{Session, Who};
use parrot_common::{Files, Reply, Request, Stop};

/// The session, asked on behalf of one guest; waits for servers.
#[derive(Debug, Clone)]
pub struct SessionFiles {
    session: Session,
    who: Who,
}

impl SessionFiles {
    /// The session for this guest.
    #[must_use]
    pub fn new(session: Session, who: Who) -> Self {
        Self { session, who }
    }
}

impl Files for SessionFiles {
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        self.session.call(self.who, request, out)
    }
}

/// The session, asked on behalf of one guest; what needs waiting is deferred.
#[derive(Debug, Clone)]
pub struct InlineFiles {
    session: Session,
    who: Who,
}

impl InlineFiles {
    /// The session for this guest.
    #[must_use]
    pub fn new(session: Session, who: Who) -> Self {
        Self { session, who }
    }
}

impl Files for InlineFiles {
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        self.session.try_call(self.who, request, out)
    }
}
