//! `thirdput`: this server copies a tree to another one, and `whoareyou`.
//!
//! Directories are walked one entry at a time and files are sent by the kernel, so a tree of any
//! size takes little memory. The copy ends at the first thing that fails, with that failure, and
//! when the client that asked for it leaves.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{DIRECTORY_MODE, FILE_MODE, unsigned};
use crate::acl::{HIDDEN_PREFIX, Rights};
use crate::failure::Outcome;
use crate::peer::Peer;
use crate::session::Session;
use crate::store::{Dir as Holder, Follow, Place};
use crate::wire::{Code, LinkTarget, MAX_LINE, PathArg, Request, Word};

/// What the client that asked for the copy may do with it, as the stock server has it.
const INITIATOR: &str = "rwldax";

/// `whoareyou`: n and the identity that the server has at another one, cut to a length.
pub(crate) fn whoareyou(session: &mut Session, _: Rights, host: &[u8], length: i64) -> Outcome {
    let length = usize::try_from(unsigned(length)?).unwrap_or(usize::MAX);
    session.flush()?;
    let peer = Peer::connect(host, session.service.options.idle_clients)?;
    let subject = peer.subject();
    session.out.data(subject.get(..length).unwrap_or(subject));
    Ok(())
}

/// `thirdput`: the number of bytes in the files that were copied.
pub(crate) fn thirdput(
    session: &mut Session,
    _: Rights,
    path: &[u8],
    host: &[u8],
    target: PathArg<'_>,
) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::No)?;
    // What the client must not see is refused before anybody is called.
    let stat = allowed(session, &place)?;
    session.flush()?;
    let peer = Peer::connect(host, service.options.stalled)?;
    let mut copy = Copy { session, peer, moved: 0 };
    let top = Entry { place, stat, target: target.to_vec() };
    let result = copy.run(top);
    let moved = copy.moved;
    result?;
    session.out.number(moved);
    Ok(())
}

/// One copy under way.
struct Copy<'s> {
    session: &'s mut Session,
    peer: Peer,
    moved: i64,
}

/// Something that is to be copied, and its path on the other server.
struct Entry<'e> {
    place: Place<'e>,
    stat: Stat,
    target: Vec<u8>,
}

/// A directory that is being copied.
struct Level {
    fd: OwnedFd,
    entries: Dir,
    target: Vec<u8>,
}

/// Fails unless the client may copy an object: it needs L in a directory, else R.
fn allowed(session: &Session, place: &Place<'_>) -> Outcome<Stat> {
    let right = if place.is(FileType::Directory) { Rights::LIST } else { Rights::READ };
    session.need_to(place, right)?;
    Ok(place.existing()?)
}

impl Copy<'_> {
    fn run(&mut self, top: Entry<'_>) -> Outcome {
        let mut levels = Vec::new();
        levels.extend(self.copy(&top)?);
        while let Some(here) = levels.last_mut() {
            self.session.still_there()?;
            let Some(entry) = here.entries.next() else {
                if let Some(done) = levels.pop() {
                    self.copy_list(done.fd.as_fd(), &done.target)?;
                }
                continue;
            };
            let name = CString::from(entry?.file_name());
            let bytes = name.to_bytes();
            if matches!(bytes, b"." | b"..") || bytes.starts_with(HIDDEN_PREFIX) {
                continue;
            }
            let stat = match rustix::fs::statat(&here.fd, &*name, AtFlags::SYMLINK_NOFOLLOW) {
                // Removed meanwhile.
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let dir = Holder::Opened(rustix::io::fcntl_dupfd_cloexec(&here.fd, 0)?);
            let place = Place { dir, name: bytes.to_vec(), stat: Some(stat), mark: None };
            allowed(self.session, &place)?;
            let target = [&here.target, b"/".as_slice(), bytes].concat();
            levels.extend(self.copy(&Entry { place, stat, target })?);
        }
        Ok(())
    }

    /// Copies an object; of a directory only itself, which is to be walked next.
    fn copy(&mut self, entry: &Entry<'_>) -> Outcome<Option<Level>> {
        match FileType::from_raw_mode(entry.stat.st_mode) {
            FileType::Directory => return self.copy_directory(entry).map(Some),
            FileType::RegularFile => self.copy_file(entry)?,
            FileType::Symlink => {
                let room = Vec::with_capacity(MAX_LINE);
                let aim = rustix::fs::readlinkat(&entry.place.dir, &*entry.place.name, room)?;
                let target = LinkTarget::from(aim.into_bytes());
                self.peer.ask(&Request::Symlink { target, path: entry.path() })?;
            }
            // Pipes, sockets and devices mean nothing on another host.
            _ => {}
        }
        Ok(None)
    }

    fn copy_directory(&mut self, entry: &Entry<'_>) -> Outcome<Level> {
        let fd = entry.place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mode = entry.stat.st_mode & DIRECTORY_MODE | Mode::RWXU.as_raw_mode();
        match self.peer.ask(&Request::Mkdir { path: entry.path(), mode }) {
            Ok(_) | Err(Code::AlreadyExists) => {}
            Err(code) => return Err(code.into()),
        }
        let subject = Word::from(self.session.who.clone());
        let rights = Word::from(INITIATOR);
        match self.peer.ask(&Request::Setacl { path: entry.path(), subject, rights }) {
            // We may write there and change no list: then it is governed as it was.
            Ok(_) | Err(Code::NotAuthorized) => {}
            Err(code) => return Err(code.into()),
        }
        let entries = Dir::read_from(&fd)?;
        Ok(Level { fd, entries, target: entry.target.clone() })
    }

    fn copy_file(&mut self, entry: &Entry<'_>) -> Outcome {
        let service = Arc::clone(&self.session.service);
        let file = service.space.open_file(&entry.place, OFlags::RDONLY, Mode::empty())?;
        let size = rustix::fs::fstat(&file)?.st_size;
        let mode = entry.stat.st_mode & FILE_MODE;
        self.peer.ask(&Request::Putfile { path: entry.path(), mode, length: size })?;
        self.peer.send_file(&file, unsigned(size)?)?;
        self.moved = self.moved.saturating_add(size);
        Ok(())
    }

    /// Gives a copied directory the list of the original. The client that asked for the copy keeps
    /// what it has; we are last, so that we may change the list until then.
    fn copy_list(&mut self, dir: BorrowedFd<'_>, target: &[u8]) -> Outcome {
        let mut own = Rights::NONE;
        let list = self.session.acl(dir)?;
        for (subject, rights) in list.entries() {
            if *subject == self.peer.subject() {
                own = *rights;
            } else if *subject != self.session.who {
                self.set_entry(target, subject, *rights)?;
            }
        }
        let me = self.peer.subject().to_vec();
        if me == self.session.who { Ok(()) } else { self.set_entry(target, &me, own) }
    }

    fn set_entry(&mut self, target: &[u8], subject: &[u8], rights: Rights) -> Outcome {
        let mut letters = Vec::new();
        rights.push_letters(&mut letters);
        let (path, subject) = (PathArg::from(target), Word::from(subject));
        match self.peer.ask(&Request::Setacl { path, subject, rights: letters.into() }) {
            // The connection is good; the other server has rules of its own.
            Ok(_) | Err(Code::NotAuthorized | Code::InvalidRequest) => Ok(()),
            Err(code) => Err(code.into()),
        }
    }
}

impl Entry<'_> {
    fn path(&self) -> PathArg<'_> {
        PathArg::from(self.target.as_slice())
    }
}
