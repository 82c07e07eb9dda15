//! Reports for `-d`: one line each, with time, process and subject, to a file or standard error.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::options::Options;

/// What reports are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Chirp,
    Auth,
    Tcp,
    Stats,
    Catalog,
}

impl Subject {
    const ALL: [(&'static str, Self); 5] = [
        ("chirp", Self::Chirp),
        ("auth", Self::Auth),
        ("tcp", Self::Tcp),
        ("stats", Self::Stats),
        ("catalog", Self::Catalog),
    ];
}

/// Where reports go, and which are wanted.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    wanted: Vec<Subject>,
    /// Subjects that the superuser asked for meanwhile, a bit each.
    asked: AtomicU32,
    file: Option<Mutex<ReportFile>>,
}

impl Reports {
    /// Opens the file of reports.
    ///
    /// # Errors
    /// A message for the user.
    pub(crate) fn new(options: &Options) -> anyhow::Result<Self> {
        let mut wanted = Vec::new();
        for flag in options.debug.iter().flat_map(|flags| flags.split(',')) {
            let known = Subject::ALL.iter().filter(|(name, _)| flag == "all" || flag == *name);
            let before = wanted.len();
            wanted.extend(known.map(|(_, subject)| *subject));
            // Flags of the stock server that mean nothing here are accepted.
            if wanted.len() == before && !flag.chars().all(|c| c.is_ascii_alphanumeric()) {
                anyhow::bail!("-d {flag}: the flags are chirp, auth, tcp, stats, catalog, all");
            }
        }
        let file = match &options.debug_file {
            Some(path) => {
                let file = ReportFile::open(path, options.debug_rotate_max).map_err(|error| {
                    anyhow::anyhow!("cannot open debug file {}: {error}", path.display())
                })?;
                Some(Mutex::new(file))
            }
            None => None,
        };
        Ok(Self { wanted, asked: AtomicU32::new(0), file })
    }

    /// Reports a subject from now on; `clear` ends that. Others mean nothing here, as in `-d`.
    pub(crate) fn want(&self, flag: &[u8]) {
        if flag == b"clear" {
            self.asked.store(0, Ordering::Relaxed);
        }
        for (name, subject) in Subject::ALL {
            if flag == b"all" || flag == name.as_bytes() {
                self.asked.fetch_or(bit(subject), Ordering::Relaxed);
            }
        }
    }

    /// Reports something, if anybody wants to know.
    pub(crate) fn line(&self, subject: Subject, text: impl FnOnce() -> String) {
        let asked = self.asked.load(Ordering::Relaxed) & bit(subject) != 0;
        if !asked && !self.wanted.contains(&subject) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = Subject::ALL.iter().find(|(_, known)| *known == subject);
        let name = name.map_or("?", |(name, _)| *name);
        let line = format!(
            "{}.{:06} parrot-chirpd[{}] {name}: {}\n",
            now.as_secs(),
            now.subsec_micros(),
            std::process::id(),
            text().escape_debug()
        );
        // A report that cannot be written must not hurt the clients.
        let _ = match &self.file {
            Some(file) => file.lock().append(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// A file that does not grow beyond a size: it becomes `FILE.old`, and another one begins.
#[derive(Debug)]
struct ReportFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// 0 for no limit.
    most: u64,
}

impl ReportFile {
    fn open(path: &Path, most: u64) -> std::io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        let size = file.metadata()?.len();
        // The server may stand elsewhere when the file is full.
        Ok(Self { path: std::path::absolute(path)?, file, size, most })
    }

    fn append(&mut self, line: &[u8]) -> std::io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.most > 0 && self.size > 0 && self.size.saturating_add(length) > self.most {
            let mut old = self.path.clone().into_os_string();
            old.push(".old");
            std::fs::rename(&self.path, old)?;
            *self = Self::open(&self.path, self.most)?;
        }
        self.size = self.size.saturating_add(length);
        self.file.write_all(line)
    }
}

/// The bit that stands for a subject.
fn bit(subject: Subject) -> u32 {
    1 << subject as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_becomes_the_old_one() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut file = ReportFile::open(&path, 25).unwrap();
        for number in 0..7 {
            file.append(format!("line {number}...\n").as_bytes()).unwrap();
        }
        let text = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            (text("log"), text("log.old")),
            ("line 6...\n".into(), "line 4...\nline 5...\n".into())
        );
        let mut endless = ReportFile::open(&path, 0).unwrap();
        endless.append(&[b'x'; 100]).unwrap();
        endless.append(b"y").unwrap();
        assert_eq!(text("log").len(), 111);
    }
}
