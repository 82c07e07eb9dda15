//! Where remote operations go: the session in this process, or a running one over its socket.

use parrot_agent::session::{InlineFiles, Session, SessionFiles};
use parrot_common::client::{SessionClient, View};
use parrot_common::{Errno, Files, Reply, Request, Stop};
use std::sync::Arc;

/// The way to the session.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// This process owns it.
    Own(Arc<Session>),
    /// An agent owns it; its directory.
    Joined(&'static [u8]),
}

/// One user's end of the way.
#[derive(Debug)]
pub(crate) enum Way {
    /// Answers without waiting, or not at all.
    Inline(InlineFiles),
    /// Waits.
    Session(SessionFiles),
    /// Waits, over a socket.
    Client(Box<SessionClient<'static>>),
    /// Cannot answer without waiting.
    Later,
}

impl Backend {
    /// For the loop, which never waits.
    pub(crate) fn inline(&self) -> Way {
        match self {
            Self::Own(session) => Way::Inline(InlineFiles::new(Arc::clone(session))),
            Self::Joined(_) => Way::Later,
        }
    }

    /// For a worker.
    pub(crate) fn waiting(&self) -> Way {
        match self {
            Self::Own(session) => Way::Session(SessionFiles::new(Arc::clone(session))),
            Self::Joined(dir) => Way::Client(Box::new(SessionClient::new(dir, None))),
        }
    }
}

impl Files for Way {
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        match self {
            Self::Inline(files) => files.call(request, out),
            Self::Session(files) => files.call(request, out),
            Self::Client(files) => files.call(request, out),
            Self::Later => Err(Errno::DEFER.into()),
        }
    }

    fn view(&mut self, id: parrot_common::shadow::ShadowId) -> Option<View<'_>> {
        match self {
            Self::Inline(files) => files.view(id),
            Self::Session(files) => files.view(id),
            Self::Client(files) => files.view(id),
            Self::Later => None,
        }
    }
}
