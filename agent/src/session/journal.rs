//! [`Journal`]: which shadows guests may write, for the agent that comes after this one.
//!
//! One file, `journal`, to which lines are only added: making and removing a file for each shadow
//! would cost more than all else that a new small file needs.
//!
//! ```text
//! ID SP STATE SP LOGICAL-NAME NUL      STATE: `-` unsent · `x` nothing left to send ·
//!                                      size,mtime,ctime of the shadow as it was sent last
//! ```

use parking_lot::Mutex;
use parrot_common::shadow::{ShadowId, format_id};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Unsent.
pub(super) const UNSENT: &str = "-";
/// Nothing left to send.
const ENDED: &str = "x";
/// A longer journal is written anew.
const LIMIT: u64 = 4 << 20;

/// What a journal says last of each shadow that has not ended: its state and logical name.
pub(super) type Entries = BTreeMap<ShadowId, (String, Vec<u8>)>;

/// The journal of a session.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    len: u64,
}

fn line(id: ShadowId, state: &str, name: &[u8]) -> Vec<u8> {
    [format_id(id).as_slice(), b" ", state.as_bytes(), b" ", name, b"\0"].concat()
}

fn create(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

impl Journal {
    /// Opens the journal in a session directory.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("journal");
        let file = create(&path)?;
        let len = file.metadata()?.len();
        Ok(Self { path, open: Mutex::new(Open { file, len }) })
    }

    /// Adds a line. `name` is the logical name.
    pub(super) fn note(&self, id: ShadowId, state: &str, name: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let line = line(id, state, name);
        open.file.write_all(&line)?;
        open.len += line.len() as u64;
        if open.len > LIMIT {
            let entries = self.entries()?;
            *open = self.write_anew(&entries)?;
        }
        Ok(())
    }

    /// Nothing is left to send of a shadow; `last`: nor of any other.
    pub(super) fn end(&self, id: ShadowId, last: bool) -> io::Result<()> {
        if !last {
            return self.note(id, ENDED, b"");
        }
        let mut open = self.open.lock();
        open.file.set_len(0)?;
        open.len = 0;
        Ok(())
    }

    /// What is left of a predecessor's journal.
    pub(super) fn entries(&self) -> io::Result<Entries> {
        let bytes = fs::read(&self.path)?;
        let mut entries = Entries::new();
        for line in bytes.split(|&b| b == 0) {
            let mut parts = line.splitn(3, |&b| b == b' ');
            let mut next = || parts.next().unwrap_or_default();
            let (id, state, name) = (next(), next(), next());
            let text = |part| std::str::from_utf8(part).unwrap_or_default();
            let Ok(id) = u64::from_str_radix(text(id), 16) else { continue };
            match text(state) {
                ENDED => entries.remove(&id),
                state => entries.insert(id, (state.to_owned(), name.to_vec())),
            };
        }
        Ok(entries)
    }

    /// Keeps only these.
    pub(super) fn keep(&self, entries: &Entries) -> io::Result<()> {
        *self.open.lock() = self.write_anew(entries)?;
        Ok(())
    }

    fn write_anew(&self, entries: &Entries) -> io::Result<Open> {
        let new = self.path.with_extension("new");
        let lines = entries.iter().map(|(&id, (state, name))| line(id, state, name));
        let bytes: Vec<u8> = lines.flatten().collect();
        fs::write(&new, &bytes)?;
        fs::rename(&new, &self.path)?;
        Ok(Open { file: create(&self.path)?, len: bytes.len() as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let dir = std::env::temp_dir().join(format!("parrot-journal-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let journal = Journal::open(&dir).unwrap();
        journal.note(8, UNSENT, b"/r/a b").unwrap();
        journal.note(8, "5,1,2,3,4", b"/r/a b").unwrap();
        journal.note(12, UNSENT, b"/r/c").unwrap();
        journal.end(12, false).unwrap();
        let entries = Journal::open(&dir).unwrap().entries().unwrap();
        assert_eq!(entries, Entries::from([(8, ("5,1,2,3,4".into(), b"/r/a b".to_vec()))]));
        journal.keep(&entries).unwrap();
        assert_eq!(journal.entries().unwrap(), entries);
        journal.end(8, true).unwrap();
        assert!(journal.entries().unwrap().is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }
}
