//! Served files: the bytes come when asked.
//!
//! A large file opened for reading has a *block cache*: a sparse data file and a [`Control`] page
//! that guests map, so that a block which is there costs no request. A block's bytes are written
//! once, before its byte in the page says so, and never change; blocks that several threads want
//! are fetched once. A *strict* served file has no cache: every read and write is the server's.
//!
//! A sequential reader finds its blocks there: while it reads one run of blocks, a thread fetches the
//! next one. The first block of a run that was fetched so is *marked*, which guests take for absent:
//! whoever comes to it asks the session, and the session fetches the run after it.
//!
//! ```text
//! read, read, …    │ run: present        │ run: being fetched  │
//!            reader ──▶ ▲ marked: at its sight the next one begins
//! ```

use super::control::{BLOCK, BLOCK_SHIFT, Control};
use super::halt::{Halt, Res};
use super::node::{Node, Validator};
use crate::driver::RemoteFile;
use crate::error::{Error, Kind, Result};
use crate::layer::{Cancel, cancellable};
use parking_lot::{Condvar, Mutex};
use parrot_common::shadow::ShadowId;
use parrot_common::{Attr, Errno};
use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The most blocks beyond those asked for that are fetched before a reader is answered.
const WITH_ANSWER: u64 = 16;
/// The most blocks in one fetch.
const RUN: u64 = 64;
/// How long a fetch ahead should take: a faster one is followed by a longer one, one that takes four
/// times as long by a shorter one, so that readers on a slow network do not wait for much that they
/// did not ask for.
const PACE: Duration = Duration::from_millis(250);
/// The most fetches ahead at a time, in all sessions of the process.
const FETCHERS: usize = 8;

/// The fetches ahead that go on.
static FETCHING: AtomicUsize = AtomicUsize::new(0);

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
    fetching: Mutex<Fetching>,
    fetched: Condvar,
}

/// What is being fetched, and what will be wanted next.
#[derive(Debug, Default)]
struct Fetching {
    /// Blocks that somebody is fetching.
    blocks: HashSet<u64>,
    /// Where the last one who asked stopped.
    next: u64,
    /// The run of blocks that was fetched last for a sequential reader, who is before it or in it.
    run: Range<u64>,
    /// How many requests followed one another.
    streak: u32,
    /// How many blocks to fetch beyond those asked for, if not none.
    window: u64,
    /// Somebody fetches ahead.
    ahead: bool,
}

impl Fetching {
    /// Blocks are asked for, of a file that has so many: where to stop if they must be fetched.
    fn ask(&mut self, needed: &Range<u64>, count: u64) -> u64 {
        let follows = self.next <= needed.start + 1 && needed.start <= self.run.end;
        self.next = needed.end;
        if !follows {
            self.streak = 0;
            self.window = 1;
            self.run = needed.clone();
            return needed.end;
        }
        self.streak = self.streak.saturating_add(1);
        let with_answer = self.window.clamp(1, WITH_ANSWER);
        self.window = self.window.max((with_answer * 4).min(WITH_ANSWER));
        let until = (needed.end + with_answer).min(count);
        if needed.end > self.run.end {
            self.run = needed.start..until;
        }
        until
    }

    /// Somebody reads up to `here`: begins the run to fetch ahead now, if he is in the last one.
    fn begin_run(&mut self, here: u64, control: &Control, count: u64) -> Option<Range<u64>> {
        if self.ahead || self.streak < 2 || here <= self.run.start {
            return None;
        }
        let from = self.run.end;
        let free = |b: &u64| !control.is_present(*b) && !self.blocks.contains(b);
        let until = (from..(from + self.window).min(count)).take_while(free).last()? + 1;
        self.blocks.extend(from..until);
        self.run = from..until;
        self.ahead = true;
        Some(from..until)
    }

    /// A run is there after so long, or came to nothing.
    fn end_run(&mut self, run: &Range<u64>, took: Option<Duration>) {
        self.ahead = false;
        self.blocks.retain(|b| !run.contains(b));
        match took {
            Some(took) if took < PACE => self.window = (self.window * 2).min(RUN),
            Some(took) if took > PACE * 4 => self.window = (self.window / 2).max(1),
            Some(_) => {}
            // Whoever wants the blocks asks for them, and learns what stands against it.
            None => self.streak = 0,
        }
    }
}

impl Blocks {
    pub(super) fn new(control: Control, data: File) -> Self {
        Self { control, data, fetching: Mutex::default(), fetched: Condvar::new() }
    }

    fn count(&self) -> u64 {
        self.control.size().div_ceil(BLOCK)
    }

    /// The blocks of these bytes.
    fn range(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset.saturating_add(len).min(self.control.size());
        (offset >> BLOCK_SHIFT)..end.div_ceil(BLOCK)
    }

    /// What of `out` the file can fill from an offset on.
    fn part<'o>(&self, out: &'o mut [u8], offset: u64) -> &'o mut [u8] {
        let left = self.control.size().saturating_sub(offset);
        let len = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out.get_mut(..len).unwrap_or_default()
    }

    fn all_there(&self, blocks: &Range<u64>) -> bool {
        blocks.clone().all(|b| self.control.is_present(b))
    }

    /// Makes blocks present.
    fn fill(&self, file: &dyn RemoteFile, needed: &Range<u64>) -> Res<()> {
        let mut fetching = self.fetching.lock();
        let until = fetching.ask(needed, self.count());
        while !self.all_there(needed) {
            let free = |b: &u64| !self.control.is_present(*b) && !fetching.blocks.contains(b);
            let Some(first) = needed.clone().find(free) else {
                // Others are at it. If they fail, it is for us to try.
                self.fetched.wait(&mut fetching);
                continue;
            };
            let most = until.min(first + RUN);
            let run = first..(first..most).take_while(free).last().map_or(first, |b| b + 1);
            fetching.blocks.extend(run.clone());
            drop(fetching);
            let result = self.fetch(file, &run);
            if result.is_ok() {
                run.clone().for_each(|block| self.control.set_present(block));
            }
            fetching = self.fetching.lock();
            fetching.blocks.retain(|b| !run.contains(b));
            self.fetched.notify_all();
            result?;
        }
        Ok(())
    }

    /// Begins to fetch what a sequential reader who is here will want next.
    fn begin_ahead(&self, here: u64) -> Option<Range<u64>> {
        self.fetching.lock().begin_run(here, &self.control, self.count())
    }

    /// Fetches a run ahead; without patience, for nobody waits yet.
    fn fetch_ahead(&self, file: &dyn RemoteFile, run: &Range<u64>) {
        let impatient = Cancel::new();
        impatient.cancel();
        let begin = Instant::now();
        let result = cancellable(&impatient, || self.fetch(file, run));
        if result.is_ok() {
            run.clone().skip(1).for_each(|block| self.control.set_present(block));
            self.control.mark(run.start);
        }
        self.end_ahead(run, result.ok().map(|()| begin.elapsed()));
    }

    fn end_ahead(&self, run: &Range<u64>, took: Option<Duration>) {
        self.fetching.lock().end_run(run, took);
        self.fetched.notify_all();
    }

    /// Fetches the bytes of a run of blocks in one request.
    fn fetch(&self, file: &dyn RemoteFile, run: &Range<u64>) -> Res<()> {
        let from = run.start << BLOCK_SHIFT;
        let to = (run.end << BLOCK_SHIFT).min(self.control.size());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or(0)];
        let got = file.pread(&mut bytes, from)?;
        if got < bytes.len() {
            let cause = "the file has become shorter while it was read";
            return Err(Error::new(Kind::Stale, "read", "a served file", cause).into());
        }
        self.data.write_all_at(&bytes, from)?;
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
    /// Its cache, if it has one that may be used.
    pub(super) fn usable(&self) -> Option<&Blocks> {
        self.blocks.as_ref().filter(|blocks| !blocks.control.is_withdrawn())
    }

    /// Makes bytes present in the cache; EINVAL without one.
    pub(super) fn fill(self: &Arc<Self>, offset: u64, len: u64) -> Res<()> {
        self.fill_blocks(self.usable().ok_or(Halt::Errno(Errno::EINVAL))?, offset, len)
    }

    /// Makes all bytes of its cache present.
    pub(super) fn fill_all(self: &Arc<Self>, blocks: &Blocks) -> Res<()> {
        let step = RUN << BLOCK_SHIFT;
        let steps = blocks.control.size().div_ceil(step);
        (0..steps).try_for_each(|n| self.fill_blocks(blocks, n * step, step))
    }

    fn fill_blocks(self: &Arc<Self>, blocks: &Blocks, offset: u64, len: u64) -> Res<()> {
        if len == 0 || offset >= blocks.control.size() {
            return Ok(());
        }
        let needed = blocks.range(offset, len);
        blocks.fill(self.handle.as_ref(), &needed)?;
        self.look_ahead(blocks, needed);
        Ok(())
    }

    /// Somebody has come to these blocks: fetches what he will want next, if that can be told.
    fn look_ahead(self: &Arc<Self>, blocks: &Blocks, here: Range<u64>) {
        here.clone().for_each(|block| blocks.control.unmark(block));
        if FETCHING.load(Ordering::Relaxed) >= FETCHERS {
            return;
        }
        let Some(run) = blocks.begin_ahead(here.end) else { return };
        FETCHING.fetch_add(1, Ordering::Relaxed);
        let (served, wanted) = (Arc::clone(self), run.clone());
        let work = move || {
            if let Some(blocks) = &served.blocks {
                blocks.fetch_ahead(served.handle.as_ref(), &wanted);
            }
            FETCHING.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().name("ahead".into()).spawn(work).is_err() {
            FETCHING.fetch_sub(1, Ordering::Relaxed);
            blocks.end_ahead(&run, None);
        }
    }

    /// Reads at an offset.
    pub(super) fn read(self: &Arc<Self>, out: &mut [u8], offset: u64) -> Res<usize> {
        let Some(blocks) = self.usable() else {
            return Ok(self.handle.pread(out, offset)?);
        };
        let place = blocks.part(out, offset);
        self.fill_blocks(blocks, offset, place.len() as u64)?;
        blocks.data.read_exact_at(place, offset)?;
        Ok(place.len())
    }

    /// Reads at an offset what is there already; `None` if a block would have to be fetched.
    pub(super) fn read_present(
        self: &Arc<Self>,
        out: &mut [u8],
        offset: u64,
    ) -> Option<Res<usize>> {
        let blocks = self.usable()?;
        let place = blocks.part(out, offset);
        if place.is_empty() {
            return Some(Ok(0));
        }
        let needed = blocks.range(offset, place.len() as u64);
        if !blocks.all_there(&needed) {
            return None;
        }
        let read = blocks.data.read_exact_at(place, offset);
        if needed.clone().any(|block| blocks.control.is_marked(block)) {
            self.look_ahead(blocks, needed);
        }
        Some(read.map(|()| place.len()).map_err(Into::into))
    }

    /// Its cache must not be used any more: the file has changed.
    pub(super) fn withdraw(&self) {
        if let Some(blocks) = &self.blocks {
            blocks.control.withdraw();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use parrot_common::Errno;

    /// Each of its blocks is full of its number.
    #[derive(Debug, Default)]
    struct Numbers {
        fetches: Mutex<Vec<Range<u64>>>,
        fails: bool,
    }

    impl RemoteFile for Numbers {
        fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
            if self.fails {
                return Err(Error::local(Errno::EIO, "read", "numbers"));
            }
            let first = offset >> BLOCK_SHIFT;
            let pieces = buf.chunks_mut(usize::try_from(BLOCK).unwrap());
            let end = pieces.zip(first..).fold(first, |_, (piece, n)| {
                piece.fill(u8::try_from(n).unwrap());
                n + 1
            });
            self.fetches.lock().push(first..end);
            Ok(buf.len())
        }

        fn pwrite(&self, _: &[u8], _: u64) -> Result<()> {
            unreachable!("nobody writes")
        }

        fn fstat(&self) -> Result<Attr> {
            unreachable!("nobody asks")
        }

        fn fsync(&self) -> Result<()> {
            unreachable!("nobody writes")
        }

        fn ftruncate(&self, _: u64) -> Result<()> {
            unreachable!("nobody writes")
        }
    }

    fn cache(blocks: u64) -> Blocks {
        let data = memfd_create(c"test", MFdFlags::MFD_CLOEXEC).unwrap();
        Blocks::new(Control::new(blocks * BLOCK - 1).unwrap(), data.into())
    }

    /// As a guest that reads one block: asks for what it does not see.
    fn read(cache: &Blocks, file: &Numbers, block: u64) {
        read_many(cache, file, block..block + 1);
    }

    fn read_many(cache: &Blocks, file: &Numbers, wanted: Range<u64>) {
        let control = &cache.control;
        let unseen = |&block: &u64| !control.is_present(block) || control.is_marked(block);
        let (block, last) = (wanted.start, wanted.end - 1);
        if wanted.clone().any(|block| unseen(&block)) {
            cache.fill(file, &wanted).unwrap();
            wanted.for_each(|block| control.unmark(block));
            if let Some(run) = cache.begin_ahead(last + 1) {
                cache.fetch_ahead(file, &run);
            }
        }
        for block in block..=last {
            let mut byte = [0];
            cache.data.read_exact_at(&mut byte, block * BLOCK).unwrap();
            assert_eq!(byte, [u8::try_from(block).unwrap()]);
        }
    }

    #[test]
    fn a_sequential_reader_finds_its_blocks_there() {
        let (cache, file) = (cache(200), Numbers::default());
        for block in 0..200 {
            read(&cache, &file, block);
        }
        let fetches = file.fetches.into_inner();
        let all: Vec<u64> = fetches.iter().cloned().flatten().collect();
        assert_eq!(all, (0..200).collect::<Vec<_>>(), "each once, in order");
        // Longer and longer, the first two with the reader waiting.
        assert!(fetches.len() <= 8, "{fetches:?}");
        assert!(fetches.iter().any(|run| run.end - run.start == RUN), "{fetches:?}");
        assert!(fetches.iter().all(|run| run.end - run.start <= RUN), "{fetches:?}");
    }

    #[test]
    fn a_reader_of_many_blocks_at_a_time_is_one_too() {
        let (cache, file) = (cache(200), Numbers::default());
        for start in (0..200).step_by(8) {
            read_many(&cache, &file, start..start + 8);
        }
        let fetches = file.fetches.into_inner();
        let all: Vec<u64> = fetches.iter().cloned().flatten().collect();
        assert_eq!(all, (0..200).collect::<Vec<_>>(), "each once, in order");
        assert!(fetches.len() <= 8, "{fetches:?}");
    }

    #[test]
    fn a_reader_here_and_there_gets_what_it_asks_for() {
        let (cache, file) = (cache(200), Numbers::default());
        for block in [150, 20, 90, 40, 199] {
            read(&cache, &file, block);
        }
        let fetches = file.fetches.into_inner();
        assert_eq!(fetches, [150, 20, 90, 40, 199].map(|block| block..block + 1));
    }

    #[test]
    fn much_at_once_comes_in_pieces() {
        let (cache, file) = (cache(200), Numbers::default());
        cache.fill(&file, &(0..200)).unwrap();
        assert!(cache.all_there(&(0..200)));
        assert!(file.fetches.lock().iter().all(|run| run.end - run.start <= RUN));
    }

    #[test]
    fn a_fetch_ahead_that_fails_is_made_good_by_the_reader() {
        let (cache, file) = (cache(200), Numbers::default());
        cache.fill(&file, &(0..1)).unwrap();
        cache.fill(&file, &(1..4)).unwrap();
        let run = cache.begin_ahead(4).expect("two followed one another");
        assert_eq!(cache.begin_ahead(4), None, "one at a time");
        cache.fetch_ahead(&Numbers { fails: true, ..Numbers::default() }, &run);
        assert!(!cache.control.is_present(run.start));
        assert_eq!(cache.begin_ahead(4), None, "not before it was asked for");
        for block in 0..200 {
            read(&cache, &file, block);
        }
    }
}
