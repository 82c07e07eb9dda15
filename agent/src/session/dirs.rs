//! Directories: shadows of directories, and listings.
//!
//! A guest's descriptor of a remote directory is that of a local one which has been removed, so a
//! call that nobody caught finds nothing there. The kernel says when its last holder is gone:
//! that is when the removed directory's inode goes (`IN_DELETE_SELF`).

use super::Core;
use super::EMPTY;
use super::Object;
use super::halt::Res;
use super::mount::{Mount, wire};
use super::node::is_below;
use super::open::handed;
use super::walk::parent;
use crate::cache::Age;
use parking_lot::Mutex;
use parrot_common::shadow::{Kind, ShadowId};
use parrot_common::{Attr, Errno, Name, Reply};
use std::sync::Arc;

/// An open directory.
#[derive(Debug)]
pub(super) struct DirShadow {
    pub(super) id: ShadowId,
    at: At,
    listing: Mutex<Option<Arc<Vec<Line>>>>,
}

#[derive(Debug)]
enum At {
    /// On a server; the path follows renames. Whether it was removed.
    Remote(Arc<Mount>, Mutex<(Vec<u8>, bool)>),
    /// Above the servers.
    Above(Vec<u8>),
}

/// An entry of a listing.
#[derive(Debug)]
pub(super) struct Line {
    name: Vec<u8>,
    ino: u64,
    kind: u8,
}

impl DirShadow {
    /// The mount and the server path, if it is on a server and exists.
    pub(super) fn remote(&self) -> Option<(Arc<Mount>, Vec<u8>)> {
        let At::Remote(mount, path) = &self.at else { return None };
        let path = path.lock();
        (!path.1).then(|| (Arc::clone(mount), path.0.clone()))
    }

    /// The logical name.
    pub(super) fn logical(&self) -> Res<Vec<u8>> {
        match self.name() {
            (_, true) => Err(Errno::ENOENT.into()),
            (name, false) => Ok(name),
        }
    }

    /// The logical name, and whether the directory was removed.
    pub(super) fn name(&self) -> (Vec<u8>, bool) {
        match &self.at {
            At::Above(logical) => (logical.clone(), false),
            At::Remote(mount, path) => {
                let path = path.lock();
                (mount.logical(&path.0), path.1)
            }
        }
    }

    /// This session has renamed a directory.
    pub(super) fn renamed(&self, from: &[u8], to: &[u8]) {
        let At::Remote(_, path) = &self.at else { return };
        let mut path = path.lock();
        if !path.1 && is_below(&path.0, from) {
            path.0 = [to, path.0.get(from.len()..).unwrap_or_default()].concat();
        }
    }

    /// This session has removed a directory.
    pub(super) fn removed(&self, dir: &[u8]) {
        let At::Remote(_, path) = &self.at else { return };
        let mut path = path.lock();
        path.1 |= is_below(&path.0, dir);
    }
}

impl Core {
    /// The directory shadow of a number.
    pub(super) fn dir(&self, id: ShadowId) -> Result<Arc<DirShadow>, Errno> {
        match self.objects.read().get(&id) {
            Some(Object::Dir(dir)) => Ok(Arc::clone(dir)),
            Some(_) => Err(Errno::ENOTDIR),
            None => Err(Errno::EBADF),
        }
    }

    /// Opens a directory on a server.
    pub(super) fn open_dir(&self, mount: &Arc<Mount>, path: &[u8], flags: i32) -> Res<Reply> {
        let at = At::Remote(Arc::clone(mount), Mutex::new((path.to_vec(), false)));
        let (dir, reply) = self.new_dir(at, flags)?;
        mount.server.dirs.lock().insert(dir.id, dir);
        Ok(reply)
    }

    /// Whether a name means the directory that it is relative to, and that one was removed: it can
    /// still be looked at, and is empty.
    pub(super) fn is_removed_dir(&self, name: Name<'_>) -> bool {
        let itself = name.path.split(|&b| b == b'/').all(|part| matches!(part, b"" | b"."));
        itself && name.base != 0 && self.dir(name.base).is_ok_and(|dir| dir.name().1)
    }

    /// Opens a removed directory anew.
    pub(super) fn open_removed_dir(&self, id: ShadowId, flags: i32) -> Res<Reply> {
        let dir = self.dir(id)?;
        let At::Remote(mount, path) = &dir.at else { return Err(Errno::ENOENT.into()) };
        let at = At::Remote(Arc::clone(mount), Mutex::new((path.lock().0.clone(), true)));
        Ok(self.new_dir(at, flags)?.1)
    }

    /// Opens a made-up directory.
    pub(super) fn open_dir_above(&self, logical: Vec<u8>, flags: i32) -> Res<Reply> {
        Ok(self.new_dir(At::Above(logical), flags)?.1)
    }

    fn new_dir(&self, at: At, flags: i32) -> Res<(Arc<DirShadow>, Reply)> {
        let (id, fd) = self.store.directory(flags, |id, path| self.events.watch_dir(id, path))?;
        let dir = Arc::new(DirShadow { id, at, listing: Mutex::default() });
        self.objects.write().insert(id, Object::Dir(Arc::clone(&dir)));
        Ok((dir, handed(fd, id, Kind::Dir, false)))
    }

    /// Nobody holds a directory any more.
    pub(super) fn drop_dir(&self, id: ShadowId) {
        let Some(Object::Dir(dir)) = self.objects.write().remove(&id) else { return };
        if let At::Remote(mount, _) = &dir.at {
            mount.server.dirs.lock().remove(&id);
        }
    }

    /// getdents64(2): entries from a position on. Position 0 is the start and reads anew.
    pub(super) fn read_dir(&self, id: ShadowId, position: u64, out: &mut [u8]) -> Res<Reply> {
        let dir = self.dir(id)?;
        let kept = if position == 0 { None } else { dir.listing.lock().clone() };
        let listing = match kept {
            Some(listing) => listing,
            None => {
                let listing = Arc::new(self.list(&dir)?);
                if let Some((mount, path)) = dir.remote() {
                    mount.server.listings.lock().keep(path, &listing);
                }
                *dir.listing.lock() = Some(Arc::clone(&listing));
                listing
            }
        };
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = listing.get(start..).unwrap_or_default();
        let (mut len, mut next) = (0, position);
        for line in rest {
            let place = out.get_mut(len..).unwrap_or_default();
            let Some(used) = line.write(place, next + 1) else { break };
            len += used;
            next += 1;
        }
        if len == 0 && !rest.is_empty() {
            return Err(Errno::EINVAL.into());
        }
        Ok(Reply { aux: [next, 0, 0], len, ..EMPTY })
    }

    /// All entries, `.` and `..` first.
    fn list(&self, dir: &DirShadow) -> Res<Vec<Line>> {
        let made_up = |name: &[u8]| Line::new(name.to_vec(), 1, libc::DT_DIR);
        let (mount, path) = match &dir.at {
            At::Above(logical) => {
                let names = self.names_above(logical);
                let own =
                    [b".".as_slice(), b".."].into_iter().chain(names.iter().map(Vec::as_slice));
                return Ok(own.map(made_up).collect());
            }
            At::Remote(mount, path) => {
                let path = path.lock();
                if path.1 {
                    return Ok(Vec::new());
                }
                (mount, path.0.clone())
            }
        };
        mount.allow(super::mount::Right::Read)?;
        let cache = &mount.server.cache;
        let epoch = cache.epoch();
        let mut entries = mount.driver.list(wire(&path))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let ino =
            |path: &[u8]| cache.get(path, Age::Any).flatten().map_or(1, |attr| attr.ino.max(1));
        let line = |name: &[u8], ino| Line::new(name.to_vec(), ino, libc::DT_DIR);
        let mut lines = vec![line(b".", ino(&path)), line(b"..", ino(parent(&path)))];
        let known = entries
            .iter()
            .filter_map(|entry| Some(([path.as_slice(), b"/", &entry.name].concat(), entry.attr?)));
        cache.answers(known, epoch);
        lines.extend(entries.into_iter().map(|entry| {
            let ino = entry.attr.map_or(1, |attr| attr.ino.max(1));
            Line::new(entry.name, ino, entry.attr.as_ref().map_or(libc::DT_UNKNOWN, type_of))
        }));
        Ok(lines)
    }
}

/// `d_type` of attributes.
fn type_of(attr: &Attr) -> u8 {
    match attr.kind() {
        libc::S_IFREG => libc::DT_REG,
        libc::S_IFDIR => libc::DT_DIR,
        libc::S_IFLNK => libc::DT_LNK,
        libc::S_IFIFO => libc::DT_FIFO,
        libc::S_IFSOCK => libc::DT_SOCK,
        libc::S_IFCHR => libc::DT_CHR,
        libc::S_IFBLK => libc::DT_BLK,
        _ => libc::DT_UNKNOWN,
    }
}

impl Line {
    pub(super) fn new(name: Vec<u8>, ino: u64, kind: u8) -> Self {
        Self { name, ino, kind }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Writes a `linux_dirent64`: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name with its zero
    /// byte, up to a multiple of 8. `None` when there is no room.
    fn write(&self, out: &mut [u8], next: u64) -> Option<usize> {
        let len = (19 + self.name.len() + 1).next_multiple_of(8);
        let place = out.get_mut(..len)?;
        place.fill(0);
        place.get_mut(..8)?.copy_from_slice(&self.ino.to_ne_bytes());
        place.get_mut(8..16)?.copy_from_slice(&next.to_ne_bytes());
        place.get_mut(16..18)?.copy_from_slice(&u16::try_from(len).ok()?.to_ne_bytes());
        *place.get_mut(18)? = self.kind;
        place.get_mut(19..19 + self.name.len())?.copy_from_slice(&self.name);
        Some(len)
    }
}
