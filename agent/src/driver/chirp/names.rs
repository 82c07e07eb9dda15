//! The names of open files, which follow our own renames: a file that has to be opened again is
//! looked for where it is now.

use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// The name of an open file.
pub(super) type FileName = Arc<Mutex<Vec<u8>>>;

/// The names of all open files of a server.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Vec<Weak<Mutex<Vec<u8>>>>>);

impl Names {
    /// The name of a file that was opened now.
    pub(super) fn add(&self, path: &[u8]) -> FileName {
        let name = Arc::new(Mutex::new(path.to_vec()));
        let mut names = self.0.lock();
        // The list is as long as twice the number of open files at most.
        if names.len() == names.capacity() {
            names.retain(|name| name.strong_count() > 0);
            let room = names.len().max(8);
            names.reserve(room);
        }
        names.push(Arc::downgrade(&name));
        name
    }

    /// A name was moved, with all below it; `exchange`: the two names have changed places.
    pub(super) fn moved(&self, from: &[u8], to: &[u8], exchange: bool) {
        for name in self.0.lock().iter().filter_map(Weak::upgrade) {
            let mut name = name.lock();
            if let Some(rest) = below(&name, from) {
                *name = [to, rest].concat();
            } else if let Some(rest) = below(&name, to).filter(|_| exchange) {
                *name = [from, rest].concat();
            }
        }
    }
}

/// What follows a directory's name, or a file's own, in a path.
fn below<'p>(path: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_renames() {
        let names = Names::default();
        let [file, deep, other] = [&b"/a/f"[..], b"/a/b/g", b"/ab/f"].map(|path| names.add(path));
        names.moved(b"/a", b"/z/y", false);
        names.moved(b"/z/y/f", b"/f", false);
        let now = || [&file, &deep, &other].map(|name| name.lock().clone());
        assert_eq!(now(), [b"/f".to_vec(), b"/z/y/b/g".to_vec(), b"/ab/f".to_vec()]);
        names.moved(b"/f", b"/ab", true);
        assert_eq!(now(), [b"/ab".to_vec(), b"/z/y/b/g".to_vec(), b"/f/f".to_vec()]);
        drop((file, deep));
        for _ in 0..1000 {
            drop(names.add(b"/x"));
        }
        assert!(names.0.lock().len() < 100);
    }
}
