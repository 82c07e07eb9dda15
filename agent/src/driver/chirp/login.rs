//! Making a connection: address, socket, login.
//!
//! The client names a method, the server answers `yes` or `no`, and after a `yes` the method has
//! its own exchange. A server that lets us in ends with three lines: `yes`, method, subject.

use super::config::{ChirpConfig, Method};
use super::stream::{Stream, Tally, add};
use super::ticket;
use super::trouble::Trouble;
use crate::error::Kind;
use nix::sys::socket::{setsockopt, sockopt};
use parrot_chirp::wire::{Reader, send};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Connects and logs in, `first` being the method that worked before.
pub(super) fn connect(
    config: &ChirpConfig,
    tally: &Arc<Tally>,
    first: Option<Method>,
) -> Result<(Reader<Stream>, Method), Trouble> {
    let tcp = dial(config).map_err(not_sent)?;
    add(&tally.connections, 1);
    let mut reader = Reader::new(Stream::new(tcp, Arc::clone(tally)));
    let method = log_in(&mut reader, config, first).map_err(not_sent)?;
    Ok((reader, method))
}

/// Whatever goes wrong before the first request, that request was not sent.
pub(super) fn not_sent(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Broken { kind, cause, .. } => Trouble::Broken { kind, sent: false, cause },
        other => other,
    }
}

/// A connected socket with its options.
fn dial(config: &ChirpConfig) -> Result<TcpStream, Trouble> {
    let unreachable = |cause: String| Trouble::Broken {
        kind: Kind::Unreachable,
        sent: false,
        cause: cause.into(),
    };
    let addresses = (config.host.as_str(), config.port).to_socket_addrs().map_err(unresolved)?;
    let deadline = Instant::now() + config.connect_timeout;
    let mut trouble = unreachable("the name has no address".to_owned());
    for address in addresses {
        match try_address(address, config, deadline) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => trouble = Trouble::stream(&error, false),
        }
    }
    Err(trouble)
}

/// A name that does not exist, or nobody to ask: the resolver's words are all that tells.
fn unresolved(error: io::Error) -> Trouble {
    let text = error.to_string();
    let kind = if text.contains("Temporary failure") { Kind::Unreachable } else { Kind::NoHost };
    Trouble::Broken { kind, sent: false, cause: text.into() }
}

fn try_address(
    address: SocketAddr,
    config: &ChirpConfig,
    deadline: Instant,
) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let tcp = TcpStream::connect_timeout(&address, left)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(config.silence))?;
    tcp.set_write_timeout(Some(config.silence))?;
    setsockopt(&tcp, sockopt::KeepAlive, &true)?;
    setsockopt(&tcp, sockopt::TcpKeepIdle, &30)?;
    setsockopt(&tcp, sockopt::TcpKeepInterval, &10)?;
    setsockopt(&tcp, sockopt::TcpKeepCount, &3)?;
    Ok(tcp)
}

/// Tries the methods in their order.
fn log_in(
    reader: &mut Reader<Stream>,
    config: &ChirpConfig,
    first: Option<Method>,
) -> Result<Method, Trouble> {
    let mut story = String::new();
    let others = config.methods.iter().copied().filter(|method| Some(*method) != first);
    for method in first.into_iter().chain(others) {
        match attempt(reader, config, method)? {
            Ok(()) => return Ok(method),
            Err(reason) => {
                let comma = if story.is_empty() { "" } else { ", " };
                story = format!("{story}{comma}{}: {reason}", method.name());
            }
        }
    }
    Err(Trouble::Broken { kind: Kind::Login, sent: false, cause: format!("tried {story}").into() })
}

/// One method. The inner error says why the server, or we, did not want it.
fn attempt(
    reader: &mut Reader<Stream>,
    config: &ChirpConfig,
    method: Method,
) -> Result<Result<(), String>, Trouble> {
    let mut keys = Vec::new();
    if method == Method::Ticket {
        let (usable, troubles) = ticket::load(&config.tickets);
        if usable.is_empty() {
            let none = || "there is none (CHIRP_CLIENT_TICKETS)".to_owned();
            return Ok(Err(troubles
                .into_iter()
                .reduce(|a, b| format!("{a}; {b}"))
                .unwrap_or_else(none)));
        }
        keys = usable;
    }
    say(reader, method.name())?;
    if !verdict(reader)? {
        return Ok(Err("not offered".to_owned()));
    }
    let passed = match method {
        Method::Hostname | Method::Address => verdict(reader)?,
        Method::Ticket => ticket::answer(reader, &keys)?,
        Method::Unix => match answer_challenge(reader)? {
            Ok(passed) => passed,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    if !passed {
        return Ok(Err("refused".to_owned()));
    }
    if !verdict(reader)? {
        return Ok(Err("refused".to_owned()));
    }
    if reader.read_line()? != method.name().as_bytes() {
        return Err(Trouble::protocol("the server let us in by another method"));
    }
    // The subject: who we are there.
    reader.read_line()?;
    Ok(Ok(()))
}

/// Shows who we are by making the file that the server names.
///
/// The server's word is not trusted further than that: an existing file is never touched, and
/// the name must be of the kind that servers use for this.
fn answer_challenge(reader: &mut Reader<Stream>) -> Result<Result<bool, String>, Trouble> {
    let line = reader.read_line()?.to_vec();
    let path = Path::new(OsStr::from_bytes(&line));
    let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
    let made = if path.is_absolute() && name.starts_with(b"challenge") {
        File::options().write(true).create_new(true).mode(0o600).open(path)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    };
    match made {
        Ok(_) => {
            let passed = say(reader, "yes").and_then(|()| verdict(reader));
            // The server may have removed it already.
            let _ = std::fs::remove_file(path);
            Ok(Ok(passed?))
        }
        Err(error) => {
            // The server says nothing to a `no`.
            say(reader, "no")?;
            Ok(Err(format!("cannot make {}: {error}", path.display())))
        }
    }
}

fn say(reader: &mut Reader<Stream>, word: &str) -> Result<(), Trouble> {
    let line = format!("{word}\n");
    send(reader.get_mut(), line.as_bytes(), &[]).map_err(|error| Trouble::stream(&error, false))
}

/// `yes` or `no`; a peer that says anything else does not speak Chirp.
fn verdict(reader: &mut Reader<Stream>) -> Result<bool, Trouble> {
    match reader.read_line()? {
        b"yes" => Ok(true),
        b"no" => Ok(false),
        _ => Err(Trouble::protocol("no Chirp server: it does not answer a login")),
    }
}
