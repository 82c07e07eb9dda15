//! The operations, as calls of libc: what a dynamic program would do, so that preloading applies.
//!
//! Reading checks that the right bytes came (see [`pattern`]) in one pass before the timing, which
//! also warms whatever caches there are.
//!
//! # Safety
//! Every call gets a descriptor of this module's own, and buffers and strings that outlive it.
#![expect(unsafe_code, reason = "the calls of libc are what is measured")]

use crate::measure::{Plan, Timing, measure};
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

/// Small reads and writes go round in this much of a file.
const WINDOW: u64 = 1 << 20;
/// Large ones in this much.
const LARGE_WINDOW: u64 = 16 << 20;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $word:literal),* $(,)?) => {
        /// What is done.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($(#[$doc])* $kind),* }

        impl Kind {
            const ALL: &[(Self, &'static str)] = &[$((Self::$kind, $word)),*];
        }
    };
}

kinds! {
    /// `getpid`.
    Getpid = "getpid",
    /// `fstat` of an open file.
    Fstat = "fstat",
    /// `stat` of a path.
    Stat = "stat",
    /// `open` for reading and `close`.
    Open = "open",
    /// `read` of one byte, going round.
    Read1 = "read1",
    /// `read` of 8 KiB, going round.
    Read8k = "read8k",
    /// `read` of 1 MiB, going round.
    Read1m = "read1m",
    /// `pread` of one byte, going round.
    Pread1 = "pread1",
    /// `pread` of 8 KiB, going round.
    Pread8k = "pread8k",
    /// `pread` of 1 MiB, going round.
    Pread1m = "pread1m",
    /// `write` of 8 KiB, going round.
    Write8k = "write8k",
    /// `pwrite` of one byte at offset 0.
    Pwrite1 = "pwrite1",
    /// `pwrite` of 8 KiB at offset 0.
    Pwrite8k = "pwrite8k",
    /// `pwrite` of 1 MiB at offset 0.
    Pwrite1m = "pwrite1m",
    /// A whole file of 1 MiB from a server, by one request: for the plain client only.
    Getfile = "getfile",
    /// A whole file of 1 MiB to a server: for the plain client only.
    Putfile = "putfile",
    /// `posix_spawn` of a program and waiting for it.
    Spawn = "spawn",
}

impl Kind {
    /// The word on a worker's command line.
    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind with this word.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

/// The byte that stands at an offset in every file that is read. Never zero: a hole shows.
pub(crate) fn pattern(offset: u64) -> u8 {
    let mixed = (offset ^ (offset >> 12)).wrapping_mul(31);
    u8::try_from(mixed & 0xff).unwrap_or(0) | 1
}

/// Measures one operation on `path`.
///
/// # Errors
/// The first error of a call, or wrong bytes.
pub(crate) fn run(kind: Kind, path: &CStr, plan: Plan) -> io::Result<Timing> {
    match kind {
        // SAFETY: no arguments.
        Kind::Getpid => measure(plan, || check(unsafe { libc::getpid() }).map(drop)),
        Kind::Fstat => {
            let file = open(path, libc::O_RDONLY)?;
            let mut buffer = MaybeUninit::<libc::stat>::uninit();
            // SAFETY: an open descriptor and room for the answer.
            measure(plan, || zero(unsafe { libc::fstat(file.as_raw_fd(), buffer.as_mut_ptr()) }))
        }
        Kind::Stat => {
            let mut buffer = MaybeUninit::<libc::stat>::uninit();
            // SAFETY: a string and room for the answer.
            measure(plan, || zero(unsafe { libc::stat(path.as_ptr(), buffer.as_mut_ptr()) }))
        }
        Kind::Open => measure(plan, || open_close(path)),
        Kind::Read1 => reading(path, 1, WINDOW, plan),
        Kind::Read8k => reading(path, 8 << 10, WINDOW, plan),
        Kind::Read1m => reading(path, 1 << 20, LARGE_WINDOW, plan),
        Kind::Pread1 => preading(path, 1, WINDOW, plan),
        Kind::Pread8k => preading(path, 8 << 10, WINDOW, plan),
        Kind::Pread1m => preading(path, 1 << 20, LARGE_WINDOW, plan),
        Kind::Write8k => writing(path, plan),
        Kind::Pwrite1 => pwriting(path, 1, plan),
        Kind::Pwrite8k => pwriting(path, 8 << 10, plan),
        Kind::Pwrite1m => pwriting(path, 1 << 20, plan),
        Kind::Getfile | Kind::Putfile => Err(io::ErrorKind::Unsupported.into()),
        Kind::Spawn => spawning(path, plan),
    }
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn zero(result: i32) -> io::Result<()> {
    check(result).map(drop)
}

/// Everything must have moved.
fn full(result: isize, wanted: usize) -> io::Result<()> {
    match usize::try_from(result) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(n) if n == wanted => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn open(path: &CStr, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: a string; no flag asks for a mode.
    let fd = check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open_close(path: &CStr) -> io::Result<()> {
    // SAFETY: a string; no flag asks for a mode.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) })?;
    // SAFETY: just opened, and nobody else's.
    zero(unsafe { libc::close(fd) })
}

/// A file in which a position goes round.
struct Round {
    file: OwnedFd,
    buffer: Vec<u8>,
    window: u64,
    position: u64,
    step: u64,
}

impl Round {
    fn new(path: &CStr, flags: i32, step: usize, window: u64) -> io::Result<Self> {
        let file = open(path, flags)?;
        // SAFETY: an open descriptor.
        let size = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_END) };
        let size = u64::try_from(size).map_err(|_| io::Error::last_os_error())?;
        let step64 = u64::try_from(step).unwrap_or(u64::MAX);
        let window = window.min(size) / step64 * step64;
        if window == 0 {
            return Err(io::Error::other("the file is too small to be measured"));
        }
        let mut round = Self { file, buffer: vec![1; step], window, position: 0, step: step64 };
        round.rewind()?;
        Ok(round)
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.position = 0;
        // SAFETY: an open descriptor.
        match unsafe { libc::lseek(self.file.as_raw_fd(), 0, libc::SEEK_SET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes room for the next step: back to the start at the end of the window.
    #[inline]
    fn advance(&mut self) -> io::Result<()> {
        if self.position >= self.window {
            self.rewind()?;
        }
        self.position += self.step;
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let (fd, len) = (self.file.as_raw_fd(), self.buffer.len());
        // SAFETY: an open descriptor and that much room.
        full(unsafe { libc::read(fd, self.buffer.as_mut_ptr().cast(), len) }, len)
    }

    /// Reads the whole window and compares it with what must stand there.
    fn verify(&mut self) -> io::Result<()> {
        let mut at = 0;
        while at < self.window {
            self.read()?;
            let wrong = self.buffer.iter().zip(at..).find(|(byte, at)| **byte != pattern(*at));
            if let Some((byte, at)) = wrong {
                let must = pattern(at);
                let story = format!("wrong bytes: {byte} instead of {must} at offset {at}");
                return Err(io::Error::other(story));
            }
            at += self.step;
        }
        self.rewind()
    }
}

fn reading(path: &CStr, step: usize, window: u64, plan: Plan) -> io::Result<Timing> {
    // One byte at a time would take long; the same window is looked at in larger steps.
    let look = u64::try_from(step.max(8 << 10)).unwrap_or(u64::MAX);
    Round::new(path, libc::O_RDONLY, usize::try_from(look).unwrap_or(step), window)?.verify()?;
    let mut round = Round::new(path, libc::O_RDONLY, step, window)?;
    measure(plan, || {
        round.advance()?;
        round.read()
    })
}

fn preading(path: &CStr, step: usize, window: u64, plan: Plan) -> io::Result<Timing> {
    let mut round = Round::new(path, libc::O_RDONLY, step, window)?;
    measure(plan, || {
        let at = round.position % round.window;
        round.position = at + round.step;
        let (fd, len) = (round.file.as_raw_fd(), round.buffer.len());
        let (to, at) = (round.buffer.as_mut_ptr().cast(), at.cast_signed());
        // SAFETY: an open descriptor and that much room.
        full(unsafe { libc::pread(fd, to, len, at) }, len)
    })
}

fn pwriting(path: &CStr, size: usize, plan: Plan) -> io::Result<Timing> {
    let file = open(path, libc::O_RDWR)?;
    let data = vec![1_u8; size];
    measure(plan, || {
        let (fd, from) = (file.as_raw_fd(), data.as_ptr().cast());
        // SAFETY: an open descriptor and that many bytes.
        full(unsafe { libc::pwrite(fd, from, data.len(), 0) }, data.len())
    })
}

fn writing(path: &CStr, plan: Plan) -> io::Result<Timing> {
    let mut round = Round::new(path, libc::O_RDWR, 8 << 10, WINDOW)?;
    measure(plan, || {
        round.advance()?;
        let (fd, len) = (round.file.as_raw_fd(), round.buffer.len());
        // SAFETY: an open descriptor and that many bytes.
        full(unsafe { libc::write(fd, round.buffer.as_ptr().cast(), len) }, len)
    })
}

/// Starts a program with this program's own environment and waits for its end.
fn spawning(path: &CStr, plan: Plan) -> io::Result<Timing> {
    let variables: Vec<CString> = std::env::vars_os().filter_map(entry).collect();
    let mut environment: Vec<_> = variables.iter().map(|v| v.as_ptr().cast_mut()).collect();
    environment.push(std::ptr::null_mut());
    let arguments = [path.as_ptr().cast_mut(), std::ptr::null_mut()];
    measure(plan, || {
        let (mut pid, mut status) = (0, 0);
        let (none, none_too) = (std::ptr::null(), std::ptr::null());
        let (argv, envp) = (arguments.as_ptr(), environment.as_ptr());
        // SAFETY: a string and two arrays of strings that end with null.
        let error =
            unsafe { libc::posix_spawn(&raw mut pid, path.as_ptr(), none, none_too, argv, envp) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: a child of ours and room for its status.
        check(unsafe { libc::waitpid(pid, &raw mut status, 0) })?;
        if status == 0 { Ok(()) } else { Err(io::Error::other(format!("wait status {status}"))) }
    })
}

fn entry((name, value): (OsString, OsString)) -> Option<CString> {
    let mut bytes = name.into_vec();
    bytes.push(b'=');
    bytes.extend(value.into_vec());
    CString::new(bytes).ok()
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;
