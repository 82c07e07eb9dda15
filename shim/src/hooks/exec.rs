//! Running programs: execve(2) and its relatives.
//!
//! Those with an argument list instead of a vector (`execl`, `execlp`, `execle`) are assembly: the
//! registers are stored below the arguments on the stack, which makes a vector in place.
#![expect(unsafe_code, reason = "exported symbols, some in assembly")]

use super::launch::{Launch, search};
use super::prelude::*;
use crate::borrow;
use parrot_common::Errno;
use parrot_common::handler::{Cx, handle};
use parrot_common::resolve::Lookup;
use parrot_common::{Outcome, Reason};

type Vector = *const *const c_char;

hook! {
    /// execve(2)
    fn [execve](path: *const c_char, argv: Vector, envp: Vector) -> c_int {
        run(path, argv, envp)
    }
    /// execv(3)
    fn [execv](path: *const c_char, argv: Vector) -> c_int {
        run(path, argv, c::environment())
    }
    /// execvp(3)
    fn [execvp](name: *const c_char, argv: Vector) -> c_int {
        along_path(name, argv, c::environment())
    }
    /// execvpe(3)
    fn [execvpe](name: *const c_char, argv: Vector, envp: Vector) -> c_int {
        along_path(name, argv, envp)
    }
    /// fexecve(3)
    fn [fexecve](fd: c_int, argv: Vector, envp: Vector) -> c_int {
        execveat(fd, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH)
    }
    /// execveat(2)
    fn [execveat](dir: c_int, path: *const c_char, argv: Vector, envp: Vector, flags: c_int) -> c_int {
        let args = [int(dir), at(path), at(argv), at(envp), int(flags), 0];
        c_int::from_raw(execute(Sysno::execveat.id() as usize, args))
    }
}

fn run(path: *const c_char, argv: Vector, envp: Vector) -> c_int {
    let args = [at(path), at(argv), at(envp), 0, 0, 0];
    c_int::from_raw(execute(Sysno::execve.id() as usize, args))
}

/// The raw result of an exec that failed.
pub(super) fn execute(nr: usize, args: [usize; 6]) -> isize {
    dispatch::flush_all();
    let by_path = nr == Sysno::execve.id() as usize;
    let path = core::ptr::with_exposed_provenance(args[0]);
    if by_path && let Some(result) = lane::no_program(path) {
        return result;
    }
    let plain = by_path && namespace::plain_name(AT_FDCWD, path);
    let mut result = if plain { launch(nr, args) } else { ruled(nr, args, Lookup::Quick) };
    let missing = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP].map(Errno::raw);
    // What is missing may be a script's interpreter, too. Under a tracer the answer is its own.
    if plain
        && missing.contains(&result)
        && !crate::init::inert()
        && (super::stat::stat_is_there(path) || !is_missing(path, result))
    {
        result = ruled(nr, args, Lookup::Full);
    }
    result
}

/// Whether the kernel's answer stands: programs are looked for along `PATH`.
fn is_missing(path: *const c_char, result: isize) -> bool {
    let _ = c_int::from_raw(result);
    namespace::certainly_missing(AT_FDCWD, path)
}

/// Asks the handler and makes the call as it says.
fn ruled(nr: usize, args: [usize; 6], lookup: Lookup) -> isize {
    let errno = c::errno();
    let result = dispatch::with_slot(false, |parts, ns| {
        let crate::guard::Parts { client, good, places, scratch } = parts;
        let mut own = memory::Own { places, good };
        let mut cx = Cx { guest: &mut own, files: client, ns, scratch, lookup };
        match handle(&mut cx, nr, args) {
            Outcome::Done(value) => value,
            Outcome::Fail(errno) => errno.raw(),
            Outcome::Rewrite(args) => launch(nr, args),
            Outcome::Pass(Reason::PlainUnlessMissing) if lookup == Lookup::Quick => {
                let result = launch(nr, args);
                let missing = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP].map(Errno::raw);
                if !missing.contains(&result) {
                    return result;
                }
                cx.lookup = Lookup::Full;
                match handle(&mut cx, nr, args) {
                    Outcome::Rewrite(args) => launch(nr, args),
                    Outcome::Fail(errno) => errno.raw(),
                    _ => result,
                }
            }
            Outcome::Pass(_) | Outcome::Watch(_) => launch(nr, args),
        }
    });
    c::set_errno(errno);
    result.unwrap_or_else(|| launch(nr, args))
}

/// The call itself, with what the new program needs.
fn launch(nr: usize, args: [usize; 6]) -> isize {
    if nr != Sysno::execve.id() as usize {
        let [dir, path, argv, envp, flags, _] = args;
        let absolute = c::bytes(core::ptr::with_exposed_provenance(path)).first() == Some(&b'/');
        if !absolute {
            let prepared = Launch::new(at(c"".as_ptr()), argv, envp);
            let args = [dir, path, argv, prepared.args[2], flags, 0];
            let result = memory::raw_number(nr, args);
            prepared.done();
            return result;
        }
        return launch(Sysno::execve.id() as usize, [path, argv, envp, 0, 0, 0]);
    }
    let [path, argv, envp, ..] = args;
    let prepared = Launch::new(path, argv, envp);
    let [path, argv, envp] = prepared.args;
    let result = memory::raw_number(nr, [path, argv, envp, 0, 0, 0]);
    prepared.done();
    result
}

/// As execvp(3): the first candidate that can be run; a file that is no program is a script of the
/// shell's.
fn along_path(name: *const c_char, argv: Vector, envp: Vector) -> c_int {
    let text = c::bytes(name);
    if text.is_empty() {
        c::set_errno(libc::ENOENT);
        return -1;
    }
    if text.contains(&b'/') {
        return or_script(name, argv, envp);
    }
    let mut denied = false;
    search(text, |candidate| {
        or_script(candidate, argv, envp);
        match c::errno() {
            libc::EACCES => {
                denied = true;
                false
            }
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => false,
            _ => true,
        }
    });
    if denied && c::errno() == libc::ENOENT {
        c::set_errno(libc::EACCES);
    }
    -1
}

fn or_script(path: *const c_char, argv: Vector, envp: Vector) -> c_int {
    let result = run(path, argv, envp);
    if c::errno() != libc::ENOEXEC {
        return result;
    }
    let arguments = crate::init::each(argv);
    let count = crate::init::each(argv).count().saturating_add(3);
    let len = count.saturating_mul(size_of::<usize>());
    let Some(list) = borrow::map_for_exec(len) else { return result };
    let shell = c"/bin/sh".as_ptr();
    let mut to = core::ptr::with_exposed_provenance_mut::<*const c_char>(list);
    for word in [shell, path].into_iter().chain(arguments.skip(1)) {
        c::poke(to, word);
        to = to.wrapping_add(1);
    }
    let result = run(shell, core::ptr::with_exposed_provenance(list), envp);
    borrow::unmap_for_exec(list, len);
    result
}

extern "C" fn list_to_execv(path: *const c_char, argv: Vector) -> c_int {
    execv(path, argv)
}

extern "C" fn list_to_execvp(name: *const c_char, argv: Vector) -> c_int {
    execvp(name, argv)
}

/// The environment follows the null that ends the list.
extern "C" fn list_to_execve(path: *const c_char, argv: Vector) -> c_int {
    let end = crate::init::each(argv).count().wrapping_add(1);
    execve(path, argv, c::peek(argv.wrapping_add(end).cast()))
}

/// The register arguments, then those on the stack, as one vector: five registers are pushed, and
/// then the return address stands between them and the rest, so it is moved to a saved register
/// and its place closed. The calls return only on failure.
#[cfg(target_arch = "x86_64")]
macro_rules! list_entry {
    ($(#[$doc:meta])* $name:ident => $to:ident) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub(crate) extern "C" fn $name() -> c_int {
            core::arch::naked_asm!(
                "pop r10",
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",
                "mov rsi, rsp",
                "push rbx",
                "push r12",
                "mov rbx, r10",
                "mov r12, rsp",
                "and rsp, -16",
                "call {to}",
                "mov rsp, r12",
                "mov r10, rbx",
                "pop r12",
                "pop rbx",
                "add rsp, 40",
                "push r10",
                "ret",
                to = sym $to,
            )
        }
    };
}

#[cfg(target_arch = "x86_64")]
list_entry! {
    /// execl(3)
    execl => list_to_execv
}
#[cfg(target_arch = "x86_64")]
list_entry! {
    /// execlp(3)
    execlp => list_to_execvp
}
#[cfg(target_arch = "x86_64")]
list_entry! {
    /// execle(3)
    execle => list_to_execve
}
