//! Extended attributes: getxattr(2), setxattr(2), listxattr(2), removexattr(2), each by name, by
//! name of a link, by descriptor, and (Linux 6.13) below a directory.

use super::path::{Need, Object, done};
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request, Stop};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};

/// The attribute that a call is about: addresses of its name and value in the guest, the size of
/// the value (or of the room for it), the flags of setxattr(2).
#[derive(Debug, Clone, Copy, Default)]
struct Attribute {
    name: usize,
    value: usize,
    size: usize,
    flags: u32,
}

impl Attribute {
    /// From the arguments of the calls without a directory: name, value, size, flags.
    fn of(a: Args) -> Self {
        Self { name: a.raw(1), value: a.raw(2), size: a.raw(3), flags: a.uint(4) }
    }

    /// Room for a list: its address at this index, then its size.
    fn room(a: Args, at: usize) -> Self {
        Self { value: a.raw(at), size: a.raw(at + 1), ..Self::default() }
    }
}

/// What the calls do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Set,
    List,
    Remove,
}

/// The size of `struct xattr_args`: u64 address of the value, u32 size, u32 flags.
const XATTR_ARGS: usize = 16;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn getxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::look(None, 0, true), Verb::Get, Attribute::of(a))
    }

    pub(crate) fn lgetxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::look(None, 0, false), Verb::Get, Attribute::of(a))
    }

    pub(crate) fn fgetxattr(&mut self, a: Args) -> Outcome {
        self.xattr_of(a.int(0), Verb::Get, Attribute::of(a))
    }

    pub(crate) fn setxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::write(None, 0, true), Verb::Set, Attribute::of(a))
    }

    pub(crate) fn lsetxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::write(None, 0, false), Verb::Set, Attribute::of(a))
    }

    pub(crate) fn fsetxattr(&mut self, a: Args) -> Outcome {
        self.xattr_of(a.int(0), Verb::Set, Attribute::of(a))
    }

    pub(crate) fn listxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::look(None, 0, true), Verb::List, Attribute::room(a, 1))
    }

    pub(crate) fn llistxattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::look(None, 0, false), Verb::List, Attribute::room(a, 1))
    }

    pub(crate) fn flistxattr(&mut self, a: Args) -> Outcome {
        self.xattr_of(a.int(0), Verb::List, Attribute::room(a, 1))
    }

    pub(crate) fn removexattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::write(None, 0, true), Verb::Remove, Attribute::of(a))
    }

    pub(crate) fn lremovexattr(&mut self, a: Args) -> Outcome {
        self.xattr_named(a, Need::write(None, 0, false), Verb::Remove, Attribute::of(a))
    }

    pub(crate) fn fremovexattr(&mut self, a: Args) -> Outcome {
        self.xattr_of(a.int(0), Verb::Remove, Attribute::of(a))
    }

    pub(crate) fn getxattrat(&mut self, a: Args) -> Outcome {
        self.xattr_at(a, Verb::Get)
    }

    pub(crate) fn setxattrat(&mut self, a: Args) -> Outcome {
        self.xattr_at(a, Verb::Set)
    }

    pub(crate) fn listxattrat(&mut self, a: Args) -> Outcome {
        let wanted = Attribute::room(a, 3);
        self.xattr_below(a, Verb::List, wanted)
    }

    pub(crate) fn removexattrat(&mut self, a: Args) -> Outcome {
        let wanted = Attribute { name: a.raw(3), ..Attribute::default() };
        self.xattr_below(a, Verb::Remove, wanted)
    }

    /// getxattrat and setxattrat: the value is described by a `struct xattr_args`.
    fn xattr_at(&mut self, a: Args, verb: Verb) -> Outcome {
        let mut args = [0; XATTR_ARGS];
        if a.raw(5) < XATTR_ARGS {
            return Outcome::Fail(Errno::EINVAL);
        }
        match self.guest.read(a.raw(4), &mut args) {
            Ok(XATTR_ARGS) => {}
            Ok(_) => return Outcome::Fail(Errno::EFAULT),
            Err(errno) => return Outcome::Fail(errno),
        }
        let [b0, b1, b2, b3, b4, b5, b6, b7, s0, s1, s2, s3, f0, f1, f2, f3] = args;
        let wanted = Attribute {
            name: a.raw(3),
            value: usize::from_ne_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
            size: u32::from_ne_bytes([s0, s1, s2, s3]) as usize,
            flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        };
        self.xattr_below(a, verb, wanted)
    }

    /// The calls with a directory, a path and flags in front.
    fn xattr_below(&mut self, a: Args, verb: Verb, wanted: Attribute) -> Outcome {
        if self.is_empty_path(a.raw(1), a.int(2)) {
            return self.xattr_of(a.int(0), verb, wanted);
        }
        let follow = a.int(2) & libc::AT_SYMLINK_NOFOLLOW == 0;
        let need = match verb {
            Verb::Get | Verb::List => Need::look(Some(0), 1, follow),
            Verb::Set | Verb::Remove => Need::write(Some(0), 1, follow),
        };
        self.xattr_named(a, need, verb, wanted)
    }

    fn xattr_named(&mut self, a: Args, need: Need, verb: Verb, wanted: Attribute) -> Outcome {
        self.on_path(a, need, |guest, files, object, out| {
            xattr(guest, files, object, verb, wanted, need.follow, out)
        })
    }

    /// The calls on a descriptor.
    fn xattr_of(&mut self, fd: i32, verb: Verb, wanted: Attribute) -> Outcome {
        let FdClass::Shadow { id, kind, .. } = self.class_at(fd) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let object = Object::Shadow(id, kind);
        xattr(self.guest, self.files, object, verb, wanted, true, &mut self.scratch.data)
            .unwrap_or_else(|stop| Outcome::Fail(super::data::errno(stop)))
    }
}

fn xattr<G: Guest, F: Files>(
    guest: &mut G,
    files: &mut F,
    object: Object<'_>,
    verb: Verb,
    wanted: Attribute,
    follow: bool,
    out: &mut [u8],
) -> Result<Outcome, Stop> {
    let links = [u64::from(follow), 0, 0, 0, 0];
    let mut name = [0; 256];
    match verb {
        Verb::Get => {
            let b = xattr_name(guest, wanted.name, &mut name)?;
            let request = object.request(Op::GetXattr, Op::FGetXattr, links);
            let len = files.call(&Request { b, ..request }, out)?.len;
            give(guest, out, len, wanted)
        }
        Verb::Set => {
            let len = attribute(guest, wanted, out)?;
            let (b, _) = out.split_at_mut_checked(len).ok_or(Errno::E2BIG)?;
            let args = [u64::from(wanted.flags), u64::from(follow), 0, 0, 0];
            let request = object.request(Op::SetXattr, Op::FSetXattr, args);
            files.call(&Request { b, ..request }, &mut [0; 4096]).map(done)
        }
        Verb::List => {
            let len = files.call(&object.request(Op::ListXattr, Op::FListXattr, links), out)?.len;
            give(guest, out, len, wanted)
        }
        Verb::Remove => {
            let b = xattr_name(guest, wanted.name, &mut name)?;
            let request = object.request(Op::RemoveXattr, Op::FRemoveXattr, links);
            files.call(&Request { b, ..request }, out).map(done)
        }
    }
}

fn xattr_name<'n, G: Guest>(
    guest: &mut G,
    at: usize,
    name: &'n mut [u8; 256],
) -> Result<&'n [u8], Errno> {
    let len = match guest.read_str(at, name) {
        Err(Errno::ENAMETOOLONG) | Ok(0) => return Err(Errno::ERANGE),
        other => other?,
    };
    Ok(name.get(..len).unwrap_or_default())
}

/// Puts `NAME \0 VALUE` of a setxattr call into `out`; the length of both.
fn attribute<G: Guest>(guest: &mut G, wanted: Attribute, out: &mut [u8]) -> Result<usize, Errno> {
    let mut name = [0; 256];
    let name = xattr_name(guest, wanted.name, &mut name)?;
    let size = wanted.size;
    if size > 65536 {
        return Err(Errno::E2BIG);
    }
    let end = name.len() + 1;
    out.get_mut(..name.len()).ok_or(Errno::E2BIG)?.copy_from_slice(name);
    *out.get_mut(name.len()).ok_or(Errno::E2BIG)? = 0;
    let value = out.get_mut(end..end + size).ok_or(Errno::E2BIG)?;
    if size > 0 && guest.read(wanted.value, value)? < size {
        return Err(Errno::EFAULT);
    }
    Ok(end + size)
}

/// Gives a value to a caller who has room for `size` bytes; with 0 only its length is asked.
fn give<G: Guest>(
    guest: &mut G,
    out: &[u8],
    len: usize,
    wanted: Attribute,
) -> Result<Outcome, Stop> {
    if wanted.size > 0 {
        if len > wanted.size {
            return Err(Errno::ERANGE.into());
        }
        guest.write(wanted.value, out.get(..len).unwrap_or_default())?;
    }
    Ok(Outcome::Done(len.cast_signed()))
}
