//! The account that the server works as, and the names of accounts.

use std::ffi::CString;

use anyhow::{Context, bail};
use nix::unistd::{Gid, Uid, User};

/// The name of an account; its number where it has no name.
pub(crate) fn name_of(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
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
