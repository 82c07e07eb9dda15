//! The account that the server works as, and the names of accounts.

use std::ffi::CString;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User};

use crate::options::Options;

/// The name of an account; its number where it has no name.
pub(crate) fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// Where accounts are looked up: the host's own way, or a file of the form of `passwd(5)`.
#[derive(Debug)]
pub(crate) struct Accounts(Option<PathBuf>);

impl Accounts {
    /// Checks that the file can be read.
    pub(crate) fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(file) = file {
            std::fs::File::open(file)
                .with_context(|| format!("cannot read accounts from {}", file.display()))?;
        }
        Ok(Self(file.map(Path::to_owned)))
    }

    /// The name of an account; `None` if the file names none with this number. Without a file an
    /// account without a name has its number for one.
    pub(crate) fn name_of(&self, uid: u32) -> Option<String> {
        let Some(file) = &self.0 else { return Some(name_of(uid)) };
        let text = std::fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid) && !name.is_empty()).then(|| name.to_owned())
        })
    }
}

/// Ends with the parent process and leaves no core file, where that was asked for.
pub(crate) fn bind_to_parent(options: &Options) -> anyhow::Result<()> {
    if options.access.no_core_dump {
        use nix::sys::resource::{Resource, setrlimit};
        setrlimit(Resource::RLIMIT_CORE, 0, 0).context("cannot forbid core files")?;
    }
    if options.access.parent_death {
        if options.background {
            bail!("-E and -b contradict each other: a server in the background has no parent");
        }
        let signal = Some(rustix::process::Signal::TERM);
        rustix::process::set_parent_process_death_signal(signal)
            .context("cannot be bound to the parent process")?;
    }
    Ok(())
}

/// Tells whether the server still has root's powers.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// The account the server works as.
pub(crate) fn own_name() -> String {
    name_of(Uid::effective().as_raw())
}

/// Becomes a named account, for good.
pub(crate) fn become_named(name: &str) -> anyhow::Result<()> {
    let user = User::from_name(name).with_context(|| format!("cannot look up account {name}"))?;
    let Some(user) = user else { bail!("there is no account {name} on this host") };
    if user.uid == Uid::effective() {
        return Ok(());
    }
    if !is_root() {
        bail!("only root can work as another account (-i {name})");
    }
    switch(user.uid, user.gid, Some(&user.name))
}

/// Becomes the owner of a directory, for good.
pub(crate) fn become_owner(uid: u32, gid: u32) -> anyhow::Result<()> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => switch(user.uid, user.gid, Some(&user.name)),
        _ => switch(Uid::from_raw(uid), Gid::from_raw(gid), None),
    }
}

fn switch(uid: Uid, gid: Gid, name: Option<&str>) -> anyhow::Result<()> {
    match name {
        Some(name) => nix::unistd::initgroups(&CString::new(name)?, gid),
        None => nix::unistd::setgroups(&[gid]),
    }
    .context("cannot set the groups of the account to work as")?;
    nix::unistd::setgid(gid).context("cannot set the group of the account to work as")?;
    nix::unistd::setuid(uid).context("cannot become the account to work as")
}
