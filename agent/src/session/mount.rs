//! [`Server`] and [`Mount`]: where a logical name leads.
//!
//! A [`Server`] is one `SCHEME/HOST`, with what is known of its names. A [`Mount`] is one rule of
//! the mountlist at work on a server (for the rule `/chirp`: on each of the servers below it), with
//! the rule's policy. Server paths inside the session start with `/` and have none at the end, so
//! that the server's root is the empty path.

use super::halt::{Halt, Res};
use super::listings::Listings;
use super::node::{Node, Nodes};
use super::{Core, dirs::DirShadow};
use crate::cache::{Age, AttrCache};
use crate::driver::{Capabilities, Config, DRIVERS, Driver};
use crate::error::{Error, Kind};
use crate::layer::{self, Layered, Retry, RetryPolicy};
use parking_lot::{Condvar, Mutex};
use parrot_common::mountlist::{CacheMode, OnTransient, Rule, RuleKind};
use parrot_common::{Attr, Errno};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long attributes are trusted where the mountlist does not say.
const TTL: Duration = Duration::from_secs(1);

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) scheme: &'static str,
    pub(super) host: String,
    /// `st_dev` of everything on it.
    pub(super) dev: u64,
    /// Without any layer.
    pub(super) plain: Arc<dyn Driver>,
    pub(super) cache: AttrCache,
    /// It has answered once.
    pub(super) answered: AtomicBool,
    /// A thread sends what was closed on it.
    pub(super) sending: AtomicBool,
    /// Its files that this session has to do with.
    pub(super) nodes: Mutex<Nodes>,
    /// Names of files that are being made: who finds one there waits until its shadow is there too.
    creating: Mutex<HashSet<Vec<u8>>>,
    created: Condvar,
    /// Open directories.
    pub(super) dirs: Mutex<HashMap<u64, Arc<DirShadow>>>,
    /// What was listed lately.
    pub(super) listings: Mutex<Listings>,
}

/// A rule at work on a server.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) rule: Rule<'static>,
    /// The logical name of `root`.
    pub(super) logical: Vec<u8>,
    /// The server path that the mount shows as its root.
    pub(super) root: Vec<u8>,
    pub(super) server: Arc<Server>,
    pub(super) driver: Arc<dyn Driver>,
    pub(super) age: Age,
    /// Another rule's prefix lies below this mount.
    pub(super) nested: bool,
}

/// What a logical name is.
#[derive(Debug)]
pub(super) enum Spot {
    /// On a server; its path there.
    In(Arc<Mount>, Vec<u8>),
    /// Above the servers (`/chirp`), or above a mount where this machine has nothing: a directory
    /// that the session makes up.
    Above,
    /// This machine's.
    Out,
}

/// What an operation does, for the mount's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
    Exec,
}

impl Mount {
    /// Checks the mount's policy.
    pub(super) fn allow(&self, right: Right) -> Result<(), Errno> {
        let perm = self.rule.perm;
        match right {
            Right::Write if perm.read_only => Err(Errno::EROFS),
            Right::Write if !perm.write => Err(Errno::EACCES),
            Right::Read if !perm.read => Err(Errno::EACCES),
            Right::Exec if !perm.exec => Err(Errno::EACCES),
            _ => Ok(()),
        }
    }

    /// The logical name of a server path.
    pub(super) fn logical(&self, path: &[u8]) -> Vec<u8> {
        let below = path.strip_prefix(self.root.as_slice()).unwrap_or_default();
        let name = [self.logical.as_slice(), below].concat();
        if name.is_empty() { b"/".to_vec() } else { name }
    }

    /// Whether every operation must reach the server.
    pub(super) fn is_strict(&self) -> bool {
        self.rule.cache == CacheMode::Strict
    }

    /// Whether what was fetched once is never looked at again.
    pub(super) fn is_settled(&self) -> bool {
        self.rule.cache == CacheMode::Session
    }
}

impl Server {
    /// What it can do, as far as is known: nothing is before the first connection.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.plain.capabilities()
    }

    /// Attributes as guests see them.
    pub(super) fn show(&self, attr: &Attr, me: (u32, u32)) -> Attr {
        let blocks = attr.blocks.max(attr.size.div_ceil(512));
        let blksize = 1 << 20;
        Attr { dev: self.dev, uid: me.0, gid: me.1, blksize, blocks, ..*attr }
    }
}

/// A file is being made until this goes.
#[derive(Debug)]
pub(super) struct Creating<'s> {
    server: &'s Server,
    path: &'s [u8],
}

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.server.creating.lock().remove(self.path);
        self.server.created.notify_all();
    }
}

impl Server {
    /// Begins to make a file, unless somebody else does: then `None`, when that is over.
    pub(super) fn begin_creating<'s>(&'s self, path: &'s [u8]) -> Option<Creating<'s>> {
        if self.wait_created(path) {
            return None;
        }
        let new = self.creating.lock().insert(path.to_vec());
        new.then_some(Creating { server: self, path })
    }

    /// Waits while a file is being made; whether one was.
    pub(super) fn wait_created(&self, path: &[u8]) -> bool {
        let mut creating = self.creating.lock();
        let mut waited = false;
        while creating.contains(path) {
            waited = true;
            self.created.wait(&mut creating);
        }
        waited
    }

    /// Whether a node is still the one of its file.
    pub(super) fn is_known(&self, node: &Arc<Node>) -> bool {
        let known = self.nodes.lock().by_key(node.key);
        known.is_some_and(|known| Arc::ptr_eq(&known, node))
    }
}

/// The server path as drivers want it.
pub(super) fn wire(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

/// FNV-1a, 64 bits: stable over sessions and machines.
pub(super) fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Core {
    /// Finds out what a clean logical name is (`""` = the root).
    pub(super) fn locate(&self, logical: &[u8]) -> Res<Spot> {
        let Some(found) = self.table.lookup(logical) else {
            let above = self.table.is_ancestor(logical);
            return Ok(if above { Spot::Above } else { Spot::Out });
        };
        let rule = found.rule;
        match rule.kind {
            RuleKind::Deny => return Err(Errno::EACCES.into()),
            RuleKind::Enoent => return Err(Errno::ENOENT.into()),
            RuleKind::Passthrough | RuleKind::Local => return Ok(Spot::Out),
            RuleKind::Remote => {}
        }
        let target = rule.target.get(1..).unwrap_or_default();
        let mut parts = target.splitn(3, |&b| b == b'/');
        let scheme = parts.next().unwrap_or_default();
        if let Some(host) = parts.next() {
            let root = parts.next().map_or_else(Vec::new, |root| [b"/", root].concat());
            let path = [root.as_slice(), found.rest].concat();
            let mount = match self.mount(rule.prefix) {
                Some(mount) => mount,
                None => self.make_mount(rule, rule.prefix, (scheme, host), root)?,
            };
            return Ok(Spot::In(mount, path));
        }
        let below = found.rest.get(1..).unwrap_or_default();
        let len = below.iter().position(|&b| b == b'/').unwrap_or(below.len());
        let (host, path) = below.split_at(len);
        if host.is_empty() {
            return Ok(Spot::Above);
        }
        let end = logical.len() - path.len();
        let prefix = logical.get(..end).unwrap_or_default();
        let mount = match self.mount(prefix) {
            Some(mount) => mount,
            None => self.make_mount(rule, prefix, (scheme, host), Vec::new())?,
        };
        Ok(Spot::In(mount, path.to_vec()))
    }

    fn mount(&self, logical: &[u8]) -> Option<Arc<Mount>> {
        self.mounts.read().get(logical).cloned()
    }

    fn make_mount(
        &self,
        rule: Rule<'static>,
        logical: &[u8],
        (scheme, host): (&[u8], &[u8]),
        root: Vec<u8>,
    ) -> Res<Arc<Mount>> {
        let server = self.server(scheme, host)?;
        let age = match (rule.cache, rule.ttl_ms) {
            (CacheMode::Session, None) => Age::Forever,
            (_, Some(ms)) => Age::Within(Duration::from_millis(ms.into())),
            (CacheMode::Strict, None) => Age::Within(Duration::ZERO),
            (CacheMode::Open, None) => Age::Within(TTL),
        };
        let below = |other: &[u8]| {
            other.strip_prefix(logical).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        let mount = Arc::new(Mount {
            driver: self.layered(&server, &rule),
            rule,
            logical: logical.to_vec(),
            root,
            server,
            age,
            nested: self.table.rules().any(|other| below(other.prefix)),
        });
        let mut mounts = self.mounts.write();
        Ok(Arc::clone(mounts.entry(logical.into()).or_insert(mount)))
    }

    /// The server's driver with this rule's patience.
    fn layered(&self, server: &Server, rule: &Rule<'_>) -> Arc<dyn Driver> {
        let teller = Arc::clone(&self.teller);
        let mut policy = RetryPolicy {
            on_transient: match rule.on_transient {
                OnTransient::Errno => layer::OnTransient::Errno,
                OnTransient::Hold => layer::OnTransient::Hold,
                OnTransient::Kill => layer::OnTransient::Kill,
            },
            notify: Arc::new(move |text| teller.tell(text)),
            cancel: self.cancel.clone(),
            ..RetryPolicy::default()
        };
        if let Some(ms) = rule.deadline_ms {
            policy.deadline = Duration::from_millis(ms.into());
        }
        let name = format!("{}://{}", server.scheme, server.host);
        Layered::wrap(Retry::new(name, policy), Arc::clone(&server.plain))
    }

    fn server(&self, scheme: &[u8], host: &[u8]) -> Res<Arc<Server>> {
        let key = [scheme, b"/", host].concat();
        if let Some(server) = self.servers.read().get(&key) {
            return Ok(Arc::clone(server));
        }
        let name = String::from_utf8_lossy(&key).into_owned();
        let Some(def) = DRIVERS.iter().find(|def| def.scheme.as_bytes() == scheme) else {
            let known: Vec<_> = DRIVERS.iter().map(|def| def.scheme).collect();
            let cause = format!("no such scheme; known: {}", known.join(", "));
            return Err(Error::new(Kind::Unreachable, "connect", name, cause).into());
        };
        let host = std::str::from_utf8(host).map_err(|_| Halt::from(Errno::EHOSTUNREACH))?;
        let patience = self.patience(scheme, host.as_bytes());
        let config = &self.driver_config;
        let silence = self.silence(scheme, host.as_bytes()).unwrap_or(config.silence);
        let config = Config {
            silence: silence.min(patience),
            connect_timeout: config.connect_timeout.min(patience),
            ..config.clone()
        };
        let plain = (def.connect)(host, &config)?;
        let server = Arc::new(Server {
            scheme: def.scheme,
            host: host.to_owned(),
            // The upper bits stay free: old programs keep a device in 32 bits.
            dev: hash(&[&key]) >> 32 | 1,
            plain,
            cache: AttrCache::default(),
            answered: AtomicBool::new(false),
            sending: AtomicBool::new(false),
            nodes: Mutex::default(),
            creating: Mutex::default(),
            created: Condvar::new(),
            dirs: Mutex::default(),
            listings: Mutex::default(),
        });
        let mut servers = self.servers.write();
        Ok(Arc::clone(servers.entry(key).or_insert(server)))
    }

    /// The shortest deadline of the rules that lead to a server: no request may take longer.
    fn patience(&self, scheme: &[u8], host: &[u8]) -> Duration {
        let rules = self.rules_to(scheme, host);
        let rules = rules.filter(|rule| rule.on_transient != OnTransient::Hold);
        let shortest = rules.filter_map(|rule| rule.deadline_ms).min();
        shortest.map_or(Duration::MAX, |ms| Duration::from_millis(ms.into()))
    }

    /// How long a server may say nothing: the shortest time of the rules that lead to it.
    fn silence(&self, scheme: &[u8], host: &[u8]) -> Option<Duration> {
        let shortest = self.rules_to(scheme, host).filter_map(|rule| rule.silence_ms).min();
        shortest.map(|ms| Duration::from_millis(ms.into()))
    }

    /// The rules that lead to a server.
    fn rules_to<'s>(
        &'s self,
        scheme: &'s [u8],
        host: &'s [u8],
    ) -> impl Iterator<Item = Rule<'static>> + 's {
        self.table.rules().filter(move |rule| {
            let mut parts = rule.target.get(1..).unwrap_or_default().splitn(3, |&b| b == b'/');
            rule.kind == RuleKind::Remote
                && parts.next() == Some(scheme)
                && parts.next().is_none_or(|other| other.is_empty() || other == host)
        })
    }

    /// The names in a made-up directory: the next components of the rules, and of the servers that
    /// have answered.
    pub(super) fn names_above(&self, logical: &[u8]) -> Vec<Vec<u8>> {
        let next = |name: &[u8]| {
            let below = name.strip_prefix(logical)?.strip_prefix(b"/")?;
            let name = below.split(|&b| b == b'/').next()?;
            (!name.is_empty()).then(|| name.to_vec())
        };
        let shown = self.table.rules().filter(|rule| rule.kind != RuleKind::Enoent);
        let mut names: Vec<_> = shown.filter_map(|rule| next(rule.prefix)).collect();
        let mounts = self.mounts.read();
        let mounts = mounts.values();
        let answered = mounts.filter(|mount| mount.server.answered.load(Ordering::Relaxed));
        names.extend(answered.filter_map(|mount| next(&mount.logical)));
        names.sort_unstable();
        names.dedup();
        names
    }
}
