//! [`Control`]: the page by which guests know what of a served file is there.
//!
//! ```text
//! 0..8 size · 8..12 block shift · 12..16 flags (bit 0: do not use) · 16..24 generation ·
//! 64.. one byte per block, 1 = present, 2 = present and marked
//! ```
//!
//! Guests map it read-only (`parrot_common::client::View`); the session alone writes. To guests a
//! marked block is not there: they ask for it, so that the session sees how far they are.
//!
//! # Safety
//! The mapping is shared with other processes, so it is only ever used through atomics.
#![expect(unsafe_code, reason = "a shared mapping")]

use crate::shadow::reopen;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Blocks of a served file are 128 KiB.
pub(super) const BLOCK_SHIFT: u32 = 17;
/// The size of a block, bytes.
pub(super) const BLOCK: u64 = 1 << BLOCK_SHIFT;
const PRESENT_AT: usize = 64;
const PRESENT: u8 = 1;
const MARKED: u8 = 2;

/// A control page.
#[derive(Debug)]
pub(super) struct Control {
    at: NonNull<c_void>,
    len: NonZeroUsize,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to the value, and all access to it is atomic.
unsafe impl Send for Control {}
// SAFETY: as above.
unsafe impl Sync for Control {}

impl Control {
    /// A page for a file of this size, nothing of it present.
    pub(super) fn new(size: u64) -> io::Result<Self> {
        let blocks = usize::try_from(size.div_ceil(BLOCK)).map_err(io::Error::other)?;
        let len = NonZeroUsize::MIN.saturating_add(PRESENT_AT + blocks);
        let file = File::from(memfd_create(c"parrot-control", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(len.get() as u64)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe { mmap(None, len, prot, MapFlags::MAP_SHARED, &file, 0) }?;
        let control = Self { at, len, file: file.into() };
        control.size_word().store(size, Ordering::Release);
        control.half(8).store(BLOCK_SHIFT, Ordering::Release);
        Ok(control)
    }

    /// A descriptor for guests.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        reopen(self.file.as_fd(), libc::O_RDONLY)
    }

    /// The file's size.
    pub(super) fn size(&self) -> u64 {
        self.size_word().load(Ordering::Acquire)
    }

    /// Says to guests that the cache must not be used any more.
    pub(super) fn withdraw(&self) {
        self.half(12).fetch_or(1, Ordering::AcqRel);
    }

    /// Whether the cache must not be used any more.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.half(12).load(Ordering::Acquire) & 1 != 0
    }

    /// Whether a block is there; a block that does not exist is.
    pub(super) fn is_present(&self, block: u64) -> bool {
        self.block(block).is_none_or(|byte| byte.load(Ordering::Acquire) != 0)
    }

    /// Whether a block is there and marked.
    pub(super) fn is_marked(&self, block: u64) -> bool {
        self.block(block).is_some_and(|byte| byte.load(Ordering::Acquire) == MARKED)
    }

    /// Says that a block's bytes are in the data file.
    pub(super) fn set_present(&self, block: u64) {
        if let Some(byte) = self.block(block) {
            byte.store(PRESENT, Ordering::Release);
        }
    }

    /// As `set_present`, of a block that guests shall ask for once more.
    pub(super) fn mark(&self, block: u64) {
        if let Some(byte) = self.block(block) {
            byte.store(MARKED, Ordering::Release);
        }
    }

    /// A marked block is there for guests, too.
    pub(super) fn unmark(&self, block: u64) {
        if let Some(byte) = self.block(block) {
            let (ordering, no) = (Ordering::AcqRel, Ordering::Relaxed);
            // One that is not marked stays as it is.
            let _ = byte.compare_exchange(MARKED, PRESENT, ordering, no);
        }
    }

    fn size_word(&self) -> &AtomicU64 {
        // SAFETY: the mapping is page-aligned and longer than 64 bytes.
        unsafe { self.at.cast().as_ref() }
    }

    fn half(&self, at: usize) -> &AtomicU32 {
        debug_assert!(at.is_multiple_of(4) && at < PRESENT_AT, "in the header");
        // SAFETY: inside the mapping, which is longer than the header.
        let place = unsafe { self.at.byte_add(at) };
        // SAFETY: aligned, and atomically used by all.
        unsafe { place.cast().as_ref() }
    }

    fn block(&self, block: u64) -> Option<&AtomicU8> {
        let at = usize::try_from(block).ok()?.checked_add(PRESENT_AT)?;
        if at >= self.len.get() {
            return None;
        }
        // SAFETY: inside the mapping, as just checked.
        let place = unsafe { self.at.byte_add(at) };
        // SAFETY: atomically used by all.
        Some(unsafe { place.cast().as_ref() })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.at, self.len.get()) };
    }
}
