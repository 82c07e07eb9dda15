//! Compiles the guests that are written in C (`tests/guests/*.c`), each once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs;

/// How a guest is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// With the shared glibc: what preloading can catch.
    Dynamic,
    /// With glibc inside.
    Static,
    /// With musl inside.
    Musl,
    /// With the shared musl: a loader that cannot load what is made for glibc.
    MuslDynamic,
}

/// The program made from `guests/NAME.c`.
///
/// # Panics
///
/// When it does not compile.
#[must_use]
pub fn guest(name: &str, link: Link) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(format!("{name}.c"));
    let text = std::fs::read(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
    let compiler = if matches!(link, Link::Musl | Link::MuslDynamic) { "musl-gcc" } else { "gcc" };
    let mut flags = vec!["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"];
    if matches!(link, Link::Static | Link::Musl) {
        flags.push("-static");
    }
    // Named by all that goes into it: tests of different trees may share the directory.
    let mut hasher = DefaultHasher::new();
    (text, compiler, &flags).hash(&mut hasher);
    let dir = programs::bin_dir().join("test-guests");
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join(format!("{name}-{:016x}", hasher.finish()));
    if path.exists() {
        return path;
    }
    let fresh =
        dir.join(format!(".{name}-{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut command = Command::new(programs::tool(compiler));
    command.args(&flags).arg(&source).arg("-o").arg(&fresh).arg("-lrt");
    let _ = crate::run::run(&mut command, std::time::Duration::from_secs(60)).code(0);
    std::fs::rename(&fresh, &path).unwrap();
    path
}
