//! [`Node`]: one remote file, under all its names.
//!
//! A node is known by the server's device and inode number, so hard links share it, and it follows
//! this session's renames. What is open of a file hangs on its node:
//!
//! ```text
//! Node ── current ──▶ Complete (c/ID)      all bytes; with `upload`: guests may write it
//!     └── served[3] ─▶ Served (memfd)      read-only, write-only, read-write
//! ```
//!
//! `work` is held during the requests for this one file, and for no other purpose; everything that
//! other files' operations need is under short locks of its own.

use super::flush::Upload;
use super::mount::{Mount, Server};
use super::served::Served;
use parking_lot::Mutex;
use parrot_common::Attr;
use parrot_common::shadow::ShadowId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A remote file.
#[derive(Debug)]
pub(super) struct Node {
    /// The mount through which it was opened first: its driver and policy.
    pub(super) mount: Arc<Mount>,
    /// The server's device and inode number.
    pub(super) key: (u64, u64),
    /// Its names as far as this session knows; none when it was removed.
    pub(super) names: Mutex<Vec<Vec<u8>>>,
    /// The last name, once there is none.
    pub(super) gone: Mutex<Vec<u8>>,
    /// The last attributes seen, for a file that has no name any more.
    pub(super) last: Mutex<Attr>,
    /// What guests have set since it has no name.
    pub(super) set: Mutex<Set>,
    pub(super) work: Mutex<Work>,
    /// A guest may write its shadow natively.
    pub(super) writable: AtomicBool,
}

/// Attributes of a file that has no name any more: whoever has it open sets them, and nobody else can
/// ever see them.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) mode: Option<u32>,
    pub(super) atime: Option<(i64, i64)>,
    pub(super) mtime: Option<(i64, i64)>,
}

impl Set {
    /// The attributes with what was set.
    pub(super) fn over(&self, attr: Attr) -> Attr {
        let mode = self.mode.map_or(attr.mode, |mode| attr.mode & libc::S_IFMT | mode);
        let (atime, mtime) = (self.atime.unwrap_or(attr.atime), self.mtime.unwrap_or(attr.mtime));
        Attr { mode, atime, mtime, ..attr }
    }
}

/// What is open of a file.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) current: Option<Arc<Complete>>,
    /// Which version of the file `current` holds; `None` when only this session's writes say.
    pub(super) valid: Option<Validator>,
    pub(super) upload: Option<Upload>,
    pub(super) served: [Option<Arc<Served>>; 3],
}

/// A complete shadow.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) id: ShadowId,
    pub(super) node: Arc<Node>,
    /// When it was used last, a running number.
    pub(super) used: AtomicU64,
    pub(super) size: AtomicU64,
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validator {
    attr: Attr,
    fetched: SystemTime,
}

/// How long after a change a file may change again without showing it.
const WHOLE_SECONDS: Duration = Duration::from_secs(2);
const FINE: Duration = Duration::from_millis(50);

impl Validator {
    /// The version that these attributes, asked for after `fetched`, belong to.
    pub(super) fn new(attr: Attr, fetched: SystemTime) -> Self {
        Self { attr, fetched }
    }

    /// Whether the file has the same version as far as attributes tell.
    pub(super) fn matches(&self, attr: &Attr) -> bool {
        let of = |attr: &Attr| (attr.dev, attr.ino, attr.size, attr.mtime);
        of(&self.attr) == of(attr)
    }

    /// Whether attributes tell enough: it was not changed just before it was fetched.
    pub(super) fn is_trusted(&self, server: &Server) -> bool {
        let slack = if server.capabilities().nanoseconds { FINE } else { WHOLE_SECONDS };
        let (seconds, nanoseconds) = self.attr.mtime;
        let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let nanoseconds = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        UNIX_EPOCH + seconds + nanoseconds + slack <= self.fetched
    }
}

/// All nodes of a server.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_key: HashMap<(u64, u64), Arc<Node>>,
    by_name: BTreeMap<Vec<u8>, Arc<Node>>,
}

impl Nodes {
    /// The node of a file that was just seen under a name.
    pub(super) fn get(&mut self, mount: &Arc<Mount>, path: &[u8], attr: &Attr) -> Arc<Node> {
        let key = (attr.dev, attr.ino);
        let node = self.by_key.entry(key).or_insert_with(|| {
            Arc::new(Node {
                mount: Arc::clone(mount),
                key,
                names: Mutex::default(),
                gone: Mutex::default(),
                last: Mutex::new(*attr),
                set: Mutex::default(),
                work: Mutex::default(),
                writable: AtomicBool::new(false),
            })
        });
        let node = Arc::clone(node);
        match self.by_name.get(path) {
            Some(old) if Arc::ptr_eq(old, &node) => return node,
            Some(old) => old.names.lock().retain(|name| name != path),
            None => {}
        }
        node.names.lock().push(path.to_vec());
        self.by_name.insert(path.to_vec(), Arc::clone(&node));
        node
    }

    /// The node of these attributes, if there is one.
    pub(super) fn find(&self, attr: &Attr) -> Option<&Arc<Node>> {
        self.by_key.get(&(attr.dev, attr.ino))
    }

    /// The node of a device and inode number, if there is one.
    pub(super) fn by_key(&self, key: (u64, u64)) -> Option<Arc<Node>> {
        self.by_key.get(&key).cloned()
    }

    /// The node of a name, if there is one.
    pub(super) fn named(&self, path: &[u8]) -> Option<&Arc<Node>> {
        self.by_name.get(path)
    }

    /// A name is gone.
    pub(super) fn unlink(&mut self, path: &[u8]) {
        let Some(node) = self.by_name.remove(path) else { return };
        let mut names = node.names.lock();
        names.retain(|name| name != path);
        if names.is_empty() {
            *node.gone.lock() = path.to_vec();
        }
        // Its number may soon be another file's; not as long as it has names that nobody told us.
        let gone = names.is_empty() && node.last.lock().nlink <= 1;
        if gone && self.by_key.get(&node.key).is_some_and(|n| Arc::ptr_eq(n, &node)) {
            self.by_key.remove(&node.key);
        }
    }

    /// A name, and all below it, has moved.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) {
        self.unlink(to);
        let moved: Vec<Vec<u8>> = self
            .by_name
            .range(from.to_vec()..)
            .take_while(|(name, _)| name.starts_with(from))
            .filter(|(name, _)| is_below(name, from))
            .map(|(name, _)| name.clone())
            .collect();
        for old in moved {
            let Some(node) = self.by_name.remove(&old) else { continue };
            let new = [to, old.get(from.len()..).unwrap_or_default()].concat();
            for name in node.names.lock().iter_mut().filter(|name| **name == old) {
                name.clone_from(&new);
            }
            self.by_name.insert(new, node);
        }
    }

    /// Forgets a node of which nothing is open any more.
    pub(super) fn drop_node(&mut self, node: &Arc<Node>) {
        if self.by_key.get(&node.key).is_some_and(|known| Arc::ptr_eq(known, node)) {
            self.by_key.remove(&node.key);
        }
        for name in node.names.lock().iter() {
            if self.by_name.get(name).is_some_and(|known| Arc::ptr_eq(known, node)) {
                self.by_name.remove(name);
            }
        }
    }
}

/// Whether a path is another one or lies below it.
pub(super) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

impl Node {
    /// The server it lives on.
    pub(super) fn server(&self) -> &Arc<Server> {
        &self.mount.server
    }

    /// A name of it, if it has one.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        self.names.lock().last().cloned()
    }

    /// Whether this session has removed its last name.
    pub(super) fn is_gone(&self) -> bool {
        self.name().is_none() && self.last.lock().nlink == 0
    }

    /// Its logical name, and whether it was removed.
    pub(super) fn logical(&self) -> (Vec<u8>, bool) {
        match self.name() {
            Some(name) => (self.mount.logical(&name), false),
            None => (self.mount.logical(&self.gone.lock()), true),
        }
    }
}

impl Mount {
    /// The node of a file of this mount.
    pub(super) fn node(self: &Arc<Self>, path: &[u8], attr: &Attr) -> Arc<Node> {
        let node = self.server.nodes.lock().get(self, path, attr);
        *node.last.lock() = *attr;
        node
    }
}
