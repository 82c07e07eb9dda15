//! What a directory tree holds, as lines of text that can be compared.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Treat the owner's permissions as given: Debian's server never takes them away.
    pub owner_keeps_rights: bool,
}

/// One line for each object below a directory: name, kind, mode, links, size, content or target.
///
/// # Panics
///
/// When something cannot be read.
#[must_use]
pub fn snapshot(dir: &Path, look: Look) -> Vec<String> {
    let mut lines = Vec::new();
    walk(dir, "", look, &mut lines);
    lines
}

fn walk(dir: &Path, prefix: &str, look: Look, lines: &mut Vec<String>) {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let text = name.as_encoded_bytes().escape_ascii().to_string();
        // Servers keep their own files there.
        if text.starts_with(".__") {
            continue;
        }
        let path = dir.join(&name);
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let shown = format!("{prefix}{text}");
        let mut mode = meta.mode() & 0o7777;
        if look.owner_keeps_rights {
            mode |= if meta.is_dir() { 0o700 } else { 0o600 };
        }
        if meta.is_dir() {
            lines.push(format!("{shown}/ dir {mode:04o}"));
            walk(&path, &format!("{shown}/"), look, lines);
        } else if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            lines.push(format!("{shown} -> {}", target.display()));
        } else if meta.is_file() {
            let links = meta.nlink();
            lines.push(format!("{shown} file {mode:04o} {links} {}", content(&path, meta.len())));
        } else {
            let kind = if meta.file_type().is_fifo() { "fifo" } else { "other" };
            lines.push(format!("{shown} {kind} {mode:04o}"));
        }
    }
}

/// The bytes of a short text, a sum of a longer one, the size only of a huge one.
fn content(path: &Path, size: u64) -> String {
    if size > 64 << 20 {
        return format!("{size} bytes");
    }
    let bytes = std::fs::read(path).unwrap();
    if bytes.len() <= 40 {
        return format!("{size} bytes \"{}\"", bytes.escape_ascii());
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{size} bytes, sum {:016x}", hasher.finish())
}

/// What differs, one line each with a sign in front; empty if nothing does.
#[must_use]
pub fn difference(expected: &[String], got: &[String]) -> Vec<String> {
    let missing =
        expected.iter().filter(|line| !got.contains(line)).map(|line| format!("- {line}"));
    let surplus =
        got.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}"));
    missing.chain(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dir::TempDir;

    #[test]
    fn sees_names_modes_contents_and_targets() {
        let dir = TempDir::new();
        let path = dir.path();
        std::fs::create_dir(path.join("d")).unwrap();
        std::fs::write(path.join("d/f"), "x\n").unwrap();
        std::os::unix::fs::symlink("d/f", path.join("l")).unwrap();
        std::fs::write(path.join(".__acl"), "not shown").unwrap();
        let look = Look { owner_keeps_rights: false };
        let before = snapshot(path, look);
        assert_eq!(before.len(), 3, "{before:?}");
        assert!(before.contains(&"l -> d/f".to_owned()), "{before:?}");
        std::fs::write(path.join("d/f"), "y\n").unwrap();
        let change = difference(&before, &snapshot(path, look));
        assert_eq!(change.len(), 2, "{change:?}");
    }
}
