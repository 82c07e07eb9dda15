//! Where a run's session lies: `BASE/parrot.UID/HASH.trace.PID`, a directory of its own.
//!
//! A run that was killed may leave data there that never reached its server. The next run with the
//! same rules takes such a directory over, and its session sends the data.

use crate::log;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, geteuid};
use parrot_common::client::{MAX_SESSION, session_dir};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The directory for this process's session; nothing is made yet, but a predecessor's may be moved
/// there.
pub(crate) fn make(base: &Path, table: &[u8]) -> PathBuf {
    let mut dir = vec![0; MAX_SESSION];
    let base = base.as_os_str().as_encoded_bytes();
    let len = session_dir(base, geteuid().as_raw(), table, &[], &mut dir);
    dir.truncate(len);
    dir.extend(b".trace.");
    let prefix = PathBuf::from(OsString::from_vec(dir));
    let mut ours = prefix.clone().into_os_string();
    ours.push(std::process::id().to_string());
    let ours = PathBuf::from(ours);
    for left in left_behind(&prefix) {
        if !is_unsent(&left) {
            let _ = fs::remove_dir_all(left);
        } else if !ours.exists() && fs::rename(&left, &ours).is_ok() {
            // Of several runs that start now, the one that could rename it has it.
            log::tell("an earlier run left data that was not written back; it is sent now");
        }
    }
    ours
}

/// Removes the directory, unless data in it is still to be sent.
pub(crate) fn leave(dir: &Path) {
    if is_unsent(dir) {
        log::tell(&format!(
            "what was not written back is kept in {}; the next run with the same mounts sends it",
            dir.display()
        ));
    } else {
        let _ = fs::remove_dir_all(dir);
    }
}

/// Whether a session directory has records of data that is not on its server.
fn is_unsent(dir: &Path) -> bool {
    fs::read_dir(dir.join("r")).is_ok_and(|mut records| records.next().is_some())
}

/// Directories of this name whose processes are no more.
fn left_behind(prefix: &Path) -> Vec<PathBuf> {
    let name = prefix.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let entries = prefix.parent().and_then(|parent| fs::read_dir(parent).ok());
    let dead = |path: &PathBuf| {
        let pid = path.file_name().and_then(OsStr::to_str).and_then(|n| n.strip_prefix(name));
        let pid = pid.and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
    };
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter(dead).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_run_left_is_taken_over_or_removed() {
        let base = std::env::temp_dir().join(format!("parrot-place-{}", std::process::id()));
        let ours = make(&base, b"rules");
        let prefix = ours.to_str().unwrap().strip_suffix(&std::process::id().to_string()).unwrap();
        // No process has such a number.
        let (empty, dirty) = (format!("{prefix}4194305"), format!("{prefix}4194306"));
        fs::create_dir_all(format!("{empty}/r")).unwrap();
        fs::create_dir_all(format!("{dirty}/r/record")).unwrap();
        assert_eq!(make(&base, b"rules"), ours);
        assert!(!Path::new(&empty).exists() && !Path::new(&dirty).exists());
        assert!(ours.join("r/record").exists());
        leave(&ours);
        assert!(ours.exists(), "it is still unsent");
        fs::remove_dir_all(base).unwrap();
    }
}
