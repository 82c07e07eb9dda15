//! Opening: open(2), openat(2), openat2(2), creat(2).

use super::path::{Need, Right};
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request};
use crate::guest::Guest;
use crate::outcome::{Outcome, Reason};
use crate::resolve::shadow_path;
use crate::shadow::Kind;

use super::path::Object;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn open(&mut self, a: Args) -> Outcome {
        self.do_open(a, None, 0, a.int(1), a.uint(2))
    }

    pub(crate) fn creat(&mut self, a: Args) -> Outcome {
        self.do_open(a, None, 0, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, a.uint(1))
    }

    pub(crate) fn openat(&mut self, a: Args) -> Outcome {
        self.do_open(a, Some(0), 1, a.int(2), a.uint(3))
    }

    /// `struct open_how` is { u64 flags, mode, resolve }. Of the RESOLVE_* limits, a remote name
    /// keeps NO_MAGICLINKS by itself, and is never in the kernel's cache (CACHED: EAGAIN, so that
    /// programs ask again without it). The others speak of the kernel's mounts and of links on the
    /// way; they cannot be kept, and so they are refused there.
    pub(crate) fn openat2(&mut self, a: Args) -> Outcome {
        let mut how = [0; 24];
        if a.raw(3) < how.len() {
            return Outcome::Fail(Errno::EINVAL);
        }
        match self.guest.read(a.raw(2), &mut how) {
            Ok(24) => {}
            Ok(_) => return Outcome::Fail(Errno::EFAULT),
            Err(errno) => return Outcome::Fail(errno),
        }
        let word = |at: usize| {
            let eight = how.get(at..at + 8).and_then(|b| b.try_into().ok());
            eight.map_or(0, u64::from_ne_bytes)
        };
        let (Ok(flags), Ok(mode)) = (i32::try_from(word(0)), u32::try_from(word(8))) else {
            return Outcome::Fail(Errno::EINVAL);
        };
        let resolve = word(16);
        if resolve == 0 {
            return self.do_open(a, Some(0), 1, flags, mode);
        }
        let refused = match resolve & !(libc::RESOLVE_NO_MAGICLINKS | libc::RESOLVE_CACHED) {
            0 if resolve & libc::RESOLVE_CACHED != 0 => Errno::EAGAIN,
            0 => return self.open_no_magic(a, flags, mode),
            _ => Errno::EXDEV,
        };
        let need = Need {
            dirfd: Some(0),
            path: 1,
            follow: flags & libc::O_NOFOLLOW == 0,
            right: Right::Read,
        };
        self.on_path(a, need, |_, _, _, _| Err(refused.into()))
    }

    /// Not through the links that lead to descriptors: what is ours by such a name is refused.
    fn open_no_magic(&mut self, a: Args, flags: i32, mode: u32) -> Outcome {
        let mut path = [0; 16];
        // Longer names are cut: the beginning tells.
        let start = match self.guest.read(a.raw(1), &mut path) {
            Ok(len) => path.get(..len).unwrap_or_default(),
            Err(errno) => return Outcome::Fail(errno),
        };
        if start.starts_with(b"/proc/") || start.starts_with(b"/dev/") {
            return Outcome::Pass(Reason::Declared);
        }
        self.do_open(a, Some(0), 1, flags, mode)
    }

    fn do_open(
        &mut self,
        a: Args,
        dirfd: Option<usize>,
        path: usize,
        flags: i32,
        mode: u32,
    ) -> Outcome {
        let exclusive = flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL;
        let follow = flags & libc::O_NOFOLLOW == 0 && !exclusive;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY
            || flags & (libc::O_TRUNC | libc::O_CREAT) != 0;
        let right = match (flags & libc::O_PATH != 0, writes) {
            (true, _) => Right::Look,
            (false, true) => Right::Write,
            (false, false) => Right::Read,
        };
        self.on_path(a, Need { dirfd, path, follow, right }, |guest, files, object, out| {
            let mode = mode & 0o7777 & !if flags & libc::O_CREAT != 0 { guest.umask() } else { 0 };
            let mut again = [0; 4096];
            let name = match object {
                Object::Name(name) => name,
                // The kernel opens a complete shadow anew as it should.
                Object::Shadow(_, Kind::Complete) => {
                    return Ok(Outcome::Pass(Reason::CompleteFd));
                }
                Object::Shadow(id, _) => {
                    let len = shadow_path(files, id, &mut again)?;
                    Name { base: 0, path: again.get(..len).unwrap_or_default() }
                }
            };
            let args = [u64::from(flags.cast_unsigned()), u64::from(mode), 0, 0, 0];
            let opened = files.open(&Request::named(Op::Open, name).args(args), out)?;
            let fd = guest.install(opened, flags)?;
            Ok(Outcome::Done(fd as isize))
        })
    }
}
