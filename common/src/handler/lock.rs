//! Record locks on served shadows: fcntl(2) with `F_SETLK` and its relatives.
//!
//! The kernel keeps the locks (so they go when the process or the descriptor goes), but a served
//! shadow is open write-only, and on such a descriptor the kernel knows exclusive locks only. A
//! lock that can be shared is made of exclusive ones: the offsets are split into 16 lanes; a reader
//! holds its range in one lane that is free, a writer in all of them.
//!
//! ```text
//! lane 0   | 0 … 2^56 |      reader A: [100, 110) here
//! lane 1   | 0 … 2^56 |      reader B: [100, 110) here
//!   …                        a writer of [105, 106) needs all lanes, and waits for A and B
//! ```

use super::{Args, Cx};
use crate::bytes::put;
use crate::errno::Errno;
use crate::files::{Files, Op, Request};
use crate::guest::Guest;
use crate::outcome::Outcome;
use crate::shadow::{ShadowId, served_mode};
use crate::sys::{arg, number};
use syscalls::Sysno;

const LANES: i64 = 16;
/// Offsets in a lane.
const LANE: i64 = 1 << 56;
/// How long between two looks at a lock that somebody else holds, milliseconds.
const PAUSE: u64 = 5;

type Lane = Result<(), Errno>;

/// `struct flock` of 64-bit Linux.
#[derive(Debug, Clone, Copy)]
struct Flock {
    kind: i32,
    start: i64,
    len: i64,
    pid: i32,
}

impl Flock {
    const SIZE: usize = 32;

    fn read<G: Guest>(guest: &mut G, at: usize) -> Result<(Self, i32), Errno> {
        let mut bytes = [0; Self::SIZE];
        if guest.read(at, &mut bytes)? < Self::SIZE {
            return Err(Errno::EFAULT);
        }
        let half = |at: usize| {
            let two = bytes.get(at..at + 2).and_then(|b| b.try_into().ok());
            i32::from(two.map_or(0, i16::from_ne_bytes))
        };
        let four = |at: usize| -> [u8; 4] {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default()
        };
        let long = |at: usize| {
            let eight = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
            eight.map_or(0, i64::from_ne_bytes)
        };
        let pid = i32::from_ne_bytes(four(24));
        Ok((Self { kind: half(0), start: long(8), len: long(16), pid }, half(2)))
    }

    fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let half = |n: i32| i16::try_from(n).unwrap_or(0).to_ne_bytes();
        let parts: [(usize, &[u8]); 5] = [
            (0, &half(self.kind)),
            (2, &half(libc::SEEK_SET)),
            (8, &self.start.to_ne_bytes()),
            (16, &self.len.to_ne_bytes()),
            (24, &self.pid.to_ne_bytes()),
        ];
        for (at, part) in parts {
            put(&mut bytes, &mut { at }, part);
        }
        bytes
    }
}

impl<G: Guest, F: Files> Cx<'_, G, F> {
    /// `None`: not a lock command.
    pub(super) fn lock(&mut self, a: Args, id: ShadowId) -> Option<Outcome> {
        let result = match a.int(1) {
            libc::F_GETLK | libc::F_OFD_GETLK => self.get_lock(a),
            command @ (libc::F_SETLK | libc::F_OFD_SETLK) => self.set_lock(a, id, command),
            libc::F_SETLKW => self.wait_lock(a, id, libc::F_SETLK),
            libc::F_OFD_SETLKW => self.wait_lock(a, id, libc::F_OFD_SETLK),
            _ => return None,
        };
        Some(Outcome::from_result(result.map(|()| 0)))
    }

    /// The range of a lock, absolute.
    fn lock_range(&mut self, a: Args) -> Result<Flock, Errno> {
        let (mut lock, whence) = Flock::read(self.guest, a.raw(2))?;
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => self.guest.seek(a.int(0), 0, libc::SEEK_CUR)?,
            libc::SEEK_END => {
                let here = self.guest.seek(a.int(0), 0, libc::SEEK_CUR)?;
                let end = self.guest.seek(a.int(0), 0, libc::SEEK_END)?;
                self.guest.seek(a.int(0), here, libc::SEEK_SET)?;
                end
            }
            _ => return Err(Errno::EINVAL),
        };
        lock.start = lock.start.checked_add(base).ok_or(Errno::EOVERFLOW)?;
        if lock.len < 0 {
            lock.start = lock.start.checked_add(lock.len).ok_or(Errno::EINVAL)?;
            lock.len = -lock.len;
        }
        let end = lock.start.checked_add(lock.len).ok_or(Errno::EOVERFLOW)?;
        if lock.start < 0 || end > LANE {
            return Err(if lock.start < 0 { Errno::EINVAL } else { Errno::EOVERFLOW });
        }
        if lock.len == 0 {
            lock.len = LANE - lock.start;
        }
        Ok(lock)
    }

    /// One command of the kernel's on one lane. `place`: guest memory for its `struct flock`.
    fn lane(&mut self, fd: i32, command: i32, lock: Flock, lane: i64, place: usize) -> Lane {
        let lock = Flock { start: lock.start + lane * LANE, ..lock };
        self.guest.write(place, &lock.bytes())?;
        let args = [arg(fd), arg(command), place, 0, 0, 0];
        Errno::check(self.guest.native(number(Sysno::fcntl), args)).map(|_| ())
    }

    fn set_lock(&mut self, a: Args, id: ShadowId, command: i32) -> Result<(), Errno> {
        let lock = self.lock_range(a)?;
        match lock.kind {
            libc::F_UNLCK => self.unlock(a.int(0), command, lock, None),
            libc::F_RDLCK if served_mode(id) != libc::O_WRONLY => {
                self.lock_shared(a.int(0), command, lock)
            }
            libc::F_WRLCK if served_mode(id) != libc::O_RDONLY => {
                self.lock_exclusive(a.int(0), command, lock)
            }
            libc::F_RDLCK | libc::F_WRLCK => Err(Errno::EBADF),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Gives all lanes back but one.
    fn unlock(
        &mut self,
        fd: i32,
        command: i32,
        lock: Flock,
        but: Option<i64>,
    ) -> Result<(), Errno> {
        let place = self.guest.place(&lock.bytes())?;
        let free = Flock { kind: libc::F_UNLCK, ..lock };
        for lane in (0..LANES).filter(|lane| Some(*lane) != but) {
            self.lane(fd, command, free, lane, place)?;
        }
        Ok(())
    }

    /// The lane that a process tries first as a reader.
    fn own_lane(&mut self) -> i64 {
        i64::from(self.guest.pid()).rem_euclid(LANES)
    }

    /// One free lane; a writer's others are given back.
    fn lock_shared(&mut self, fd: i32, command: i32, lock: Flock) -> Result<(), Errno> {
        let place = self.guest.place(&lock.bytes())?;
        let exclusive = Flock { kind: libc::F_WRLCK, ..lock };
        let first = self.own_lane();
        for lane in (0..LANES).map(|step| (first + step) % LANES) {
            if self.lane(fd, command, exclusive, lane, place).is_ok() {
                return self.unlock(fd, command, lock, Some(lane));
            }
        }
        Err(Errno::EAGAIN)
    }

    /// All lanes, or none more than before.
    fn lock_exclusive(&mut self, fd: i32, command: i32, lock: Flock) -> Result<(), Errno> {
        let place = self.guest.place(&lock.bytes())?;
        let ask = if command == libc::F_SETLK { libc::F_GETLK } else { libc::F_OFD_GETLK };
        for lane in 0..LANES {
            self.lane(fd, ask, lock, lane, place)?;
            if Flock::read(self.guest, place)?.0.kind != libc::F_UNLCK {
                return Err(Errno::EAGAIN);
            }
        }
        for lane in 0..LANES {
            if let Err(errno) = self.lane(fd, command, lock, lane, place) {
                // Somebody came between. The kernel does not tell a process its own locks: the lane
                // where a reader's lock of ours would be is kept, lest it be lost.
                let own = self.own_lane();
                let free = Flock { kind: libc::F_UNLCK, ..lock };
                for lane in (0..lane).filter(|lane| *lane != own) {
                    let _ = self.lane(fd, command, free, lane, place);
                }
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Tries until it is free. Only a handler that may wait comes past the first pause.
    fn wait_lock(&mut self, a: Args, id: ShadowId, command: i32) -> Result<(), Errno> {
        loop {
            match self.set_lock(a, id, command) {
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                other => return other,
            }
            let pause = Request::new(Op::Pause).args([PAUSE, 0, 0, 0, 0]);
            self.files.call(&pause, &mut []).map_err(super::data::errno)?;
        }
    }

    fn get_lock(&mut self, a: Args) -> Result<(), Errno> {
        let lock = self.lock_range(a)?;
        let asked = Flock { kind: libc::F_WRLCK, ..lock };
        let place = self.guest.place(&lock.bytes())?;
        let mut blocked = 0;
        let mut found = None;
        for lane in 0..LANES {
            self.lane(a.int(0), a.int(1), asked, lane, place)?;
            let (answer, _) = Flock::read(self.guest, place)?;
            if answer.kind != libc::F_UNLCK {
                blocked += 1;
                found = Some(Flock { start: answer.start - lane * LANE, ..answer });
            }
        }
        // A reader is kept out only by a writer, who is in all lanes.
        let answer = match found {
            Some(found) if blocked == LANES => found,
            Some(found) if lock.kind == libc::F_WRLCK => Flock { kind: libc::F_RDLCK, ..found },
            _ => Flock { kind: libc::F_UNLCK, ..lock },
        };
        self.guest.write(a.raw(2), &answer.bytes())
    }
}
