//! The attributes of a file, as the session tells them and as `stat(2)` and `statx(2)` want them.
#![expect(
    unsafe_code,
    reason = "attributes travel as the bytes of a repr(C) struct without padding"
)]

/// Attributes of a remote file. Times are seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of stat(2)")]
pub struct Attr {
    pub dev: u64,
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: u64,
    pub blksize: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub atime: (i64, i64),
    pub mtime: (i64, i64),
    pub ctime: (i64, i64),
}

/// Size of [`Attr`] on the wire of the session protocol.
pub const ATTR_LEN: usize = size_of::<Attr>();
const _: () = assert!(ATTR_LEN == 112, "no padding: every byte of an Attr is a field's");

impl Attr {
    /// The bytes, for a message.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: repr(C), all fields are integers, and the assertion above says that no byte is
        // padding; the slice lives as long as the borrow.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), ATTR_LEN) }
    }

    /// From the bytes of a message; `None` when there are too few.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..ATTR_LEN)?;
        // SAFETY: every bit pattern is an Attr, the length was checked, the read is unaligned.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// `S_IFREG`, `S_IFDIR`, `S_IFLNK`, …
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether this is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// Whether this is a symbolic link.
    #[must_use]
    pub const fn is_symlink(&self) -> bool {
        self.kind() == libc::S_IFLNK
    }

    /// Whether this is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.kind() == libc::S_IFREG
    }
}
