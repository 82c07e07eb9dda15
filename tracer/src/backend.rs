//! Where remote operations go: the session in this process, or a running one over its socket.

use crate::log::{self, Flag};
use parrot_agent::session::{Session, Who};
use parrot_common::client::{SessionClient, View};
use parrot_common::shadow::ShadowId;
use parrot_common::{Errno, Files, Reply, Request, Stop};
use std::time::Instant;

/// The way to the session.
#[derive(Debug, Clone)]
pub(crate) enum Backend {
    /// This process owns it.
    Own(Session),
    /// An agent owns it; its directory.
    Joined(&'static [u8]),
}

/// One user's end of the way.
#[derive(Debug)]
pub(crate) struct Way {
    /// The guest on whose behalf is asked.
    pub(crate) who: i32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// Answers without waiting, or not at all.
    Inline(Session),
    /// Waits.
    Session(Session),
    /// Waits, over a socket.
    Client(Box<SessionClient<'static>>),
    /// Cannot answer without waiting.
    Later,
}

impl Backend {
    /// For the loop, which never waits.
    pub(crate) fn inline(&self) -> Way {
        let kind = match self {
            Self::Own(session) => Kind::Inline(session.clone()),
            Self::Joined(_) => Kind::Later,
        };
        Way { who: 0, kind }
    }

    /// For a worker.
    pub(crate) fn waiting(&self) -> Way {
        let kind = match self {
            Self::Own(session) => Kind::Session(session.clone()),
            Self::Joined(dir) => Kind::Client(Box::new(SessionClient::new(dir, None))),
        };
        Way { who: 0, kind }
    }
}

impl Files for Way {
    fn call(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        if !log::on(Flag::Remote) {
            return self.ask(request, out);
        }
        let begin = Instant::now();
        let result = self.ask(request, out);
        if result != Err(Errno::DEFER.into()) {
            let took = begin.elapsed();
            log::line(Flag::Remote, self.who, || {
                let Request { op, id, a, .. } = request;
                let what = format!("{} {:?} {id:x}", op.name(), String::from_utf8_lossy(a));
                match result {
                    Ok(Reply { value, len, .. }) => {
                        format!("{what} = {value} ({len} bytes) in {took:?}")
                    }
                    Err(stop) => format!("{what} fails: {stop:?} in {took:?}"),
                }
            });
        }
        result
    }

    fn view(&mut self, id: ShadowId) -> Option<View<'_>> {
        match &mut self.kind {
            Kind::Client(files) => files.view(id),
            Kind::Inline(_) | Kind::Session(_) | Kind::Later => None,
        }
    }
}

impl Way {
    fn ask(&mut self, request: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let who = Who { pid: self.who };
        match &mut self.kind {
            Kind::Inline(session) => session.try_call(who, request, out),
            Kind::Session(session) => session.call(who, request, out),
            Kind::Client(files) => files.call(request, out),
            Kind::Later => Err(Errno::DEFER.into()),
        }
    }
}
