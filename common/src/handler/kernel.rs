//! Names that the kernel would keep for itself, and handles that it would give for them: mounts,
//! file handles, quotas, swap, event marks, inode flags. A remote object can be none of these, and
//! the call is refused with the errno that the kernel has for a file system without the feature; a
//! mapped local one is looked up by its own name.

use super::path::Need;
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::Files;
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};

/// `fsconfig(2)` commands whose value is a path.
const FSCONFIG_PATHS: [u32; 2] = [3, 4];
/// `fanotify_mark(2)`: forget all marks; the name says nothing.
const FAN_MARK_FLUSH: u32 = 0x80;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// What a directory argument of a call stands for.
    pub(super) fn class_at(&mut self, fd: i32) -> FdClass {
        if fd == libc::AT_FDCWD { self.guest.cwd_class() } else { self.guest.fd_class(fd) }
    }

    /// Refuses a call on the object behind a descriptor, if it is a shadow.
    fn refuse_fd(&mut self, fd: i32, errno: Errno) -> Outcome {
        match self.class_at(fd) {
            FdClass::Plain => Outcome::Pass(Reason::PlainFd),
            FdClass::Shadow { .. } => Outcome::Fail(errno),
        }
    }

    /// Refuses a call on a remote name.
    fn refuse(&mut self, a: Args, need: Need, errno: Errno) -> Outcome {
        self.on_path(a, need, |_, _, _, _| Err(errno.into()))
    }

    /// Refuses a call on a remote name below a directory, or (with an empty name) on a shadow.
    fn refuse_at(&mut self, a: Args, need: Need, errno: Errno) -> Outcome {
        if self.is_empty_path(a.raw(need.path), libc::AT_EMPTY_PATH) {
            let fd = need.dirfd.map_or(libc::AT_FDCWD, |index| a.int(index));
            return self.refuse_fd(fd, errno);
        }
        self.refuse(a, need, errno)
    }

    /// uselib(2), swapon(2), swapoff(2), acct(2): one local name.
    pub(crate) fn local_only(&mut self, a: Args) -> Outcome {
        self.refuse(a, Need::look(None, 0, true), Errno::EINVAL)
    }

    /// mount(2): the source is a name of a file only when something is bound or moved.
    pub(crate) fn mount(&mut self, a: Args) -> Outcome {
        let target = Need::look(None, 1, true);
        if a.raw(3) as libc::c_ulong & (libc::MS_BIND | libc::MS_MOVE) == 0 {
            return self.refuse(a, target, Errno::EPERM);
        }
        self.local_pair(a, Need::look(None, 0, true), target)
    }

    /// umount2(2): nothing is mounted on a remote name.
    pub(crate) fn umount2(&mut self, a: Args) -> Outcome {
        let follow = a.int(1) & libc::UMOUNT_NOFOLLOW == 0;
        self.refuse(a, Need::look(None, 0, follow), Errno::EINVAL)
    }

    pub(crate) fn pivot_root(&mut self, a: Args) -> Outcome {
        self.local_pair(a, Need::look(None, 0, true), Need::look(None, 1, true))
    }

    pub(crate) fn move_mount(&mut self, a: Args) -> Outcome {
        // An empty name stands for a mount's own descriptor.
        for (fd, path) in [(0, 1), (2, 3)] {
            if self.is_empty_path(a.raw(path), libc::AT_EMPTY_PATH)
                && let FdClass::Shadow { .. } = self.class_at(a.int(fd))
            {
                return Outcome::Fail(Errno::EPERM);
            }
        }
        self.local_pair(a, Need::look(Some(0), 1, true), Need::look(Some(2), 3, true))
    }

    /// Two names that must both be local.
    fn local_pair(&mut self, a: Args, from: Need, to: Need) -> Outcome {
        let outcome =
            self.on_two_paths(a, super::Need2 { from, to }, |_, _, _| Err(Errno::EPERM.into()));
        // One remote name of two is as wrong as both.
        if outcome == Outcome::Fail(Errno::EXDEV) { Outcome::Fail(Errno::EPERM) } else { outcome }
    }

    /// open_tree(2), fspick(2), mount_setattr(2) and their like: a directory, a name.
    pub(crate) fn mount_at(&mut self, a: Args) -> Outcome {
        self.refuse_at(a, Need::look(Some(0), 1, true), Errno::EPERM)
    }

    /// fsconfig(2): two of its commands take a name, below the directory in the last argument.
    pub(crate) fn fsconfig(&mut self, a: Args) -> Outcome {
        if !FSCONFIG_PATHS.contains(&a.uint(1)) {
            return Outcome::Pass(Reason::Declared);
        }
        self.refuse_at(a, Need::look(Some(4), 3, true), Errno::EPERM)
    }

    /// quotactl(2): the device. A null one means all.
    pub(crate) fn quotactl(&mut self, a: Args) -> Outcome {
        self.refuse(a, Need::look(None, 1, true), Errno::ENOTBLK)
    }

    pub(crate) fn quotactl_fd(&mut self, a: Args) -> Outcome {
        self.refuse_fd(a.int(0), Errno::ENOSYS)
    }

    /// fanotify_mark(2): as for a file system that cannot be watched.
    pub(crate) fn fanotify_mark(&mut self, a: Args) -> Outcome {
        if a.uint(1) & FAN_MARK_FLUSH != 0 {
            return Outcome::Pass(Reason::Declared);
        }
        if a.raw(4) == 0 {
            return self.refuse_fd(a.int(3), Errno::ENODEV);
        }
        self.refuse(a, Need::look(Some(3), 4, true), Errno::ENODEV)
    }

    /// Watching a remote name: no events would come, so programs that can poll are told to.
    pub(crate) fn inotify_add_watch(&mut self, a: Args) -> Outcome {
        self.refuse(a, Need::look(None, 1, true), Errno::ENOSPC)
    }

    /// name_to_handle_at(2): as for a file system without handles.
    pub(crate) fn name_to_handle_at(&mut self, a: Args) -> Outcome {
        let follow = a.int(4) & libc::AT_SYMLINK_FOLLOW != 0;
        self.refuse_at(a, Need::look(Some(0), 1, follow), Errno::EOPNOTSUPP)
    }

    pub(crate) fn open_by_handle_at(&mut self, a: Args) -> Outcome {
        self.refuse_fd(a.int(0), Errno::ESTALE)
    }

    /// file_getattr(2), file_setattr(2): inode flags, which remote files have not.
    pub(crate) fn file_attr(&mut self, a: Args) -> Outcome {
        let follow = a.int(4) & libc::AT_SYMLINK_NOFOLLOW == 0;
        self.refuse_at(a, Need::look(Some(0), 1, follow), Errno::EOPNOTSUPP)
    }
}
