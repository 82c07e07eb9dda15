//! Whole files in one request.
//!
//! A file that is sent must have the length that its header promised: small files are read before
//! the header is written, of large ones the connection ends if they shrink meanwhile. A file that
//! is stored replaces the old one in one step: it is received under a hidden name and renamed.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use md5::{Digest, Md5};
use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sha1::Sha1;

use super::data::write_all;
use super::{FILE_MODE, is_acl, not_hidden, unsigned};
use crate::acl::Rights;
use crate::failure::{Failure, Outcome};
use crate::server::Service;
use crate::session::Session;
use crate::space::OpenFile;
use crate::store::{Follow, Place};
use crate::wire::Code;

/// Files up to this size go out in one write with their header.
const SMALL: u64 = 512 << 10;

/// What has come of a file is written in parts of this size: the disk begins with the first while
/// the others come.
const PART: usize = 256 << 10;

/// Opens a file that the client may read.
fn readable(session: &Session, right: Rights, path: &[u8]) -> Outcome<OpenFile> {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    session.need(place.dir.as_fd(), right)?;
    place.existing()?;
    Ok(service.space.open_file(&place, OFlags::RDONLY, Mode::empty())?)
}

/// `getfile`: length and data.
pub(crate) fn getfile(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let file = readable(session, right, path)?;
    let size = unsigned(rustix::fs::fstat(&file)?.st_size)?;
    if size <= SMALL.min(u64::try_from(session.piece()).unwrap_or(SMALL)) {
        let length = usize::try_from(size).unwrap_or(0);
        return Ok(session.out.file_data(file.as_fd(), length, 0)?);
    }
    session.out.number(size.cast_signed());
    session.flush()?;
    session.send_file(&file, None, size)
}

/// `getstream`: 0 and data, then the end of the connection.
pub(crate) fn getstream(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let file = readable(session, right, path)?;
    session.out.number(0);
    session.flush()?;
    let size = unsigned(rustix::fs::fstat(&file)?.st_size)?;
    session.send_file(&file, None, size)?;
    Err(Failure::hang_up("the end of getstream"))
}

/// Fails unless the client may store a file at a place; tells whether only a new one.
fn may_store(session: &Session, right: Rights, place: &Place<'_>) -> Outcome<bool> {
    if place.is(FileType::Directory) {
        return Err(Code::IsDirectory.into());
    }
    let rights = session.rights(place.dir.as_fd())?;
    if is_acl(place) {
        session.need(place.dir.as_fd(), Rights::ADMIN)?;
    } else {
        not_hidden(place)?;
    }
    if place.stat.is_some() && !place.is(FileType::RegularFile) {
        return Err(Code::NotSupported.into());
    }
    match (rights.has(right), rights.has(Rights::PUT) && place.stat.is_none()) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        // Whoever may make new files may know that a name is taken.
        (false, false) if rights.has(Rights::PUT) => Err(Code::AlreadyExists.into()),
        (false, false) => Err(Code::NotAuthorized.into()),
    }
}

/// `putfile`: 0, then the client sends the data, then its length.
pub(crate) fn putfile(
    session: &mut Session,
    right: Rights,
    path: &[u8],
    mode: u32,
    length: i64,
) -> Outcome {
    let wanted = unsigned(length)?;
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    let only_new = may_store(session, right, &place)?;
    let mut target = Target::open(&service, &place, (mode, wanted), only_new)?;
    session.out.number(0);
    session.flush()?;
    session.expect_body(wanted);
    // From here on a failure is the second line, and the rest of the body is thrown away.
    let received = receive(session, &target, wanted);
    let result = match received {
        Ok(()) => target.finish().map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    if is_acl(&place) {
        service.acls.forget();
    }
    result?;
    session.out.number(length);
    Ok(())
}

fn receive(session: &mut Session, target: &Target<'_>, length: u64) -> Outcome {
    let (service, file) = (target.service, &target.file);
    let mut scratch = session.take_scratch(length.min(PART as u64));
    let mut done = 0;
    while session.body_left() > 0 {
        let room = scratch.len().min(PART);
        let part = session.read_body(scratch.get_mut(..room).unwrap_or_default())?;
        write_all(&service.space, file, part, done)?;
        let length = u64::try_from(part.len()).unwrap_or(0);
        if target.waits() {
            service.disk.begin(file, done, length);
        }
        done += length;
    }
    session.return_scratch(scratch);
    Ok(())
}

/// Where a whole file is received: beside its name, or in place if it has other names too.
struct Target<'p> {
    service: &'p Service,
    place: &'p Place<'p>,
    file: OpenFile,
    mode: Mode,
    /// The hidden name; `None` once it is gone, or if the file is written in place.
    hidden: Option<String>,
    only_new: bool,
}

impl<'p> Target<'p> {
    /// `mode` is that of a new file; the length is what will come.
    fn open(
        service: &'p Service,
        place: &'p Place<'p>,
        (mode, length): (u32, u64),
        only_new: bool,
    ) -> Result<Self, Errno> {
        let mut mode = Mode::from_raw_mode(mode & FILE_MODE);
        if let Some(old) = place.stat {
            if old.st_nlink > 1 {
                let flags = OFlags::WRONLY | OFlags::TRUNC;
                let file = service.space.open_file(place, flags, Mode::empty())?;
                return Ok(Self { service, place, file, mode, hidden: None, only_new });
            }
            // Replacing asks for the permission that writing would have asked for.
            let flags = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::accessat(&place.dir, &*place.name, Access::WRITE_OK, flags)?;
            mode = Mode::from_raw_mode(old.st_mode & FILE_MODE);
        }
        let (hidden, file) = service.space.temporary(place.dir.as_fd(), length)?;
        Ok(Self { service, place, file, mode, hidden: Some(hidden), only_new })
    }

    /// Whether the data must be on the disk before the file has its name.
    fn waits(&self) -> bool {
        self.hidden.is_some() && !self.service.options.fast_put
    }

    /// Gives the file its name. Its data is on the disk before: whatever crashes, the name stands
    /// for all of the old file or all of the new one.
    fn finish(&mut self) -> Result<(), Errno> {
        let Some(hidden) = &self.hidden else { return Ok(()) };
        rustix::fs::fchmod(&self.file, self.mode)?;
        let Service { space, disk, .. } = self.service;
        if self.waits() {
            disk.before_its_name(&self.file)?;
        }
        space.complete(&self.file)?;
        let replaced = self.place.stat.map(|old| (self.place.reference(), old.st_size));
        let (dir, name) = self.place.as_name();
        let flags = if self.only_new { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
        space.rename((dir, hidden.as_bytes()), (dir, name), flags, || {
            if self.only_new {
                rustix::fs::renameat_with(dir, &**hidden, dir, name, flags)
            } else {
                rustix::fs::renameat(dir, &**hidden, dir, name)
            }
        })?;
        self.hidden = None;
        if let Some((Ok(old), size)) = replaced {
            disk.let_go(old, size);
        }
        Ok(())
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // The failure that led here is already on its way.
            let _ = self.service.space.unlink((self.place.dir.as_fd(), hidden.as_bytes()));
        }
    }
}

/// `putstream`: 0, then the client sends data and closes. The file grows as they come.
pub(crate) fn putstream(session: &mut Session, right: Rights, path: &[u8]) -> Outcome {
    let service = Arc::clone(&session.service);
    let place = service.export.locate(path, Follow::Yes)?;
    let only_new = may_store(session, right, &place)?;
    let mut flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    flags.set(OFlags::EXCL, only_new);
    let mode = Mode::from_raw_mode(0o666 & !0o022);
    let file = service.space.open_file(&place, flags, mode)?;
    session.out.number(0);
    session.flush()?;
    session.be_patient(usize::MAX)?;
    let mut piece = session.take_scratch(u64::MAX);
    let mut done = 0;
    loop {
        let got = session.reader.read_some(&mut piece)?;
        let part = piece.get(..got).unwrap_or_default();
        if part.is_empty() {
            return Err(Failure::hang_up("the end of putstream"));
        }
        write_all(&service.space, &file, part, done)?;
        session.stored(got);
        done += u64::try_from(got).unwrap_or(0);
    }
}

/// `md5`, `hash`: n and the raw digest.
pub(crate) fn hash(session: &mut Session, right: Rights, algorithm: &[u8], path: &[u8]) -> Outcome {
    let digest = match algorithm {
        b"md5" => digest::<Md5>(session, &readable(session, right, path)?)?,
        b"sha1" => digest::<Sha1>(session, &readable(session, right, path)?)?,
        _ => return Err(Code::InvalidRequest.into()),
    };
    session.out.data(&digest);
    Ok(())
}

fn digest<D: Digest>(session: &Session, file: &OpenFile) -> Outcome<Vec<u8>> {
    let mut piece = vec![0; 256 << 10];
    let mut digest = D::new();
    let began = Instant::now();
    loop {
        // A file of holes is large for nothing: work on it does not outlive its client by much.
        session.still_wanted(began)?;
        match rustix::io::read(file, &mut piece) {
            Ok(0) => return Ok(digest.finalize().to_vec()),
            Ok(n) => digest.update(piece.get(..n).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
