//! A layer that tells each operation, how long it took and how it ended.

use super::{Around, Op};
use crate::driver::Driver;
use crate::error::{Error, Result};
use std::fmt;
use std::time::{Duration, Instant};

/// One operation that has ended.
#[derive(Debug)]
pub struct Record<'a> {
    /// The server, as people name it.
    pub server: &'a str,
    /// The operation.
    pub op: &'a Op<'a>,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it failed, if it did.
    pub error: Option<&'a Error>,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, op, elapsed, error } = self;
        let path = String::from_utf8_lossy(op.path);
        write!(f, "{} {server}{path} {} us", op.name, elapsed.as_micros())?;
        match error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

/// Where records go.
pub type Sink = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// The layer.
pub struct Log {
    server: String,
    sink: Sink,
}

impl Log {
    /// Tells everything to `sink`, under the name `server`.
    #[must_use]
    pub fn new(server: impl Into<String>, sink: Sink) -> Self {
        Self { server: server.into(), sink }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Around for Log {
    fn call<T>(
        &self,
        _inner: &dyn Driver,
        op: &Op<'_>,
        run: &mut dyn FnMut() -> Result<T>,
        _done: fn() -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let result = run();
        let error = result.as_ref().err();
        (self.sink)(&Record { server: &self.server, op, elapsed: start.elapsed(), error });
        result
    }
}
