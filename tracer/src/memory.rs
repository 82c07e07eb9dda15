//! The guest's memory: `process_vm_readv`, and `/proc/TID/mem` where that is refused.
#![expect(unsafe_code, reason = "process_vm_readv takes raw vectors")]

use parrot_common::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Reads up to `out.len()` bytes; fewer when the rest is not mapped.
pub(crate) fn read(tid: i32, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
    if out.is_empty() {
        return Ok(0);
    }
    let local = libc::iovec { iov_base: out.as_mut_ptr().cast(), iov_len: out.len() };
    let remote = remote(addr, out.len());
    // SAFETY: `local` describes `out`; the kernel checks the other side.
    let n = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(n) {
        Ok(n) if n > 0 => Ok(n),
        _ if refused() => by_file(tid, false)?.read_at(out, addr as u64).map_err(|_| Errno::EFAULT),
        _ => Err(Errno::EFAULT),
    }
}

/// Writes all of `data`.
pub(crate) fn write(tid: i32, addr: usize, data: &[u8]) -> Result<(), Errno> {
    if data.is_empty() {
        return Ok(());
    }
    let local = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    let remote = remote(addr, data.len());
    // SAFETY: `local` describes `data`, which is only read; the kernel checks the other side.
    let n = unsafe { libc::process_vm_writev(tid, &raw const local, 1, &raw const remote, 1, 0) };
    match usize::try_from(n) {
        Ok(n) if n == data.len() => Ok(()),
        _ if refused() => {
            by_file(tid, true)?.write_all_at(data, addr as u64).map_err(|_| Errno::EFAULT)
        }
        _ => Err(Errno::EFAULT),
    }
}

/// Reads a native 64-bit number.
pub(crate) fn read_u64(tid: i32, addr: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    (read(tid, addr, &mut bytes) == Ok(8)).then(|| u64::from_ne_bytes(bytes))
}

/// Reads a string for a message: whatever can be had, without its zero byte, at most 4095 bytes.
pub(crate) fn read_text(tid: i32, addr: usize) -> Option<Vec<u8>> {
    let mut text = vec![0; 4096 - addr % 4096];
    loop {
        let from = text.len().saturating_sub(4096);
        let n = read(tid, addr, &mut text).ok()?;
        text.truncate(n);
        if let Some(end) = text.iter().skip(from).position(|&b| b == 0) {
            text.truncate(from + end);
            return Some(text);
        }
        if n < 4096 && text.len() < 4096 {
            text.resize(n + 4096, 0);
        } else {
            text.truncate(4095);
            return Some(text);
        }
    }
}

fn remote(addr: usize, len: usize) -> libc::iovec {
    let base = std::ptr::null_mut::<libc::c_void>().wrapping_byte_add(addr);
    libc::iovec { iov_base: base, iov_len: len }
}

fn refused() -> bool {
    let errno = std::io::Error::last_os_error().raw_os_error();
    matches!(errno, Some(libc::EPERM | libc::ENOSYS))
}

fn by_file(tid: i32, write: bool) -> Result<File, Errno> {
    let path = format!("/proc/{tid}/mem");
    File::options().read(true).write(write).open(path).map_err(|_| Errno::EFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_written() {
        let me = std::process::id().cast_signed();
        let mut text = *b"hello\0world";
        assert_eq!(read_text(me, text.as_ptr() as usize), Some(b"hello".to_vec()));
        write(me, text.as_mut_ptr() as usize, b"J").unwrap();
        assert_eq!(&text[..5], b"Jello");
        assert_eq!(read(me, 8, &mut [0; 4]), Err(Errno::EFAULT));
    }
}
