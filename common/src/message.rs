//! The session protocol: what travels between a guest's process and the agent.
//!
//! A Unix stream socket. Every message is a fixed header followed by its bytes; a reply may carry
//! descriptors (SCM_RIGHTS) with its header. One request is in flight per connection, and replies
//! are numbered, so a reply that nobody waits for any more (the caller was interrupted) is skipped.
//!
//! ```text
//! request   | RequestHeader (96 bytes) | a: a_len bytes | b: b_len bytes |
//! reply     | ReplyHeader (48 bytes) [+ descriptors] | data: len bytes   |
//! ```
#![expect(unsafe_code, reason = "headers travel as the bytes of repr(C) structs without padding")]

/// Version of this protocol; the agent refuses another in `Hello`.
pub const VERSION: u64 = 1;
/// The longest data part of a message, bytes. Longer transfers are split by the client.
pub const MAX_DATA: usize = 1 << 20;
/// The longest path (a or b) including everything, bytes: PATH_MAX.
pub const MAX_PATH: usize = 4096;

/// Header of a request. See [`Request`](crate::files::Request) for the meaning of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields of Request")]
pub struct RequestHeader {
    pub seq: u64,
    pub op: u64,
    pub id: u64,
    pub base: [u64; 2],
    pub args: [u64; 5],
    pub a_len: u32,
    pub b_len: u32,
    /// How many data bytes the caller can take.
    pub want: u64,
}

/// Header of a reply. See [`Reply`](crate::files::Reply) for the meaning of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields of Reply")]
pub struct ReplyHeader {
    pub seq: u64,
    /// A value, or a negative errno, or [`REDIRECT`].
    pub value: i64,
    pub aux: [u64; 3],
    pub len: u32,
    /// How many descriptors came with the header.
    pub fds: u32,
}

/// The `value` of a reply whose data is a new logical path to resolve (a symbolic link that leaves
/// the mount was met).
pub const REDIRECT: i64 = -5000;

/// Size of a request header, bytes.
pub const REQUEST_LEN: usize = size_of::<RequestHeader>();
/// Size of a reply header, bytes.
pub const REPLY_LEN: usize = size_of::<ReplyHeader>();
const _: () = assert!(REQUEST_LEN == 96 && REPLY_LEN == 48, "no padding");

macro_rules! as_bytes {
    ($($header:ty)*) => { $(
        impl $header {
            /// The bytes of the header.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                // SAFETY: repr(C) integers without padding; lives as long as the borrow.
                unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast(), size_of::<Self>()) }
            }

            /// The header as bytes to read into.
            pub fn as_bytes_mut(&mut self) -> &mut [u8] {
                // SAFETY: as above, and every bit pattern is a header.
                unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(self).cast(), size_of::<Self>()) }
            }
        }
    )* };
}
as_bytes!(RequestHeader ReplyHeader);
