//! Writing behind: what guests write into a complete shadow goes to the server when a writer
//! closes or syncs it, and in any case before anybody asks the server about the file.
//!
//! Guests write natively, unseen. Whether they wrote is seen in the shadow's own times and size,
//! compared with those from *before* the last upload read it; a shadow that was written in the same
//! clock tick as an upload began, or that a guest has mapped for writing, is looked through. What
//! differs is found by the hashes of 64 KiB blocks, so a log that grows is not sent whole again.
//!
//! The [journal](super::journal) tells of every shadow that guests may write whose it is, and its
//! state at the last upload. When the agent dies, the next one uploads what is unsent.

use super::Core;
use super::halt::{Halt, Res};
use super::journal::{Entries, UNSENT};
use super::mount::{Server, wire};
use super::node::{Node, Validator, Work};
use crate::driver::{OpenFlags, RemoteFile};
use crate::error::{Error, Kind};
use parrot_common::Errno;
use parrot_common::shadow::ShadowId;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxhash_rust::xxh3::xxh3_64;

/// What is compared and sent as one piece.
const BLOCK: usize = 64 << 10;
/// How much is read from a shadow at a time.
const CHUNK: usize = 8 << 20;
/// The kernel's clock of file times ticks this slowly at worst.
const TICK: Duration = Duration::from_millis(20);

/// The hash of a block of zeros.
static ZERO_HASH: LazyLock<u64> = LazyLock::new(|| xxh3_64(&vec![0; BLOCK]));

/// The state of a shadow that guests may write.
#[derive(Debug)]
pub(super) struct Upload {
    handle: Box<dyn RemoteFile>,
    /// Hashes of the blocks as the server has them, where that is known.
    hashes: Vec<Option<u64>>,
    /// The server's size.
    size: u64,
    /// The shadow as it was before the last upload read it.
    stamp: Option<Stamp>,
    /// It may have changed since without showing it.
    racy: bool,
    /// A guest has it mapped for writing.
    pub(super) mapped: bool,
    /// The last upload failed.
    pub(super) failed: Option<String>,
}

/// What changes in a file's attributes when it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        Self {
            size: data.size(),
            mtime: (data.mtime(), data.mtime_nsec()),
            ctime: (data.ctime(), data.ctime_nsec()),
        }
    }

    fn is_younger_than(&self, at: SystemTime) -> bool {
        let of = |n: i64| u64::try_from(n).unwrap_or(0);
        let time = Duration::from_secs(of(self.mtime.0)) + Duration::from_nanos(of(self.mtime.1));
        UNIX_EPOCH + time > at
    }

    /// As a record has it.
    pub(super) fn text(&self) -> String {
        let Self { size, mtime, ctime } = self;
        format!("{size},{},{},{},{}", mtime.0, mtime.1, ctime.0, ctime.1)
    }
}

impl Upload {
    /// For a shadow that is empty, as the server's file is.
    pub(super) fn empty(handle: Box<dyn RemoteFile>) -> Self {
        let (hashes, size) = (Vec::new(), 0);
        Self { handle, hashes, size, stamp: None, racy: true, mapped: false, failed: None }
    }

    /// For a shadow whose bytes are the server's.
    pub(super) fn same(handle: Box<dyn RemoteFile>, file: &File) -> io::Result<Self> {
        let mut upload = Self::empty(handle);
        upload.stamp = Some(Stamp::of(&file.metadata()?));
        each_chunk(file, 0..u64::MAX, |_, chunk| {
            upload.hashes.extend(chunk.chunks(BLOCK).map(|block| Some(xxh3_64(block))));
            upload.size += chunk.len() as u64;
            Ok::<_, io::Error>(())
        })?;
        Ok(upload)
    }

    /// The file was cut to nothing, here and on the server.
    pub(super) fn cut(&mut self, handle: Box<dyn RemoteFile>) {
        self.handle = handle;
        self.hashes.clear();
        self.size = 0;
        self.racy = true;
    }

    /// This session has cut or extended the server's file.
    pub(super) fn resize(&mut self, size: u64) {
        // A block that was cut, or was the last one and is longer now, has another hash.
        self.hashes.truncate(usize::try_from(size / BLOCK as u64).unwrap_or(usize::MAX));
        self.note_zeros(size.div_ceil(BLOCK as u64));
        self.size = size;
        self.racy = true;
    }

    /// What the server has is not known: everything is compared again.
    fn forget(&mut self, size: u64) {
        self.hashes.clear();
        self.size = size;
        self.racy = true;
    }

    pub(super) fn handle(&self) -> &dyn RemoteFile {
        self.handle.as_ref()
    }

    /// Keeps why an upload failed.
    fn note_failure(&mut self, node: &Node, result: Res<()>) -> Res<()> {
        if let Err(halt) = &result {
            let name = node.logical().0;
            self.failed = Some(format!("{}: {halt}", String::from_utf8_lossy(&name)));
        }
        result
    }

    fn is_clean(&self, now: &Stamp) -> bool {
        !self.mapped && self.looks_clean(now)
    }

    /// Nothing was written but, perhaps, through a map, which need not show before it is synced.
    fn looks_clean(&self, now: &Stamp) -> bool {
        (self.mapped || !self.racy) && self.stamp.as_ref() == Some(now)
    }

    /// We have written a mapped shadow ourselves, and sent that: it looks as before. What guests did
    /// in the same moment is found all the same, as long as the map is there.
    pub(super) fn wrote_through(&mut self, before: &Stamp, after: Stamp) {
        if self.mapped && self.looks_clean(before) {
            self.stamp = Some(after);
        }
    }

    /// The server's end moves up to a block: it has zeros in all blocks between.
    fn note_zeros(&mut self, until: u64) {
        let until = usize::try_from(until).unwrap_or(usize::MAX);
        while self.hashes.len() < until {
            let start = (self.hashes.len() * BLOCK) as u64;
            self.hashes.push((start >= self.size).then_some(*ZERO_HASH));
        }
    }

    /// Sends what differs in a part of the file, by whole blocks.
    fn send(
        &mut self,
        file: &File,
        size: u64,
        part: Range<u64>,
        stats: &super::stats::Stats,
    ) -> Res<()> {
        if size < self.size {
            self.handle.ftruncate(size)?;
            self.resize(size);
        }
        let zero = *ZERO_HASH;
        let (start, end) = (part.start / BLOCK as u64, part.end.div_ceil(BLOCK as u64));
        let part = start * BLOCK as u64..end.saturating_mul(BLOCK as u64);
        each_chunk(file, part, |offset, chunk| {
            self.note_zeros(offset / BLOCK as u64);
            let first = usize::try_from(offset / BLOCK as u64).unwrap_or(usize::MAX);
            let new: Vec<u64> = chunk.chunks(BLOCK).map(xxh3_64).collect();
            let old = self.hashes.get(first..).unwrap_or_default();
            let end = self.size;
            let differs: Vec<bool> = new
                .iter()
                .enumerate()
                .map(|(index, hash)| match old.get(index) {
                    Some(Some(old)) => old != hash,
                    // A hole beyond the end stays one.
                    _ => *hash != zero || offset + ((index * BLOCK) as u64) < end,
                })
                .collect();
            for run in runs(&differs) {
                let (from, to) = (run.start * BLOCK, (run.end * BLOCK).min(chunk.len()));
                let data = chunk.get(from..to).unwrap_or_default();
                self.handle.pwrite(data, offset + from as u64)?;
                stats.sent(data.len());
                self.size = self.size.max(offset + to as u64);
            }
            for (index, hash) in new.into_iter().enumerate() {
                match self.hashes.get_mut(first + index) {
                    Some(place) => *place = Some(hash),
                    None => self.hashes.push(Some(hash)),
                }
            }
            Ok::<_, Halt>(())
        })?;
        if self.size < size {
            self.handle.ftruncate(size)?;
            self.resize(size);
        }
        Ok(())
    }
}

/// Reads a part of a file in pieces.
fn each_chunk<E: From<io::Error>>(
    file: &File,
    part: Range<u64>,
    mut work: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let end = part.end.min(file.metadata()?.size());
    let left = |offset: u64| usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut buffer = vec![0; left(part.start).min(CHUNK)];
    let mut offset = part.start;
    loop {
        buffer.truncate(left(offset));
        if buffer.is_empty() {
            break;
        }
        let mut used = 0;
        while let Some(rest) = buffer.get_mut(used..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + used as u64) {
                Ok(0) => break,
                Ok(n) => used += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if used == 0 {
            break;
        }
        work(offset, buffer.get(..used).unwrap_or_default())?;
        offset += used as u64;
        if used < buffer.len() {
            break;
        }
    }
    Ok(())
}

/// The runs of `true`.
fn runs(flags: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, _) in flags.iter().enumerate().filter(|(_, flag)| **flag) {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

impl Core {
    /// Lets guests write a node's shadow from now on.
    pub(super) fn begin_upload(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        upload: Upload,
    ) -> Res<()> {
        let Some(current) = &work.current else { return Err(Errno::EIO.into()) };
        self.journal.note(current.id, UNSENT, &node.logical().0)?;
        node.writable.store(true, Ordering::Release);
        self.writers.lock().insert(current.id, Arc::clone(node));
        self.events.watch_file(current.id, &self.store.complete_path(current.id));
        work.upload = Some(upload);
        Ok(())
    }

    /// Guests can write a node's shadow no more, and everything is sent.
    pub(super) fn end_upload(&self, node: &Arc<Node>, work: &mut Work) {
        work.upload = None;
        node.writable.store(false, Ordering::Release);
        if let Some(current) = &work.current {
            self.events.unwatch_file(current.id);
            let mut writers = self.writers.lock();
            writers.remove(&current.id);
            if let Err(error) = self.journal.end(current.id, writers.is_empty()) {
                self.tell(&format!("the session's journal: {error}"));
            }
        }
    }

    /// Forgets what could not be sent of a file without a name, unless a guest still writes to it.
    pub(super) fn drop_unsent(&self, node: &Arc<Node>) {
        let mut work = node.work.lock();
        let written = work.current.as_ref().is_some_and(|now| self.store.is_written(now.id));
        if work.upload.is_some() && !written {
            self.end_upload(node, &mut work);
        }
    }

    /// Files were renamed or removed: the journal has to know.
    pub(super) fn journal_names(&self, server: &Server) {
        let writers: Vec<_> =
            self.writers.lock().iter().map(|(&id, node)| (id, Arc::clone(node))).collect();
        for (id, node) in writers {
            if !std::ptr::eq(Arc::as_ptr(node.server()), server) {
                continue;
            }
            let stamp = node.work.try_lock().and_then(|work| work.upload.as_ref()?.stamp);
            let state = stamp.map_or_else(|| UNSENT.to_owned(), |stamp| stamp.text());
            let noted = match node.logical() {
                // A file without a name must not come back under its old one.
                (_, true) => self.journal.end(id, false),
                (name, false) => self.journal.note(id, &state, &name),
            };
            if let Err(error) = noted {
                self.tell(&format!("the session's journal: {error}"));
            }
        }
    }

    /// Whether a node's shadow may hold what the server has not.
    pub(super) fn is_dirty(&self, work: &Work) -> bool {
        let (Some(current), Some(upload)) = (&work.current, &work.upload) else { return false };
        let now = fs::metadata(self.store.complete_path(current.id));
        now.is_ok_and(|now| !upload.is_clean(&Stamp::of(&now)))
    }

    /// Sends what guests wrote into a node's shadow. Afterwards the attribute cache has the file as
    /// the server has it now.
    pub(super) fn flush(&self, node: &Arc<Node>, work: &mut Work) -> Res<()> {
        let (Some(current), Some(upload)) = (&work.current, &mut work.upload) else {
            return Ok(());
        };
        let path = self.store.complete_path(current.id);
        let stamp = Stamp::of(&fs::metadata(&path)?);
        if upload.is_clean(&stamp) {
            return Ok(());
        }
        if node.name().is_none() && node.last.lock().nlink <= 1 {
            // Nobody else can ever see it.
            return Ok(());
        }
        let begin = SystemTime::now();
        let file = File::open(path)?;
        let (sent, before) = (self.stats.bytes_sent(), upload.size);
        let result = upload.send(&file, stamp.size, 0..stamp.size, &self.stats);
        let result = result.or_else(|halt| self.reconnect(node, upload, &file, stamp.size, halt));
        upload.note_failure(node, result)?;
        upload.failed = None;
        upload.racy = stamp.is_younger_than(begin - TICK);
        upload.stamp = Some(stamp);
        let nothing = sent == self.stats.bytes_sent() && before == upload.size;
        if nothing && work.valid.is_some() {
            return Ok(());
        }
        current.size.store(stamp.size, Ordering::Relaxed);
        let attr = upload.handle.fstat()?;
        work.valid = Some(Validator::new(attr, begin));
        *node.last.lock() = attr;
        for name in node.names.lock().iter() {
            node.server().cache.put(name, Some(attr));
        }
        Ok(self.journal.note(current.id, &stamp.text(), &node.logical().0)?)
    }

    /// Sends what guests wrote into a part of a node's shadow. The rest stays as dirty as it was.
    pub(super) fn flush_part(
        &self,
        node: &Arc<Node>,
        work: &mut Work,
        part: Range<u64>,
    ) -> Res<()> {
        let (Some(current), Some(upload)) = (&work.current, &mut work.upload) else {
            return Ok(());
        };
        if node.name().is_none() && node.last.lock().nlink <= 1 {
            return Ok(());
        }
        let file = File::open(self.store.complete_path(current.id))?;
        let size = file.metadata()?.size();
        let result = upload.send(&file, size, part, &self.stats);
        let result = result.or_else(|halt| self.reconnect(node, upload, &file, size, halt));
        upload.note_failure(node, result)?;
        work.valid = None;
        for name in node.names.lock().iter() {
            node.server().cache.expire(name);
        }
        Ok(())
    }

    /// A file handle can be lost with its connection: one more try with a new one, if the name
    /// still means the same file.
    fn reconnect(
        &self,
        node: &Node,
        upload: &mut Upload,
        file: &File,
        size: u64,
        halt: Halt,
    ) -> Res<()> {
        let lost = matches!(&halt, Halt::Error(error)
            if matches!(error.kind(), Kind::Disconnected | Kind::Remote(Errno::EBADF)));
        let Some(name) = node.name().filter(|_| lost) else { return Err(halt) };
        let flags = OpenFlags { write: true, ..OpenFlags::default() };
        let (handle, attr) = node.mount.driver.open(wire(&name), flags, 0)?;
        if (attr.dev, attr.ino) != node.key {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(Error::new(Kind::Stale, "flush", name, "").into());
        }
        upload.handle = handle;
        upload.forget(attr.size);
        upload.send(file, size, 0..size, &self.stats)
    }

    /// Sends what guests wrote into a file, waiting for others who do.
    pub(super) fn flush_node(&self, node: &Arc<Node>) -> Res<()> {
        if !node.writable.load(Ordering::Acquire) {
            return Ok(());
        }
        self.flush(node, &mut node.work.lock())
    }

    /// As `flush_node`, for a look at the attributes: what was stored through a map and not synced
    /// need not show in them.
    pub(super) fn flush_shown(&self, node: &Arc<Node>) -> Res<()> {
        if !node.writable.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut work = node.work.lock();
        if let (Some(current), Some(upload)) = (&work.current, &work.upload)
            && fs::metadata(self.store.complete_path(current.id))
                .is_ok_and(|now| upload.looks_clean(&Stamp::of(&now)))
        {
            return Ok(());
        }
        self.flush(node, &mut work)
    }

    /// Sends a shadow that a guest has closed, and if it was the last one, ends the writing.
    pub(super) fn flush_closed(&self, node: &Arc<Node>) -> Res<()> {
        let mut work = node.work.lock();
        self.flush(node, &mut work)?;
        let Some(current) = &work.current else { return Ok(()) };
        if work.upload.is_some() && !self.store.is_written(current.id) {
            // Between the flush and the look nobody can have written: whoever opens it first
            // waits for `work`, and who had it open then has it open now or was the last.
            if self.is_changed(&work) {
                self.flush(node, &mut work)?;
            }
            self.end_upload(node, &mut work);
        }
        Ok(())
    }

    fn is_changed(&self, work: &Work) -> bool {
        let (Some(current), Some(upload)) = (&work.current, &work.upload) else { return false };
        let now = fs::metadata(self.store.complete_path(current.id));
        upload.mapped || upload.racy || now.is_ok_and(|now| upload.stamp != Some(Stamp::of(&now)))
    }

    /// Sends everything; what could not be sent, as text. A server that stayed away for one file's
    /// patience is not waited for again.
    pub(super) fn flush_all(&self) -> Vec<(String, Errno)> {
        let nodes: Vec<Arc<Node>> = self.writers.lock().values().cloned().collect();
        let mut away: Vec<(&Arc<Server>, String, Errno)> = Vec::new();
        let mut failures = Vec::new();
        for node in &nodes {
            let known = away.iter().find(|(server, ..)| Arc::ptr_eq(server, node.server()));
            let (cause, errno) = match known {
                Some((_, cause, errno)) => (cause.clone(), *errno),
                None => {
                    let Err(halt) = self.flush_closed(node) else { continue };
                    let (cause, errno) = (halt.to_string(), halt.errno());
                    if matches!(&halt, Halt::Error(error) if error.is_transient()) {
                        away.push((node.server(), cause.clone(), errno));
                    }
                    (cause, errno)
                }
            };
            let name = node.logical().0;
            let text = format!("{}: {cause}", String::from_utf8_lossy(&name));
            self.tell(&format!("not written to the server: {text}"));
            failures.push((text, errno));
        }
        failures
    }

    /// Sends what a predecessor could not (see the module's text); the shadows that are kept.
    pub(super) fn adopt(&self) -> Entries {
        let mut left = self.journal.entries().unwrap_or_default();
        left.retain(|&id, (state, logical)| {
            let name = String::from_utf8_lossy(logical).into_owned();
            match self.adopt_one(id, state, logical) {
                Ok(false) => false,
                Ok(true) => {
                    self.tell(&format!("{name}: sent what an agent that died had left unsent"));
                    false
                }
                Err(halt) => {
                    let path = self.store.complete_path(id);
                    let path = path.display();
                    self.tell(&format!(
                        "{name}: unsent data of a dead agent are in {path}: {halt}"
                    ));
                    true
                }
            }
        });
        if let Err(error) = self.journal.keep(&left) {
            self.tell(&format!("the session's journal: {error}"));
        }
        left
    }

    fn adopt_one(&self, id: ShadowId, state: &str, logical: &[u8]) -> Res<bool> {
        let file = match File::open(self.store.complete_path(id)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let now = Stamp::of(&file.metadata()?);
        if now.text() == state {
            return Ok(false);
        }
        let super::mount::Spot::In(mount, path) = self.locate(logical)? else {
            return Err(Errno::ENXIO.into());
        };
        let flags = OpenFlags { write: true, create: true, ..OpenFlags::default() };
        let (handle, attr) = mount.driver.open(wire(&path), flags, 0o600)?;
        let mut upload = Upload::empty(handle);
        upload.size = attr.size;
        upload.send(&file, now.size, 0..now.size, &self.stats)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_of_changed_blocks() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[true, true, false, true]), [0..2, 3..4]);
    }
}
