//! A session over a directory of this machine, and calls on it as handlers make them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "helpers of tests, of which each test program uses a part"
)]

use parrot_agent::session::Limits;
use parrot_agent::{Session, SessionConfig, Who};
use parrot_common::attr::ATTR_LEN;
use parrot_common::mountlist::Builder;
use parrot_common::shadow::{Kind, parse_link};
use parrot_common::{Attr, Errno, Name, Op, Reply, Request, Stop};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with its value.
pub(crate) struct Temp(pub(crate) PathBuf);

impl Temp {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("parrot-session-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles a mountlist.
pub(crate) fn table(list: &str) -> Vec<u8> {
    let mut out = vec![0; 64 << 10];
    let mut builder = Builder::new(&mut out);
    builder.add_text(list.as_bytes(), b"list").unwrap_or_else(|_| panic!("mountlist"));
    let len = builder.finish().unwrap();
    out.truncate(len);
    out
}

/// A session, the directory it shows as `/r`, and its own.
pub(crate) struct World {
    pub(crate) session: Session,
    pub(crate) remote: PathBuf,
    pub(crate) temp: Temp,
}

/// What an open gave.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) file: File,
    pub(crate) id: u64,
    pub(crate) kind: Kind,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("", 1 << 20)
    }

    /// `options` of the mount; files up to `limit` are complete.
    pub(crate) fn with(options: &str, limit: u64) -> Self {
        let temp = Temp::new();
        let remote = temp.0.join("remote");
        std::fs::create_dir(&remote).unwrap();
        Self::over(temp, &remote, options, limit)
    }

    pub(crate) fn over(temp: Temp, remote: &Path, options: &str, limit: u64) -> Self {
        let list = format!("/r /local/-{} {options}\n", remote.display());
        Self::listed(temp, remote, &list, limit)
    }

    /// With a mountlist of its own.
    pub(crate) fn listed(temp: Temp, remote: &Path, list: &str, limit: u64) -> Self {
        let session = Session::open(SessionConfig {
            dir: temp.0.join("s"),
            table: table(list),
            driver: parrot_agent::driver::Config::default(),
            limits: Limits { complete_limit: limit, ..Limits::default() },
            notify: Some(std::sync::Arc::new(|text| println!("notified: {text}"))),
        })
        .unwrap();
        Self { session, remote: remote.to_owned(), temp }
    }

    pub(crate) fn there(&self, name: &str) -> PathBuf {
        self.remote.join(name)
    }

    /// Makes a file on the server, behind the session's back, with an old time.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.there(name), bytes).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        File::options().write(true).open(self.there(name)).unwrap().set_modified(old).unwrap();
    }

    pub(crate) fn call(&self, request: Request<'_>) -> Result<(Reply, Vec<u8>), Errno> {
        let mut out = vec![0; 1 << 16];
        match self.session.call(Who { pid: 1 }, &request, &mut out) {
            Ok(reply) => {
                out.truncate(reply.len);
                Ok((reply, out))
            }
            Err(Stop::Fail(errno)) => Err(errno),
            Err(Stop::Redirect(len)) => {
                panic!("redirect to {}", String::from_utf8_lossy(&out[..len]))
            }
        }
    }

    pub(crate) fn redirect(&self, request: Request<'_>) -> String {
        let mut out = vec![0; 1 << 16];
        match self.session.call(Who { pid: 1 }, &request, &mut out) {
            Err(Stop::Redirect(len)) => String::from_utf8_lossy(&out[..len]).into_owned(),
            other => panic!("no redirect: {other:?}"),
        }
    }

    pub(crate) fn named<'n>(op: Op, path: &'n str, args: &[u64]) -> Request<'n> {
        let mut all = [0; 5];
        all[..args.len()].copy_from_slice(args);
        Request::named(op, Name { base: 0, path: path.as_bytes() }).args(all)
    }

    pub(crate) fn on(op: Op, id: u64, args: &[u64]) -> Request<'static> {
        let mut all = [0; 5];
        all[..args.len()].copy_from_slice(args);
        Request::on(op, id).args(all)
    }

    pub(crate) fn open(&self, path: &str, flags: i32) -> Result<Open, Errno> {
        self.open_at(0, path, flags)
    }

    pub(crate) fn open_at(&self, base: u64, path: &str, flags: i32) -> Result<Open, Errno> {
        let name = Name { base, path: path.as_bytes() };
        let args = [u64::from(flags.cast_unsigned()), 0o644, 0, 0, 0];
        let (reply, _) = self.call(Request::named(Op::Open, name).args(args))?;
        Ok(Open {
            file: file(reply.fds[0]),
            id: reply.aux[0],
            kind: Kind::from_raw(reply.aux[1]).unwrap(),
        })
    }

    /// Makes a file, opens it, and does for it what a shared map needs: the file that is mapped, and
    /// its number.
    pub(crate) fn mapped(&self, name: &str, bytes: &[u8]) -> (Open, File, u64) {
        self.put(name, bytes);
        let open = self.open(&format!("/r/{name}"), libc::O_RDWR).unwrap();
        assert_eq!(open.kind, Kind::Served);
        let (reply, _) = self.call(Self::on(Op::Complete, open.id, &[1])).unwrap();
        let shadow = file(reply.fds[0]);
        let name = std::fs::read_link(format!("/proc/self/fd/{}", shadow.as_raw_fd())).unwrap();
        let dir = self.session.dir().as_os_str().as_bytes();
        let (id, kind) = parse_link(name.as_os_str().as_bytes(), dir).unwrap();
        assert_eq!(kind, Kind::Complete);
        (open, shadow, id)
    }

    /// A byte of a file as the server has it.
    pub(crate) fn byte(&self, name: &str, at: usize) -> u8 {
        std::fs::read(self.there(name)).unwrap()[at]
    }

    pub(crate) fn attr(&self, request: Request<'_>) -> Result<Attr, Errno> {
        let (reply, out) = self.call(request)?;
        assert_eq!(reply.len, ATTR_LEN);
        Ok(Attr::from_bytes(&out).unwrap())
    }

    pub(crate) fn stat(&self, path: &str) -> Result<Attr, Errno> {
        self.attr(Self::named(Op::Stat, path, &[1]))
    }

    pub(crate) fn fstat(&self, id: u64) -> Result<Attr, Errno> {
        self.attr(Self::on(Op::FStat, id, &[]))
    }

    pub(crate) fn flush(&self, id: u64) -> Result<(), Errno> {
        self.call(Self::on(Op::Flush, id, &[])).map(|_| ())
    }

    pub(crate) fn two(&self, op: Op, from: &str, to: &str) -> Result<(), Errno> {
        let name = Name { base: 0, path: from.as_bytes() };
        self.call(Request { b: to.as_bytes(), ..Request::named(op, name) }).map(|_| ())
    }

    fn statistics(&self) -> serde_json::Value {
        let (_, text) = self.call(Request::new(Op::Stats)).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Bytes of files that went to the server so far.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.statistics()["bytes_sent"].as_u64().unwrap()
    }

    /// Requests that reached the server so far.
    pub(crate) fn requests(&self) -> u64 {
        let value = self.statistics();
        value["servers"].as_array().unwrap().iter().map(|s| s["requests"].as_u64().unwrap()).sum()
    }

    /// Entries of a directory: name, inode number, type.
    pub(crate) fn list(&self, id: u64) -> Vec<(String, u64, u8)> {
        let mut found = Vec::new();
        let mut position = 0;
        loop {
            let (reply, data) = self.call(Self::on(Op::ReadDir, id, &[position])).unwrap();
            if data.is_empty() {
                return found;
            }
            let mut at = 0;
            while at < data.len() {
                let ino = u64::from_ne_bytes(data[at..at + 8].try_into().unwrap());
                let len =
                    usize::from(u16::from_ne_bytes(data[at + 16..at + 18].try_into().unwrap()));
                let name = &data[at + 19..at + len];
                let end = name.iter().position(|&b| b == 0).unwrap();
                found.push((String::from_utf8_lossy(&name[..end]).into(), ino, data[at + 18]));
                at += len;
            }
            position = reply.aux[0];
        }
    }
}

#[allow(unsafe_code, reason = "replies carry raw descriptors")]
pub(crate) fn file(fd: i32) -> File {
    assert!(fd >= 0);
    // SAFETY: the session gave it to us.
    File::from(unsafe { OwnedFd::from_raw_fd(fd) })
}
