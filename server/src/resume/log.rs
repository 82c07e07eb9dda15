//! What a session has answered lately, so that a lost answer can be given again.
//!
//! The log holds the last answers, bounded in number and bytes. Requests that only look are not
//! bound to it: an answer of theirs that is not kept is found anew.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wire::Command;

/// The longest answer that is kept: 64 KiB of a small file, and its line.
const LONGEST: usize = (64 << 10) + 512;

/// How many bytes of answers are kept.
const BYTES: usize = LONGEST + (4 << 10);

/// How many answers are kept. Clients must not have more requests that change something on their
/// way than this.
pub(crate) const ENTRIES: usize = 64;

/// One answered request.
#[derive(Debug)]
struct Entry {
    /// Of the request's line: a client that asks for something else under the same number is out
    /// of step.
    hash: u64,
    only_looks: bool,
    /// The length of the answer, if it is kept.
    length: Option<usize>,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is to be carried out.
    Execute,
    /// It was carried out; this was the answer.
    Again(Vec<u8>),
    /// It cannot be what was asked under its number, or nobody knows any more.
    Astray,
}

/// The log of a session.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The number of the last request that was answered.
    done: u64,
    /// The number of the last request that arrived on this connection.
    arrived: u64,
    /// The last of them, up to `done`.
    entries: VecDeque<Entry>,
    /// The answers that are kept, one behind the other.
    answers: VecDeque<u8>,
}

impl Log {
    /// How much memory the answers take.
    pub(crate) fn bytes(&self) -> usize {
        self.answers.capacity() + self.entries.len() * size_of::<Entry>()
    }

    /// A new connection: its next request has this number.
    pub(crate) fn begin(&mut self, number: u64) {
        self.arrived = number.saturating_sub(1);
        if self.arrived > self.done {
            // What lies between was given up before it arrived here.
            self.entries.clear();
            self.answers.clear();
            self.done = self.arrived;
        }
    }

    /// A request has arrived; `command` is `None` if its line is none of a request.
    pub(crate) fn step(&mut self, line: &[u8], command: Option<Command>) -> Step {
        self.arrived = self.arrived.saturating_add(1);
        let Some(back) = self.done.checked_sub(self.arrived) else { return Step::Execute };
        let looks = command.is_none_or(only_looks);
        let index = usize::try_from(back)
            .ok()
            .and_then(|back| self.entries.len().checked_sub(back)?.checked_sub(1));
        let known = index.and_then(|index| self.entries.get(index));
        match (known, index) {
            (Some(Entry { hash, length: Some(length), .. }), Some(index))
                if *hash == hash_of(line) =>
            {
                let before = self.entries.iter().take(index).filter_map(|entry| entry.length);
                let start = before.sum::<usize>();
                Step::Again(self.answers.iter().skip(start).take(*length).copied().collect())
            }
            (Some(entry), _) if looks && entry.only_looks => Step::Execute,
            (None, _) if looks => Step::Execute,
            _ => Step::Astray,
        }
    }

    /// A request has been answered; `None` if the answer was too long to be here in one piece.
    pub(crate) fn answered(
        &mut self,
        line: &[u8],
        command: Option<Command>,
        answer: Option<&[u8]>,
    ) {
        if self.arrived <= self.done {
            // Looked for anew.
            return;
        }
        self.done = self.arrived;
        let kept = answer.filter(|answer| answer.len() <= LONGEST);
        let only_looks = command.is_none_or(only_looks);
        self.entries.push_back(Entry {
            hash: hash_of(line),
            only_looks,
            length: kept.map(<[u8]>::len),
        });
        self.answers.extend(kept.unwrap_or_default());
        while self.entries.len() > ENTRIES || self.answers.len() > BYTES {
            let Some(first) = self.entries.pop_front() else { break };
            self.answers.drain(..first.length.unwrap_or(0));
        }
    }
}

fn hash_of(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}

/// Tells whether a request changes nothing, so that asking twice is the same as asking once.
const fn only_looks(command: Command) -> bool {
    matches!(
        command,
        Command::Pread
            | Command::Sread
            | Command::Fstat
            | Command::Fstatfs
            | Command::Getfile
            | Command::Md5
            | Command::Hash
            | Command::Stat
            | Command::Lstat
            | Command::Statfs
            | Command::Access
            | Command::Getdir
            | Command::Getlongdir
            | Command::Readlink
            | Command::Localpath
            | Command::Getxattr
            | Command::Lgetxattr
            | Command::Fgetxattr
            | Command::Listxattr
            | Command::Llistxattr
            | Command::Flistxattr
            | Command::Whoami
            | Command::Getacl
            | Command::Audit
            | Command::Xstat
            | Command::Xfstat
            | Command::Xgetlongdir
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks under the next number; what came out, after carrying it out if that was to be done.
    fn ask(log: &mut Log, line: &str, answer: &str) -> Step {
        let word = line.split(' ').next().unwrap();
        let command = Command::from_name(word.as_bytes());
        let step = log.step(line.as_bytes(), command);
        if step == Step::Execute {
            log.answered(line.as_bytes(), command, Some(answer.as_bytes()));
        }
        step
    }

    #[test]
    fn answers_are_given_again() {
        let mut log = Log::default();
        log.begin(1);
        for i in 0..3 {
            assert_eq!(ask(&mut log, &format!("mkdir /{i} 7"), &format!("{i}\n")), Step::Execute);
        }
        log.begin(2);
        assert_eq!(ask(&mut log, "mkdir /1 7", "x"), Step::Again(b"1\n".to_vec()));
        assert_eq!(ask(&mut log, "mkdir /2 7", "x"), Step::Again(b"2\n".to_vec()));
        assert_eq!(ask(&mut log, "mkdir /3 7", "3\n"), Step::Execute);
        log.begin(4);
        assert_eq!(ask(&mut log, "mkdir /3 7", "x"), Step::Again(b"3\n".to_vec()));
        // Another request under a number that is taken.
        log.begin(4);
        assert_eq!(ask(&mut log, "mkdir /4 7", "x"), Step::Astray);
        // Requests that were given up before they arrived.
        log.begin(9);
        assert_eq!(ask(&mut log, "mkdir /9 7", "9\n"), Step::Execute);
        log.begin(9);
        assert_eq!(ask(&mut log, "mkdir /9 7", "x"), Step::Again(b"9\n".to_vec()));
    }

    #[test]
    fn what_is_not_kept_can_only_be_looked_for_anew() {
        let mut log = Log::default();
        log.begin(1);
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(ask(&mut log, "pread 0 1 2", &long), Step::Execute);
        assert_eq!(ask(&mut log, "thirdput /a h /b", &long), Step::Execute);
        log.begin(1);
        assert_eq!(ask(&mut log, "pread 0 1 2", &long), Step::Execute);
        assert_eq!(ask(&mut log, "thirdput /a h /b", "x"), Step::Astray);
        log.begin(3);
        for _ in 0..2 * ENTRIES {
            assert_eq!(ask(&mut log, "unlink /a", "0\n"), Step::Execute);
        }
        assert!(log.entries.len() == ENTRIES && log.answers.len() == 2 * ENTRIES);
        log.begin(4);
        assert_eq!(ask(&mut log, "unlink /a", "0\n"), Step::Astray);
        log.begin(4);
        assert_eq!(ask(&mut log, "stat /a", "0\n"), Step::Execute);
        for _ in 0..10 {
            log.begin(1000);
            ask(&mut log, "pread 0 1 2", &"y".repeat(LONGEST));
        }
        assert!(log.answers.len() <= BYTES);
    }
}
