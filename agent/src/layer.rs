//! What wraps drivers: retry, logging. Each is written once, for all drivers.
//!
//! A layer says in one place what happens [around](Around) an operation; [`Layered`] puts that
//! around every method of a driver and of its open files, and is a driver itself:
//!
//! ```text
//! session ──▶ Layered<Log> ──▶ Layered<Retry> ──▶ ChirpDriver
//! ```

pub mod cancel;
pub mod log;
pub mod retry;

pub use cancel::{Cancel, cancellable};
pub use log::{Log, Record};
pub use retry::{OnTransient, Retry, RetryPolicy};

use crate::driver::settle::{Change, Settled};
use crate::driver::{Capabilities, Counters, Driver, Entry, OpenFlags, RemoteFile, SetTime, Space};
use crate::error::Result;
use parrot_common::Attr;
use std::fmt;
use std::sync::Arc;

/// An operation, for a layer.
#[derive(Debug, Clone, Copy)]
pub struct Op<'a> {
    /// Its name, such as `stat`.
    pub name: &'static str,
    /// What it is about.
    pub path: &'a [u8],
    /// What it changes, if it must not be done twice.
    pub change: Option<Change<'a>>,
}

/// What a layer does around an operation.
pub trait Around: fmt::Debug + Send + Sync + 'static {
    /// Carries the operation out by calling `run`, not at all, once or several times. `done` is the
    /// result of a [`Change`] that was found done; `inner` is there to look at the server.
    ///
    /// # Errors
    /// That of the operation, or the layer's own.
    fn call<T>(
        &self,
        inner: &dyn Driver,
        op: &Op<'_>,
        run: &mut dyn FnMut() -> Result<T>,
        done: fn() -> Option<T>,
    ) -> Result<T>;
}

/// A driver with a layer around it.
#[derive(Debug)]
pub struct Layered<A> {
    around: Arc<A>,
    inner: Arc<dyn Driver>,
}

impl<A: Around> Layered<A> {
    /// Puts a layer around a driver.
    #[must_use]
    pub fn wrap(around: A, inner: Arc<dyn Driver>) -> Arc<dyn Driver> {
        Arc::new(Self { around: Arc::new(around), inner })
    }

    /// An operation that may be done twice.
    fn read<T>(
        &self,
        name: &'static str,
        path: &[u8],
        mut run: impl FnMut(&dyn Driver) -> Result<T>,
    ) -> Result<T> {
        let op = Op { name, path, change: None };
        self.around.call(&*self.inner, &op, &mut || run(&*self.inner), || None)
    }

    /// An operation that must not be done twice.
    fn change(
        &self,
        name: &'static str,
        path: &[u8],
        change: Change<'_>,
        mut run: impl FnMut(&dyn Driver) -> Result<()>,
    ) -> Result<()> {
        let op = Op { name, path, change: Some(change) };
        self.around.call(&*self.inner, &op, &mut || run(&*self.inner), || Some(()))
    }
}

impl<A: Around> Driver for Layered<A> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<(Box<dyn RemoteFile>, Attr)> {
        let change = (flags.create && flags.exclusive).then_some(Change::Create(path));
        let op = Op { name: "open", path, change };
        let mut run = || self.inner.open(path, flags, mode);
        let (file, attr) = self.around.call(&*self.inner, &op, &mut run, || None)?;
        let file = LayeredFile {
            around: Arc::clone(&self.around),
            inner: Arc::clone(&self.inner),
            file,
            path: path.to_vec(),
            append: flags.append,
        };
        Ok((Box::new(file), attr))
    }

    fn stat(&self, path: &[u8], follow: bool) -> Result<Attr> {
        self.read("stat", path, |inner| inner.stat(path, follow))
    }

    fn stat_many(&self, paths: &[&[u8]]) -> Vec<Result<Attr>> {
        let first = paths.first().copied().unwrap_or_default();
        let found = self.read("stat", first, |inner| {
            let found = inner.stat_many(paths);
            // A connection that broke concerns all of them.
            let broken = found.iter().find_map(|attr| match attr {
                Err(error) if error.is_transient() => Some(error.clone()),
                _ => None,
            });
            broken.map_or(Ok(found), Err)
        });
        found.unwrap_or_else(|error| paths.iter().map(|_| Err(error.clone())).collect())
    }

    fn read_small(&self, path: &[u8], limit: u64) -> Result<(Attr, Option<Vec<u8>>)> {
        self.read("read_small", path, |inner| inner.read_small(path, limit))
    }

    fn list(&self, path: &[u8]) -> Result<Vec<Entry>> {
        self.read("list", path, |inner| inner.list(path))
    }

    fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        self.change("mkdir", path, Change::Mkdir(path), |inner| inner.mkdir(path, mode))
    }

    fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.change("rmdir", path, Change::Remove(path), |inner| inner.rmdir(path))
    }

    fn unlink(&self, path: &[u8]) -> Result<()> {
        self.change("unlink", path, Change::Remove(path), |inner| inner.unlink(path))
    }

    fn rename(&self, from: &[u8], to: &[u8], flags: u32) -> Result<()> {
        let change = Change::Rename { from, to, flags };
        self.change("rename", from, change, |inner| inner.rename(from, to, flags))
    }

    fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.change("link", to, Change::Link { from, to }, |inner| inner.link(from, to))
    }

    fn symlink(&self, text: &[u8], path: &[u8]) -> Result<()> {
        let change = Change::Symlink { text, path };
        self.change("symlink", path, change, |inner| inner.symlink(text, path))
    }

    fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        self.read("readlink", path, |inner| inner.readlink(path))
    }

    fn truncate(&self, path: &[u8], size: u64) -> Result<()> {
        self.read("truncate", path, |inner| inner.truncate(path, size))
    }

    fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        self.read("chmod", path, |inner| inner.chmod(path, mode))
    }

    fn utimes(&self, path: &[u8], atime: SetTime, mtime: SetTime, follow: bool) -> Result<()> {
        self.read("utimes", path, |inner| inner.utimes(path, atime, mtime, follow))
    }

    fn access(&self, path: &[u8], mode: u32) -> Result<()> {
        self.read("access", path, |inner| inner.access(path, mode))
    }

    fn statfs(&self, path: &[u8]) -> Result<Space> {
        self.read("statfs", path, |inner| inner.statfs(path))
    }

    fn getxattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<Vec<u8>> {
        self.read("getxattr", path, |inner| inner.getxattr(path, name, follow))
    }

    fn setxattr(
        &self,
        path: &[u8],
        name: &[u8],
        value: &[u8],
        flags: u32,
        follow: bool,
    ) -> Result<()> {
        let set = |inner: &dyn Driver| inner.setxattr(path, name, value, flags, follow);
        if flags & libc::XATTR_CREATE.cast_unsigned() == 0 {
            return self.read("setxattr", path, set);
        }
        self.change("setxattr", path, Change::CreateXattr { path, name, value, follow }, set)
    }

    fn listxattr(&self, path: &[u8], follow: bool) -> Result<Vec<u8>> {
        self.read("listxattr", path, |inner| inner.listxattr(path, follow))
    }

    fn removexattr(&self, path: &[u8], name: &[u8], follow: bool) -> Result<()> {
        let change = Change::RemoveXattr { path, name, follow };
        self.change("removexattr", path, change, |inner| inner.removexattr(path, name, follow))
    }

    fn settle(&self, change: &Change<'_>) -> Result<Settled> {
        self.inner.settle(change)
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

/// An open file with a layer around it.
#[derive(Debug)]
struct LayeredFile<A> {
    around: Arc<A>,
    inner: Arc<dyn Driver>,
    file: Box<dyn RemoteFile>,
    path: Vec<u8>,
    append: bool,
}

impl<A: Around> LayeredFile<A> {
    fn call<T>(
        &self,
        name: &'static str,
        change: Option<Change<'_>>,
        mut run: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        self.around.call(&*self.inner, &Op { name, path: &self.path, change }, &mut run, || None)
    }
}

impl<A: Around> RemoteFile for LayeredFile<A> {
    fn pread(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.call("pread", None, || self.file.pread(buf, offset))
    }

    fn pwrite(&self, data: &[u8], offset: u64) -> Result<()> {
        let change = self.append.then_some(Change::Append);
        self.call("pwrite", change, || self.file.pwrite(data, offset))
    }

    fn fstat(&self) -> Result<Attr> {
        self.call("fstat", None, || self.file.fstat())
    }

    fn fsync(&self) -> Result<()> {
        self.call("fsync", None, || self.file.fsync())
    }

    fn ftruncate(&self, size: u64) -> Result<()> {
        self.call("ftruncate", None, || self.file.ftruncate(size))
    }
}
