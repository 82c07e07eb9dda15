//! Knowing when guests are done with shadows.
//!
//! Nothing tells that a descriptor was closed by an exit, a `dup2` or a `kill`. Three things help:
//!
//! - inotify on a shadow that guests may write says that somebody closed it: the hint to look. It
//!   is drained before a request that carries a name is answered, so what one program wrote before
//!   it ended is on the server before the next one asks. (Not on the directory `c/`: the kernel
//!   would look for watchers at every read of every file in it.)
//! - a write lease, which the kernel grants only to a shadow's single opener, says that nobody has
//!   it any more.
//! - a thread looks at everything now and then: memfds send no events.

use super::mount::{Mount, Server, Spot};
use super::node::Node;
use super::{Core, Object};
use crate::shadow::is_only_opener;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use parking_lot::Mutex;
use parrot_common::Request;
use parrot_common::shadow::ShadowId;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the keeper looks.
const TICK: Duration = Duration::from_millis(250);
/// How many ticks pass between looks at everything.
const ROUND: u64 = 20;

/// The kernel's hints.
#[derive(Debug)]
pub(super) struct Events {
    inotify: Inotify,
    /// Shadows that guests may write.
    files: Mutex<HashMap<WatchDescriptor, ShadowId>>,
    dirs: Mutex<HashMap<WatchDescriptor, ShadowId>>,
    /// Held from reading events until they are taken note of.
    reading: Mutex<()>,
    /// Shadows that guests may write and that somebody closed.
    closing: Mutex<Closing>,
    any_closing: AtomicBool,
    /// Shadows that are their node's no more.
    released: Mutex<HashSet<ShadowId>>,
}

/// Each with a number of its own: it may be closed again while it is being sent.
#[derive(Debug, Default)]
struct Closing {
    last: u64,
    list: Vec<(u64, Arc<Node>)>,
}

impl Closing {
    fn push(&mut self, node: Arc<Node>) {
        self.last += 1;
        self.list.push((self.last, node));
    }
}

impl Events {
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self {
            inotify: Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?,
            files: Mutex::default(),
            dirs: Mutex::default(),
            reading: Mutex::default(),
            closing: Mutex::default(),
            any_closing: AtomicBool::new(false),
            released: Mutex::default(),
        })
    }

    /// Asks to be told when a directory shadow that has no name any more is held by nobody.
    pub(super) fn watch_dir(&self, id: ShadowId, path: &Path) {
        // Without a watch the shadow stays known until the session ends.
        let mut dirs = self.dirs.lock();
        if let Ok(watch) = self.inotify.add_watch(path, AddWatchFlags::IN_DELETE_SELF) {
            dirs.insert(watch, id);
        }
    }

    /// Asks to be told when somebody who could write a shadow closes it.
    pub(super) fn watch_file(&self, id: ShadowId, path: &Path) {
        // Without a watch (there is a limit for each user) the keeper finds out, later.
        let mut files = self.files.lock();
        if let Ok(watch) = self.inotify.add_watch(path, AddWatchFlags::IN_CLOSE_WRITE) {
            files.insert(watch, id);
        }
    }

    /// Nobody can write the shadow any more.
    pub(super) fn unwatch_file(&self, id: ShadowId) {
        let mut files = self.files.lock();
        let watch = files.iter().find_map(|(watch, known)| (*known == id).then_some(*watch));
        if let Some(watch) = watch {
            files.remove(&watch);
            // It is gone when the file is.
            let _ = self.inotify.rm_watch(watch);
        }
    }

    fn read(&self) -> Vec<InotifyEvent> {
        // EAGAIN: nothing has happened.
        self.inotify.read_events().unwrap_or_default()
    }
}

impl Core {
    /// Takes note of what the kernel has to say.
    pub(super) fn drain(&self) {
        let _reading = self.events.reading.lock();
        loop {
            let events = self.events.read();
            if events.is_empty() {
                return;
            }
            for event in events {
                self.note(&event);
            }
        }
    }

    fn note(&self, event: &InotifyEvent) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            let all: Vec<_> = self.writers.lock().values().cloned().collect();
            let mut closing = self.events.closing.lock();
            all.into_iter().for_each(|node| closing.push(node));
            self.events.any_closing.store(true, Ordering::Release);
            return;
        }
        let file = self.events.files.lock().get(&event.wd).copied();
        let Some(id) = file else {
            if event.mask.intersects(AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_IGNORED) {
                let dir = self.events.dirs.lock().remove(&event.wd);
                if let Some(id) = dir {
                    self.drop_dir(id);
                }
            }
            return;
        };
        let node = self.writers.lock().get(&id).cloned();
        if let Some(node) = node
            && event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE)
        {
            self.events.closing.lock().push(node);
            self.events.any_closing.store(true, Ordering::Release);
        }
    }

    /// A shadow is its node's no more: it goes when nobody holds it.
    pub(super) fn release_later(&self, id: ShadowId) {
        self.events.released.lock().insert(id);
    }

    /// Before a request with a name is answered: sends what was closed since, as far as it is on
    /// the same server (another one may be away).
    pub(super) fn settle(&self, request: &Request<'_>) {
        self.drain();
        if self.events.any_closing.load(Ordering::Acquire) {
            let server = self.server_of(request);
            self.send_closed(server.as_deref());
        }
    }

    /// Whether `settle` would have to wait.
    pub(super) fn is_unsettled(&self) -> bool {
        self.drain();
        self.events.any_closing.load(Ordering::Acquire)
    }

    fn server_of(&self, request: &Request<'_>) -> Option<Arc<Server>> {
        Some(Arc::clone(&self.mount_of(request)?.server))
    }

    /// The mount that a request is about, as far as its text or number tells.
    pub(super) fn mount_of(&self, request: &Request<'_>) -> Option<Arc<Mount>> {
        if request.id != 0 {
            return match self.object(request.id).ok()? {
                Object::Complete(shadow) => Some(Arc::clone(&shadow.node.mount)),
                Object::Served(served) => Some(Arc::clone(&served.node.mount)),
                Object::Dir(dir) => Some(dir.remote()?.0),
                Object::Program(_) => None,
            };
        }
        let [base, _] = request.base;
        if base != 0 {
            return Some(self.dir(base).ok()?.remote()?.0);
        }
        match self.locate(request.a) {
            Ok(Spot::In(mount, _)) => Some(mount),
            _ => None,
        }
    }

    /// Sends what guests have closed. A node stays listed until that is done, so that others who
    /// come meanwhile wait for it.
    pub(super) fn send_closed(&self, server: Option<&Server>) {
        let here = |node: &Arc<Node>| {
            server.is_none_or(|server| std::ptr::eq(Arc::as_ptr(node.server()), server))
        };
        let nodes: Vec<_> =
            self.events.closing.lock().list.iter().filter(|(_, n)| here(n)).cloned().collect();
        for (number, node) in nodes {
            if let Err(halt) = self.flush_closed(&node) {
                let name = node.logical().0;
                let name = String::from_utf8_lossy(&name);
                self.tell(&format!(
                    "not written to the server (tried again later): {name}: {halt}"
                ));
            }
            let mut closing = self.events.closing.lock();
            closing.list.retain(|(known, _)| *known != number);
            self.events.any_closing.store(!closing.list.is_empty(), Ordering::Release);
        }
    }

    /// Whether any guest has anything open, or anything is unsent.
    pub(super) fn is_busy(&self) -> bool {
        self.drain();
        if !self.writers.lock().is_empty() {
            return true;
        }
        let objects: Vec<Object> = self.objects.read().values().cloned().collect();
        objects.iter().any(|object| match object {
            Object::Dir(_) => true,
            Object::Complete(shadow) => self.store.is_held(shadow.id),
            Object::Served(served) => !is_only_opener(&served.memfd),
            Object::Program(_) => false,
        })
    }

    /// Removes shadows that are not their node's any more and that nobody holds.
    fn sweep_released(&self) {
        let ids: Vec<ShadowId> = self.events.released.lock().drain().collect();
        for id in ids {
            let object = self.objects.read().get(&id).cloned();
            let Some(Object::Complete(shadow)) = object else { continue };
            let Some(work) = shadow.node.work.try_lock() else {
                self.release_later(id);
                continue;
            };
            let current = work.current.as_ref().is_some_and(|current| current.id == id);
            if current {
                continue;
            }
            if self.store.is_held(id) {
                self.release_later(id);
                continue;
            }
            self.objects.write().remove(&id);
            self.store.remove(id);
        }
    }

    /// Closes served files that nobody holds.
    fn sweep_served(&self) {
        let now = self.tick();
        let served: Vec<_> = self
            .objects
            .read()
            .values()
            .filter_map(|object| match object {
                Object::Served(served) => Some(Arc::clone(served)),
                _ => None,
            })
            .collect();
        for served in served {
            let Some(mut work) = served.node.work.try_lock() else { continue };
            let young = served.used.load(Ordering::Relaxed) + 4 * ROUND > now;
            let keep = served.blocks.as_ref().is_some_and(|b| !b.control.is_withdrawn()) && young;
            if keep || !is_only_opener(&served.memfd) {
                continue;
            }
            self.objects.write().remove(&served.id);
            for place in &mut work.served {
                place.take_if(|known| known.id == served.id);
            }
            if work.current.is_none() && work.served.iter().all(Option::is_none) {
                served.node.server().nodes.lock().drop_node(&served.node);
            }
        }
    }

    /// Keeps the size of what nobody holds below the limit, least recently used first.
    fn evict(&self) {
        let mut unused: Vec<_> = self
            .objects
            .read()
            .values()
            .filter_map(|object| match object {
                Object::Complete(shadow) => Some(Arc::clone(shadow)),
                _ => None,
            })
            .collect();
        let size = |shadow: &super::node::Complete| shadow.size.load(Ordering::Relaxed) + 4096;
        let mut total: u64 = unused.iter().map(|shadow| size(shadow)).sum();
        if total <= self.limits.cache {
            return;
        }
        unused.sort_by_key(|shadow| shadow.used.load(Ordering::Relaxed));
        for shadow in unused {
            if total <= self.limits.cache {
                break;
            }
            let Some(mut work) = shadow.node.work.try_lock() else { continue };
            let current = work.current.as_ref().is_some_and(|current| current.id == shadow.id);
            if (current && work.upload.is_some()) || self.store.is_held(shadow.id) {
                continue;
            }
            if current {
                work.current = None;
                work.valid = None;
            }
            self.objects.write().remove(&shadow.id);
            self.store.remove(shadow.id);
            total -= size(&shadow);
            if work.served.iter().all(Option::is_none) && current {
                shadow.node.server().nodes.lock().drop_node(&shadow.node);
            }
        }
    }

    fn keep(self: &Arc<Self>, tick: u64) {
        self.drain();
        let round = tick.is_multiple_of(ROUND);
        let mut nodes: Vec<Arc<Node>> =
            self.events.closing.lock().list.iter().map(|(_, node)| Arc::clone(node)).collect();
        if round {
            let all: Vec<Arc<Node>> = self.writers.lock().values().cloned().collect();
            nodes.extend(all.into_iter().filter(|node| self.is_left(node)));
        }
        self.send_aside(&nodes);
        self.sweep_released();
        if round {
            self.sweep_served();
            self.evict();
        }
    }

    /// Whether a node's upload has failed, or its last writer has gone unnoticed.
    fn is_left(&self, node: &Node) -> bool {
        node.work.try_lock().is_some_and(|work| {
            work.upload.as_ref().is_some_and(|upload| upload.failed.is_some())
                || work.current.as_ref().is_some_and(|c| !self.store.is_written(c.id))
        })
    }

    /// Sends what is closed, each server in a thread of its own: one that is away holds nobody up.
    fn send_aside(self: &Arc<Self>, nodes: &[Arc<Node>]) {
        for (index, node) in nodes.iter().enumerate() {
            let server = node.server();
            let same = |other: &&Arc<Node>| Arc::ptr_eq(other.server(), server);
            let first = nodes.iter().take(index).find(same).is_none();
            if !first || server.sending.swap(true, Ordering::AcqRel) {
                continue;
            }
            let mine: Vec<Arc<Node>> = nodes.iter().filter(same).cloned().collect();
            let (core, there) = (Arc::clone(self), Arc::clone(server));
            let thread = std::thread::Builder::new().name("sender".into()).stack_size(1 << 20);
            let started = thread.spawn(move || {
                core.send_closed(Some(&there));
                for node in mine {
                    // It was told when it failed first.
                    let _ = core.flush_closed(&node);
                }
                there.sending.store(false, Ordering::Release);
            });
            if started.is_err() {
                server.sending.store(false, Ordering::Release);
            }
        }
    }
}

/// The thread that looks now and then; ends with the session.
pub(super) fn keeper(core: &Weak<Core>) {
    let mut tick = 0;
    loop {
        std::thread::sleep(TICK);
        let Some(core) = core.upgrade() else { return };
        tick += 1;
        core.keep(tick);
    }
}
