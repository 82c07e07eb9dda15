//! The session's cache of a served file, mapped into this process.
//!
//! ```text
//! control file   0..8 size · 8..12 block shift · 12..16 flags (bit 0: do not use) ·
//!                16..24 generation · 64.. one byte per block, 1 = present, else ask
//! data file      the bytes, sparse; a block's bytes are there before its byte says so
//! ```
//!
//! Presence only grows, so a byte seen as present may be copied without any lock.

use crate::errno::Errno;
use crate::shadow::ShadowId;
use crate::sys::{self, arg};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use syscalls::Sysno;

/// Where the presence bytes begin in a control file.
pub(super) const PRESENT_AT: usize = 64;
/// How many files a process keeps mapped.
const KEEP: usize = 8;

/// A served file's cache.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    mapped: &'v Mapped,
}

impl<'v> View<'v> {
    /// The file's size now.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.mapped.word(0).map_or(0, |size| size.load(Ordering::Acquire))
    }

    /// Bytes from `offset` on that are present and lie together, at most `len`; empty when the
    /// first one is not present.
    #[must_use]
    pub fn bytes(&self, offset: u64, len: usize) -> &'v [u8] {
        let mapped = self.mapped;
        let (Ok(start), shift) = (usize::try_from(offset), mapped.shift) else { return &[] };
        let end = start.saturating_add(len).min(mapped.data_len);
        let mut have = start;
        while have < end && mapped.present(have >> shift) {
            have = ((have >> shift) + 1) << shift;
        }
        let have = have.min(end);
        if have <= start {
            return &[];
        }
        // SAFETY: start..have lies in the mapping, whose blocks are present and never change;
        // `mapped` (and so the mapping) outlives 'v.
        unsafe { core::slice::from_raw_parts((mapped.data + start) as *const u8, have - start) }
    }
}

/// The mapped files of one client.
#[derive(Debug)]
pub(super) struct Views {
    slots: [Option<Mapped>; KEEP],
    next: usize,
    /// Files that have no cache, and never get one.
    without: [ShadowId; KEEP],
    next_without: usize,
}

/// One file's two mappings.
#[derive(Debug)]
struct Mapped {
    id: ShadowId,
    control: usize,
    control_len: usize,
    data: usize,
    data_len: usize,
    shift: u32,
}

impl Views {
    pub(super) const fn new() -> Self {
        Self { slots: [const { None }; KEEP], next: 0, without: [0; KEEP], next_without: 0 }
    }

    /// Whether a file is known to have no cache.
    pub(super) fn lacks(&self, id: ShadowId) -> bool {
        self.without.contains(&id)
    }

    /// The session says that a file has no cache.
    pub(super) fn note_lack(&mut self, id: ShadowId) {
        if let Some(place) = self.without.get_mut(self.next_without % KEEP) {
            *place = id;
            self.next_without = self.next_without.wrapping_add(1);
        }
    }

    fn find(&self, id: ShadowId) -> Option<&Mapped> {
        self.slots.iter().flatten().find(|mapped| mapped.id == id)
    }

    pub(super) fn has(&self, id: ShadowId) -> bool {
        self.find(id).is_some()
    }

    /// The view, unless the session has withdrawn it.
    pub(super) fn get(&self, id: ShadowId) -> Option<View<'_>> {
        let mapped = self.find(id)?;
        (mapped.flags() & 1 == 0).then_some(View { mapped })
    }

    /// Maps the files of an `Attach` reply and closes the descriptors.
    pub(super) fn add(&mut self, id: ShadowId, [control, data]: [i32; 2]) -> Option<()> {
        let mapped = Mapped::new(id, control, data);
        for fd in [control, data] {
            if fd >= 0 {
                sys::close(fd);
            }
        }
        let index = self.next % KEEP;
        self.next = self.next.wrapping_add(1);
        let slot = self.slots.get_mut(index)?;
        if let Some(old) = slot.take() {
            old.unmap();
        }
        *slot = Some(mapped.ok()?);
        Some(())
    }
}

impl Drop for Views {
    fn drop(&mut self) {
        for mapped in self.slots.iter().flatten() {
            mapped.unmap();
        }
    }
}

impl Mapped {
    fn new(id: ShadowId, control: i32, data: i32) -> Result<Self, Errno> {
        let (control, control_len) = map(control)?;
        let (data, data_len) = match map(data) {
            Ok(mapping) => mapping,
            Err(errno) => {
                unmap(control, control_len);
                return Err(errno);
            }
        };
        let mut mapped = Self { id, control, control_len, data, data_len, shift: 0 };
        let shift = mapped.half(8).map_or(0, |half| half.load(Ordering::Acquire));
        if !(12..=30).contains(&shift) {
            mapped.unmap();
            return Err(Errno::EPROTO);
        }
        mapped.shift = shift;
        Ok(mapped)
    }

    fn unmap(&self) {
        unmap(self.control, self.control_len);
        unmap(self.data, self.data_len);
    }

    fn flags(&self) -> u32 {
        self.half(12).map_or(1, |half| half.load(Ordering::Acquire))
    }

    fn word(&self, at: usize) -> Option<&AtomicU64> {
        // SAFETY: inside the control mapping, aligned, and shared memory is only used atomically.
        (at + 8 <= self.control_len).then(|| unsafe { &*((self.control + at) as *const AtomicU64) })
    }

    fn half(&self, at: usize) -> Option<&AtomicU32> {
        // SAFETY: as above.
        (at + 4 <= self.control_len).then(|| unsafe { &*((self.control + at) as *const AtomicU32) })
    }

    fn present(&self, block: usize) -> bool {
        let Some(at) = block.checked_add(PRESENT_AT) else { return false };
        if at >= self.control_len {
            return false;
        }
        // SAFETY: as above.
        let byte = unsafe { &*((self.control + at) as *const AtomicU8) };
        byte.load(Ordering::Acquire) == 1
    }
}

/// Maps a whole file for reading.
fn map(fd: i32) -> Result<(usize, usize), Errno> {
    // SAFETY: no pointers.
    let len = unsafe { sys::call(Sysno::lseek, [arg(fd), 0, arg(libc::SEEK_END), 0, 0, 0]) }?;
    if len == 0 {
        return Err(Errno::EINVAL);
    }
    let flags = arg(libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address the kernel chooses.
    let at = unsafe { sys::call(Sysno::mmap, [0, len, arg(libc::PROT_READ), flags, arg(fd), 0]) }?;
    Ok((at, len))
}

fn unmap(at: usize, len: usize) {
    // SAFETY: the mapping is ours and nobody holds a slice of it: `View` borrows the client.
    let _ = unsafe { sys::call(Sysno::munmap, [at, len, 0, 0, 0, 0]) };
}
