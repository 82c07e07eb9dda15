//! [`Guest`]: what a handler needs of the program whose call was caught.

use crate::errno::Errno;
use crate::files::Opened;
use crate::mountlist::Table;
use crate::shadow::{Kind, ShadowId};

/// In the place of a descriptor: the program itself (`/proc/self/exe`), see [`Guest::fd_path`].
pub const EXE: i32 = -200;

/// What a descriptor, or the working directory, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FdClass {
    /// Not ours.
    Plain,
    /// A shadow.
    Shadow {
        /// Its number.
        id: ShadowId,
        /// Its kind.
        kind: Kind,
        /// Whether the descriptor can write (not meaningful for a directory).
        writable: bool,
    },
}

/// The program (one thread of it) whose call was caught, stopped in the call.
///
/// Addresses are the guest's. The shim's guest is its own process; the tracer's is another one,
/// reached by `process_vm_readv` and `/proc`, and where a method may need that process to run a
/// call, the tracer arranges it.
pub trait Guest {
    /// Reads guest memory; fewer bytes than asked when the rest is not mapped.
    ///
    /// # Errors
    /// EFAULT when not even the first byte can be read.
    fn read(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno>;

    /// Writes guest memory.
    ///
    /// # Errors
    /// EFAULT when not all of it can be written.
    fn write(&mut self, addr: usize, data: &[u8]) -> Result<(), Errno>;

    /// Reads a string up to its zero byte into `out`; the length is without the zero byte.
    ///
    /// # Errors
    /// EFAULT, or ENAMETOOLONG when `out` is full before the zero byte.
    fn read_str(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        let mut done: usize = 0;
        loop {
            let rest = out.get_mut(done..).unwrap_or_default();
            if rest.is_empty() {
                return Err(Errno::ENAMETOOLONG);
            }
            // Never across a page border: what follows may not be mapped.
            let at = addr.wrapping_add(done);
            let chunk = rest.len().min(4096 - at % 4096);
            let rest = rest.get_mut(..chunk).unwrap_or_default();
            let n = self.read(at, rest)?;
            let got = rest.get(..n).unwrap_or_default();
            if let Some(end) = got.iter().position(|&b| b == 0) {
                return Ok(done + end);
            }
            if n == 0 {
                return Err(Errno::EFAULT);
            }
            done += n;
        }
    }

    /// Puts bytes where the guest (and the kernel on its behalf) can read them, valid until the
    /// call ends, and gives their address. Up to three placements of up to 4096 bytes each.
    ///
    /// # Errors
    /// ENOMEM, EFAULT.
    fn place(&mut self, data: &[u8]) -> Result<usize, Errno>;

    /// Runs a system call in the guest and returns its raw result. For calls that the kernel
    /// answers at once (openat of a shadow, fchdir, mmap, close, lseek).
    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize;

    /// What a descriptor is.
    fn fd_class(&mut self, fd: i32) -> FdClass;

    /// What a descriptor is, if that is known without asking the kernel or it is open at all; for
    /// sweeps over many numbers.
    fn known_fd(&mut self, fd: i32) -> Option<FdClass>;

    /// What the working directory is.
    fn cwd_class(&mut self) -> FdClass;

    /// The kernel's name (`readlink` of `/proc/self/fd/FD`, of `cwd` for `AT_FDCWD`, of `exe` for
    /// [`EXE`]), physical, without a zero byte.
    ///
    /// # Errors
    /// EBADF and the like.
    fn fd_path(&mut self, fd: i32, out: &mut [u8]) -> Result<usize, Errno>;

    /// Whether the guest has changed its working directory or the class of a descriptor: called by
    /// handlers after a `chdir`, `dup`, `close` that they carried out themselves.
    fn forget(&mut self, what: Forget);

    /// Gives the guest the descriptor: the lowest free number, close-on-exec if `flags` has
    /// `O_CLOEXEC`. Takes `opened.fd` (closes it where it is a copy). `flags` are the guest's own
    /// open flags.
    ///
    /// # Errors
    /// EMFILE and the like.
    fn install(&mut self, opened: Opened, flags: i32) -> Result<i32, Errno>;

    /// Makes `opened.fd` (a directory) the working directory. Takes the descriptor.
    ///
    /// # Errors
    /// As fchdir(2).
    fn install_cwd(&mut self, opened: Opened) -> Result<(), Errno>;

    /// Maps a descriptor of the handler's process into the guest: mmap(2) with `args` but for the
    /// descriptor. Takes the descriptor.
    ///
    /// # Errors
    /// As mmap(2).
    fn map(&mut self, fd: i32, args: [usize; 6]) -> Result<usize, Errno>;

    /// A descriptor (of the handler's process, to be closed) of `/proc/PID/maps` of the guest.
    ///
    /// # Errors
    /// As open(2).
    fn maps(&mut self) -> Result<i32, Errno>;

    /// lseek(2) on the guest's descriptor.
    ///
    /// # Errors
    /// As lseek(2).
    fn seek(&mut self, fd: i32, offset: i64, whence: i32) -> Result<i64, Errno>;

    /// The guest's umask.
    fn umask(&mut self) -> u32;

    /// `F_GETFL` of the guest's descriptor, as the kernel has it.
    ///
    /// # Errors
    /// EBADF.
    fn fd_flags(&mut self, fd: i32) -> Result<i32, Errno>;

    /// The guest's process id.
    fn pid(&mut self) -> i32;

    /// Whether the kernel's answer to a plain name is the right one, because the name exists or
    /// certainly leads to no mount, if that can be known without making the call itself (the tracer
    /// looks by itself; the shim makes the call and looks at its result, so it has no need). `None`
    /// = unknown, make the call; `false` = resolve the name in full.
    fn kernel_decides(&mut self, table: &Table<'_>, dirfd: i32, path: &[u8]) -> Option<bool>;
}

/// What to forget, see [`Guest::forget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// The working directory changed.
    Cwd,
    /// The descriptor was closed or replaced.
    Fd(i32),
}
