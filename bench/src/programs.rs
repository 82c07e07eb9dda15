//! Finding the programs: beside this one, or in `PARROT_BIN_DIR`.

use std::path::{Path, PathBuf};

/// The variable that names the directory of the programs.
const DIRECTORY: &str = "PARROT_BIN_DIR";

/// Where a program is, or a sentence for the table that says why not.
pub(crate) type Found = Result<PathBuf, String>;

/// The programs of this project and of others that a comparison may need.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// This program: the worker.
    pub(crate) bench: PathBuf,
    /// The preload library, whose agent is there too.
    pub(crate) preload: Found,
    /// The agent that the preload library starts at the first remote name.
    pub(crate) agent: Found,
    /// The tracer.
    pub(crate) trace: Found,
    /// Our server.
    pub(crate) chirpd: Found,
    /// The stock server.
    pub(crate) stock: Found,
    /// The minimal dynamic agent made with `redhook`.
    pub(crate) redhook: Found,
    /// A program that does nothing.
    pub(crate) nothing: PathBuf,
    /// Where this project's programs were looked for.
    pub(crate) dir: PathBuf,
}

impl Programs {
    /// Looks for all of them.
    ///
    /// # Errors
    /// This program's own path is not known.
    pub(crate) fn find() -> std::io::Result<Self> {
        let bench = std::env::current_exe()?;
        let beside = bench.parent().map(Path::to_path_buf).unwrap_or_default();
        let dir = std::env::var_os(DIRECTORY).map_or(beside, PathBuf::from);
        let dir = std::path::absolute(dir)?;
        let nothing = in_path("true").unwrap_or_else(|_| "/bin/true".into());
        Ok(Self {
            preload: in_dir(&dir, "libparrot.so"),
            agent: in_dir(&dir, "parrot-agent"),
            trace: in_dir(&dir, "parrot-trace"),
            chirpd: in_dir(&dir, "parrot-chirpd"),
            stock: in_path("chirp_server"),
            redhook: in_dir(&dir, "libparrot_bench_redhook.so"),
            nothing,
            bench,
            dir,
        })
    }
}

fn in_dir(dir: &Path, name: &str) -> Found {
    let path = dir.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{name} is not built"))
}

pub(crate) fn in_path(name: &str) -> Found {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("{name} is not installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_sentence() {
        assert_eq!(in_path("no-such-program").unwrap_err(), "no-such-program is not installed");
        assert!(in_path("true").is_ok());
        assert!(in_dir(Path::new("/nonexistent"), "x").is_err());
    }
}
