//! Names of sockets: bind(2), connect(2).
//!
//! Below a mapped directory the kernel gets the local path, which must fit into a `sockaddr_un` too.
//! No socket can lie on a remote side: what the name says comes first (it is taken, its directory
//! is missing), then EPERM, as on a file system without sockets.

use super::path::{Need, Object, Right};
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Op, Request, Stop};
use crate::guest::Guest;
use crate::outcome::{Outcome, Reason};
use crate::resolve::Slot;

/// `sockaddr_un`: a family of two bytes, and a path that need not end with a zero byte.
const FAMILY: usize = 2;
const ROOM: usize = 108;

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// bind(2): makes the name.
    pub(crate) fn bind(&mut self, a: Args) -> Outcome {
        self.on_address(a, Right::Write, |files, object, out| {
            let name = object.name(Errno::EADDRINUSE)?;
            match files.call(&Request::named(Op::MkNod, name), out) {
                Err(Stop::Fail(Errno::EEXIST)) => Err(Errno::EADDRINUSE.into()),
                Err(stop) => Err(stop),
                Ok(_) => Err(Errno::EPERM.into()),
            }
        })
    }

    /// connect(2): what is there is no socket.
    pub(crate) fn connect(&mut self, a: Args) -> Outcome {
        self.on_address(a, Right::Look, |files, object, out| {
            if let Object::Name(name) = object {
                files.call(&Request::named(Op::Stat, name).args([1, 0, 0, 0, 0]), out)?;
            }
            Err(Errno::ECONNREFUSED.into())
        })
    }

    /// A call whose second and third argument are an address.
    fn on_address(
        &mut self,
        a: Args,
        right: Right,
        mut remote: impl FnMut(&mut F, Object<'_>, &mut [u8]) -> Result<Outcome, Stop>,
    ) -> Outcome {
        let mut address = [0; FAMILY + ROOM + 1];
        let len = a.raw(2).min(FAMILY + ROOM);
        let there = self.guest.read(a.raw(1), address.get_mut(..len).unwrap_or_default());
        if there != Ok(len) {
            return Outcome::Pass(Reason::BadAddress);
        }
        let (family, path) = address.split_at(FAMILY);
        // Names that start with a zero byte are the kernel's own, and no files.
        let named = a.raw(2) <= FAMILY + ROOM
            && i32::from(u16::from_ne_bytes([address[0], address[1]])) == libc::AF_UNIX
            && path.first().is_some_and(|&b| b != 0);
        if !named {
            return Outcome::Pass(Reason::Declared);
        }
        let end = path.iter().position(|&b| b == 0).unwrap_or(ROOM);
        let place = match self.guest.place(path.get(..=end).unwrap_or_default()) {
            Ok(place) => place,
            Err(errno) => return Outcome::Fail(errno),
        };
        let mut named = a;
        if let Some(value) = named.0.get_mut(1) {
            *value = place;
        }
        let need = Need { dirfd: None, path: 1, follow: right == Right::Look, right };
        match self.on_path(named, need, |_, files, object, out| remote(files, object, out)) {
            Outcome::Rewrite(_) => self.at_local(a, family),
            other => other,
        }
    }

    /// The same call with the local path that was found.
    fn at_local(&mut self, a: Args, family: &[u8]) -> Outcome {
        let path = self.scratch.walker(Slot::First).physical();
        let mut address = [0; FAMILY + ROOM];
        let len = FAMILY + path.len();
        let mut at = 0;
        for part in [family, path] {
            if !crate::bytes::put(&mut address, &mut at, part) {
                return Outcome::Fail(Errno::ENAMETOOLONG);
            }
        }
        match self.guest.place(address.get(..len).unwrap_or_default()) {
            Ok(place) => {
                let mut new = a.0;
                let [_, address, size, ..] = &mut new;
                (*address, *size) = (place, len);
                Outcome::Rewrite(new)
            }
            Err(errno) => Outcome::Fail(errno),
        }
    }
}
