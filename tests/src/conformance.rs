//! Other people's conformance suites, run as guests: what they print, and which of their tests are
//! expected to fail on a Chirp server.
//!
//! A list of expected failures (`tests/expected/NAME.txt`) has a line for each test, or for several
//! with a `*` in it, and the reason why it cannot pass:
//!
//! ```text
//! link::*::fifo          no pipe can lie on a Chirp server
//! ? open::some_test      passes where the server runs as root
//! ```
//!
//! It only shrinks: a failure that is not listed is an error, and so is a listed test that passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use crate::dir::TempDir;
use crate::place::{Place, PlaceKind};
use crate::programs;
use crate::session::{Session, Technique};

/// The version of pjdfstest whose tests the lists name.
const PJDFSTEST: (&str, &str) = ("pjdfstest", "0.2.2");
/// The version of fsx whose seeds make the same operations everywhere.
const FSX: (&str, &str) = ("fsx", "0.3.2");
/// How long a suite may take. fsx keeps all its maps for reading: after 100,000 operations
/// the kernel looks through 18,000 of them at every truncation, natively too. Debian's server takes
/// milliseconds for each of the 32,000 links that one test makes.
const LIMIT: Duration = Duration::from_secs(1100);
/// Who unprivileged guests are: `nobody`.
const NOBODY: u32 = 65534;

/// Who the guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The user who runs the tests, root perhaps.
    Tester,
    /// A user without privileges: `nobody` when root runs the tests.
    User,
}

/// What a test of a suite did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It needs something that is not here.
    Skipped,
}

/// The verdicts of a run, by the test's name.
pub type Verdicts = BTreeMap<String, Verdict>;

/// A place, and a session to work in it as somebody.
#[derive(Debug)]
struct Bench {
    place: Place,
    session: Session,
    root: String,
}

impl Bench {
    fn new(technique: Technique, place: Place, who: As) -> Self {
        let kind = place.kind();
        let mut session = Session::new(technique);
        for rule in place.mounts() {
            session = session.mount(rule);
        }
        let mut root = place.root().to_owned();
        if kind == PlaceKind::Mapped {
            // As long as the real one: the longest names, of files and of sockets, must fit on both
            // sides.
            let export = place.backing().parent().unwrap().display().to_string();
            let logical = format!("/mnt-{}", "-".repeat(export.len() - 5));
            session = session.mount(&format!("{logical}={export}"));
            root = format!("{logical}/w");
        }
        if who == As::User && nix::unistd::getuid().is_root() {
            session = session.user(NOBODY);
            if place.server.is_none() {
                chown(place.backing(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        session.set_deadline(LIMIT);
        Self { place, session, root }
    }

    /// A copy of a suite's program that every user may run.
    fn program(&self, (name, version): (&str, &str)) -> String {
        let copy = self.session.local().join(name);
        std::fs::copy(programs::suite(name, version), &copy).unwrap();
        copy.display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.session.local().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// Runs pjdfstest, or those of its tests whose name contains one of the patterns.
///
/// # Panics
///
/// When it says nothing that can be understood.
#[must_use]
pub fn pjdfstest(technique: Technique, kind: PlaceKind, who: As, patterns: &[&str]) -> Verdicts {
    let bench = Bench::new(technique, Place::new(kind), who);
    // Longer than the time's grain there: Debian's server has whole seconds.
    let nap = if kind == PlaceKind::Debian { 1.1 } else { 0.02 };
    let config = format!(
        "[features]\nposix_fallocate = {{}}\nrename_ctime = {{}}\nutime_now = {{}}\n\
         utimensat = {{}}\n[settings]\nnaptime = {nap}\nallow_remount = false\n\
         [dummy_auth]\nentries = [[\"nobody\", \"nogroup\"], [\"daemon\", \"daemon\"]]\n"
    );
    let (program, config) = (bench.program(PJDFSTEST), bench.file("pjdfstest.toml", &config));
    let mut words = vec![program.as_str(), "-c", &config, "-p", &bench.root];
    words.extend(patterns);
    let run = bench.session.run(&words);
    let verdicts = parse(&run.out());
    let summary = run.out().lines().any(|line| line.starts_with("Summary: "));
    assert!(summary && !verdicts.is_empty(), "no verdicts: {}", run.describe());
    bench.session.finish();
    verdicts
}

/// The lines `TEST   ok`, `TEST   FAILED`, `TEST   skipped`; what explains them is indented.
fn parse(text: &str) -> Verdicts {
    let verdict = |word| match word {
        "ok" => Some(Verdict::Passed),
        "FAILED" => Some(Verdict::Failed),
        "skipped" => Some(Verdict::Skipped),
        _ => None,
    };
    text.lines()
        .filter(|line| !line.starts_with(char::is_whitespace))
        .filter_map(|line| {
            let (name, word) = line.split_once(' ')?;
            Some((name.to_owned(), verdict(word.trim())?))
        })
        .collect()
}

/// Runs pjdfstest natively and on a mapped directory.
///
/// # Panics
///
/// When a test does not do the same on both.
pub fn same_as_native(technique: Technique, who: As, patterns: &[&str]) {
    let expected = pjdfstest(Technique::Native, PlaceKind::Plain, who, patterns);
    let got = pjdfstest(technique, PlaceKind::Mapped, who, patterns);
    let mut text = String::new();
    for name in expected.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
        if expected.get(name) != got.get(name) {
            let _ = writeln!(text, "{name}: {:?}, not {:?}", got.get(name), expected.get(name));
        }
    }
    assert!(text.is_empty(), "not the same as native:\n{text}");
}

/// An entry of a list of expected failures.
#[derive(Debug)]
struct Entry {
    start: String,
    end: Option<String>,
    may_pass: bool,
}

impl Entry {
    fn matches(&self, name: &str) -> bool {
        match (&self.end, name.strip_prefix(self.start.as_str())) {
            (None, Some(rest)) => rest.is_empty(),
            (Some(end), Some(rest)) => rest.ends_with(end.as_str()),
            (_, None) => false,
        }
    }
}

/// The entries of a list: `[?] TEST   reason`.
fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let may_pass = line.starts_with('?');
            let line = line.trim_start_matches('?').trim_start();
            let (name, reason) = line.split_once(' ').unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "expected to fail without a reason: {line}");
            match name.split_once('*') {
                Some((start, end)) => {
                    Entry { start: start.to_owned(), end: Some(end.to_owned()), may_pass }
                }
                None => Entry { start: name.to_owned(), end: None, may_pass },
            }
        })
        .collect()
}

/// Holds verdicts against a list of expected failures; what is wrong, as text.
fn complaints(verdicts: &Verdicts, list: &str) -> String {
    let list = entries(list);
    let mut text = String::new();
    for (name, verdict) in verdicts {
        let entry = list.iter().find(|entry| entry.matches(name));
        match (verdict, entry) {
            (Verdict::Failed, None) => {
                let _ = writeln!(text, "{name}: fails, and is not expected to");
            }
            (Verdict::Passed, Some(entry)) if !entry.may_pass => {
                let _ = writeln!(text, "{name}: passes: take it off the list");
            }
            _ => {}
        }
    }
    text
}

/// Runs pjdfstest on a Chirp server; what fails must be what `tests/expected/LIST` says.
///
/// # Panics
///
/// When other tests fail, or listed ones pass.
pub fn fails_as_listed(
    technique: Technique,
    kind: PlaceKind,
    who: As,
    list: &str,
    patterns: &[&str],
) {
    let verdicts = pjdfstest(technique, kind, who, patterns);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected").join(list);
    let list = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = complaints(&verdicts, &list);
    assert!(text.is_empty(), "not as {} says:\n{text}", path.display());
}

/// Runs fsx: random operations on one file, each looked at by reading. What it leaves must be what
/// the same operations leave natively.
///
/// # Panics
///
/// When it finds a difference.
pub fn fsx(technique: Technique, kind: PlaceKind, seed: u64, operations: u64) {
    // What the kernel does inside one file: refused on a served one, so that programs copy.
    let inside = if matches!(kind, PlaceKind::Plain | PlaceKind::Mapped) { 3 } else { 0 };
    // No operation of no bytes: a posix_fallocate(3) of that kind fails everywhere.
    let config = format!(
        "flen = 262144\n[opsize]\nmin = 1\nmax = 65536\n[weights]\nclose_open = 1\nread = 10\nwrite = 10\n\
         mapread = 10\nmapwrite = 10\ninvalidate = 1\ntruncate = 5\nfsync = 1\nfdatasync = 1\n\
         posix_fallocate = 3\nposix_fadvise = 3\npunch_hole = {inside}\nsendfile = {inside}\n\
         copy_file_range = {inside}\n"
    );
    let (seed, operations) = (seed.to_string(), operations.to_string());
    let left = |technique, kind| {
        let place = Place::below(kind, TempDir::in_memory());
        let bench = Bench::new(technique, place, As::Tester);
        let (program, config) = (bench.program(FSX), bench.file("fsx.toml", &config));
        let file = format!("{}/file", bench.root);
        let words = [&program, "-f", &config, "-S", &seed, "-N", &operations, &file];
        let run = bench.session.run(&words).code(0);
        assert!(run.out().contains("A-OK"), "seed {seed}: {}", run.describe());
        bench.session.finish();
        std::fs::read(bench.place.backing().join("file")).unwrap()
    };
    let expected = left(Technique::Native, PlaceKind::Plain);
    assert!(left(technique, kind) == expected, "seed {seed}: another file was left");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "a::b    ok\na::c::fifo     FAILED\n\twhy\nBacktrace:\na::d skipped\n";

    #[test]
    fn verdicts_are_read() {
        let verdicts = parse(SAID);
        assert_eq!(verdicts.get("a::b"), Some(&Verdict::Passed));
        assert_eq!(verdicts.get("a::c::fifo"), Some(&Verdict::Failed));
        assert_eq!(verdicts.get("a::d"), Some(&Verdict::Skipped));
        assert_eq!(verdicts.len(), 3);
    }

    #[test]
    fn a_list_only_shrinks() {
        let verdicts = parse(SAID);
        assert_eq!(complaints(&verdicts, "a::*::fifo  no pipes\n"), "");
        assert!(complaints(&verdicts, "# nothing\n").contains("a::c::fifo: fails"));
        let text = complaints(&verdicts, "a::*::fifo no pipes\na::b because\n");
        assert!(text.contains("a::b: passes"), "{text}");
        assert_eq!(complaints(&verdicts, "a::*::fifo no pipes\n? a::b because\n"), "");
    }
}
