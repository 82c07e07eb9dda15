//! The namespace: the mountlist of the command line and the environment, compiled.

use crate::cli::Options;
use anyhow::{Context as _, Result, anyhow};
use parrot_common::handler::Namespace;
use parrot_common::mountlist::{Builder, ParseError, Table, set_default_deadline};
use std::os::unix::ffi::OsStrExt;

/// Compiles the rules that the options give.
///
/// # Errors
/// A file that cannot be read, or a rule that is wrong, with its place.
pub(crate) fn compile(options: &Options) -> Result<Vec<u8>> {
    let file = options.mount_file.as_deref();
    let text = match file {
        Some(path) => std::fs::read(path).with_context(|| path.display().to_string())?,
        None => Vec::new(),
    };
    let mounts = options.mounts.iter().map(|mount| mount.as_bytes());
    let total: usize = mounts.clone().map(<[u8]>::len).sum::<usize>()
        + text.len()
        + options.mount_string.as_ref().map_or(0, |text| text.len());
    let mut out = vec![0; total * 16 + (64 << 10)];
    let mut builder = Builder::new(&mut out);
    let name = file.map(|path| path.as_os_str().as_bytes()).unwrap_or_default();
    builder.add_text(&text, name).map_err(|error| wrong(&error))?;
    if let Some(mounts) = &options.mount_string {
        builder
            .add_option(mounts.as_bytes(), b"PARROT_MOUNT_STRING")
            .map_err(|error| wrong(&error))?;
    }
    for mount in mounts {
        builder.add_option(mount, b"-M").map_err(|error| wrong(&error))?;
    }
    let used = builder.finish().map_err(|what| anyhow!("mountlist: {what}"))?;
    out.truncate(used);
    if let Some(seconds) = options.timeout {
        set_default_deadline(&mut out, seconds);
    }
    Ok(out)
}

fn wrong(error: &ParseError<'_>) -> anyhow::Error {
    let mut text = [0; 1024];
    let len = error.message(&mut text);
    anyhow!("{}", String::from_utf8_lossy(text.get(..len).unwrap_or_default()))
}

/// Makes the namespace of this process, which lives as long as it does.
///
/// # Errors
/// When the bytes are no table.
pub(crate) fn namespace(table: Vec<u8>, session: Vec<u8>) -> Result<&'static Namespace<'static>> {
    let bytes: &'static [u8] = Vec::leak(table);
    let session: &'static [u8] = Vec::leak(session);
    let table = Table::from_bytes(bytes).context("the compiled mountlist is damaged")?;
    Ok(Box::leak(Box::new(Namespace { table, session })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[test]
    fn a_timeout_is_the_deadline_of_rules_without_one() {
        let options = Options::parse_from([
            "parrot-trace",
            "-T",
            "7",
            "-M",
            "/a=/chirp/h/x,deadline=2",
            "-M",
            "/b=/chirp/h/y",
            "ls",
        ]);
        let bytes = compile(&options).unwrap();
        let table = Table::from_bytes(&bytes).unwrap();
        let deadline = |name: &[u8]| table.lookup(name).unwrap().rule.deadline_ms;
        assert_eq!(deadline(b"/a/f"), Some(2000));
        assert_eq!(deadline(b"/b/f"), Some(7000));
        assert_eq!(deadline(b"/chirp/h/f"), Some(7000));
    }

    #[test]
    fn a_wrong_rule_is_named_with_its_place() {
        let options = Options::parse_from(["parrot-trace", "-M", "data=/x", "ls"]);
        let error = compile(&options).unwrap_err().to_string();
        assert!(error.starts_with("-M:1:1: "), "{error}");
    }
}
