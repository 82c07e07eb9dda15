//! Groups: lists of identities that entries `group:NAME` of access control lists stand for.
//!
//! `-G URL` says where they are: a directory (a path, or `file://…`), or a web server (`http://…`).
//! A group is the file `NAME` there, an identity a line; a line without a colon is an account, whose
//! identity is `unix:` and that name.
//!
//! What was read counts for a while (`-T`), then it is read again; a group that cannot be read has no
//! members. Everything is bounded: the groups that are kept, their size, the time of reading. A
//! group's lock is held while it is read, so that many clients ask for it once.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Groups that are kept.
const MAX_GROUPS: usize = 256;

/// The largest list of a group, in bytes.
const MAX_LIST: u64 = 1 << 20;

/// How long a web server may take, all in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a group that could not be read has no members, at most.
const FAILED: Duration = Duration::from_secs(15);

/// The longest name.
const MAX_NAME: usize = 128;

/// What entries that name a group begin with.
pub(crate) const PREFIX: &[u8] = b"group:";

/// Where the lists are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a directory.
    Directory(PathBuf),
    /// At a web server: `HOST[:PORT]`, and the path with `/` at both ends.
    Web {
        /// As in the URL.
        host: String,
        /// Without the name of a group.
        path: String,
    },
}

impl Source {
    /// Reads a URL or a path.
    ///
    /// # Errors
    /// Another scheme; a message for the user.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(rest) = url.strip_prefix("http://") {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let path = format!("/{path}");
            let path = if path.ends_with('/') { path } else { format!("{path}/") };
            if host.is_empty() || url.bytes().any(|byte| !byte.is_ascii_graphic()) {
                return Err("expected http://HOST/PATH".to_owned());
            }
            return Ok(Self::Web { host: host.to_owned(), path });
        }
        let path = url.strip_prefix("file://").unwrap_or(url);
        if path.contains("://") {
            return Err("groups are read from file:// and http:// only".to_owned());
        }
        Ok(Self::Directory(path.into()))
    }

    /// Reads the list of a group.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Directory(dir) => {
                let file = std::fs::File::open(dir.join(name))?;
                whole(file.take(MAX_LIST + 1))
            }
            Self::Web { host, path } => fetch(host, &format!("{path}{name}")),
        }
    }
}

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    source: Option<Source>,
    keep: Duration,
    known: Mutex<HashMap<String, Arc<Mutex<Option<Group>>>>>,
}

#[derive(Debug)]
struct Group {
    members: HashSet<Vec<u8>>,
    until: Instant,
}

impl Groups {
    /// Groups of a source, read again after `keep`.
    pub(crate) fn new(source: Option<Source>, keep: Duration) -> Self {
        Self { source, keep, known: Mutex::default() }
    }

    /// Tells whether an identity is a member of the group that an entry `group:NAME` names.
    pub(crate) fn has(&self, entry: &[u8], who: &[u8]) -> bool {
        let Some(source) = &self.source else { return false };
        let Some(name) = entry.strip_prefix(PREFIX).and_then(plain) else { return false };
        let slot = self.slot(name);
        let mut slot = slot.lock();
        let group = match slot.take().filter(|group| Instant::now() < group.until) {
            Some(group) => group,
            None => self.load(source, name),
        };
        slot.insert(group).members.contains(who)
    }

    fn slot(&self, name: &str) -> Arc<Mutex<Option<Group>>> {
        let mut known = self.known.lock();
        if known.len() >= MAX_GROUPS && !known.contains_key(name) {
            known.clear();
        }
        Arc::clone(known.entry(name.to_owned()).or_default())
    }

    fn load(&self, source: &Source, name: &str) -> Group {
        match source.read(name) {
            Ok(text) => Group { members: members(&text), until: Instant::now() + self.keep },
            Err(_) => {
                let until = Instant::now() + self.keep.min(FAILED);
                Group { members: HashSet::new(), until }
            }
        }
    }
}

/// A name that is one harmless component of a path: clients choose it.
fn plain(name: &[u8]) -> Option<&str> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-@+".contains(byte);
    let plain = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(allowed);
    let name = std::str::from_utf8(name).ok().filter(|_| plain)?;
    (!name.starts_with('.')).then_some(name)
}

/// The identities of a list.
fn members(text: &[u8]) -> HashSet<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| !line.is_empty())
        .map(|line| if line.contains(&b':') { line.to_vec() } else { [b"unix:", line].concat() })
        .collect()
}

/// Reads what must not be more than a list may be.
fn whole(mut from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.read_to_end(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_LIST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Gets a file from a web server (HTTP/1.0, RFC 1945): the server says it all and closes.
fn fetch(host: &str, path: &str) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connect(host, deadline)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    loop {
        // Each read may wait; all together may not wait for longer than this.
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut piece)? {
            0 => break,
            n => answer.extend_from_slice(piece.get(..n).unwrap_or_default()),
        }
        if u64::try_from(answer.len()).unwrap_or(u64::MAX) > 2 * MAX_LIST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    let body = body(&answer).ok_or(io::ErrorKind::InvalidData)?;
    whole(body)
}

fn connect(host: &str, deadline: Instant) -> io::Result<TcpStream> {
    let named = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let addresses = if named { host.to_socket_addrs() } else { (host, 80).to_socket_addrs() }?;
    let mut failure = io::ErrorKind::NotFound.into();
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => {
                stream.set_write_timeout(Some(left(deadline)?))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The body of a web server's answer, if it says 200 and is all there.
fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut status = lines.next()?.split_ascii_whitespace();
    if !status.next()?.starts_with("HTTP/") || status.next()? != "200" {
        return None;
    }
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            let length: usize = value.trim().parse().ok()?;
            return body.get(..length);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let web = |host: &str, path: &str| Source::Web { host: host.into(), path: path.into() };
        assert_eq!(Source::parse("http://h:80/a/b"), Ok(web("h:80", "/a/b/")));
        assert_eq!(Source::parse("http://h"), Ok(web("h", "/")));
        assert_eq!(Source::parse("file:///g"), Ok(Source::Directory("/g".into())));
        assert_eq!(Source::parse("/g"), Ok(Source::Directory("/g".into())));
        for wrong in ["https://h/", "ftp://h/", "http://", "http:///x", "http://h/\r\nX: y"] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_whole_answers_count() {
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nx\ny\n"), Some(b"x\ny\n".as_slice()));
        assert_eq!(
            body(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nxyz"),
            Some(b"xy".as_slice())
        );
        for wrong in [
            "",
            "HTTP/1.0 404 No\r\n\r\nunix:ann\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nunix:a",
            "HTTP/1.0 200 OK\r\n",
            "unix:ann\r\n\r\n",
        ] {
            assert_eq!(body(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn members_and_names() {
        let found = members(b"unix:ann\nbob\r\n\nhostname:a.org\n");
        for member in ["unix:ann", "unix:bob", "hostname:a.org"] {
            assert!(found.contains(member.as_bytes()), "{member}");
        }
        assert_eq!(found.len(), 3);
        assert_eq!(plain(b"staff.2"), Some("staff.2"));
        for wrong in ["", ".", "..", "../x", "a/b", "a b", ".hidden", "x;rm", &"x".repeat(200)] {
            assert_eq!(plain(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_group_is_read_again_after_a_while() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("staff");
        std::fs::write(&file, "ann\n").unwrap();
        let source = Source::Directory(dir.path().to_owned());
        let (long, short) = (
            Groups::new(Some(source.clone()), Duration::from_secs(1000)),
            Groups::new(Some(source), Duration::ZERO),
        );
        assert!(long.has(b"group:staff", b"unix:ann") && short.has(b"group:staff", b"unix:ann"));
        assert!(!long.has(b"group:none", b"unix:ann"));
        std::fs::write(&file, "bob\n").unwrap();
        assert!(long.has(b"group:staff", b"unix:ann"), "kept");
        assert!(!short.has(b"group:staff", b"unix:ann"));
        std::fs::remove_file(&file).unwrap();
        assert!(!short.has(b"group:staff", b"unix:bob"), "a group that is gone has no members");
        assert!(!Groups::new(None, Duration::ZERO).has(b"group:staff", b"unix:ann"));
    }
}
