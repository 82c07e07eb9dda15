//! The `unix` method: the client proves who it is by making a file with a name we choose, in a
//! directory that both can write. Whoever owns the file is the client.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Dialogue;
use crate::failure::Outcome;

/// First pause between two looks for the file.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The oldest that a challenge file can look, allowing for clocks of file servers.
const FRESH: Duration = Duration::from_secs(120);

/// Longest pause between two looks.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// Runs the method's exchange; `None` if the client did not prove anything.
pub(super) fn subject(dialogue: &mut Dialogue<'_>) -> Outcome<Option<Vec<u8>>> {
    let challenge = dialogue.service.options.challenge_dir.join(unused_name());
    dialogue.say(challenge.as_os_str().as_bytes());
    if dialogue.hear()? != b"yes" {
        return Ok(None);
    }
    let deadline = Instant::now() + dialogue.service.options.unix_timeout;
    let owner = wait_for_owner(&challenge, deadline);
    // The client removes the file too, and only its owner may in a sticky directory.
    let _ = std::fs::remove_file(&challenge);
    let name = owner.and_then(|uid| dialogue.service.accounts.name_of(uid));
    dialogue.say(if name.is_some() { b"yes" } else { b"no" });
    Ok(name.map(String::into_bytes))
}

fn wait_for_owner(challenge: &Path, deadline: Instant) -> Option<u32> {
    let mut pause = FIRST_PAUSE;
    loop {
        match std::fs::symlink_metadata(challenge) {
            Ok(file) => return is_proof(&file).then(|| file.uid()),
            Err(_) if Instant::now() < deadline => {}
            Err(_) => return None,
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONG_PAUSE);
    }
}

/// Tells whether a file was made for us. A link, a second name of another's file, or a file of
/// another's that was moved here proves nothing: the file must be one that only its owner can have
/// touched, empty, and fresh.
fn is_proof(file: &Metadata) -> bool {
    let fresh = file.modified().is_ok_and(|time| time.elapsed().map_or(true, |age| age < FRESH));
    file.is_file() && file.nlink() == 1 && file.mode() & 0o077 == 0 && file.len() == 0 && fresh
}

/// A name that nobody can guess.
fn unused_name() -> impl AsRef<OsStr> + AsRef<Path> {
    use std::hash::{BuildHasher as _, RandomState};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    // Each `RandomState` has fresh keys from the system's random numbers.
    let random = RandomState::new().hash_one(COUNTER.fetch_add(1, Ordering::Relaxed));
    let more = RandomState::new().hash_one(Instant::now());
    format!("challenge.{}.{random:016x}{more:016x}", std::process::id())
}
