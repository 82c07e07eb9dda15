//! Operations that change which names there are.

use super::Core;
use super::EMPTY;
use super::halt::{Halt, Res};
use super::mount::{Mount, Right, wire};
use super::walk::{Ending, Found, Last, Place, parent};
use parrot_common::{Attr, Errno, Name, Reply};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a directory that was just made is known as: one may pass through it.
const NEW_DIR: Attr = Attr {
    mode: libc::S_IFDIR | 0o111,
    dev: 0,
    ino: 0,
    nlink: 2,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    blksize: 0,
    blocks: 0,
    atime: (0, 0),
    mtime: (0, 0),
    ctime: (0, 0),
};

/// A name that shall be made or removed. Above the servers nothing can.
fn last_name(place: Place, dots: [Errno; 2]) -> Res<Found> {
    let found = place.remote(Errno::EROFS)?;
    found.mount.allow(Right::Write)?;
    let [dot, dot_dot] = dots;
    match found.ending {
        Ending::Dot => Err(dot.into()),
        Ending::DotDot => Err(dot_dot.into()),
        Ending::Name => Ok(found),
    }
}

/// A directory's entries have changed.
fn touched(mount: &Mount, path: &[u8]) {
    mount.server.cache.expire(parent(path));
}

impl Core {
    /// mkdir(2).
    pub(super) fn mkdir(&self, name: Name<'_>, mode: u32) -> Res<Reply> {
        let place = self.walk(name, Last::Parent)?;
        if matches!(place, Place::Above(_)) {
            return Err(Errno::EEXIST.into());
        }
        let found = last_name(place, [Errno::EEXIST; 2])?;
        if found.attr.is_some() || found.is_root() {
            return Err(Errno::EEXIST.into());
        }
        match found.mount.driver.mkdir(wire(&found.path), mode) {
            // A stock server says this of a link that leads nowhere.
            Err(error)
                if error.errno() == Errno::EACCES
                    && found.mount.driver.stat(wire(&found.path), false).is_ok() =>
            {
                return Err(Errno::EEXIST.into());
            }
            other => other?,
        }
        found.mount.server.cache.put(&found.path, Some(NEW_DIR));
        touched(&found.mount, &found.path);
        Ok(EMPTY)
    }

    /// rmdir(2).
    pub(super) fn rmdir(&self, name: Name<'_>) -> Res<Reply> {
        let place = self.walk(name, Last::Parent)?;
        let found = last_name(place, [Errno::EINVAL, Errno::ENOTEMPTY])?;
        if found.is_root() {
            return Err(Errno::EBUSY.into());
        }
        found.mount.driver.rmdir(wire(&found.path))?;
        let server = &found.mount.server;
        server.cache.forget_tree(&found.path);
        server.cache.put(&found.path, None);
        touched(&found.mount, &found.path);
        for dir in server.dirs.lock().values() {
            dir.removed(&found.path);
        }
        Ok(EMPTY)
    }

    /// unlink(2).
    pub(super) fn unlink(&self, name: Name<'_>) -> Res<Reply> {
        let found = last_name(self.walk(name, Last::Parent)?, [Errno::EISDIR; 2])?;
        if found.is_root() {
            return Err(Errno::EISDIR.into());
        }
        if found.slash {
            let dir = found.existing()?.is_dir();
            return Err(if dir { Errno::EISDIR } else { Errno::ENOTDIR }.into());
        }
        let server = &found.mount.server;
        let node = server.nodes.lock().named(&found.path).cloned();
        let mut unsent = false;
        if let Some(node) = &node {
            match self.flush_node(node) {
                // What has no place on the server goes with the last name of its file.
                Err(halt) if halt.is_no_space() && node.last.lock().nlink <= 1 => unsent = true,
                result => result?,
            }
        }
        found.mount.driver.unlink(wire(&found.path))?;
        server.nodes.lock().unlink(&found.path);
        if let Some(node) = node.as_ref().filter(|_| unsent) {
            self.drop_unsent(node);
        }
        server.cache.put(&found.path, None);
        touched(&found.mount, &found.path);
        if let Some(node) = node {
            let mut last = node.last.lock();
            last.nlink = last.nlink.saturating_sub(1);
            drop(last);
            if node.writable.load(Ordering::Acquire) {
                self.journal_names(server);
            }
            for name in node.names.lock().iter() {
                server.cache.expire(name);
            }
        }
        Ok(EMPTY)
    }

    /// renameat2(2).
    pub(super) fn rename(&self, from: Name<'_>, to: Name<'_>, flags: u32) -> Res<Reply> {
        let from = last_name(self.walk(from, Last::Parent)?, [Errno::EBUSY; 2])?;
        let to = self.walk(to, Last::Parent).map_err(second)?;
        let to = last_name(to, [Errno::EBUSY; 2])?;
        let server = &from.mount.server;
        if !Arc::ptr_eq(server, &to.mount.server) {
            return Err(Errno::EXDEV.into());
        }
        if from.is_root() || to.is_root() {
            return Err(Errno::EBUSY.into());
        }
        if from.slash && !from.existing()?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        if to.slash && !from.attr.is_some_and(|attr| attr.is_dir()) {
            let attr = self.attr_at(&from)?;
            if !attr.is_dir() {
                return Err(Errno::ENOTDIR.into());
            }
        }
        let nodes = {
            let nodes = server.nodes.lock();
            [nodes.named(&from.path).cloned(), nodes.named(&to.path).cloned()]
        };
        for node in nodes.iter().flatten() {
            self.flush_node(node)?;
        }
        from.mount.driver.rename(wire(&from.path), wire(&to.path), flags)?;
        if from.path == to.path {
            return Ok(EMPTY);
        }
        self.renamed(&from, &to, flags & libc::RENAME_EXCHANGE != 0);
        Ok(EMPTY)
    }

    fn attr_at(&self, found: &Found) -> Res<Attr> {
        match found.attr {
            Some(attr) => Ok(attr),
            None => Ok(found.mount.driver.stat(wire(&found.path), false)?),
        }
    }

    /// Two names of a server were changed: so is what this session knows.
    fn renamed(&self, from: &Found, to: &Found, exchange: bool) {
        let server = &from.mount.server;
        let (old, new) = (from.path.as_slice(), to.path.as_slice());
        {
            let mut nodes = server.nodes.lock();
            let same = match (nodes.named(old), nodes.named(new)) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                _ => false,
            };
            if exchange {
                // By way of a name that no file can have.
                nodes.rename(old, b"//");
                nodes.rename(new, old);
                nodes.rename(b"//", new);
            } else if !same {
                nodes.rename(old, new);
            } else {
                // Two links of one file: rename(2) does nothing.
                return;
            }
        }
        server.cache.forget_tree(old);
        server.cache.forget_tree(new);
        if !exchange {
            server.cache.put(old, None);
        }
        touched(&from.mount, old);
        touched(&to.mount, new);
        self.journal_names(server);
        for dir in server.dirs.lock().values() {
            if exchange {
                dir.renamed(old, b"//");
                dir.renamed(new, old);
                dir.renamed(b"//", new);
            } else {
                dir.removed(new);
                dir.renamed(old, new);
            }
        }
    }

    /// linkat(2).
    pub(super) fn link(&self, from: Name<'_>, to: Name<'_>, follow: bool) -> Res<Reply> {
        let last = if follow { Last::Follow } else { Last::Keep };
        let from = self.walk(from, last)?.remote(Errno::EPERM)?;
        let attr = from.existing()?;
        let to = self.walk(to, Last::Parent).map_err(second)?;
        let to = last_name(to, [Errno::EEXIST; 2])?;
        if !Arc::ptr_eq(&from.mount.server, &to.mount.server) {
            return Err(Errno::EXDEV.into());
        }
        if attr.is_dir() {
            // That the new name is taken comes first.
            let taken = to.mount.driver.stat(wire(&to.path), false).is_ok();
            return Err(if taken { Errno::EEXIST } else { Errno::EPERM }.into());
        }
        if to.slash {
            return Err(if to.attr.is_some() { Errno::EEXIST } else { Errno::ENOENT }.into());
        }
        let server = &from.mount.server;
        let node = server.nodes.lock().find(&attr).cloned();
        if let Some(node) = &node {
            self.flush_node(node)?;
        }
        match from.mount.driver.link(wire(&from.path), wire(&to.path)) {
            // A stock server follows the old name first and reports what is wrong with that.
            Err(error)
                if error.errno() == Errno::ENOENT
                    && to.mount.driver.stat(wire(&to.path), false).is_ok() =>
            {
                return Err(Errno::EEXIST.into());
            }
            other => other?,
        }
        server.cache.expire(&from.path);
        server.cache.forget(&to.path);
        touched(&to.mount, &to.path);
        if let Some(node) = node {
            let mut last = node.last.lock();
            last.nlink += 1;
        }
        Ok(EMPTY)
    }

    /// symlink(2).
    pub(super) fn symlink(&self, name: Name<'_>, text: &[u8]) -> Res<Reply> {
        let found = last_name(self.walk(name, Last::Parent)?, [Errno::EEXIST; 2])?;
        if found.is_root() {
            return Err(Errno::EEXIST.into());
        }
        if found.slash {
            let errno = if found.attr.is_some() { Errno::EEXIST } else { Errno::ENOENT };
            return Err(errno.into());
        }
        found.mount.driver.symlink(text, wire(&found.path))?;
        found.mount.server.cache.forget(&found.path);
        touched(&found.mount, &found.path);
        Ok(EMPTY)
    }

    /// mknod(2) of what no server has: says what is wrong with the name, at least that.
    pub(super) fn mknod(&self, name: Name<'_>) -> Res<Reply> {
        let found = last_name(self.walk(name, Last::Parent)?, [Errno::EEXIST; 2])?;
        if found.attr.is_some() || found.is_root() {
            return Err(Errno::EEXIST.into());
        }
        if found.slash {
            return Err(Errno::ENOENT.into());
        }
        let driver = &found.mount.driver;
        match driver.stat(wire(&found.path), false) {
            Ok(_) => return Err(Errno::EEXIST.into()),
            Err(error) if error.errno() == Errno::ENOENT => {}
            Err(error) => return Err(error.into()),
        }
        if !driver.stat(wire(found.parent()), true)?.is_dir() {
            return Err(Errno::ENOTDIR.into());
        }
        Err(Errno::EPERM.into())
    }

    /// readlink(2).
    pub(super) fn readlink(&self, name: Name<'_>, out: &mut [u8]) -> Res<Reply> {
        let found = self.walk(name, Last::Keep)?.remote(Errno::EINVAL)?;
        if !found.existing()?.is_symlink() {
            return Err(Errno::EINVAL.into());
        }
        let text = self.link_text(&found.mount, &found.path)?;
        // Longer than the caller's room: cut, as readlink(2) does.
        let len = text.len().min(out.len());
        super::data_reply(text.get(..len).unwrap_or_default(), out)
    }
}

/// A redirect of an operation's second name.
fn second(halt: Halt) -> Halt {
    match halt {
        Halt::Redirect(name) => Halt::RedirectSecond(name),
        other => other,
    }
}
