//! Where a server is and how to get in.

use crate::driver::Config;
use crate::error::{Error, Kind, Result};
use parrot_chirp::wire::DEFAULT_PORT;
use parrot_common::Errno;
use std::path::PathBuf;
use std::time::Duration;

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// By a file that only this user can have made.
    Unix,
    /// By the key of a ticket.
    Ticket,
    /// By the host name of our address.
    Hostname,
    /// By our address.
    Address,
}

impl Method {
    /// All methods, in the order of trying.
    pub(super) const ALL: [Self; 4] = [Self::Unix, Self::Ticket, Self::Hostname, Self::Address];

    /// The name on the wire.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Ticket => "ticket",
            Self::Hostname => "hostname",
            Self::Address => "address",
        }
    }
}

/// Everything a connection is made from.
#[derive(Debug, Clone)]
pub(super) struct ChirpConfig {
    /// Name or address.
    pub(super) host: String,
    /// Port.
    pub(super) port: u16,
    /// Login methods, in order.
    pub(super) methods: Vec<Method>,
    /// Files of tickets, in the order of trying.
    pub(super) tickets: Vec<PathBuf>,
    /// See [`Config`].
    pub(super) silence: Duration,
    /// See [`Config`].
    pub(super) keep_alive: Duration,
    /// See [`Config`].
    pub(super) connect_timeout: Duration,
    /// See [`Config`].
    pub(super) connections: usize,
}

impl ChirpConfig {
    /// Reads `HOST[:PORT]` and the user's choices.
    ///
    /// # Errors
    /// No host, a port that is no number, or only login methods that this driver does not have.
    pub(super) fn new(host: &str, config: &Config) -> Result<Self> {
        if !host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[') {
            // Programs look for `.git` and the like in every directory above their own.
            return Err(Error::remote(Errno::ENOENT, "connect", format!("chirp://{host}")));
        }
        let (name, port) = split(host).ok_or_else(|| {
            let cause = "a server is HOST, HOST:PORT, ADDRESS or [ADDRESS]:PORT";
            Error::new(Kind::NoHost, "connect", format!("chirp://{host}"), cause)
        })?;
        let known = |name: &String| Method::ALL.into_iter().find(|method| method.name() == name);
        let mut methods: Vec<Method> = config.auth.iter().filter_map(known).collect();
        if config.auth.is_empty() {
            methods.extend(Method::ALL);
        }
        if methods.is_empty() {
            let asked = config.auth.join(", ");
            let cause = format!("asked for {asked}; there are unix, ticket, hostname, address");
            return Err(Error::new(Kind::Login, "connect", format!("chirp://{host}"), cause));
        }
        Ok(Self {
            host: name.to_owned(),
            port,
            methods,
            tickets: config.tickets.clone(),
            silence: config.silence.max(Duration::from_millis(1)),
            keep_alive: config.keep_alive.max(Duration::from_millis(1)),
            connect_timeout: config.connect_timeout.max(Duration::from_millis(1)),
            connections: config.connections.max(1),
        })
    }

    /// The server for people.
    pub(super) fn server(&self) -> String {
        let Self { host, port, .. } = self;
        match (host.contains(':'), *port == DEFAULT_PORT) {
            (true, false) => format!("chirp://[{host}]:{port}"),
            (true, true) => format!("chirp://[{host}]"),
            (false, false) => format!("chirp://{host}:{port}"),
            (false, true) => format!("chirp://{host}"),
        }
    }
}

/// Splits `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address.
fn split(host: &str) -> Option<(&str, u16)> {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (name, rest) = rest.split_once(']')?;
        match rest {
            "" => (name, None),
            _ => (name, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match host.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (host, None),
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).ok()?;
    (!name.is_empty() && port != 0).then_some((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(split("h"), Some(("h", 9094)));
        assert_eq!(split("h.example:12"), Some(("h.example", 12)));
        assert_eq!(split("127.0.0.1:9000"), Some(("127.0.0.1", 9000)));
        assert_eq!(split("::1"), Some(("::1", 9094)));
        assert_eq!(split("[::1]"), Some(("::1", 9094)));
        assert_eq!(split("[::1]:77"), Some(("::1", 77)));
        for wrong in ["", ":1", "h:", "h:x", "h:0", "h:70000", "[::1", "[::1]x", "[]:1"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn login_methods_in_the_users_order() {
        let auth = |names: &[&str]| Config {
            auth: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Config::default()
        };
        let methods = |names: &[&str]| ChirpConfig::new("h", &auth(names)).map(|c| c.methods);
        assert_eq!(methods(&[]).unwrap(), Method::ALL);
        let wanted = [Method::Address, Method::Unix];
        assert_eq!(methods(&["address", "kerberos", "unix"]).unwrap(), wanted);
        assert_eq!(methods(&["kerberos"]).unwrap_err().kind(), Kind::Login);
    }

    #[test]
    fn servers_for_people() {
        let server = |host| ChirpConfig::new(host, &Config::default()).unwrap().server();
        assert_eq!(server("h:9094"), "chirp://h");
        assert_eq!(server("[::1]:1"), "chirp://[::1]:1");
    }
}
