//! Served files: the bytes come when asked.
//!
//! A large file opened for reading has a *block cache*: a sparse data file and a [`Control`] page
//! that guests map, so that a block which is there costs no request. A block's bytes are written
//! once, before its byte in the page says so, and never change; blocks that several threads want
//! are fetched once. A *strict* served file has no cache: every read and write is the server's.

use super::control::{BLOCK, BLOCK_SHIFT, Control};
use super::halt::Res;
use super::node::{Node, Validator};
use crate::driver::RemoteFile;
use crate::error::{Error, Kind, Result};
use parking_lot::{Condvar, Mutex};
use parrot_common::Attr;
use parrot_common::shadow::ShadowId;
use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most blocks that are fetched ahead of a sequential reader.
const AHEAD: u32 = 16;

/// A served file, opened with one access mode.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) id: ShadowId,
    pub(super) node: Arc<Node>,
    pub(super) handle: Box<dyn RemoteFile>,
    /// The same file opened for appending, when a guest has appended.
    pub(super) append: Mutex<Option<Box<dyn RemoteFile>>>,
    pub(super) memfd: OwnedFd,
    /// `None` when strict.
    pub(super) blocks: Option<Blocks>,
    pub(super) valid: Option<Validator>,
    pub(super) used: AtomicU64,
}

/// The cache of a served file.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) control: Control,
    pub(super) data: File,
    fetching: Mutex<HashSet<u64>>,
    fetched: Condvar,
    /// The block after the last one asked for, and how far ahead to fetch.
    next: AtomicU64,
    window: AtomicU32,
}

impl Blocks {
    pub(super) fn new(control: Control, data: File) -> Self {
        Self {
            control,
            data,
            fetching: Mutex::default(),
            fetched: Condvar::new(),
            next: AtomicU64::new(0),
            window: AtomicU32::new(1),
        }
    }

    fn count(&self) -> u64 {
        self.control.size().div_ceil(BLOCK)
    }

    /// The blocks that a request for these bytes should fetch.
    fn wanted(&self, offset: u64, len: u64) -> (Range<u64>, u64) {
        let size = self.control.size();
        let end = offset.saturating_add(len).min(size);
        let blocks = (offset >> BLOCK_SHIFT)..end.div_ceil(BLOCK);
        let expected = self.next.swap(blocks.end, Ordering::Relaxed);
        let sequential = blocks.start == expected || blocks.start + 1 == expected;
        let ahead = if sequential {
            let window = self.window.load(Ordering::Relaxed);
            self.window.store((window * 2).min(AHEAD), Ordering::Relaxed);
            u64::from(window)
        } else {
            self.window.store(1, Ordering::Relaxed);
            0
        };
        let until = (blocks.end + ahead).min(self.count());
        (blocks, until)
    }

    /// Makes bytes present.
    pub(super) fn fill(&self, file: &dyn RemoteFile, offset: u64, len: u64) -> Res<()> {
        if len == 0 || offset >= self.control.size() {
            return Ok(());
        }
        let all_there = |blocks: &Range<u64>| blocks.clone().all(|b| self.control.is_present(b));
        let (needed, until) = self.wanted(offset, len);
        loop {
            if all_there(&needed) {
                return Ok(());
            }
            let mut fetching = self.fetching.lock();
            let free = |&b: &u64| !self.control.is_present(b) && !fetching.contains(&b);
            let Some(first) = (needed.start..needed.end).find(free) else {
                // Others are at it. If they fail, it is for us to try.
                if !all_there(&needed) {
                    self.fetched.wait(&mut fetching);
                }
                continue;
            };
            let run = first..(first..until).take_while(free).last().map_or(first, |b| b + 1);
            fetching.extend(run.clone());
            drop(fetching);
            let result = self.fetch(file, run.clone());
            self.fetching.lock().retain(|b| !run.contains(b));
            self.fetched.notify_all();
            result?;
        }
    }

    /// Fetches a run of blocks in one request.
    fn fetch(&self, file: &dyn RemoteFile, run: Range<u64>) -> Res<()> {
        let from = run.start << BLOCK_SHIFT;
        let to = (run.end << BLOCK_SHIFT).min(self.control.size());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
        let got = file.pread(&mut bytes, from)?;
        if got < bytes.len() {
            let cause = "the file has become shorter while it was read";
            return Err(Error::new(Kind::Stale, "read", "a served file", cause).into());
        }
        self.data.write_all_at(&bytes, from)?;
        for block in run {
            self.control.set_present(block);
        }
        Ok(())
    }

    /// Makes all bytes present.
    pub(super) fn fill_all(&self, file: &dyn RemoteFile) -> Res<()> {
        let step = 64 * BLOCK;
        let mut offset = 0;
        while offset < self.control.size() {
            self.fill(file, offset, step)?;
            offset += step;
        }
        Ok(())
    }
}

/// The handle of a served file, as one that outlives the guest's descriptor.
impl RemoteFile for Arc<Served> {
    fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.handle.pread(buf, offset)
    }

    fn pwrite(&self, data: &[u8], offset: u64) -> Result<()> {
        self.handle.pwrite(data, offset)
    }

    fn fstat(&self) -> Result<Attr> {
        self.handle.fstat()
    }

    fn fsync(&self) -> Result<()> {
        self.handle.fsync()
    }

    fn ftruncate(&self, size: u64) -> Result<()> {
        self.handle.ftruncate(size)
    }
}

impl Served {
    /// Reads at an offset.
    pub(super) fn read(&self, out: &mut [u8], offset: u64) -> Res<usize> {
        let Some(blocks) = self.blocks.as_ref().filter(|b| !b.control.is_withdrawn()) else {
            return Ok(self.handle.pread(out, offset)?);
        };
        let left = blocks.control.size().saturating_sub(offset);
        let len = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        blocks.fill(self.handle.as_ref(), offset, len as u64)?;
        let place = out.get_mut(..len).unwrap_or_default();
        blocks.data.read_exact_at(place, offset)?;
        Ok(len)
    }

    /// Reads at an offset what is there already; `None` if a block would have to be fetched.
    pub(super) fn read_present(&self, out: &mut [u8], offset: u64) -> Option<Res<usize>> {
        let blocks = self.blocks.as_ref().filter(|b| !b.control.is_withdrawn())?;
        let left = blocks.control.size().saturating_sub(offset);
        let len = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 {
            return Some(Ok(0));
        }
        let end = offset.saturating_add(len as u64);
        if !((offset >> BLOCK_SHIFT)..end.div_ceil(BLOCK)).all(|b| blocks.control.is_present(b)) {
            return None;
        }
        let read = blocks.data.read_exact_at(out.get_mut(..len)?, offset);
        Some(read.map(|()| len).map_err(Into::into))
    }

    /// Its cache must not be used any more: the file has changed.
    pub(super) fn withdraw(&self) {
        if let Some(blocks) = &self.blocks {
            blocks.control.withdraw();
        }
    }
}
