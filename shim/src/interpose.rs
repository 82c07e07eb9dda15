//! [`hook!`]: one libc entry point, replaced.
//!
//! ```text
//! hook! {
//!     /// What it does.
//!     fn [open open64](path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
//!         … real(path, flags, mode) …
//!     }
//! }
//! ```
//!
//! Each name becomes an exported C symbol. Inside the body `real` is the function that the symbol
//! would have meant without us (`dlsym(RTLD_NEXT)`, found at the first use, kept in a static). A
//! symbol that is neither in a row of the system call table nor in [`crate::hooks::ENTRIES`] does
//! not compile. There are no C-variadic definitions in stable Rust: an optional argument is a
//! fixed one, which the ABIs of Linux pass in the same register.
use crate::c;
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use parrot_common::syscall::TABLE;

/// Where the real function of a symbol is kept. Without a pointer to its name: the loader would
/// have to relocate it in every process.
#[derive(Debug)]
pub(crate) struct Real(AtomicPtr<c_void>);

impl Real {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// The function of this name, never null.
    #[inline(always)]
    pub(crate) fn get(&self, name: &'static CStr) -> *mut c_void {
        let function = self.0.load(Ordering::Relaxed);
        if function.is_null() { self.find(name) } else { function }
    }

    /// A variable of the program's or the C library's, or null.
    pub(crate) fn variable(&self, name: &'static CStr) -> *mut c_void {
        let mut known = self.0.load(Ordering::Relaxed);
        if known.is_null() {
            known = c::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
            self.0.store(known, Ordering::Relaxed);
        }
        known
    }

    /// Looks the symbol up. Names that libc keeps for old programs only (`__xstat`) have a version
    /// that must be named.
    #[cold]
    #[inline(never)]
    fn find(&self, name: &CStr) -> *mut c_void {
        let errno = c::errno();
        let mut function = c::dlsym(libc::RTLD_NEXT, name.as_ptr());
        if function.is_null() {
            function = c::dlvsym(libc::RTLD_NEXT, name.as_ptr(), c"GLIBC_2.2.5".as_ptr());
        }
        if function.is_null() {
            function = (missing as extern "C" fn() -> isize as *mut ()).cast();
        }
        self.0.store(function, Ordering::Relaxed);
        c::set_errno(errno);
        function
    }
}

/// Stands in for a function that this C library does not have.
extern "C" fn missing() -> isize {
    c::set_errno(libc::ENOSYS);
    -1
}

/// Whether a symbol stands in a row of the system call table or in the list given.
#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
pub(crate) const fn declared(symbol: &str, entries: &[&str]) -> bool {
    let mut row = 0;
    while row < TABLE.len() {
        if contains(TABLE[row].symbols, symbol) {
            return true;
        }
        row = row.wrapping_add(1);
    }
    contains(entries, symbol)
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
const fn contains(list: &[&str], symbol: &str) -> bool {
    let mut at = 0;
    while at < list.len() {
        if equal(list[at].as_bytes(), symbol.as_bytes()) {
            return true;
        }
        at = at.wrapping_add(1);
    }
    false
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler only, within bounds")]
const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at = at.wrapping_add(1);
    }
    true
}

/// See the module.
macro_rules! hook {
    ($( #[$doc:meta] fn [$($name:ident)+] $args:tt -> $ret:ty $body:block )*) => { $( $(
        $crate::interpose::hook_one! { #[$doc] $name $args -> $ret $body }
    )+ )* };
}

/// One symbol of a [`hook!`].
macro_rules! hook_one {
    (#[$doc:meta] $name:ident ($($arg:ident : $ty:ty),* $(,)?) -> $ret:ty $body:block) => {
        /// The real function.
        #[allow(non_snake_case, reason = "as the symbol is called")]
        pub(crate) mod $name {
            #[allow(unused_imports, reason = "some signatures use primitive types only")]
            use super::*;
            use $crate::interpose::{Real, declared};

            const _: () = assert!(
                declared(stringify!($name), $crate::hooks::ENTRIES),
                concat!(stringify!($name), " is in no table")
            );
            static REAL: Real = Real::new();
            const NAME: &core::ffi::CStr = match core::ffi::CStr::from_bytes_with_nul(
                concat!(stringify!($name), "\0").as_bytes(),
            ) {
                Ok(name) => name,
                Err(_) => c"",
            };

            /// Looks the real function up now.
            #[allow(dead_code, reason = "for the few that `fork` needs")]
            pub(crate) fn resolve() {
                let _ = REAL.get(NAME);
            }

            /// Calls what the symbol would mean without us.
            #[inline(always)]
            #[allow(dead_code, clippy::too_many_arguments, reason = "as the C function has")]
            pub(crate) fn real($($arg: $ty),*) -> $ret {
                type Function = unsafe extern "C" fn($($ty),*) -> $ret;
                // SAFETY: the symbol is libc's function of this signature (or a stand-in that
                // returns an integer and reads no argument).
                let function = unsafe { core::mem::transmute::<*mut core::ffi::c_void, Function>(REAL.get(NAME)) };
                // SAFETY: the arguments are the calling program's, who promises to libc.
                unsafe { function($($arg),*) }
            }
        }

        #[$doc]
        #[unsafe(no_mangle)]
        #[allow(clippy::too_many_arguments, non_snake_case, reason = "as the C function has")]
        pub(crate) extern "C" fn $name($($arg: $ty),*) -> $ret {
            #[allow(unused_imports, reason = "not every hook calls on")]
            use self::$name::real;
            $body
        }
    };
}

pub(crate) use hook;
pub(crate) use hook_one;
