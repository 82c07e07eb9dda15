//! Which file lies at an address of a program: msync(2) names memory, not a file.
//!
//! The kernel tells it from Linux 6.11 on, by `PROCMAP_QUERY` on `/proc/PID/maps`. Where it does not,
//! nothing is known.
#![expect(unsafe_code, reason = "an ioctl with a structure that libc does not have")]

use crate::errno::Errno;
use crate::sys::{self, arg};
use syscalls::Sysno;

/// `struct procmap_query`
#[repr(C)]
#[derive(Debug, Default)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    start: u64,
    end: u64,
    flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    device: [u32; 2],
    name_size: u32,
    build_id_size: u32,
    name: u64,
    build_id: u64,
}

const SIZE: usize = size_of::<Query>();
const _: () = assert!(SIZE == 104);
/// `PROCMAP_QUERY`: `_IOWR('f', 17, struct procmap_query)`
const PROCMAP_QUERY: usize = (3 << 30) | (SIZE << 16) | (0x66 << 8) | 17;

/// A piece of a program's memory that is mapped in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Area<'n> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Where in its file it starts.
    pub(crate) offset: u64,
    /// The kernel's name of the file.
    pub(crate) name: &'n [u8],
}

/// The area at an address; `maps` is a descriptor of `/proc/PID/maps`.
///
/// # Errors
/// ENOENT when nothing is mapped there, ENOTTY from a kernel that does not know the question.
pub(crate) fn at(maps: i32, address: usize, name: &mut [u8]) -> Result<Area<'_>, Errno> {
    let mut query = Query {
        size: SIZE as u64,
        query_addr: address as u64,
        name_size: u32::try_from(name.len()).map_err(|_| Errno::EINVAL)?,
        name: name.as_mut_ptr() as u64,
        ..Query::default()
    };
    let place = core::ptr::from_mut(&mut query) as usize;
    // SAFETY: the structure is the kernel's own, and `name` has room for what it says.
    unsafe { sys::call(Sysno::ioctl, [arg(maps), PROCMAP_QUERY, place, 0, 0, 0]) }?;
    let known = |number: u64| usize::try_from(number).map_err(|_| Errno::EOVERFLOW);
    // With its zero byte.
    let len = (query.name_size as usize).saturating_sub(1);
    Ok(Area {
        start: known(query.start)?,
        end: known(query.end)?,
        offset: query.offset,
        name: name.get(..len).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;

    #[test]
    fn the_kernel_names_what_is_mapped() {
        let maps = File::open("/proc/self/maps").unwrap();
        let mut name = [0; 4096];
        let here = the_kernel_names_what_is_mapped as fn() as usize;
        let area = match at(maps.as_raw_fd(), here, &mut name) {
            // An older kernel.
            Err(Errno::ENOTTY) => return,
            other => other.unwrap(),
        };
        assert!((area.start..area.end).contains(&here));
        let program = std::env::current_exe().unwrap();
        assert_eq!(area.name, program.as_os_str().as_encoded_bytes());
        assert_eq!(at(maps.as_raw_fd(), 0, &mut [0; 64]), Err(Errno::ENOENT));
    }
}
