//! Running programs: execve(2), execveat(2).
//!
//! The kernel executes the complete shadow of a remote program. Scripts are taken apart here, so
//! that the interpreter is looked up in the namespace and sees the script's own name; and a remote
//! program whose ELF interpreter (the loader) is remote too is executed from a private copy that
//! names the loader's shadow.
#![expect(unsafe_code, reason = "reads program headers by pread(2)")]

use super::path::{Need, Right};
use super::{Args, Cx};
use crate::errno::Errno;
use crate::files::{Files, Name, Op, Request, Stop};
use crate::guest::{FdClass, Guest};
use crate::outcome::{Outcome, Reason};
use crate::resolve::{At, Slot, Target, resolve, resolve_redirect, shadow_path};
use crate::sys::{self, arg};
use syscalls::Sysno;

/// Scripts that name scripts, as deep as the kernel goes.
const MAX_SCRIPTS: usize = 5;

/// A path with its zero byte.
#[derive(Debug, Clone)]
struct Path {
    bytes: [u8; 4097],
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Self { bytes: [0; 4097], len: 0 }
    }

    /// Takes the text, up to its zero byte if it has one.
    fn set(&mut self, text: &[u8]) -> Result<(), Errno> {
        let len = text.iter().position(|&b| b == 0).unwrap_or(text.len());
        let place = self.bytes.get_mut(..=len).ok_or(Errno::ENAMETOOLONG)?;
        let (end, place) = place.split_last_mut().ok_or(Errno::ENAMETOOLONG)?;
        place.copy_from_slice(text.get(..len).unwrap_or_default());
        *end = 0;
        self.len = len;
        Ok(())
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn terminated(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or_default()
    }
}

/// The arguments of the two calls.
#[derive(Debug, Clone, Copy)]
struct Call {
    at: At,
    argv: usize,
    /// Index of the directory descriptor, the path, the vector.
    places: (Option<usize>, usize, usize),
}

impl<G: Guest, F: Files> Cx<'_, G, F> {
    pub(crate) fn execve(&mut self, a: Args) -> Outcome {
        let need = Need { dirfd: None, path: 0, follow: true, right: Right::Exec };
        self.exec(a, Call { at: need.at(a), argv: a.raw(1), places: (None, 0, 1) })
    }

    pub(crate) fn execveat(&mut self, a: Args) -> Outcome {
        let follow = a.int(4) & libc::AT_SYMLINK_NOFOLLOW == 0;
        let need = Need { dirfd: Some(0), path: 1, follow, right: Right::Exec };
        let call = Call { at: need.at(a), argv: a.raw(2), places: (Some(0), 1, 2) };
        if !self.is_empty_path(a.raw(1), a.int(4)) {
            return self.exec(a, call);
        }
        // fexecve(3) of a shadow: by its name, so that the program's own name is right.
        let FdClass::Shadow { id, .. } = self.guest.fd_class(a.int(0)) else {
            return Outcome::Pass(Reason::PlainFd);
        };
        let data = &mut self.scratch.data;
        let target = shadow_path(self.files, id, data).and_then(|len| {
            let name = data.get(..len).unwrap_or_default();
            resolve_redirect(&self.ns.table, &mut self.scratch.first, name, true)
        });
        match target {
            Ok(target) => self.exec_target(a, call, target),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn exec(&mut self, a: Args, call: Call) -> Outcome {
        match resolve(self, call.at, Slot::First) {
            Ok(target) => self.exec_target(a, call, target),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    fn exec_target(&mut self, a: Args, call: Call, target: Target) -> Outcome {
        let mut file = Path::new();
        let ours = match target {
            Target::Pass(reason) => {
                // The kernel's own answer tells first, where it can be waited for.
                if reason == Reason::PlainUnlessMissing {
                    return Outcome::Pass(reason);
                }
                if self.local_name(call.at, &mut file).is_err() {
                    return Outcome::Pass(reason);
                }
                false
            }
            other => match self.program(other, Slot::First, &[], &mut file) {
                Ok(()) => true,
                Err(errno) => return Outcome::Fail(errno),
            },
        };
        match self.prepare(a, call, &mut file, ours) {
            Ok(Some(args)) => Outcome::Rewrite(args),
            Ok(None) => Outcome::Pass(Reason::ResolvedPlain),
            Err(errno) => Outcome::Fail(errno),
        }
    }

    /// The name of a local program as an absolute path.
    fn local_name(&mut self, at: At, file: &mut Path) -> Result<(), Errno> {
        let input = self.scratch.walker(Slot::First).input();
        if input.first() == Some(&b'/') {
            return file.set(input);
        }
        let mut base = [0; 4096];
        let len = self.guest.fd_path(at.dirfd, &mut base)?;
        let input = self.scratch.walker(Slot::First).input();
        let total = len + 1 + input.len();
        *base.get_mut(len).ok_or(Errno::ENAMETOOLONG)? = b'/';
        base.get_mut(len + 1..total).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(input);
        file.set(base.get(..total).unwrap_or_default())
    }

    /// Finds the local file that stands for a target, and puts its path into `file`. `loader`: the
    /// ELF interpreter that the file shall name.
    fn program(
        &mut self,
        mut target: Target,
        slot: Slot,
        loader: &[u8],
        file: &mut Path,
    ) -> Result<(), Errno> {
        let table = self.ns.table;
        for _ in 0..40 {
            let Scratch2 { walker, data } = split(self.scratch, slot);
            let base = match target {
                Target::Pass(_) => return file.set(walker.input()),
                Target::Local(_) => return file.set(walker.physical()),
                Target::Remote(base) => base,
                Target::Shadow(id, _) => {
                    let len = shadow_path(self.files, id, data)?;
                    let name = data.get(..len).unwrap_or_default();
                    target = resolve_redirect(&table, walker, name, true)?;
                    continue;
                }
            };
            let name = Name { base, path: walker.name() };
            let request = Request { b: loader, ..Request::named(Op::Exec, name) };
            match self.files.call(&request, data) {
                Ok(reply) => return file.set(data.get(..reply.len).unwrap_or_default()),
                Err(Stop::Fail(errno)) => return Err(errno),
                Err(Stop::Redirect(len)) => {
                    let name = data.get(..len).unwrap_or_default();
                    target = resolve_redirect(&table, walker, name, true)?;
                }
            }
        }
        Err(Errno::ELOOP)
    }

    /// The arguments that execute `file`; `None` when the call is right as it is.
    fn prepare(
        &mut self,
        a: Args,
        call: Call,
        file: &mut Path,
        mut ours: bool,
    ) -> Result<Option<[usize; 6]>, Errno> {
        let mut args = a.0;
        let mut script = Path::new();
        self.script_name(&mut script)?;
        let mut vector = None;
        for depth in 0..=MAX_SCRIPTS {
            let mut head = [0; 256];
            match interpreter(file.terminated(), &mut head) {
                Interpreter::Script(_) if depth == MAX_SCRIPTS => return Err(Errno::ELOOP),
                Interpreter::Script(line) => {
                    let line = head.get(..line).unwrap_or_default();
                    let (program, argument) = split_line(line);
                    let mut next = Path::new();
                    let remote = self.find(program, &mut next)?;
                    if !ours && !remote && vector.is_none() {
                        return Ok(None);
                    }
                    let old = vector.unwrap_or(call.argv);
                    vector = Some(self.new_vector(old, program, argument, script.text())?);
                    script.set(program)?;
                    *file = next;
                    ours = true;
                }
                Interpreter::Loader(len) => {
                    let loader = head.get(..len).unwrap_or_default();
                    if !self.with_loader(loader, file)? && !ours {
                        return Ok(None);
                    }
                    break;
                }
                Interpreter::None if !ours => return Ok(None),
                Interpreter::None => break,
            }
        }
        let place = self.guest.place(file.terminated())?;
        let (dirfd, path, argv) = call.places;
        let mut put = |index: usize, value: usize| {
            if let Some(arg) = args.get_mut(index) {
                *arg = value;
            }
        };
        put(path, place);
        if let Some(index) = dirfd {
            put(index, arg(libc::AT_FDCWD));
            put(4, arg(a.int(4) & !libc::AT_EMPTY_PATH));
        }
        if let Some(vector) = vector {
            put(argv, vector);
        }
        Ok(Some(args))
    }

    /// How a script's interpreter shall find the script: by the name the guest used.
    fn script_name(&mut self, script: &mut Path) -> Result<(), Errno> {
        let walker = self.scratch.walker(Slot::First);
        if walker.input().is_empty() {
            script.set(walker.name())
        } else {
            script.set(walker.input())
        }
    }

    /// Looks an interpreter up in the namespace; whether it is anything else than the local file
    /// of that name.
    fn find(&mut self, program: &[u8], file: &mut Path) -> Result<bool, Errno> {
        let table = self.ns.table;
        let walker = self.scratch.walker(Slot::Second);
        let target = resolve_redirect(&table, walker, program, true)?;
        if matches!(target, Target::Local(_)) && !table.has_local() {
            // The local file of that name, by that name.
            file.set(program)?;
            return Ok(false);
        }
        let remote = target == Target::Remote(0) || table.lookup(program).is_some();
        self.program(target, Slot::Second, &[], file)?;
        Ok(remote)
    }

    /// When the program's loader is not the local file of its name, makes `file` a copy of the
    /// program that names the right one.
    fn with_loader(&mut self, loader: &[u8], file: &mut Path) -> Result<bool, Errno> {
        let table = self.ns.table;
        if table.lookup(loader).is_none() {
            return Ok(false);
        }
        let mut local = Path::new();
        if !self.find(loader, &mut local)? {
            return Ok(false);
        }
        let request = Request {
            b: local.text(),
            ..Request::named(Op::Exec, Name { base: 0, path: file.text() })
        };
        let data = &mut self.scratch.data;
        let reply = self.files.call(&request.args([1, 0, 0, 0, 0]), data);
        let reply = reply.map_err(super::data::errno)?;
        file.set(data.get(..reply.len).unwrap_or_default())?;
        Ok(true)
    }

    /// `[program, argument, script, the guest's arguments but the first]` in fresh guest memory,
    /// which goes with the old program.
    fn new_vector(
        &mut self,
        old: usize,
        program: &[u8],
        argument: &[u8],
        script: &[u8],
    ) -> Result<usize, Errno> {
        let mut count = 0;
        while self.pointer(old, count)? != 0 {
            count += 1;
        }
        let room = (count + 5) * 8 + program.len() + argument.len() + script.len() + 3;
        let prot = arg(libc::PROT_READ | libc::PROT_WRITE);
        let flags = arg(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let mapped =
            self.guest.native(sys::number(Sysno::mmap), [0, room, prot, flags, arg(-1), 0]);
        let vector = Errno::check(mapped)?;
        let mut text_at = vector + (count + 5) * 8;
        let mut index = 0;
        for text in [program, argument, script] {
            if text.is_empty() {
                continue;
            }
            self.guest.write(text_at, text)?;
            self.guest.write(text_at + text.len(), &[0])?;
            self.guest.write(vector + index * 8, &text_at.to_ne_bytes())?;
            text_at += text.len() + 1;
            index += 1;
        }
        for from in 1..=count.max(1) {
            let pointer = if from < count { self.pointer(old, from)? } else { 0 };
            self.guest.write(vector + index * 8, &pointer.to_ne_bytes())?;
            index += 1;
        }
        Ok(vector)
    }

    fn pointer(&mut self, vector: usize, index: usize) -> Result<usize, Errno> {
        if vector == 0 {
            return Ok(0);
        }
        let mut bytes = [0; 8];
        if self.guest.read(vector.wrapping_add(index * 8), &mut bytes)? < 8 {
            return Err(Errno::EFAULT);
        }
        Ok(usize::from_ne_bytes(bytes))
    }
}

/// One walker and the data, borrowed apart.
struct Scratch2<'s> {
    walker: &'s mut crate::resolve::Walker,
    data: &'s mut [u8],
}

fn split(scratch: &mut super::Scratch, slot: Slot) -> Scratch2<'_> {
    let super::Scratch { first, second, data } = scratch;
    let walker = if slot == Slot::First { first } else { second };
    Scratch2 { walker, data }
}

/// `PROGRAM [ARGUMENT]` of a `#!` line: the argument is the rest of the line, as the kernel has it.
fn split_line(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    let (program, argument) = line.split_at(end);
    (program, argument.trim_ascii())
}

/// What a program file needs to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter {
    /// A script; this many bytes of the buffer are its `#!` line without the `#!`.
    Script(usize),
    /// A dynamic ELF program; this many bytes of the buffer name its loader.
    Loader(usize),
    /// A static program, or no program at all.
    None,
}

/// Looks into a program file of this machine (`path` with its zero byte).
pub fn interpreter(path: &[u8], out: &mut [u8; 256]) -> Interpreter {
    let Ok(fd) = sys::openat(libc::AT_FDCWD, path, libc::O_RDONLY | libc::O_CLOEXEC, 0) else {
        return Interpreter::None;
    };
    let found = inspect(fd, out).unwrap_or(Interpreter::None);
    sys::close(fd);
    found
}

fn inspect(fd: i32, out: &mut [u8; 256]) -> Option<Interpreter> {
    let mut head = [0; 256];
    let len = pread(fd, &mut head, 0)?;
    let head = head.get(..len)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        let end = line.iter().position(|&b| b == b'\n').unwrap_or(line.len());
        let line = line.get(..end)?;
        out.get_mut(..end)?.copy_from_slice(line);
        return Some(Interpreter::Script(end));
    }
    // ELF64: e_phoff at 32, e_phentsize at 54, e_phnum at 56; p_type 0, p_offset 8, p_filesz 32.
    if !head.starts_with(b"\x7fELF\x02") {
        return Some(Interpreter::None);
    }
    let table = u64_at(head, 32)?;
    let size = u64::from(u16_at(head, 54)?);
    for index in 0..u64::from(u16_at(head, 56)?) {
        let mut entry = [0; 56];
        if pread(fd, &mut entry, table.checked_add(index.checked_mul(size)?)?)? < 56 {
            return None;
        }
        if entry.get(..4)? == 3_u32.to_le_bytes() {
            let len = usize::try_from(u64_at(&entry, 32)?).ok()?.min(out.len());
            let place = out.get_mut(..len)?;
            let len = pread(fd, place, u64_at(&entry, 8)?)?;
            let text = out.get(..len)?;
            let end = text.iter().position(|&b| b == 0).unwrap_or(len);
            return Some(Interpreter::Loader(end));
        }
    }
    Some(Interpreter::None)
}

fn pread(fd: i32, out: &mut [u8], offset: u64) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    let args = [arg(fd), out.as_mut_ptr() as usize, out.len(), offset, 0, 0];
    // SAFETY: `out` is writable for its length.
    unsafe { sys::call(Sysno::pread64, args) }.ok()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
