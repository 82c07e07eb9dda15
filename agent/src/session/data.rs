//! Operations on the bytes of open files.

use super::flush::{Stamp, Upload};
use super::halt::{Halt, Res};
use super::mount::wire;
use super::node::{Complete, Node, Work};
use super::open::withdraw;
use super::served::Served;
use super::{Core, EMPTY, Object, data_reply};
use crate::driver::{OpenFlags, RemoteFile};
use crate::shadow::reopen;
use parrot_common::shadow::ShadowId;
use parrot_common::{Errno, Reply};
use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

fn with_fd(fd: OwnedFd) -> Reply {
    Reply { fds: [fd.into_raw_fd(), -1], ..EMPTY }
}

impl Core {
    fn served(&self, id: ShadowId) -> Result<Arc<Served>, Errno> {
        match self.object(id)? {
            Object::Served(served) => Ok(served),
            _ => Err(Errno::EINVAL),
        }
    }

    /// The shadow in which guests may have written what the server has not.
    fn live(&self, work: &Work) -> Option<Arc<Complete>> {
        work.upload.as_ref().and(work.current.clone())
    }

    /// pread(2) of a served file.
    pub(super) fn pread(&self, id: ShadowId, offset: u64, out: &mut [u8]) -> Res<Reply> {
        let served = self.served(id)?;
        if served.node.writable.load(Ordering::Acquire) {
            let work = served.node.work.lock();
            if let Some(current) = self.live(&work) {
                let file = File::open(self.store.complete_path(current.id))?;
                let len = file.read_at(out, offset)?;
                return Ok(Reply { len, ..EMPTY });
            }
        }
        let len = served.read(out, offset)?;
        self.stats.received(len);
        Ok(Reply { len, ..EMPTY })
    }

    /// `pread` of what is here; `None` when somebody would be waited for.
    pub(super) fn pread_at_once(
        &self,
        id: ShadowId,
        offset: u64,
        out: &mut [u8],
    ) -> Option<Res<Reply>> {
        let served = match self.served(id) {
            Ok(served) => served,
            Err(errno) => return Some(Err(errno.into())),
        };
        if served.node.writable.load(Ordering::Acquire) {
            return None;
        }
        let read = served.read_present(out, offset)?;
        Some(read.map(|len| Reply { len, ..EMPTY }))
    }

    /// pwrite(2) to a strict served file: on the server first, then in what others see.
    pub(super) fn pwrite(
        &self,
        id: ShadowId,
        bytes: &[u8],
        offset: u64,
        append: bool,
    ) -> Res<Reply> {
        let served = self.served(id)?;
        let node = &served.node;
        let mut work = node.work.lock();
        if let Some(current) = self.live(&work) {
            return self.pwrite_live(node, &mut work, &current, bytes, (!append).then_some(offset));
        }
        let at = if append {
            self.append(&served, bytes)?
        } else {
            served.handle.pwrite(bytes, offset)?;
            offset
        };
        self.stats.sent(bytes.len());
        self.wrote(node, &mut work, |file| file.write_all_at(bytes, at));
        let value = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        Ok(Reply { value, aux: [at + bytes.len() as u64, 0, 0], ..EMPTY })
    }

    /// A write to a file that other guests have in write-behind: what they wrote and the server
    /// has not comes first, so all go through the same shadow. It is sent before this returns.
    fn pwrite_live(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        current: &Complete,
        bytes: &[u8],
        offset: Option<u64>,
    ) -> Res<Reply> {
        let append = if offset.is_some() { 0 } else { libc::O_APPEND };
        let mut file = File::from(self.store.reopen(current.id, libc::O_WRONLY | append)?);
        let before = Stamp::of(&file.metadata()?);
        let end = match offset {
            Some(offset) => {
                file.write_all_at(bytes, offset)?;
                offset + bytes.len() as u64
            }
            None => {
                file.write_all(bytes)?;
                file.stream_position()?
            }
        };
        let after = Stamp::of(&file.metadata()?);
        self.flush_part(node, work, end - bytes.len() as u64..end)?;
        if let Some(upload) = &mut work.upload {
            upload.wrote_through(&before, after);
        }
        let value = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        Ok(Reply { value, aux: [end, 0, 0], ..EMPTY })
    }

    /// Writes at the end that the server knows; where that was.
    fn append(&self, served: &Served, bytes: &[u8]) -> Res<u64> {
        let mut handle = served.append.lock();
        if handle.is_none() {
            let name = served.node.name().ok_or(Halt::Errno(Errno::ESTALE))?;
            let flags = OpenFlags { write: true, append: true, ..OpenFlags::default() };
            let (opened, attr) = served.node.mount.driver.open(wire(&name), flags, 0)?;
            if (attr.dev, attr.ino) != served.node.key {
                return Err(Errno::ESTALE.into());
            }
            *handle = Some(opened);
        }
        let Some(handle) = handle.as_ref() else { return Err(Errno::EIO.into()) };
        handle.pwrite(bytes, 0)?;
        let end = handle.fstat()?.size;
        Ok(end.saturating_sub(bytes.len() as u64))
    }

    /// The server's file was changed by this session: so is what others in it see.
    fn wrote(
        &self,
        node: &Node,
        work: &mut Work,
        change: impl FnOnce(&File) -> std::io::Result<()>,
    ) {
        withdraw(work);
        work.valid = None;
        node.set.lock().mtime = None;
        if let Some(name) = node.name() {
            node.server().cache.expire(&name);
        }
        let Some(current) = &work.current else { return };
        let opened = self.store.reopen(current.id, libc::O_WRONLY).map(File::from);
        let changed = opened.and_then(|file| {
            change(&file)?;
            current.size.store(file.metadata()?.len(), Ordering::Relaxed);
            Ok(())
        });
        if let Err(error) = changed {
            let name = node.logical().0;
            let name = String::from_utf8_lossy(&name);
            self.log(0, &format!("{name}: readers see an old version: {error}"));
        }
    }

    /// ftruncate(2) of a served file.
    pub(super) fn ftruncate(&self, id: ShadowId, size: u64) -> Res<Reply> {
        let object = self.object(id)?;
        let node = match &object {
            Object::Served(served) if parrot_common::shadow::served_mode(id) != libc::O_RDONLY => {
                Arc::clone(&served.node)
            }
            Object::Complete(shadow) => Arc::clone(&shadow.node),
            _ => return Err(Errno::EINVAL.into()),
        };
        let mut work = node.work.lock();
        if let Object::Served(served) = &object {
            served.handle.ftruncate(size)?;
            if let Some(upload) = &mut work.upload {
                upload.resize(size);
            }
        } else if work.upload.is_none() {
            return Err(Errno::EINVAL.into());
        }
        self.wrote(&node, &mut work, |file| file.set_len(size));
        Ok(EMPTY)
    }

    /// Cuts or extends a file by its name.
    pub(super) fn cut_node(&self, node: &Arc<Node>, path: &[u8], size: u64) -> Res<()> {
        let mut work = node.work.lock();
        // ETXTBSY must come before the server acts.
        if let Some(current) = &work.current {
            self.store.reopen(current.id, libc::O_WRONLY)?;
        }
        self.flush(node, &mut work)?;
        node.mount.driver.truncate(wire(path), size)?;
        if let Some(upload) = &mut work.upload {
            upload.resize(size);
        }
        self.wrote(node, &mut work, |file| file.set_len(size));
        Ok(())
    }

    /// fallocate(2): only the plain form, which may make the file longer.
    pub(super) fn fallocate(&self, id: ShadowId, mode: u32, offset: u64, len: u64) -> Res<Reply> {
        if mode != 0 {
            return Err(Errno::EOPNOTSUPP.into());
        }
        let end = offset.checked_add(len).ok_or(Halt::Errno(Errno::EFBIG))?;
        if end > self.size_of(id)? {
            self.ftruncate(id, end)?;
        }
        Ok(EMPTY)
    }

    /// The size of an open file now.
    fn size_of(&self, id: ShadowId) -> Res<u64> {
        let (node, served) = match self.object(id)? {
            Object::Served(served) => (Arc::clone(&served.node), Some(served)),
            Object::Complete(shadow) => (Arc::clone(&shadow.node), None),
            _ => return Err(Errno::EINVAL.into()),
        };
        if let Some(served) = &served
            && let Some(blocks) = &served.blocks
            && !blocks.control.is_withdrawn()
        {
            return Ok(blocks.control.size());
        }
        let work = node.work.lock();
        if let Some(current) = self.live(&work) {
            return Ok(std::fs::metadata(self.store.complete_path(current.id))?.len());
        }
        match served {
            Some(served) => Ok(served.handle.fstat()?.size),
            None => Ok(std::fs::metadata(self.store.complete_path(id))?.len()),
        }
    }

    /// `seek` where the size is here; `None` when somebody would be waited for.
    pub(super) fn seek_at_once(
        &self,
        id: ShadowId,
        offset: i64,
        whence: i32,
    ) -> Option<Res<Reply>> {
        let Ok(Object::Served(served)) = self.object(id) else { return None };
        let blocks = served.blocks.as_ref()?;
        (!blocks.control.is_withdrawn()).then(|| self.seek(id, offset, whence))
    }

    /// lseek(2) with SEEK_END, SEEK_DATA, SEEK_HOLE: a remote file has no holes that we know of.
    pub(super) fn seek(&self, id: ShadowId, offset: i64, whence: i32) -> Res<Reply> {
        let size = i64::try_from(self.size_of(id)?).map_err(|_| Halt::Errno(Errno::EOVERFLOW))?;
        let value = match whence {
            libc::SEEK_END => size.checked_add(offset).ok_or(Halt::Errno(Errno::EOVERFLOW))?,
            libc::SEEK_DATA | libc::SEEK_HOLE if offset < 0 || offset >= size => {
                return Err(Errno::ENXIO.into());
            }
            libc::SEEK_DATA => offset,
            libc::SEEK_HOLE => size,
            _ => return Err(Errno::EINVAL.into()),
        };
        if value < 0 {
            return Err(Errno::EINVAL.into());
        }
        Ok(Reply { value, ..EMPTY })
    }

    /// The block cache of a served file.
    pub(super) fn attach(&self, id: ShadowId) -> Res<Reply> {
        let served = self.served(id)?;
        let blocks = served.usable().ok_or(Halt::Errno(Errno::EINVAL))?;
        let control = blocks.control.share()?;
        let data = reopen(blocks.data.as_fd(), libc::O_RDONLY)?;
        Ok(Reply { fds: [control.into_raw_fd(), data.into_raw_fd()], ..EMPTY })
    }

    /// Makes bytes present in the block cache.
    pub(super) fn fill(&self, id: ShadowId, offset: u64, len: u64) -> Res<Reply> {
        let served = self.served(id)?;
        served.used.store(self.tick(), Ordering::Relaxed);
        served.fill(offset, len)?;
        Ok(EMPTY)
    }

    /// All bytes of a file in one kernel file; `shared`: for a map that guests write through.
    pub(super) fn complete(&self, id: ShadowId, shared: bool) -> Res<Reply> {
        let served = match self.object(id)? {
            Object::Served(served) => served,
            Object::Complete(shadow) => {
                let mut work = shadow.node.work.lock();
                if shared && let Some(upload) = &mut work.upload {
                    upload.mapped = true;
                }
                let access = if shared { libc::O_RDWR } else { libc::O_RDONLY };
                return Ok(with_fd(self.store.reopen(id, access)?));
            }
            _ => return Err(Errno::ENODEV.into()),
        };
        if let Some(blocks) = served.usable().filter(|_| !shared) {
            served.fill_all(blocks)?;
            return Ok(with_fd(reopen(blocks.data.as_fd(), libc::O_RDONLY)?));
        }
        let node = &served.node;
        let mut work = node.work.lock();
        if work.upload.is_none() {
            let fetched = SystemTime::now();
            let attr = served.handle.fstat()?;
            self.fill_current(node, &mut work, served.handle.as_ref(), attr, fetched)?;
            if shared {
                self.write_from_now_on(&served, &mut work)?;
            }
        }
        let Some(current) = &work.current else { return Err(Errno::EIO.into()) };
        let access = if shared { libc::O_RDWR } else { libc::O_RDONLY };
        let reply = with_fd(self.store.reopen(current.id, access)?);
        if shared && let Some(upload) = &mut work.upload {
            upload.mapped = true;
        }
        Ok(reply)
    }

    /// Lets guests write a shadow that holds the server's bytes.
    fn write_from_now_on(&self, served: &Arc<Served>, work: &mut Work) -> Res<()> {
        let node = &served.node;
        let handle: Box<dyn RemoteFile> = match node.name() {
            Some(name) => {
                let flags = OpenFlags { write: true, ..OpenFlags::default() };
                let (handle, attr) = node.mount.driver.open(wire(&name), flags, 0)?;
                if (attr.dev, attr.ino) != node.key {
                    return Err(Errno::ESTALE.into());
                }
                handle
            }
            // It was removed: what is open is all there is of it.
            None => Box::new(Arc::clone(served)),
        };
        let Some(current) = &work.current else { return Err(Errno::EIO.into()) };
        let file = File::open(self.store.complete_path(current.id))?;
        let upload = Upload::same(handle, &file)?;
        self.begin_upload(node, work, upload)
    }

    /// Flush and fsync(2).
    pub(super) fn sync_object(&self, id: ShadowId, disk: bool) -> Res<Reply> {
        let (node, served) = match self.object(id)? {
            Object::Complete(shadow) => (Arc::clone(&shadow.node), None),
            Object::Served(served) => (Arc::clone(&served.node), Some(served)),
            Object::Dir(_) | Object::Program(_) => return Ok(EMPTY),
        };
        if node.writable.load(Ordering::Acquire) {
            let mut work = node.work.lock();
            self.flush(&node, &mut work)?;
            if let Some(upload) = &work.upload {
                // What came by other ways lies in the same file on the server.
                return if disk { Ok(upload.handle().fsync().map(|()| EMPTY)?) } else { Ok(EMPTY) };
            }
        }
        if let Some(served) = served.filter(|served| disk && served.blocks.is_none()) {
            served.handle.fsync()?;
        }
        Ok(EMPTY)
    }

    /// Sends everything.
    pub(super) fn sync_all(&self) -> Res<Reply> {
        self.drain();
        match self.flush_all().first() {
            Some((_, errno)) => Err((*errno).into()),
            None => Ok(EMPTY),
        }
    }

    /// Sends what was written through maps into a part of a file, to the server's disk.
    pub(super) fn sync_part(&self, id: ShadowId, part: Range<u64>) -> Res<Reply> {
        let Object::Complete(shadow) = self.object(id)? else { return Err(Errno::EINVAL.into()) };
        let node = &shadow.node;
        let mut work = node.work.lock();
        if work.current.as_ref().is_some_and(|current| current.id == id) {
            self.flush_part(node, &mut work, part)?;
            if let Some(upload) = &work.upload {
                upload.handle().fsync()?;
            }
        }
        Ok(EMPTY)
    }

    /// Sends what was written through maps, to the servers' disks.
    pub(super) fn sync_maps(&self) -> Res<Reply> {
        for node in self.writing() {
            let mut work = node.work.lock();
            if !work.upload.as_ref().is_some_and(|upload| upload.mapped) {
                continue;
            }
            self.flush(&node, &mut work)?;
            if let Some(upload) = &work.upload {
                upload.handle().fsync()?;
            }
        }
        Ok(EMPTY)
    }

    /// Whether no guest has a map to write through, as far as that can be told at once.
    pub(super) fn has_no_maps(&self) -> bool {
        let unmapped = |work: &Work| !work.upload.as_ref().is_some_and(|upload| upload.mapped);
        self.writing().iter().all(|node| node.work.try_lock().is_some_and(|work| unmapped(&work)))
    }

    /// The nodes whose shadows guests may write.
    fn writing(&self) -> Vec<Arc<Node>> {
        self.writers.lock().values().cloned().collect()
    }

    /// The logical name of a shadow.
    pub(super) fn path_of(&self, id: ShadowId, out: &mut [u8]) -> Res<Reply> {
        let (name, removed) = match self.object(id)? {
            Object::Complete(shadow) => shadow.node.logical(),
            Object::Served(served) => served.node.logical(),
            Object::Dir(dir) => dir.name(),
            Object::Program(logical) => (logical.to_vec(), false),
        };
        let reply = data_reply(&name, out)?;
        Ok(Reply { value: i64::from(removed), ..reply })
    }
}
