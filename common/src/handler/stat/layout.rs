//! The kernel's structures that attributes are written into.
#![expect(unsafe_code, reason = "C structures as bytes")]

use crate::attr::Attr;
use crate::errno::Errno;

/// `struct stat`.
pub(super) struct StatBuf(libc::stat);
/// `struct statx`.
pub(super) struct StatxBuf(libc::statx);

const _: () = assert!(size_of::<libc::statx>() == 256);
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<libc::stat>() == 144);
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<libc::statfs>() == 120);

impl StatBuf {
    pub(super) fn new(attr: &Attr) -> Self {
        // SAFETY: a stat of zero bytes is a stat.
        let mut stat: libc::stat = unsafe { core::mem::zeroed() };
        stat.st_dev = attr.dev;
        stat.st_ino = attr.ino;
        stat.st_mode = attr.mode;
        stat.st_nlink = u64::from(attr.nlink);
        stat.st_uid = attr.uid;
        stat.st_gid = attr.gid;
        stat.st_rdev = attr.rdev;
        stat.st_size = attr.size.cast_signed();
        stat.st_blksize = attr.blksize.cast_signed();
        stat.st_blocks = attr.blocks.cast_signed();
        (stat.st_atime, stat.st_atime_nsec) = attr.atime;
        (stat.st_mtime, stat.st_mtime_nsec) = attr.mtime;
        (stat.st_ctime, stat.st_ctime_nsec) = attr.ctime;
        Self(stat)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        bytes(&self.0)
    }
}

impl StatxBuf {
    pub(super) fn new(attr: &Attr) -> Self {
        // SAFETY: a statx of zero bytes is a statx.
        let mut stat: libc::statx = unsafe { core::mem::zeroed() };
        stat.stx_mask = libc::STATX_BASIC_STATS;
        stat.stx_blksize = u32::try_from(attr.blksize).unwrap_or(u32::MAX);
        stat.stx_nlink = attr.nlink;
        stat.stx_uid = attr.uid;
        stat.stx_gid = attr.gid;
        stat.stx_mode = u16::try_from(attr.mode & 0xffff).unwrap_or(0);
        stat.stx_ino = attr.ino;
        stat.stx_size = attr.size;
        stat.stx_blocks = attr.blocks;
        let time = |(sec, nsec): (i64, i64), place: &mut libc::statx_timestamp| {
            place.tv_sec = sec;
            place.tv_nsec = u32::try_from(nsec).unwrap_or(0);
        };
        time(attr.atime, &mut stat.stx_atime);
        time(attr.mtime, &mut stat.stx_mtime);
        time(attr.ctime, &mut stat.stx_ctime);
        (stat.stx_dev_major, stat.stx_dev_minor) = (libc::major(attr.dev), libc::minor(attr.dev));
        (stat.stx_rdev_major, stat.stx_rdev_minor) =
            (libc::major(attr.rdev), libc::minor(attr.rdev));
        Self(stat)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        bytes(&self.0)
    }
}

/// `struct statfs` of a `StatFs` reply: type bsize blocks bfree bavail files ffree.
pub(super) fn statfs_bytes(data: &[u8]) -> Result<[u8; size_of::<libc::statfs>()], Errno> {
    let word = |index: usize| {
        let eight = data.get(index * 8..index * 8 + 8).and_then(|b| b.try_into().ok());
        eight.map(u64::from_ne_bytes).ok_or(Errno::EPROTO)
    };
    // SAFETY: a statfs of zero bytes is a statfs.
    let mut stat: libc::statfs = unsafe { core::mem::zeroed() };
    stat.f_type = word(0)?.cast_signed();
    stat.f_bsize = word(1)?.cast_signed();
    stat.f_blocks = word(2)?;
    stat.f_bfree = word(3)?;
    stat.f_bavail = word(4)?;
    stat.f_files = word(5)?;
    stat.f_ffree = word(6)?;
    stat.f_namelen = 255;
    stat.f_frsize = stat.f_bsize;
    let mut out = [0; size_of::<libc::statfs>()];
    out.copy_from_slice(bytes(&stat));
    Ok(out)
}

/// The bytes of a zero-initialised C structure.
fn bytes<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the structures above start as zero bytes, so padding is initialised too; the slice
    // lives as long as the borrow.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}
