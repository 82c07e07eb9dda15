//! Operations on attributes, by name or by shadow.

use super::halt::{Halt, Res};
use super::mount::{Mount, Right, hash, wire};
use super::node::{Node, Validator};
use super::walk::{Found, Last, Place};
use super::{Core, EMPTY, Object, data_reply};
use crate::cache::Age;
use crate::driver::{SetTime, Space};
use crate::error::Kind as Trouble;
use parrot_common::mountlist::Locks;
use parrot_common::shadow::ShadowId;
use parrot_common::{Attr, Errno, Name, Reply};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// A file or directory that an operation is about.
#[derive(Debug)]
pub(super) struct Target {
    mount: Arc<Mount>,
    path: Vec<u8>,
    node: Option<Arc<Node>>,
    link: bool,
}

fn attr_reply(attr: &Attr, out: &mut [u8]) -> Res<Reply> {
    data_reply(attr.as_bytes(), out)
}

const fn last(follow: bool) -> Last {
    if follow { Last::Follow } else { Last::Keep }
}

impl Core {
    /// What a name means for an operation on attributes.
    pub(super) fn target(&self, name: Name<'_>, follow: bool) -> Res<Target> {
        let found = self.walk(name, last(follow))?.remote(Errno::EOPNOTSUPP)?;
        let attr = found.existing()?;
        let node = found.mount.server.nodes.lock().find(&attr).cloned();
        Ok(Target { mount: found.mount, path: found.path, node, link: attr.is_symlink() })
    }

    /// What a shadow means for an operation on attributes.
    pub(super) fn target_of(&self, id: ShadowId) -> Res<Target> {
        let node = match self.object(id)? {
            Object::Complete(shadow) => Arc::clone(&shadow.node),
            Object::Served(served) => Arc::clone(&served.node),
            Object::Dir(dir) => {
                let (mount, path) = match dir.remote() {
                    Some(place) => place,
                    None if dir.name().1 => return Err(Errno::ENOENT.into()),
                    None => return Err(Errno::EOPNOTSUPP.into()),
                };
                return Ok(Target { mount, path, node: None, link: false });
            }
            Object::Program(_) => return Err(Errno::EPERM.into()),
        };
        let path = node.name().ok_or(Halt::Errno(Errno::ENOENT))?;
        Ok(Target { mount: Arc::clone(&node.mount), path, node: Some(node), link: false })
    }

    /// The attributes of a made-up directory.
    fn above(&self, logical: &[u8]) -> Attr {
        Attr {
            dev: 1,
            // Walks take a directory with its parent's number for a loop.
            ino: hash(&[logical]) | 1,
            mode: libc::S_IFDIR | 0o555,
            nlink: 2,
            uid: self.me.0,
            gid: self.me.1,
            blksize: 4096,
            ..Attr::default()
        }
    }

    /// stat(2) and lstat(2).
    pub(super) fn stat(&self, name: Name<'_>, follow: bool, out: &mut [u8]) -> Res<Reply> {
        if self.is_removed_dir(name) {
            return self.fstat(name.base, out);
        }
        let found = match self.walk(name, last(follow))? {
            Place::Remote(found) => found,
            Place::Above(logical) => return attr_reply(&self.above(&logical), out),
        };
        let mut attr = found.existing()?;
        let server = &found.mount.server;
        if attr.is_file() {
            let node = server.nodes.lock().find(&attr).cloned();
            if let Some(node) = node.filter(|node| node.writable.load(Ordering::Acquire)) {
                match self.flush_node(&node) {
                    // The file is as short as it could be sent; whoever closes it is told.
                    Err(halt) if halt.is_no_space() => {}
                    result => result?,
                }
                attr = self.attr_of(&node, found.mount.age)?;
            }
        }
        attr_reply(&server.show(&attr, self.me), out)
    }

    /// The attributes of a file by its node; under the name this session knows it by.
    fn attr_of(&self, node: &Arc<Node>, age: Age) -> Res<Attr> {
        let cache = &node.server().cache;
        if let Some(name) = node.name() {
            if let Some(attr) = self.cached_attr(node, &name, age) {
                return Ok(attr);
            }
            let epoch = cache.epoch();
            match node.mount.driver.stat(wire(&name), false) {
                Ok(attr) => {
                    cache.answer(&name, Some(attr), epoch);
                    if (attr.dev, attr.ino) == node.key {
                        *node.last.lock() = attr;
                        return Ok(attr);
                    }
                }
                Err(error) if error.errno() == Errno::ENOENT => cache.answer(&name, None, epoch),
                Err(error) => return Err(error.into()),
            }
        }
        // The name is another file's, or nobody's: only an open handle can tell.
        let work = node.work.lock();
        let handle = work.upload.as_ref().map(super::flush::Upload::handle);
        let served = work.served.iter().flatten().next().map(|served| served.handle.as_ref());
        let set = |attr| node.set.lock().over(attr);
        match handle.or(served) {
            Some(handle) => Ok(set(handle.fstat()?)),
            None => {
                let attr = *node.last.lock();
                // What this session removed is counted; that somebody else did was just seen.
                let others = u32::from(node.name().is_some());
                Ok(set(Attr { nlink: attr.nlink.saturating_sub(others), ..attr }))
            }
        }
    }

    /// How old the attributes of an open file may be. Its node may be another mount's.
    fn age_of(&self, object: &Object) -> Age {
        match object {
            Object::Served(served) if served.blocks.is_none() => match served.node.mount.age {
                Age::Any | Age::Forever => Age::Within(Duration::ZERO),
                age @ Age::Within(_) => age,
            },
            Object::Complete(shadow) if shadow.node.mount.is_strict() => Age::Forever,
            Object::Complete(shadow) => shadow.node.mount.age,
            Object::Served(served) => served.node.mount.age,
            Object::Dir(_) | Object::Program(_) => Age::Within(Duration::ZERO),
        }
    }

    fn cached_attr(&self, node: &Node, name: &[u8], age: Age) -> Option<Attr> {
        let attr = node.server().cache.get(name, age)??;
        ((attr.dev, attr.ino) == node.key).then_some(attr)
    }

    /// fstat(2).
    pub(super) fn fstat(&self, id: ShadowId, out: &mut [u8]) -> Res<Reply> {
        let object = self.object(id)?;
        let age = self.age_of(&object);
        let node = match object {
            Object::Complete(shadow) => Arc::clone(&shadow.node),
            Object::Served(served) => Arc::clone(&served.node),
            Object::Dir(dir) => {
                let Some((mount, path)) = dir.remote() else {
                    let (logical, gone) = dir.name();
                    let attr = Attr { nlink: if gone { 0 } else { 2 }, ..self.above(&logical) };
                    return attr_reply(&attr, out);
                };
                let cache = &mount.server.cache;
                let attr = match cache.get(&path, mount.age).flatten().filter(|a| a.ino != 0) {
                    Some(attr) => attr,
                    None => {
                        let epoch = cache.epoch();
                        let attr = mount.driver.stat(wire(&path), false)?;
                        cache.answer(&path, Some(attr), epoch);
                        attr
                    }
                };
                return attr_reply(&mount.server.show(&attr, self.me), out);
            }
            Object::Program(_) => return Err(Errno::EBADF.into()),
        };
        self.flush_shown(&node)?;
        let attr = self.attr_of(&node, age)?;
        let attr = self.with_shadow_size(&node, attr);
        attr_reply(&node.server().show(&attr, self.me), out)
    }

    /// A removed file is not sent any more: its size is the shadow's.
    fn with_shadow_size(&self, node: &Node, attr: Attr) -> Attr {
        if node.name().is_some() || !node.writable.load(Ordering::Acquire) {
            return attr;
        }
        let work = node.work.lock();
        let current = work.current.as_ref().map(|current| self.store.complete_path(current.id));
        let size = current.and_then(|path| std::fs::metadata(path).ok()).map(|data| data.len());
        Attr { size: size.unwrap_or(attr.size), ..attr }
    }

    /// What can be answered without waiting for anybody; `None` = nothing.
    pub(super) fn at_once(
        &self,
        request: &parrot_common::Request<'_>,
        out: &mut [u8],
    ) -> Option<Res<Reply>> {
        use parrot_common::Op;
        let name = Name { base: request.base[0], path: request.a };
        match request.op {
            Op::Hello => Some(Ok(self.hello(out))),
            Op::PathOf => Some(self.path_of(request.id, out)),
            Op::LockPolicy => Some(Ok(self.lock_policy(request))),
            Op::SyncMaps => self.has_no_maps().then_some(Ok(EMPTY)),
            Op::PRead => self.pread_at_once(request.id, request.args[0], out),
            Op::Seek => self.seek_at_once(
                request.id,
                request.args[0].cast_signed(),
                i32::try_from(request.args[1]).ok()?,
            ),
            Op::Access => self.access_at_once(name, request.args[0], request.args[1] != 0),
            Op::Stat => {
                if self.is_unsettled() {
                    return None;
                }
                let Place::Remote(found) = self.known(name, last(request.args[0] != 0), false)?
                else {
                    return None;
                };
                let server = &found.mount.server;
                let Some(attr) = found.attr else { return Some(Err(Errno::ENOENT.into())) };
                let node = server.nodes.lock().find(&attr).cloned();
                if node.is_some_and(|node| node.writable.load(Ordering::Acquire)) {
                    return None;
                }
                self.stats.hit();
                Some(attr_reply(&server.show(&attr, self.me), out))
            }
            Op::FStat => {
                let object = match self.object(request.id) {
                    Ok(object) => object,
                    Err(errno) => return Some(Err(errno.into())),
                };
                let node = match &object {
                    Object::Complete(shadow) => &shadow.node,
                    Object::Served(served) => &served.node,
                    _ => return None,
                };
                if node.writable.load(Ordering::Acquire) {
                    return None;
                }
                let attr = self.cached_attr(node, &node.name()?, self.age_of(&object))?;
                Some(attr_reply(&node.server().show(&attr, self.me), out))
            }
            Op::Flush => {
                let Ok(Object::Complete(shadow)) = self.object(request.id) else { return None };
                let dirty = self.is_dirty(&*shadow.node.work.try_lock()?);
                if dirty { None } else { Some(Ok(EMPTY)) }
            }
            _ => None,
        }
    }

    /// `access` as far as the cache tells: who may read and write is for the server to say.
    fn access_at_once(&self, name: Name<'_>, mode: u64, follow: bool) -> Option<Res<Reply>> {
        if self.is_unsettled() {
            return None;
        }
        let Place::Remote(found) = self.known(name, last(follow), false)? else { return None };
        if found.attr.is_some() && mode & 6 != 0 {
            return None;
        }
        self.stats.hit();
        Some(self.access_found(&found, u32::try_from(mode).ok()?))
    }

    /// Whether locks on an open file are refused.
    pub(super) fn lock_policy(&self, request: &parrot_common::Request<'_>) -> Reply {
        let mount = self.mount_of(request);
        let refused = mount.is_some_and(|mount| mount.rule.locks == Locks::Refuse);
        Reply { value: i64::from(refused), ..EMPTY }
    }

    /// chdir(2).
    pub(super) fn chdir(&self, name: Name<'_>) -> Res<Reply> {
        let found = match self.walk(name, Last::Follow)? {
            Place::Remote(found) => found,
            Place::Above(logical) => return self.open_dir_above(logical, libc::O_PATH),
        };
        if !found.existing()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        self.open_dir(&found.mount, &found.path, libc::O_PATH)
    }

    /// faccessat(2).
    pub(super) fn access(&self, name: Name<'_>, mode: u32, follow: bool) -> Res<Reply> {
        let found = match self.walk(name, last(follow))? {
            Place::Remote(found) => found,
            Place::Above(_) if mode & 2 != 0 => return Err(Errno::EROFS.into()),
            Place::Above(_) => return Ok(EMPTY),
        };
        self.access_found(&found, mode)
    }

    fn access_found(&self, found: &Found, mode: u32) -> Res<Reply> {
        let attr = found.existing()?;
        let rights = [(4, Right::Read), (2, Right::Write), (1, Right::Exec)];
        for (bit, right) in rights {
            // Search in a directory is no execution.
            if mode & bit != 0 && !(bit == 1 && attr.is_dir()) {
                found.mount.allow(right)?;
            }
        }
        // Whether it is a program says its mode: the rights of most servers' lists have no word
        // for it.
        if mode & 1 != 0 && attr.is_file() && attr.mode & 0o111 == 0 {
            return Err(Errno::EACCES.into());
        }
        if mode & 6 != 0 && !attr.is_symlink() {
            found.mount.driver.access(wire(&found.path), mode & 6)?;
        }
        Ok(EMPTY)
    }

    /// Before attributes are changed: what was written is sent, so that it does not change them
    /// again later.
    fn before_change(&self, target: &Target) -> Res<()> {
        target.mount.allow(Right::Write)?;
        target.node.as_ref().map_or(Ok(()), |node| self.flush_node(node))
    }

    fn changed(&self, target: &Target) -> Reply {
        target.mount.server.cache.expire(&target.path);
        EMPTY
    }

    /// chmod(2).
    pub(super) fn chmod(&self, target: &Target, mode: u32) -> Res<Reply> {
        if target.link {
            return Err(Errno::EOPNOTSUPP.into());
        }
        self.before_change(target)?;
        target.mount.driver.chmod(wire(&target.path), mode & 0o7777)?;
        Ok(self.changed(target))
    }

    /// chown(2): everything belongs to the guest's own user, and stays so.
    pub(super) fn chown(&self, target: &Target, ids: [u32; 2]) -> Res<Reply> {
        target.mount.allow(Right::Write)?;
        let mine = [self.me.0, self.me.1];
        if ids.iter().zip(mine).all(|(&id, mine)| id == u32::MAX || id == mine) {
            Ok(EMPTY)
        } else {
            Err(Errno::EPERM.into())
        }
    }

    /// The node of a shadow whose file has no name any more.
    fn gone(&self, id: ShadowId) -> Option<Arc<Node>> {
        let node = match self.object(id).ok()? {
            Object::Complete(shadow) => Arc::clone(&shadow.node),
            Object::Served(served) => Arc::clone(&served.node),
            _ => return None,
        };
        node.is_gone().then_some(node)
    }

    /// fchmod(2).
    pub(super) fn fchmod(&self, id: ShadowId, mode: u32) -> Res<Reply> {
        let Some(node) = self.gone(id) else { return self.chmod(&self.target_of(id)?, mode) };
        node.set.lock().mode = Some(mode & 0o7777);
        Ok(EMPTY)
    }

    /// futimens(3).
    pub(super) fn futimes(&self, id: ShadowId, args: &[u64; 5]) -> Res<Reply> {
        let Some(node) = self.gone(id) else { return self.utimes(&self.target_of(id)?, args) };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = (now.as_secs().cast_signed(), i64::from(now.subsec_nanos()));
        let put = |place: &mut Option<(i64, i64)>, time| match time {
            SetTime::Omit => {}
            SetTime::Now => *place = Some(now),
            SetTime::At(seconds, nanoseconds) => *place = Some((seconds, nanoseconds)),
        };
        let [atime, mtime] = times(args)?;
        let mut set = node.set.lock();
        put(&mut set.atime, atime);
        put(&mut set.mtime, mtime);
        Ok(EMPTY)
    }

    /// utimensat(2).
    pub(super) fn utimes(&self, target: &Target, args: &[u64; 5]) -> Res<Reply> {
        let [atime, mtime] = times(args)?;
        if (atime, mtime) == (SetTime::Omit, SetTime::Omit) {
            return Ok(EMPTY);
        }
        self.before_change(target)?;
        let path = wire(&target.path);
        match target.mount.driver.utimes(path, atime, mtime, false) {
            // A stock server cannot set the times of a link. Programs take ENOSYS for "not here"
            // and go on; anything else would make `cp -a` fail.
            Err(error) if target.link && error.kind() == Trouble::Unsupported => {
                return Err(Errno::ENOSYS.into());
            }
            other => other?,
        }
        let reply = self.changed(target);
        let Some(node) = &target.node else { return Ok(reply) };
        // The shadow holds the same bytes under the new time.
        let mut work = node.work.lock();
        if work.valid.is_some() {
            let fetched = SystemTime::now();
            let attr = target.mount.driver.stat(path, false)?;
            let same = (attr.dev, attr.ino) == node.key
                && work
                    .current
                    .as_ref()
                    .is_some_and(|current| current.size.load(Ordering::Relaxed) == attr.size);
            work.valid = same.then(|| Validator::new(attr, fetched));
            target.mount.server.cache.put(&target.path, Some(attr));
        }
        Ok(reply)
    }

    /// truncate(2).
    pub(super) fn truncate(&self, name: Name<'_>, size: u64) -> Res<Reply> {
        let found = self.walk(name, Last::Follow)?.remote(Errno::EISDIR)?;
        let attr = found.existing()?;
        match attr.kind() {
            libc::S_IFREG => {}
            libc::S_IFDIR => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::EINVAL.into()),
        }
        found.mount.allow(Right::Write)?;
        self.cut_node(&found.mount.node(&found.path, &attr), &found.path, size)?;
        Ok(EMPTY)
    }

    /// statfs(2).
    pub(super) fn statfs(&self, name: Name<'_>, out: &mut [u8]) -> Res<Reply> {
        match self.walk(name, Last::Follow)? {
            Place::Remote(found) => {
                found.existing()?;
                space_reply(&found.mount.driver.statfs(wire(&found.path))?, out)
            }
            Place::Above(_) => space_reply(&Space { bsize: 4096, ..Space::default() }, out),
        }
    }

    /// fstatfs(2).
    pub(super) fn statfs_of(&self, id: ShadowId, out: &mut [u8]) -> Res<Reply> {
        let target = self.target_of(id)?;
        space_reply(&target.mount.driver.statfs(wire(&target.path))?, out)
    }

    /// getxattr(2).
    pub(super) fn getxattr(&self, target: &Target, name: &[u8], out: &mut [u8]) -> Res<Reply> {
        travels(target, name)?;
        data_reply(&target.mount.driver.getxattr(wire(&target.path), name, false)?, out)
    }

    /// listxattr(2).
    pub(super) fn listxattr(&self, target: &Target, out: &mut [u8]) -> Res<Reply> {
        if !target.mount.server.capabilities().xattr {
            return Ok(EMPTY);
        }
        let all = target.mount.driver.listxattr(wire(&target.path), false)?;
        let ours = all.split_inclusive(|&b| b == 0).filter(|name| name.starts_with(USER));
        data_reply(&ours.flatten().copied().collect::<Vec<u8>>(), out)
    }

    /// setxattr(2): `text` is the attribute's name, a zero byte, the value.
    pub(super) fn setxattr(&self, target: &Target, text: &[u8], flags: u32) -> Res<Reply> {
        let end = text.iter().position(|&b| b == 0).ok_or(Halt::Errno(Errno::EINVAL))?;
        let (name, value) = text.split_at(end);
        let value = value.get(1..).unwrap_or_default();
        travels(target, name)?;
        self.before_change(target)?;
        target.mount.driver.setxattr(wire(&target.path), name, value, flags, false)?;
        Ok(self.changed(target))
    }

    /// removexattr(2).
    pub(super) fn removexattr(&self, target: &Target, name: &[u8]) -> Res<Reply> {
        travels(target, name)?;
        self.before_change(target)?;
        target.mount.driver.removexattr(wire(&target.path), name, false)?;
        Ok(self.changed(target))
    }
}

/// The extended attributes that a remote file can have for a guest. The others (`security.`,
/// `system.`, `trusted.`) speak of the server's own kernel, and `ls -l` asks for three of them for
/// every file.
const USER: &[u8] = b"user.";

fn travels(target: &Target, name: &[u8]) -> Result<(), Errno> {
    let can = target.mount.server.capabilities().xattr && name.starts_with(USER);
    if can { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

/// The two times of an operation: of access, of modification.
fn times(args: &[u64; 5]) -> Result<[SetTime; 2], Errno> {
    let [a_seconds, a_nanoseconds, m_seconds, m_nanoseconds, _] = *args;
    let time = |seconds: u64, nanoseconds: u64| match nanoseconds.cast_signed() {
        libc::UTIME_NOW => Ok(SetTime::Now),
        libc::UTIME_OMIT => Ok(SetTime::Omit),
        nanoseconds @ 0..1_000_000_000 => Ok(SetTime::At(seconds.cast_signed(), nanoseconds)),
        _ => Err(Errno::EINVAL),
    };
    Ok([time(a_seconds, a_nanoseconds)?, time(m_seconds, m_nanoseconds)?])
}

fn space_reply(space: &Space, out: &mut [u8]) -> Res<Reply> {
    let words = [
        space.kind,
        space.bsize,
        space.blocks,
        space.bfree,
        space.bavail,
        space.files,
        space.ffree,
    ];
    data_reply(&words.map(u64::to_ne_bytes).concat(), out)
}
