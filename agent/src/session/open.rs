//! Opening files: which kind of shadow a guest gets, and what the server is asked.
//!
//! | open | shadow | requests |
//! | --- | --- | --- |
//! | reading, small | complete, filled in one go; reused while the version is the same | 1 |
//! | reading, large | served, with a block cache shared by all readers of the version | 1 |
//! | creating, or cutting to nothing | complete, written behind | 1 |
//! | writing what exists | served, strict | 1 |
//! | a file that a guest has in write-behind | that same complete shadow | 0 (1 to cut it) |
//!
//! One request more when nothing is known of the name: the walk. What is known but old is good
//! enough to try: the answer to the open tells whether the name still means the same file.

use super::Core;
use super::EMPTY;
use super::control::Control;
use super::flush::Upload;
use super::halt::{Halt, Res};
use super::mount::{Mount, Right, wire};
use super::node::{Complete, Node, Validator, Work};
use super::served::{Blocks, Served};
use super::walk::{Found, Last, Place};
use crate::driver::{OpenFlags, RemoteFile};
use crate::error::Kind as Trouble;
use crate::shadow::reopen;
use parking_lot::Mutex;
use parrot_common::shadow::Kind;
use parrot_common::{Attr, Errno, Name, Reply};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How often a name that changes under our hands is looked at anew.
const TRIES: usize = 16;
/// The flags that the kernel keeps with a descriptor.
const KEPT: i32 = libc::O_ACCMODE
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_NOATIME
    | libc::O_PATH;

/// A guest's open(2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    flags: i32,
    mode: u32,
    pid: i32,
}

/// An open did not come to an end because the name means something else now.
enum Opened {
    Done(Reply),
    Again,
}

impl Want {
    pub(super) fn new(flags: i32, mode: u32, pid: i32) -> Self {
        let path = flags & libc::O_PATH != 0;
        // With O_PATH the kernel looks at few flags.
        let few = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
        Self { flags: if path { flags & few } else { flags }, mode, pid }
    }

    fn has(&self, flag: i32) -> bool {
        self.flags & flag == flag
    }

    fn access(&self) -> i32 {
        self.flags & libc::O_ACCMODE
    }

    fn writes(&self) -> bool {
        self.access() != libc::O_RDONLY
    }

    fn changes(&self) -> bool {
        self.writes() || self.has(libc::O_TRUNC)
    }

    /// Every write must reach the server before it returns.
    fn is_synchronous(&self, mount: &Mount) -> bool {
        mount.is_strict() || (self.writes() && self.flags & (libc::O_SYNC | libc::O_DSYNC) != 0)
    }

    /// What is asked of the driver.
    fn remote(&self) -> OpenFlags {
        OpenFlags {
            read: self.access() != libc::O_WRONLY,
            write: self.writes(),
            ..OpenFlags::default()
        }
    }
}

/// The reply to an open.
pub(super) fn handed(fd: OwnedFd, id: u64, kind: Kind, writable: bool) -> Reply {
    Reply { aux: [id, kind as u64, u64::from(writable)], fds: [fd.into_raw_fd(), -1], ..EMPTY }
}

/// Whether an error says that a name known to the cache is not what it was.
fn is_gone(error: &crate::error::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::EISDIR, Errno::ELOOP, Errno::ENXIO];
    matches!(error.kind(), Trouble::Remote(errno) if gone.contains(&errno))
}

impl Core {
    /// open(2).
    pub(super) fn open(&self, name: Name<'_>, want: Want) -> Res<Reply> {
        if want.has(libc::O_TMPFILE) {
            return Err(Errno::EOPNOTSUPP.into());
        }
        if want.has(libc::O_CREAT | libc::O_DIRECTORY) {
            return Err(Errno::EINVAL.into());
        }
        if want.has(libc::O_CREAT) && name.path.ends_with(b"/") {
            // No file can be made under such a name, whatever is there.
            self.walk(name, Last::Parent)?;
            return Err(Errno::EISDIR.into());
        }
        if self.is_removed_dir(name) && !want.changes() && !want.has(libc::O_CREAT) {
            return self.open_removed_dir(name.base, want.flags);
        }
        let last = if want.has(libc::O_CREAT | libc::O_EXCL) {
            Last::Parent
        } else if want.has(libc::O_NOFOLLOW) {
            Last::Keep
        } else {
            Last::Follow
        };
        for attempt in 0..TRIES {
            let old = if attempt == 0 { self.known_file(name, last) } else { None };
            let found = match old {
                Some(found) => found,
                None => match self.walk(name, last)? {
                    Place::Remote(found) => found,
                    Place::Above(logical) => return self.open_above(logical, want),
                },
            };
            match self.open_found(&found, want)? {
                Opened::Done(reply) => return Ok(reply),
                Opened::Again => found.mount.server.cache.forget(&found.path),
            }
        }
        Err(Errno::ESTALE.into())
    }

    /// A file whose name the cache knows, however long ago: the open itself tells if that is true.
    fn known_file(&self, name: Name<'_>, last: Last) -> Option<Found> {
        if last == Last::Parent {
            return None;
        }
        match self.known(name, last, true)? {
            Place::Remote(found) if found.attr.is_some_and(|attr| attr.is_file()) => Some(found),
            _ => None,
        }
    }

    fn open_above(&self, logical: Vec<u8>, want: Want) -> Res<Reply> {
        if want.changes() || want.has(libc::O_CREAT) {
            return Err(Errno::EISDIR.into());
        }
        self.open_dir_above(logical, want.flags)
    }

    fn open_found(&self, found: &Found, want: Want) -> Res<Opened> {
        let mount = &found.mount;
        let Some(attr) = found.attr else {
            if !want.has(libc::O_CREAT) {
                return Err(Errno::ENOENT.into());
            }
            if found.slash {
                return Err(Errno::EISDIR.into());
            }
            mount.allow(Right::Write)?;
            return self.create(found, want);
        };
        if want.has(libc::O_CREAT | libc::O_EXCL) {
            return Err(Errno::EEXIST.into());
        }
        match attr.kind() {
            libc::S_IFDIR if want.changes() || want.has(libc::O_CREAT) => {
                return Err(Errno::EISDIR.into());
            }
            libc::S_IFDIR => {
                mount.allow(Right::Read)?;
                return self.open_dir(mount, &found.path, want.flags).map(Opened::Done);
            }
            _ if want.has(libc::O_DIRECTORY) => return Err(Errno::ENOTDIR.into()),
            // A descriptor of the link itself: there is no shadow for it, and programs that only
            // wanted to change its mode take this for an answer.
            libc::S_IFLNK if want.has(libc::O_PATH) => return Err(Errno::EOPNOTSUPP.into()),
            libc::S_IFLNK => return Err(Errno::ELOOP.into()),
            libc::S_IFREG => {}
            _ => return Err(Errno::ENXIO.into()),
        }
        if want.changes() {
            mount.allow(Right::Write)?;
        }
        if want.access() != libc::O_WRONLY {
            mount.allow(Right::Read)?;
        }
        if mount.server.wait_created(&found.path) {
            return Ok(Opened::Again);
        }
        let node = mount.node(&found.path, &attr);
        if want.has(libc::O_TRUNC) {
            self.open_cut(found, &node, want)
        } else if want.writes() || want.is_synchronous(mount) {
            self.open_strict(found, &node, want)
        } else {
            self.open_read(found, &node, want)
        }
    }

    /// Makes a file that does not exist.
    fn create(&self, found: &Found, want: Want) -> Res<Opened> {
        let (mount, path) = (&found.mount, found.path.as_slice());
        // A stock server follows a link that leads nowhere even when asked to create exclusively.
        if want.has(libc::O_EXCL)
            && !mount.server.capabilities().nanoseconds
            && mount.driver.stat(wire(path), false).is_ok()
        {
            return Err(Errno::EEXIST.into());
        }
        // Others see the file as soon as the server has it, but it is theirs to open only when its
        // shadow is there: a strict writer's bytes and the shadow's would overwrite each other.
        let Some(_creating) = mount.server.begin_creating(path) else { return Ok(Opened::Again) };
        let flags = OpenFlags { write: true, create: true, exclusive: true, ..want.remote() };
        let (handle, attr) = match mount.driver.open(wire(path), flags, want.mode) {
            Err(error)
                if error.kind() == Trouble::Remote(Errno::EEXIST) && !want.has(libc::O_EXCL) =>
            {
                return Ok(Opened::Again);
            }
            // A directory of that name is a name that is taken.
            Err(error)
                if error.kind() == Trouble::Remote(Errno::EISDIR) && want.has(libc::O_EXCL) =>
            {
                return Err(Errno::EEXIST.into());
            }
            other => other?,
        };
        let fetched = SystemTime::now();
        mount.server.cache.put(path, Some(attr));
        mount.server.cache.expire(found.parent());
        let node = mount.node(path, &attr);
        let mut work = node.work.lock();
        // The number may have been another file's that nobody told us is gone.
        self.retire(&node, &mut work);
        if want.is_synchronous(mount) {
            return self.serve(&node, &mut work, want, handle, &attr).map(Opened::Done);
        }
        let (id, file) = self.store.create()?;
        drop(file);
        self.set_current(&node, &mut work, id, 0);
        work.valid = Some(Validator::new(attr, fetched));
        if want.writes() {
            self.begin_upload(&node, &mut work, Upload::empty(handle))?;
        }
        self.hand_over(&work, want).map(Opened::Done)
    }

    /// Cuts an existing file to nothing.
    fn open_cut(&self, found: &Found, node: &Arc<Node>, want: Want) -> Res<Opened> {
        let mount = &found.mount;
        let mut work = node.work.lock();
        if !mount.server.is_known(node) {
            return Ok(Opened::Again);
        }
        // ETXTBSY must come before the server acts.
        if let Some(current) = &work.current {
            self.store.reopen(current.id, libc::O_WRONLY)?;
        }
        let flags = OpenFlags { write: true, truncate: true, ..want.remote() };
        let (handle, attr) = match mount.driver.open(wire(&found.path), flags, want.mode) {
            Err(error) if is_gone(&error) => return Ok(Opened::Again),
            other => other?,
        };
        mount.server.cache.put(&found.path, Some(attr));
        if (attr.dev, attr.ino) == node.key {
            return self.cut(node, &mut work, want, handle, attr).map(Opened::Done);
        }
        drop(work);
        let node = mount.node(&found.path, &attr);
        self.cut(&node, &mut node.work.lock(), want, handle, attr).map(Opened::Done)
    }

    /// The server has cut the file: so does the shadow.
    fn cut(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        want: Want,
        handle: Box<dyn RemoteFile>,
        attr: Attr,
    ) -> Res<Reply> {
        withdraw(work);
        *node.last.lock() = attr;
        if let Some(current) = &work.current {
            let file = std::fs::File::from(self.store.reopen(current.id, libc::O_WRONLY)?);
            file.set_len(0)?;
            current.size.store(0, Ordering::Relaxed);
        } else if !want.is_synchronous(&node.mount) {
            let (id, _) = self.store.create()?;
            self.set_current(node, work, id, 0);
        }
        work.valid = Some(Validator::new(attr, SystemTime::now()));
        if let Some(upload) = &mut work.upload {
            upload.cut(handle);
        } else if want.is_synchronous(&node.mount) {
            return self.serve(node, work, want, handle, &attr);
        } else if want.writes() {
            self.begin_upload(node, work, Upload::empty(handle))?;
        }
        self.hand_over(work, want)
    }

    /// Opens what exists so that every read and write is the server's.
    fn open_strict(&self, found: &Found, node: &Arc<Node>, want: Want) -> Res<Opened> {
        let mount = &found.mount;
        let mut work = node.work.lock();
        if !mount.server.is_known(node) {
            return Ok(Opened::Again);
        }
        if work.upload.is_some() {
            return self.hand_over(&work, want).map(Opened::Done);
        }
        if let Some(current) = &work.current
            && want.writes()
        {
            self.store.reopen(current.id, libc::O_WRONLY)?;
        }
        let epoch = mount.server.cache.epoch();
        let (handle, attr) = match mount.driver.open(wire(&found.path), want.remote(), 0) {
            Err(error) if is_gone(&error) => return Ok(Opened::Again),
            other => other?,
        };
        mount.server.cache.answer(&found.path, Some(attr), epoch);
        if (attr.dev, attr.ino) == node.key {
            return self.serve(node, &mut work, want, handle, &attr).map(Opened::Done);
        }
        drop(work);
        let node = mount.node(&found.path, &attr);
        self.serve(&node, &mut node.work.lock(), want, handle, &attr).map(Opened::Done)
    }

    /// Hands a strict served shadow over.
    fn serve(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        want: Want,
        handle: Box<dyn RemoteFile>,
        attr: &Attr,
    ) -> Res<Reply> {
        let index = usize::try_from(want.access()).unwrap_or(0);
        let old = work.served.get(index).and_then(Option::as_ref);
        let served = match old.filter(|old| old.blocks.is_none()) {
            Some(old) => Arc::clone(old),
            None => self.new_served(node, work, want.access(), handle, (*attr, None))?,
        };
        self.hand_served(&served, want)
    }

    /// Makes a served shadow the one of its access mode.
    fn new_served(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        access: i32,
        handle: Box<dyn RemoteFile>,
        (attr, valid): (Attr, Option<Validator>),
    ) -> Res<Arc<Served>> {
        let id = self.store.new_id() | u64::try_from(access).unwrap_or(0);
        let blocks = match valid {
            Some(_) => {
                let data = self.store.data_file(attr.size)?;
                Some(Blocks::new(Control::new(attr.size)?, data))
            }
            None => None,
        };
        let served = Arc::new(Served {
            id,
            node: Arc::clone(node),
            handle,
            append: Mutex::new(None),
            memfd: self.store.memfd(id, attr.size)?,
            blocks,
            valid,
            used: AtomicU64::new(self.tick()),
        });
        self.objects.write().insert(id, super::Object::Served(Arc::clone(&served)));
        let place = usize::try_from(access).ok().and_then(|index| work.served.get_mut(index));
        if let Some(place) = place {
            *place = Some(Arc::clone(&served));
        }
        Ok(served)
    }

    fn hand_served(&self, served: &Served, want: Want) -> Res<Reply> {
        served.used.store(self.tick(), Ordering::Relaxed);
        let kept = want.flags & (KEPT & !libc::O_ACCMODE & !libc::O_NOATIME);
        let access = if want.has(libc::O_PATH) { 0 } else { libc::O_WRONLY };
        let fd = reopen(served.memfd.as_fd(), kept | access)?;
        Ok(handed(fd, served.id, Kind::Served, want.writes()))
    }

    /// Opens an existing file for reading.
    fn open_read(&self, found: &Found, node: &Arc<Node>, want: Want) -> Res<Opened> {
        let mount = &found.mount;
        let mut work = node.work.lock();
        if !mount.server.is_known(node) {
            return Ok(Opened::Again);
        }
        if work.upload.is_some() {
            if work.current.as_ref().is_some_and(|current| self.store.is_written(current.id)) {
                return self.hand_over(&work, want).map(Opened::Done);
            }
            self.flush(node, &mut work)?;
            self.end_upload(node, &mut work);
        }
        if mount.is_settled() && work.valid.is_some() && work.current.is_some() {
            return self.hand_over(&work, want).map(Opened::Done);
        }
        let size = found.attr.map_or(0, |attr| attr.size);
        let trusted = work.valid.is_some_and(|valid| valid.is_trusted(&mount.server));
        if size <= self.limits.complete_limit && !(trusted && work.current.is_some()) {
            return self.read_small(found, node, &mut work, want);
        }
        if mount.is_settled()
            && let Some(served) = cached(&work)
        {
            return self.hand_served(&served, want).map(Opened::Done);
        }
        if trusted && work.current.is_some() && self.is_same(found, &work) {
            self.stats.reused();
            return self.hand_over(&work, want).map(Opened::Done);
        }
        let fetched = SystemTime::now();
        let epoch = mount.server.cache.epoch();
        let (handle, attr) = match mount.driver.open(wire(&found.path), want.remote(), 0) {
            Err(error) if is_gone(&error) => return Ok(Opened::Again),
            other => other?,
        };
        mount.server.cache.answer(&found.path, Some(attr), epoch);
        if (attr.dev, attr.ino) != node.key {
            return Ok(Opened::Again);
        }
        *node.last.lock() = attr;
        mount.server.cache.settle(&found.path, attr);
        if attr.size <= self.limits.complete_limit {
            self.fill_current(node, &mut work, handle.as_ref(), attr, fetched)?;
            return self.hand_over(&work, want).map(Opened::Done);
        }
        let same = cached(&work).filter(|served| {
            let valid = served.valid.filter(|valid| valid.is_trusted(&mount.server));
            valid.is_some_and(|valid| valid.matches(&attr))
        });
        let served = match same {
            Some(served) => served,
            None => {
                let valid = Some(Validator::new(attr, fetched));
                self.new_served(node, &mut work, libc::O_RDONLY, handle, (attr, valid))?
            }
        };
        self.hand_served(&served, want).map(Opened::Done)
    }

    /// Whether the current shadow is the version that the server has now: one request, and no open
    /// on the server.
    fn is_same(&self, found: &Found, work: &Work) -> bool {
        let mount = &found.mount;
        let epoch = mount.server.cache.epoch();
        let Ok(attr) = mount.driver.stat(wire(&found.path), true) else { return false };
        mount.server.cache.answer(&found.path, Some(attr), epoch);
        work.valid.is_some_and(|valid| valid.matches(&attr))
    }

    /// Gets attributes and bytes of a small file in one go.
    fn read_small(
        &self,
        found: &Found,
        node: &Arc<Node>,
        work: &mut Work,
        want: Want,
    ) -> Res<Opened> {
        let mount = &found.mount;
        let fetched = SystemTime::now();
        let epoch = mount.server.cache.epoch();
        let limit = self.limits.complete_limit;
        let (attr, bytes) = match mount.driver.read_small(wire(&found.path), limit) {
            Err(error) if is_gone(&error) => return Ok(Opened::Again),
            other => other?,
        };
        mount.server.cache.answer(&found.path, Some(attr), epoch);
        if (attr.dev, attr.ino) != node.key {
            return Ok(Opened::Again);
        }
        *node.last.lock() = attr;
        mount.server.cache.settle(&found.path, attr);
        match bytes {
            Some(bytes) => self.new_version(node, work, &bytes, attr, fetched)?,
            None => {
                // It has grown: as large files are.
                let (handle, attr) = mount.driver.open(wire(&found.path), want.remote(), 0)?;
                if (attr.dev, attr.ino) != node.key {
                    return Ok(Opened::Again);
                }
                let valid = Some(Validator::new(attr, fetched));
                let served = self.new_served(node, work, libc::O_RDONLY, handle, (attr, valid))?;
                return self.hand_served(&served, want).map(Opened::Done);
            }
        }
        self.hand_over(work, want).map(Opened::Done)
    }

    /// Hands the current complete shadow over.
    fn hand_over(&self, work: &Work, want: Want) -> Res<Reply> {
        let Some(current) = &work.current else { return Err(Errno::EIO.into()) };
        current.used.store(self.tick(), Ordering::Relaxed);
        let fd = self.store.reopen(current.id, want.flags & KEPT)?;
        let _ = want.pid;
        Ok(handed(fd, current.id, Kind::Complete, want.writes()))
    }

    /// Makes a version of a file, just fetched whole, the current one. The shadow is kept if it
    /// holds the same bytes.
    fn new_version(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        bytes: &[u8],
        attr: Attr,
        fetched: SystemTime,
    ) -> Res<()> {
        self.stats.received(bytes.len());
        let valid = Validator::new(attr, fetched);
        if let Some(current) = &work.current
            && current.size.load(Ordering::Relaxed) == bytes.len() as u64
            && std::fs::read(self.store.complete_path(current.id)).is_ok_and(|old| old == bytes)
        {
            work.valid = Some(valid);
            return Ok(());
        }
        let (id, file) = self.store.create()?;
        let written = reserve(&file, bytes.len() as u64).and_then(|()| file.write_all_at(bytes, 0));
        if let Err(error) = written {
            self.store.remove(id);
            return Err(error.into());
        }
        self.set_current(node, work, id, bytes.len() as u64);
        work.valid = Some(valid);
        Ok(())
    }

    /// Fetches all bytes of a file through a handle, and makes them the current version.
    pub(super) fn fill_current(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        handle: &dyn RemoteFile,
        attr: Attr,
        fetched: SystemTime,
    ) -> Res<()> {
        let (id, file) = self.store.create()?;
        let filled = reserve(&file, attr.size).map_err(Halt::from).and_then(|()| {
            let mut buffer = vec![0; usize::try_from(attr.size.min(8 << 20)).unwrap_or(0)];
            let mut done: u64 = 0;
            while done < attr.size {
                let got = handle.pread(&mut buffer, done)?;
                if got == 0 {
                    break;
                }
                file.write_all_at(buffer.get(..got).unwrap_or_default(), done)?;
                self.stats.received(got);
                done += got as u64;
            }
            // What was reserved and is not there any more.
            file.set_len(done.min(attr.size))?;
            Ok(done.min(attr.size))
        });
        match filled {
            Ok(size) => {
                self.set_current(node, work, id, size);
                work.valid = Some(Validator::new(attr, fetched));
                Ok(())
            }
            Err(halt) => {
                self.store.remove(id);
                Err(halt)
            }
        }
    }

    /// Makes `c/ID` the current shadow of a node. An older one lives as long as somebody holds it.
    fn set_current(&self, node: &Arc<Node>, work: &mut Work, id: u64, size: u64) {
        let new = Arc::new(Complete {
            id,
            node: Arc::clone(node),
            used: AtomicU64::new(self.tick()),
            size: AtomicU64::new(size),
        });
        self.objects.write().insert(id, super::Object::Complete(Arc::clone(&new)));
        if let Some(old) = work.current.replace(new) {
            self.release_later(old.id);
        }
        work.valid = None;
    }

    /// Takes a node's shadows away from it: they belong to a file that is gone.
    fn retire(&self, node: &Arc<Node>, work: &mut Work) {
        if work.upload.is_some() {
            self.end_upload(node, work);
        }
        if let Some(old) = work.current.take() {
            self.release_later(old.id);
        }
        work.valid = None;
        work.served = Default::default();
    }
}

/// The cache of a large file for reading.
fn cached(work: &Work) -> Option<Arc<Served>> {
    let served = work.served.first()?.as_ref()?;
    let blocks = served.blocks.as_ref()?;
    (!blocks.control.is_withdrawn()).then(|| Arc::clone(served))
}

/// The bytes in a node's block caches are the server's no more.
pub(super) fn withdraw(work: &mut Work) {
    for served in work.served.iter().flatten() {
        served.withdraw();
    }
}

/// Reserves space, so that a full disk is an error now and not a short file later.
fn reserve(file: &std::fs::File, size: u64) -> std::io::Result<()> {
    let Ok(len) = i64::try_from(size) else { return Err(std::io::ErrorKind::FileTooLarge.into()) };
    if len == 0 {
        return Ok(());
    }
    match nix::fcntl::posix_fallocate(file, 0, len) {
        Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
