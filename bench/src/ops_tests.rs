//! Tests of the operations: that they do what they say. None looks at the time.

use super::*;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

const PLAN: Plan = Plan { batch: Duration::from_micros(100), slow: Duration::ZERO, times: None };

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: impl Iterator<Item = u8>) -> Self {
        let path = std::env::temp_dir().join(format!("parrot-bench-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes.collect::<Vec<u8>>()).unwrap();
        Self(path)
    }
    fn name(&self) -> CString {
        CString::new(self.0.as_os_str().as_bytes()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_kind_runs() {
    let file = Scratch::new("every", (0..2 << 20).map(pattern));
    for (kind, word) in Kind::ALL {
        assert_eq!(Kind::from_word(word), Some(*kind));
        assert_eq!(kind.word(), *word);
        if matches!(kind, Kind::Getfile | Kind::Putfile) {
            // Whole files go to servers only.
            assert!(run(*kind, &file.name(), PLAN).is_err());
            continue;
        }
        let name = if *kind == Kind::Spawn { c"/bin/true".to_owned() } else { file.name() };
        let timing = run(*kind, &name, PLAN).unwrap();
        assert!(timing.ns > 0.0 && timing.count > 0, "{word}");
    }
}

#[test]
fn wrong_bytes_are_seen() {
    let zeros =
        Scratch::new("zeros", (0..64 << 10).map(|at| if at == 9000 { 0 } else { pattern(at) }));
    let error = run(Kind::Read8k, &zeros.name(), PLAN).unwrap_err();
    assert!(error.to_string().contains("offset 9000"), "{error}");
    let error = run(Kind::Read1, &zeros.name(), PLAN).unwrap_err();
    assert!(error.to_string().contains("offset 9000"), "{error}");
}

#[test]
fn errors_are_told() {
    let error = run(Kind::Stat, c"/nonexistent/file", PLAN).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let small = Scratch::new("small", (0..100).map(pattern));
    assert!(run(Kind::Read8k, &small.name(), PLAN).is_err());
    assert!(run(Kind::Spawn, c"/bin/false", PLAN).is_err());
}
