//! Preparing programs for execve(2).
//!
//! A program is executed from its complete shadow, under a second link that carries the remote
//! name. A program whose loader (ELF interpreter) is remote gets a copy of its own that names the
//! loader's shadow.

use super::halt::{Halt, Res};
use super::mount::{Right, wire};
use super::node::Node;
use super::walk::{Found, Last, basename};
use super::{Core, Object, data_reply};
use crate::driver::OpenFlags;
use parrot_common::{Errno, Name, Reply};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// What a copy was made from: the program's path and version, and its loader.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Recipe {
    program: PathBuf,
    version: (u64, i64, i64),
    loader: Vec<u8>,
}

/// The longest file name.
const NAME_MAX: usize = 255;

/// Whether programs can be run from a directory.
pub(super) fn may_execute(dir: &Path) -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    statvfs(dir).is_ok_and(|found| !found.flags().contains(FsFlags::ST_NOEXEC))
}

impl Core {
    /// Exec: the local path of a program. `local`: the name is one of this machine.
    pub(super) fn exec(
        &self,
        name: Name<'_>,
        loader: &[u8],
        local: bool,
        out: &mut [u8],
    ) -> Res<Reply> {
        if local {
            let program = PathBuf::from(OsStr::from_bytes(name.path));
            let copy = self.patched(&program, program.file_name(), name.path, loader)?;
            return data_reply(copy.as_os_str().as_bytes(), out);
        }
        let found = self.walk(name, Last::Follow)?.remote(Errno::EACCES)?;
        let attr = found.existing()?;
        found.mount.allow(Right::Exec)?;
        if !attr.is_file() || attr.mode & 0o111 == 0 {
            return Err(Errno::EACCES.into());
        }
        let base = basename(&found.path);
        let base = OsStr::from_bytes(base.get(..NAME_MAX).unwrap_or(base));
        let node = found.mount.node(&found.path, &attr);
        let id = self.program_shadow(&found, &node)?;
        let path = self.store.program(id, Path::new(base))?;
        if loader.is_empty() {
            return data_reply(path.as_os_str().as_bytes(), out);
        }
        let logical = found.mount.logical(&found.path);
        let copy = self.patched(&path, Some(base), &logical, loader)?;
        data_reply(copy.as_os_str().as_bytes(), out)
    }

    /// The complete shadow of a program, of its present version; its number.
    fn program_shadow(&self, found: &Found, node: &Arc<Node>) -> Res<u64> {
        let mount = &found.mount;
        let mut work = node.work.lock();
        if work.upload.is_some() {
            // What a guest is still writing cannot be executed.
            self.flush(node, &mut work)?;
            if work.current.as_ref().is_some_and(|current| self.store.is_written(current.id)) {
                return Err(Errno::ETXTBSY.into());
            }
            self.end_upload(node, &mut work);
        }
        if mount.is_settled()
            && let Some(current) = &work.current
        {
            return Ok(current.id);
        }
        let fetched = SystemTime::now();
        let flags = OpenFlags { read: true, ..OpenFlags::default() };
        let (handle, now) = mount.driver.open(wire(&found.path), flags, 0)?;
        if (now.dev, now.ino) != node.key {
            mount.server.cache.forget(&found.path);
            return Err(Errno::ESTALE.into());
        }
        let same = work.valid.is_some_and(|v| v.matches(&now) && v.is_trusted(&mount.server));
        if let Some(current) = work.current.as_ref().filter(|_| same) {
            current.used.store(self.tick(), Ordering::Relaxed);
            return Ok(current.id);
        }
        self.fill_current(node, &mut work, handle.as_ref(), now, fetched)?;
        work.current.as_ref().map(|current| current.id).ok_or(Halt::Errno(Errno::EIO))
    }

    /// A copy of a program with another loader.
    fn patched(
        &self,
        program: &Path,
        base: Option<&OsStr>,
        logical: &[u8],
        loader: &[u8],
    ) -> Res<PathBuf> {
        let source = File::open(program).map_err(own_errno)?;
        let data = source.metadata()?;
        let recipe = Recipe {
            program: program.to_owned(),
            version: (data.ino(), data.mtime(), data.mtime_nsec()),
            loader: loader.to_vec(),
        };
        if let Some(copy) = self.programs.lock().get(&recipe) {
            return Ok(copy.clone());
        }
        let mut bytes = fs::read(program)?;
        set_loader(&mut bytes, loader).ok_or(Halt::Errno(Errno::ENOEXEC))?;
        let id = self.store.new_id();
        let copy = self.store.program_dir(id)?.join(base.unwrap_or(OsStr::new("program")));
        let file = File::options().write(true).create_new(true).mode(0o700).open(&copy)?;
        file.write_all_at(&bytes, 0)?;
        drop(file);
        let object = Object::Program(Arc::new(logical.to_vec()));
        self.objects.write().insert(id, object);
        self.programs.lock().insert(recipe, copy.clone());
        Ok(copy)
    }
}

/// A local program that cannot be read is the guest's trouble.
fn own_errno(error: std::io::Error) -> Halt {
    Halt::Errno(Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Appends a loader's name to an ELF file (64 bits) and lets PT_INTERP point there.
fn set_loader(bytes: &mut Vec<u8>, loader: &[u8]) -> Option<()> {
    const PT_INTERP: u32 = 3;
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let word =
        |bytes: &[u8], at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let table = usize::try_from(word(bytes, 32)?).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let kind = PT_INTERP.to_le_bytes();
    let at = (0..count)
        .map(|index| table + index * size)
        .find(|&at| bytes.get(at..at + 4) == Some(kind.as_slice()))?;
    let offset = bytes.len() as u64;
    let len = loader.len() as u64 + 1;
    // p_offset at 8, p_filesz at 32, p_memsz at 40.
    for (place, value) in [(8, offset), (32, len), (40, len)] {
        bytes.get_mut(at + place..at + place + 8)?.copy_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(loader);
    bytes.push(0);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::set_loader;

    #[test]
    fn a_loader_is_appended_and_named() {
        let mut elf = vec![0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64 + 56] = 3;
        assert_eq!(set_loader(&mut elf, b"/x/ld.so"), Some(()));
        let at = usize::from(elf[64 + 56 + 8]);
        assert_eq!(at, 64 + 2 * 56);
        assert_eq!(&elf[at..], b"/x/ld.so\0");
        assert_eq!(elf[64 + 56 + 32], 9);
        assert_eq!(set_loader(&mut b"#!/bin/sh".to_vec(), b"/x"), None);
    }
}
