//! The Chirp wire format, once for the server and for the client driver.
//!
//! A Chirp connection is a sequence of requests and replies in the same order. A request is a line
//! of ASCII words (`pread 0 4096 0`), for some requests followed by a body whose length the line
//! tells. A reply starts with a line that holds one number (a result, or a negative [`Code`]),
//! followed by whatever [`ReplyShape`] the request has.
//!
//! ```text
//!   client                                server
//!   Request::encode ── line [+ body] ──▶  Reader::read_line, Request::parse
//!   Reader::read_number ◀── number line [+ lines or data] ── number::push_line, Stat::push_line …
//! ```
//!
//! - [`request`]: the table of requests; encoder and parser are made from the same rows.
//! - [`path`]: percent-encoding, clean-up of paths, the rule for symbolic link targets.
//! - [`code`]: reply codes and errno, in both directions.
//! - [`flags`]: the letters of `open`.
//! - [`stat`]: the attribute lines.
//! - [`mod@line`]: buffered reading of lines and exact binary bodies; gathered writing.
//! - [`number`]: decimal numbers.

pub mod code;
pub mod flags;
pub mod line;
pub mod number;
pub mod path;
pub mod request;
pub mod stat;

pub use code::Code;
pub use flags::OpenFlags;
pub use line::{LineError, Reader, send};
pub use path::{Dialect, LinkTarget, PathArg, Word};
pub use request::{Command, EncodeError, ParseError, ReplyShape, Request};
pub use stat::{Stat, StatFs};

/// The port a server listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 9094;

/// The longest line in bytes, without its line end.
pub const MAX_LINE: usize = 1023;

/// The longest path in bytes, after decoding.
pub const MAX_PATH: usize = 1023;

/// The largest body or reply of one read or write.
pub const MAX_TRANSFER: usize = 16 << 20;

/// The most descriptors that a connection may hold.
pub const MAX_FDS: usize = 1024;
