//! [`Tracee`]: the [`Guest`] of a stopped thread in another process.
//!
//! Memory goes by `process_vm_readv`, descriptors and directories are read from `/proc`, and where
//! the guest itself must act, a call is made in it ([`Native`]): by the loop directly, or by a worker
//! that asks the loop.
//!
//! Strings for the kernel are placed in an area that the guest maps for the purpose at first need,
//! one per thread. The stack would be nearer, but languages with small growing stacks (Go) keep
//! other data right below them.
//!
//! ```text
//! area  | three placements, PLACE_LEN each | paths and filters of calls made in the guest |
//! ```

use crate::filter::{self, Insn};
use crate::process::{AREA, Process, Wanted};
use crate::worker::Gate;
use crate::{holes, log, memory, os};
use parrot_common::guest::Forget;
use parrot_common::mountlist::{RuleKind, Table};
use parrot_common::resolve::missing::{self, Look, Moment, Recent};
use parrot_common::shadow::{Kind, parse_link};
use parrot_common::syscall::TABLE;
use parrot_common::{Errno, FdClass, Guest, Opened, sys};
use std::fs;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Bytes of the area for placed data.
pub(crate) const PLACED: usize = 16 << 10;
/// What is kept free below the stack pointer when there is no area.
const RED_ZONE: usize = 128;
/// Open flags that mean something to a shadow that exists.
const KEPT: i32 = libc::O_ACCMODE
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_CLOEXEC
    | libc::O_SYNC
    | libc::O_PATH;

/// Makes calls in the guest.
pub(crate) trait Native {
    /// Runs one and gives its raw result.
    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize;
    /// The guest's stack pointer.
    fn sp(&mut self) -> usize;
}

impl Native for crate::inject::Call {
    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        Self::native(self, nr, args)
    }

    fn sp(&mut self) -> usize {
        self.regs().map_or(0, |regs| regs.sp())
    }
}

/// Guest memory that belongs to the tracer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Area {
    /// Its address, 0 = none yet.
    pub(crate) base: usize,
    used: usize,
}

/// A stopped thread, as handlers see it.
pub(crate) struct Tracee<'a> {
    pub(crate) tid: i32,
    pub(crate) process: &'a Process,
    pub(crate) area: &'a mut Area,
    pub(crate) native: &'a mut dyn Native,
    pub(crate) session: &'a [u8],
    /// On a worker: whether the call still waits for it.
    pub(crate) gate: Option<&'a Gate>,
}

impl std::fmt::Debug for Tracee<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracee").field("tid", &self.tid).finish_non_exhaustive()
    }
}

impl Tracee<'_> {
    /// A new call: what was placed for the last one is free.
    pub(crate) const fn begin(&mut self) {
        self.area.used = 0;
    }

    /// The area's address, mapping it if needed.
    pub(crate) fn area(&mut self) -> usize {
        if self.area.base == 0 {
            let old = self.process.areas.lock().pop();
            self.area.base = old.unwrap_or_else(|| self.new_area());
        }
        self.area.base
    }

    fn new_area(&mut self) -> usize {
        let protection = (libc::PROT_READ | libc::PROT_WRITE).unsigned_abs() as usize;
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).unsigned_abs() as usize;
        let args = [0, AREA, protection, flags, usize::MAX, 0];
        match Errno::check(self.call(libc::SYS_mmap, args)) {
            Ok(addr) => addr,
            Err(_) => (self.native.sp().saturating_sub(RED_ZONE + AREA)) & !15,
        }
    }

    /// Writes to the guest's memory, unless its call has ended without this worker.
    pub(crate) fn put(&self, addr: usize, data: &[u8]) -> Result<(), Errno> {
        match self.gate {
            Some(gate) => gate.pass(|| memory::write(self.tid, addr, data)),
            None => memory::write(self.tid, addr, data),
        }
    }

    /// Makes a call in the guest.
    pub(crate) fn call(&mut self, nr: libc::c_long, args: [usize; 6]) -> isize {
        self.native.native(usize::try_from(nr).unwrap_or(usize::MAX), args)
    }

    /// Places the name of one of the tracer's descriptors.
    pub(crate) fn own_path(&mut self, fd: i32) -> Result<usize, Errno> {
        let at = self.area() + PLACED;
        let text = format!("/proc/{}/fd/{fd}\0", std::process::id());
        self.put(at, text.as_bytes())?;
        Ok(at)
    }

    /// Makes calls on this descriptor number stop.
    pub(crate) fn arm(&mut self, fd: i32, kind: Kind) {
        // Not held while the guest runs: a worker waits for the loop there.
        let wanted = self.process.armed.lock().want(fd, kind);
        if let Some(wanted) = wanted
            && let Err(errno) = self.add_filter(wanted)
        {
            log::tell(&format!(
                "process {}: calls on descriptor {fd} cannot be watched ({errno}); they may be missed",
                self.process.tgid
            ));
        }
        self.process.armed.lock().add(fd, wanted);
    }

    fn add_filter(&mut self, wanted: Wanted) -> Result<(), Errno> {
        const SET_MODE_FILTER: usize = 1;
        const TSYNC: usize = 1;
        let code = filter::descriptor(TABLE, wanted.fd, wanted.level);
        let at = self.area() + PLACED;
        let program = 16;
        // struct sock_fprog: length, padding, pointer.
        let mut bytes = Vec::with_capacity(program + code.len() * size_of::<Insn>());
        bytes.extend(code.len().to_ne_bytes());
        bytes.extend((at + program).to_ne_bytes());
        bytes.extend(code.iter().flat_map(|insn| insn.bytes()));
        self.put(at, &bytes)?;
        let args = |flags| [SET_MODE_FILTER, flags, at, 0, 0, 0];
        match Errno::check(self.call(libc::SYS_seccomp, args(TSYNC)))? {
            0 => Ok(()),
            // Another thread has a filter of its own: this thread at least.
            _ => Errno::check(self.call(libc::SYS_seccomp, args(0))).map(|_| ()),
        }
    }

    /// A copy of the guest's descriptor. Fails where the kernel is old or the process's first thread
    /// has ended; the guest itself must be asked then.
    pub(crate) fn copy(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let pidfd = self.process.pidfd().map_err(|e| errno(&e))?;
        os::pidfd_getfd(&pidfd, fd).map_err(|e| errno(&e))
    }

    /// What of ours is among the arguments of an unknown call, in words: a descriptor or a name.
    pub(crate) fn touches(&self, table: &Table<'_>, args: &[usize; 6]) -> Option<String> {
        let armed = self.process.armed.lock().clone();
        args.iter().find_map(|&arg| {
            let fd = i32::try_from(arg).ok().filter(|&fd| {
                armed.knows(fd) && self.process.look(self.tid, fd, self.session) != FdClass::Plain
            });
            let name = || {
                text(self.tid, arg).filter(|text| {
                    let found = table.lookup(text.as_bytes());
                    found.is_some_and(|found| found.rule.kind != RuleKind::Passthrough)
                })
            };
            fd.map(|fd| format!("descriptor {fd}")).or_else(name)
        })
    }

    /// The call for a message.
    pub(crate) fn describe(&self, nr: usize, args: &[usize; 6]) -> String {
        holes::describe(nr, args, |index| args.get(index).and_then(|&arg| text(self.tid, arg)))
    }
}

impl Guest for Tracee<'_> {
    fn read(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        memory::read(self.tid, addr, out)
    }

    fn write(&mut self, addr: usize, data: &[u8]) -> Result<(), Errno> {
        self.put(addr, data)
    }

    fn read_str(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        // Most names are short: the first look is not at the whole page.
        let mut chunk = 256;
        let mut done = 0;
        loop {
            let at = addr.wrapping_add(done);
            let room = out.len() - done;
            if room == 0 {
                return Err(Errno::ENAMETOOLONG);
            }
            let end = done + room.min(chunk).min(4096 - at % 4096);
            let place = out.get_mut(done..end).unwrap_or_default();
            let n = memory::read(self.tid, at, place)?;
            if let Some(end) = place.get(..n).unwrap_or_default().iter().position(|&b| b == 0) {
                return Ok(done + end);
            }
            if n == 0 {
                return Err(Errno::EFAULT);
            }
            done += n;
            chunk = 4096;
        }
    }

    fn place(&mut self, data: &[u8]) -> Result<usize, Errno> {
        let base = self.area();
        if self.area.used + data.len() > PLACED {
            return Err(Errno::ENOMEM);
        }
        let at = base + self.area.used;
        self.area.used += data.len().next_multiple_of(16);
        self.put(at, data)?;
        Ok(at)
    }

    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        self.native.native(nr, args)
    }

    fn fd_class(&mut self, fd: i32) -> FdClass {
        let known = self.process.armed.lock().knows(fd);
        if known { self.process.look(self.tid, fd, self.session) } else { FdClass::Plain }
    }

    fn known_fd(&mut self, fd: i32) -> Option<FdClass> {
        self.process.armed.lock().knows(fd).then(|| self.process.look(self.tid, fd, self.session))
    }

    fn cwd_class(&mut self) -> FdClass {
        if self.process.plain_cwd.load(Ordering::Relaxed) {
            return FdClass::Plain;
        }
        let text = link(self.tid, "cwd").unwrap_or_default();
        match parse_link(&text, self.session) {
            Some((id, kind)) => FdClass::Shadow { id, kind, writable: false },
            None => {
                self.process.plain_cwd.store(true, Ordering::Relaxed);
                FdClass::Plain
            }
        }
    }

    fn fd_path(&mut self, fd: i32, out: &mut [u8]) -> Result<usize, Errno> {
        let text = if fd == libc::AT_FDCWD {
            link(self.tid, "cwd")
        } else {
            link(self.tid, &format!("fd/{fd}"))
        }?;
        out.get_mut(..text.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(&text);
        Ok(text.len())
    }

    fn forget(&mut self, what: Forget) {
        if what == Forget::Cwd {
            self.process.moved();
        }
    }

    fn install(&mut self, opened: Opened, flags: i32) -> Result<i32, Errno> {
        let kept = flags & KEPT;
        let flags = match opened.kind {
            Kind::Complete => kept,
            Kind::Served => (kept & !libc::O_ACCMODE) | libc::O_WRONLY,
            Kind::Dir => (kept & (libc::O_PATH | libc::O_CLOEXEC)) | libc::O_DIRECTORY,
        };
        let installed = self.give(opened.fd, flags);
        os::close(opened.fd);
        let fd = installed?;
        self.arm(fd, opened.kind);
        Ok(fd)
    }

    fn install_cwd(&mut self, opened: Opened) -> Result<(), Errno> {
        let path = self.own_path(opened.fd);
        let done =
            path.and_then(|path| Errno::check(self.call(libc::SYS_chdir, [path, 0, 0, 0, 0, 0])));
        let done = done.or_else(|_| {
            let fd = self.give(opened.fd, libc::O_PATH | libc::O_DIRECTORY)?;
            let number = fd.unsigned_abs() as usize;
            let done = Errno::check(self.call(libc::SYS_fchdir, [number, 0, 0, 0, 0, 0]));
            self.close(fd);
            done
        });
        os::close(opened.fd);
        self.forget(Forget::Cwd);
        done.map(|_| ())
    }

    fn map(&mut self, fd: i32, args: [usize; 6]) -> Result<usize, Errno> {
        let mode = os::flags(fd).map_or(libc::O_RDONLY, |flags| flags & libc::O_ACCMODE);
        let opened = self.give(fd, mode | libc::O_CLOEXEC);
        os::close(fd);
        let opened = opened?.unsigned_abs() as usize;
        let [addr, length, protection, flags, _, offset] = args;
        let mapped = self.call(libc::SYS_mmap, [addr, length, protection, flags, opened, offset]);
        self.call(libc::SYS_close, [opened, 0, 0, 0, 0, 0]);
        Errno::check(mapped)
    }

    fn maps(&mut self) -> Result<i32, Errno> {
        let maps = fs::File::open(format!("/proc/{}/maps", self.tid)).map_err(|e| errno(&e))?;
        Ok(maps.into_raw_fd())
    }

    fn seek(&mut self, fd: i32, offset: i64, whence: i32) -> Result<i64, Errno> {
        if let Ok(copy) = self.copy(fd) {
            return os::seek(&copy, offset, whence).map_err(|e| errno(&e));
        }
        let offset = usize::try_from(offset.cast_unsigned()).map_err(|_| Errno::EINVAL)?;
        let whence = whence.unsigned_abs() as usize;
        let args = [fd.unsigned_abs() as usize, offset, whence, 0, 0, 0];
        let at = Errno::check(self.call(libc::SYS_lseek, args))?;
        i64::try_from(at).map_err(|_| Errno::EOVERFLOW)
    }

    fn umask(&mut self) -> u32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.tid)).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        value.and_then(|value| u32::from_str_radix(value.trim(), 8).ok()).unwrap_or(0o022)
    }

    fn fd_flags(&mut self, fd: i32) -> Result<i32, Errno> {
        use std::os::fd::AsRawFd;
        if let Ok(copy) = self.copy(fd) {
            return os::flags(copy.as_raw_fd()).map_err(|e| errno(&e));
        }
        let get = libc::F_GETFL.unsigned_abs() as usize;
        let args = [fd.unsigned_abs() as usize, get, 0, 0, 0, 0];
        let flags = Errno::check(self.call(libc::SYS_fcntl, args))?;
        i32::try_from(flags).map_err(|_| Errno::EINVAL)
    }

    fn pid(&mut self) -> i32 {
        self.process.tgid
    }

    fn kernel_decides(&mut self, table: &Table<'_>, dirfd: i32, path: &[u8]) -> Option<bool> {
        let absolute = path.first() == Some(&b'/');
        // The links of the tracer's own /proc/self are others.
        if path.starts_with(b"/proc/") {
            return Some(true);
        }
        let own_root = self.process.own_root.load(Ordering::Relaxed);
        let base = match (absolute, own_root) {
            (true, false) => Some(0),
            (false, _) if dirfd == libc::AT_FDCWD => {
                Some(self.process.cwd_number.load(Ordering::Relaxed))
            }
            _ => None,
        };
        let at = base.map(|base| Moment { now: os::clock(), base });
        if at.and_then(|at| RECENT.get(at, path)) == Some(true) {
            return Some(true);
        }
        let start = match (absolute, dirfd) {
            (true, _) if own_root => format!("/proc/{}/root", self.tid),
            (true, _) => String::new(),
            (false, libc::AT_FDCWD) => format!("/proc/{}/cwd/", self.tid),
            (false, _) => format!("/proc/{}/fd/{dirfd}/", self.tid),
        };
        let mut name = Vec::with_capacity(start.len() + path.len() + 1);
        let mut look = |part: &[u8], run: &mut dyn FnMut(&[u8]) -> Result<(), Errno>| {
            name.clear();
            name.extend_from_slice(start.as_bytes());
            name.extend_from_slice(part);
            name.push(0);
            run(&name)
        };
        let exists = |name: &[u8]| {
            os::mode_of(libc::AT_FDCWD, name, true).map(|_| ()).map_err(|e| errno(&e))
        };
        match look(path, &mut |name| exists(name)) {
            Err(Errno::ENOENT | Errno::ENOTDIR) if absolute || !table.has_local() => {
                Some(missing::certainly_missing(table, &RECENT, at, path, &mut |what, part| {
                    look(part, &mut |name| match what {
                        Look::Exists => exists(name),
                        Look::Link => {
                            sys::readlinkat(libc::AT_FDCWD, name, &mut [0; 8]).map(|_| ())
                        }
                    })
                }))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Some(false),
            _ => {
                at.inspect(|&at| RECENT.put(at, path, true));
                Some(true)
            }
        }
    }
}

/// What was found about local names; that of relative ones under the number of their directory.
static RECENT: Recent = Recent::new();

/// A call may change what names mean.
pub(crate) fn names_change() {
    RECENT.forget();
}

/// What the kernel says a link of `/proc/TID/` is.
fn link(tid: i32, which: &str) -> Result<Vec<u8>, Errno> {
    match fs::read_link(format!("/proc/{tid}/{which}")) {
        Ok(text) => Ok(std::os::unix::ffi::OsStringExt::into_vec(text.into_os_string())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Errno::EBADF),
        Err(e) => Err(errno(&e)),
    }
}

/// An argument as text, if it is an address of one: for messages.
pub(crate) fn text(tid: i32, arg: usize) -> Option<String> {
    if arg < 4096 {
        return None;
    }
    let text = String::from_utf8(memory::read_text(tid, arg)?).ok()?;
    (text.len() > 1 && !text.chars().any(char::is_control)).then_some(text)
}

/// The error number of a failed call of ours.
pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
