//! What all calls with names share: resolve, then let the kernel, the session or nobody act.

use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request, Stop};
use crate::guest::Guest;
use crate::mountlist::Perm;
use crate::outcome::{Outcome, Reason};
use crate::resolve::{At, Slot, Target, resolve, resolve_redirect};
use crate::shadow::{Kind, ShadowId};
use crate::sys;

/// The kernel's limit of a name, with its zero byte.
const PATH_MAX: usize = 4096;

/// What a call with one name needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Index of the argument with the directory descriptor, if the call has one.
    pub(crate) dirfd: Option<usize>,
    /// Index of the argument with the path.
    pub(crate) path: usize,
    /// Whether a link in the last component is followed.
    pub(crate) follow: bool,
    /// Which rights the mount must give.
    pub(crate) right: Right,
}

/// Rights of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    /// None: looking is always allowed.
    Look,
    Read,
    Write,
    Exec,
}

impl Need {
    /// A call that looks at a name.
    pub(crate) const fn look(dirfd: Option<usize>, path: usize, follow: bool) -> Self {
        Self { dirfd, path, follow, right: Right::Look }
    }

    /// A call that changes something by a name.
    pub(crate) const fn write(dirfd: Option<usize>, path: usize, follow: bool) -> Self {
        Self { dirfd, path, follow, right: Right::Write }
    }

    pub(crate) fn at(&self, args: Args) -> At {
        At {
            dirfd: self.dirfd.map_or(libc::AT_FDCWD, |index| args.int(index)),
            path: args.raw(self.path),
            follow: self.follow,
        }
    }
}

/// The two names of rename and link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need2 {
    pub(crate) from: Need,
    pub(crate) to: Need,
}

/// What a handler is given of a remote object: a name, or the shadow behind a descriptor.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Object<'n> {
    Name(Name<'n>),
    Shadow(ShadowId, Kind),
}

impl<'n> Object<'n> {
    /// A request on the object: `named` for a name, `on` for a shadow.
    pub(crate) fn request(self, named: Op, on: Op, args: [u64; 5]) -> Request<'n> {
        match self {
            Object::Name(name) => Request::named(named, name).args(args),
            Object::Shadow(id, _) => Request::on(on, id).args(args),
        }
    }

    /// The name, for operations that exist only on names.
    pub(crate) fn name(self, otherwise: Errno) -> Result<Name<'n>, Stop> {
        match self {
            Object::Name(name) => Ok(name),
            Object::Shadow(..) => Err(Stop::Fail(otherwise)),
        }
    }
}

/// Whether a mount allows it, for local targets (the session decides for remote ones).
fn allowed(perm: Perm, right: Right) -> Result<(), Errno> {
    match right {
        Right::Write if perm.read_only => Err(Errno::EROFS),
        Right::Write if !perm.write => Err(Errno::EACCES),
        Right::Read if !perm.read => Err(Errno::EACCES),
        Right::Exec if !perm.exec => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// Carries out a call with one name: passes or rewrites it when the name is local, and calls
    /// `remote` when it is the session's.
    pub(crate) fn on_path(
        &mut self,
        args: Args,
        need: Need,
        mut remote: impl FnMut(&mut G, &mut F, Object<'_>, &mut [u8]) -> Result<Outcome, Stop>,
    ) -> Outcome {
        let mut target = match resolve(self, need.at(args), Slot::First) {
            Ok(target) => target,
            Err(errno) => return Outcome::Fail(errno),
        };
        for _ in 0..40 {
            let scratch = &mut *self.scratch;
            let object = match target {
                Target::Pass(reason) => return Outcome::Pass(reason),
                Target::Local(_) => return self.rewrite(args, &[(need, target, Slot::First)]),
                Target::Remote(base) => Object::Name(Name { base, path: scratch.first.name() }),
                Target::Shadow(id, kind) => Object::Shadow(id, kind),
            };
            match remote(self.guest, self.files, object, &mut scratch.data) {
                Ok(outcome) => return outcome,
                Err(Stop::Fail(errno)) => return Outcome::Fail(errno),
                Err(Stop::Redirect(len)) => {
                    let name = scratch.data.get(..len).unwrap_or_default();
                    let table = self.ns.table;
                    match resolve_redirect(&table, &mut scratch.first, name, need.follow) {
                        Ok(next) => target = next,
                        Err(errno) => return Outcome::Fail(errno),
                    }
                }
            }
        }
        Outcome::Fail(Errno::ELOOP)
    }

    /// What is wrong with a name that cannot be read: EFAULT, or it has no end.
    fn bad_name(&mut self, at: usize) -> Outcome {
        let room = self.scratch.data.get_mut(..PATH_MAX).unwrap_or_default();
        Outcome::Fail(self.guest.read_str(at, room).err().unwrap_or(Errno::EFAULT))
    }

    /// The same call on the local paths that the walkers hold; other names stay as they are.
    fn rewrite(&mut self, args: Args, names: &[(Need, Target, Slot)]) -> Outcome {
        let mut new = args.0;
        for (need, target, slot) in names {
            let Target::Local(perm) = target else { continue };
            let place = allowed(*perm, need.right)
                .and_then(|()| self.guest.place(self.scratch.walker(*slot).physical()));
            let place = match place {
                Ok(place) => place,
                Err(errno) => return Outcome::Fail(errno),
            };
            if let Some(value) = new.get_mut(need.path) {
                *value = place;
            }
            if let Some(value) = need.dirfd.and_then(|index| new.get_mut(index)) {
                *value = sys::arg(libc::AT_FDCWD);
            }
        }
        Outcome::Rewrite(new)
    }

    /// Carries out a call with two names.
    pub(crate) fn on_two_paths(
        &mut self,
        args: Args,
        need: Need2,
        mut remote: impl FnMut(&mut F, [Name<'_>; 2], &mut [u8]) -> Result<Outcome, Stop>,
    ) -> Outcome {
        let mut targets = [Target::Pass(Reason::Plain); 2];
        let pairs = [(need.from, Slot::First), (need.to, Slot::Second)];
        for (place, (need, slot)) in targets.iter_mut().zip(pairs) {
            match resolve(self, need.at(args), slot) {
                Ok(target) => *place = target,
                Err(errno) => return Outcome::Fail(errno),
            }
        }
        for _ in 0..40 {
            let scratch = &mut *self.scratch;
            let (from, to) = match targets {
                [Target::Remote(from), Target::Remote(to)] => (from, to),
                // Even with the other name rewritten the kernel would look for that one first.
                [Target::Local(_) | Target::Remote(_), Target::Pass(Reason::BadAddress)] => {
                    return self.bad_name(need.to.at(args).path);
                }
                [Target::Pass(Reason::BadAddress), Target::Local(_) | Target::Remote(_)] => {
                    return self.bad_name(need.from.at(args).path);
                }
                [Target::Pass(reason), Target::Pass(_)] => return Outcome::Pass(reason),
                [
                    from @ (Target::Local(_) | Target::Pass(_)),
                    to @ (Target::Local(_) | Target::Pass(_)),
                ] => {
                    let names = [(need.from, from, Slot::First), (need.to, to, Slot::Second)];
                    return self.rewrite(args, &names);
                }
                _ => return Outcome::Fail(Errno::EXDEV),
            };
            let names = [
                Name { base: from, path: scratch.first.name() },
                Name { base: to, path: scratch.second.name() },
            ];
            let len = match remote(self.files, names, &mut scratch.data) {
                Ok(outcome) => return outcome,
                Err(Stop::Fail(errno)) => return Outcome::Fail(errno),
                Err(Stop::Redirect(len)) => len,
            };
            // The first byte says which name was redirected.
            let table = self.ns.table;
            let Some((which, name)) = scratch.data.get(..len).and_then(<[u8]>::split_first) else {
                return Outcome::Fail(Errno::EPROTO);
            };
            let [first, second] = &mut targets;
            let result = if *which == 0 {
                resolve_redirect(&table, &mut scratch.first, name, need.from.follow)
                    .map(|next| *first = next)
            } else {
                resolve_redirect(&table, &mut scratch.second, name, need.to.follow)
                    .map(|next| *second = next)
            };
            if let Err(errno) = result {
                return Outcome::Fail(errno);
            }
        }
        Outcome::Fail(Errno::ELOOP)
    }
}

/// The outcome of a request without a value.
pub(crate) fn done(_: crate::files::Reply) -> Outcome {
    Outcome::Done(0)
}
