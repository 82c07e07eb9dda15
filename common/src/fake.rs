//! A guest and a session for the tests of the handlers: the guest is the test's own memory, the
//! session writes down what it is asked and answers from a list.
#![expect(unsafe_code, reason = "the guest's addresses are the test's own")]

use crate::errno::Errno;
use crate::files::{Files, Op, Opened, Reply, Request, Stop};
use crate::guest::{FdClass, Forget, Guest};
use crate::handler::{Cx, Namespace, Scratch, handle};
use crate::mountlist::{Builder, Table};
use crate::outcome::Outcome;
use crate::resolve::Lookup;
use std::collections::HashMap;

/// A guest that is the test itself.
#[derive(Debug)]
pub(crate) struct FakeGuest {
    pub(crate) fds: HashMap<i32, FdClass>,
    pub(crate) cwd: FdClass,
    pub(crate) cwd_path: Vec<u8>,
    pub(crate) position: i64,
    pub(crate) placed: Vec<Vec<u8>>,
    pub(crate) installed: Vec<Opened>,
}

impl Default for FakeGuest {
    fn default() -> Self {
        Self {
            fds: HashMap::new(),
            cwd: FdClass::Plain,
            cwd_path: b"/".to_vec(),
            position: 0,
            placed: Vec::new(),
            installed: Vec::new(),
        }
    }
}

impl Guest for FakeGuest {
    fn read(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        if addr < 4096 {
            return Err(Errno::EFAULT);
        }
        // SAFETY: tests pass addresses of live buffers, each with room behind it.
        unsafe { std::ptr::copy_nonoverlapping(addr as *const u8, out.as_mut_ptr(), out.len()) };
        Ok(out.len())
    }

    fn read_str(&mut self, addr: usize, out: &mut [u8]) -> Result<usize, Errno> {
        if addr < 4096 {
            return Err(Errno::EFAULT);
        }
        // SAFETY: tests pass addresses of C strings.
        let text = unsafe { std::ffi::CStr::from_ptr(addr as *const _) }.to_bytes();
        out.get_mut(..text.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(text);
        Ok(text.len())
    }

    fn write(&mut self, addr: usize, data: &[u8]) -> Result<(), Errno> {
        if addr < 4096 {
            return Err(Errno::EFAULT);
        }
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), addr as *mut u8, data.len()) };
        Ok(())
    }

    fn place(&mut self, data: &[u8]) -> Result<usize, Errno> {
        self.placed.push(data.to_vec());
        Ok(self.placed.last().unwrap().as_ptr() as usize)
    }

    /// Only mmap of fresh memory is known; everything else "succeeds".
    fn native(&mut self, nr: usize, args: [usize; 6]) -> isize {
        if i64::try_from(nr) != Ok(libc::SYS_mmap) {
            return 0;
        }
        vec![0_u64; args[1].div_ceil(8)].leak().as_ptr() as isize
    }

    fn fd_class(&mut self, fd: i32) -> FdClass {
        self.fds.get(&fd).copied().unwrap_or(FdClass::Plain)
    }

    fn known_fd(&mut self, fd: i32) -> Option<FdClass> {
        self.fds.get(&fd).copied()
    }

    fn cwd_class(&mut self) -> FdClass {
        self.cwd
    }

    fn fd_path(&mut self, _: i32, out: &mut [u8]) -> Result<usize, Errno> {
        out[..self.cwd_path.len()].copy_from_slice(&self.cwd_path);
        Ok(self.cwd_path.len())
    }

    fn forget(&mut self, _: Forget) {}

    fn install(&mut self, opened: Opened, _: i32) -> Result<i32, Errno> {
        self.installed.push(opened);
        Ok(opened.fd)
    }

    fn install_cwd(&mut self, opened: Opened) -> Result<(), Errno> {
        self.cwd = FdClass::Shadow { id: opened.id, kind: opened.kind, writable: false };
        Ok(())
    }

    fn map(&mut self, _: i32, _: [usize; 6]) -> Result<usize, Errno> {
        Ok(0x1000)
    }

    fn maps(&mut self) -> Result<i32, Errno> {
        Err(Errno::ENOENT)
    }

    fn seek(&mut self, _: i32, offset: i64, whence: i32) -> Result<i64, Errno> {
        self.position = if whence == libc::SEEK_CUR { self.position + offset } else { offset };
        Ok(self.position)
    }

    fn umask(&mut self) -> u32 {
        0o022
    }

    fn fd_flags(&mut self, _: i32) -> Result<i32, Errno> {
        Ok(libc::O_WRONLY)
    }

    fn pid(&mut self) -> i32 {
        1
    }

    fn kernel_decides(&mut self, _: &Table<'_>, _: i32, _: &[u8]) -> Option<bool> {
        None
    }
}

/// What a session was asked, in words: `Op base:path args…`.
#[derive(Debug, Default)]
pub(crate) struct FakeFiles {
    pub(crate) asked: Vec<String>,
    pub(crate) answers: Vec<Answer>,
}

/// One answer, used in turn; without one, every request succeeds with 0.
#[derive(Debug)]
pub(crate) enum Answer {
    Data(Vec<u8>),
    Fail(Errno),
    Redirect(Vec<u8>),
}

impl Files for FakeFiles {
    fn call(&mut self, r: &Request<'_>, out: &mut [u8]) -> Result<Reply, Stop> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let mut words = format!("{} {}:{}", r.op.name(), r.base[0], text(r.a));
        if matches!(r.op, Op::Rename | Op::Link | Op::SymLink) {
            words += &format!(" {}:{}", r.base[1], text(r.b));
        }
        self.asked.push(words);
        if self.answers.is_empty() {
            return Ok(Reply::default());
        }
        let mut store = |data: &[u8]| {
            let len = data.len().min(out.len());
            out[..len].copy_from_slice(&data[..len]);
            len
        };
        match self.answers.remove(0) {
            Answer::Data(data) => Ok(Reply { len: store(&data), ..Reply::default() }),
            Answer::Fail(errno) => Err(errno.into()),
            Answer::Redirect(name) => Err(Stop::Redirect(store(&name))),
        }
    }
}

/// A guest, a session and a mountlist.
pub(crate) struct World {
    pub(crate) guest: FakeGuest,
    pub(crate) files: FakeFiles,
    table: Vec<u8>,
    scratch: Box<Scratch>,
}

impl World {
    pub(crate) fn new(mountlist: &str) -> Self {
        let mut table = vec![0; 16 << 10];
        let mut builder = Builder::new(&mut table);
        builder.add_text(mountlist.as_bytes(), b"test").unwrap();
        let len = builder.finish().unwrap();
        table.truncate(len);
        // SAFETY: a Scratch of zero bytes is a Scratch.
        let scratch = unsafe { Box::new_zeroed().assume_init() };
        Self { guest: FakeGuest::default(), files: FakeFiles::default(), table, scratch }
    }

    pub(crate) fn call(&mut self, nr: i64, args: &[usize], lookup: Lookup) -> Outcome {
        let mut six = [0; 6];
        six[..args.len()].copy_from_slice(args);
        let ns = Namespace { table: Table::from_bytes(&self.table).unwrap(), session: b"/s/x" };
        let mut cx = Cx {
            guest: &mut self.guest,
            files: &mut self.files,
            ns: &ns,
            scratch: &mut self.scratch,
            lookup,
        };
        handle(&mut cx, usize::try_from(nr).unwrap(), six)
    }
}
