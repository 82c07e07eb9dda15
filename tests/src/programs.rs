//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The directory that holds the built programs: `PARROT_BIN_DIR`, else `release` in the target
/// directory that this test itself was built in.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("PARROT_BIN_DIR") {
        return dir.into();
    }
    // target/PROFILE/deps/suite-0123456789abcdef
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap_or(Path::new("/")).join("release")
}

/// The path of one built program.
///
/// # Panics
///
/// When it was not built: a test that skips itself proves nothing.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(path.exists(), "{} is missing: run scripts/build", path.display());
    path
}

/// The path of a program of this machine, found along the guests' `PATH`.
///
/// # Panics
///
/// When it is not installed.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    PATH.split(':')
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed: run scripts/install-deps"))
}

/// The path of a conformance suite, in the version that `scripts/install-tools` installs.
///
/// # Panics
///
/// When it is not installed.
#[must_use]
pub fn suite(name: &str, version: &str) -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let root = var("PARROT_TEST_TOOLS").unwrap_or_else(|| {
        let cache = var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
        cache.unwrap_or_default().join("parrot-test-tools")
    });
    let path = root.join(format!("{name}-{version}/bin/{name}"));
    assert!(path.exists(), "{} is not installed: run scripts/install-tools", path.display());
    path
}

/// The guests' `PATH`: what every Debian machine has, nothing of the developer's own.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
