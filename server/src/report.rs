//! Reports for `-d`: one line each, with time, process and subject, to a file or standard error.

use std::fs::File;
use std::io::Write;
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
    file: Option<Mutex<File>>,
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
                let file = File::options().append(true).create(true).open(path);
                let file = file.map_err(|error| {
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
            Some(file) => file.lock().write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }
}

/// The bit that stands for a subject.
fn bit(subject: Subject) -> u32 {
    1 << subject as u32
}
