//! Users and groups: getpwnam(3), getgrgid(3) and their relatives, where `/etc/passwd` or `/etc/group`
//! is mapped.
//!
//! libc reads these files by itself, past the hooks. Where a rule of the mountlist leads one of them
//! elsewhere, the file that it leads to is read here, line by line by fgetpwent(3), and no other source
//! (NIS, LDAP) is asked: the mapped file is what the mountlist says the users are.
#![expect(unsafe_code, reason = "exported symbols; records of the C library's layout")]

use super::prelude::*;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use libc::{FILE, gid_t, group, passwd, uid_t};

/// A file of accounts whose records are of one type.
struct Accounts<T> {
    path: &'static core::ffi::CStr,
    /// fgetpwent_r(3) or fgetgrent_r(3).
    next: Next<T>,
    /// The stream of getpwent(3).
    open: AtomicPtr<FILE>,
    /// Where the functions without a buffer put their answer: a record, then its strings.
    place: AtomicUsize,
}

type Next<T> = extern "C" fn(*mut FILE, *mut T, *mut c_char, usize, *mut *mut T) -> c_int;

static USERS: Accounts<passwd> = Accounts::new(c"/etc/passwd", c::fgetpwent_r);
static GROUPS: Accounts<group> = Accounts::new(c"/etc/group", c::fgetgrent_r);

/// Room for the strings of a record whose caller gives none.
const ROOM: usize = 1 << 20;

impl<T> Accounts<T> {
    const fn new(path: &'static core::ffi::CStr, next: Next<T>) -> Self {
        let open = AtomicPtr::new(core::ptr::null_mut());
        Self { path, next, open, place: AtomicUsize::new(0) }
    }

    /// Whether a rule leads the file elsewhere.
    fn mapped(&self) -> bool {
        crate::init::configured() && namespace::has_rule(self.path.to_bytes())
    }

    fn stream(&self) -> *mut FILE {
        super::stdio::fopen(self.path.as_ptr(), c"re".as_ptr())
    }

    /// The first record that is wanted, into the caller's memory: 0 or an errno, as getpwnam_r(3).
    fn find_into(
        &self,
        to: *mut T,
        (text, len): (*mut c_char, usize),
        result: *mut *mut T,
        wanted: impl Fn(&T) -> bool,
    ) -> c_int {
        let errno = c::errno();
        c::poke(result, core::ptr::null_mut());
        let stream = self.stream();
        if stream.is_null() {
            let failed = c::errno();
            c::set_errno(errno);
            return if failed == libc::ENOENT { 0 } else { failed };
        }
        let mut answer;
        loop {
            let mut found = core::ptr::null_mut();
            answer = (self.next)(stream, to, text, len, &mut found);
            if answer != 0 || found.is_null() {
                break;
            }
            // SAFETY: a whole record, just read.
            if wanted(unsafe { &*to }) {
                c::poke(result, to);
                break;
            }
        }
        super::stdio::fclose(stream);
        c::set_errno(errno);
        if answer == libc::ENOENT { 0 } else { answer }
    }

    /// The memory of the functions without a buffer: record, strings.
    fn own(&self) -> Option<(*mut T, (*mut c_char, usize))> {
        let mut at = self.place.load(Ordering::Acquire);
        if at == 0 {
            let fresh = memory::map_zeroed(ROOM)?;
            match self.place.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => at = fresh,
                Err(there) => {
                    memory::unmap(fresh, ROOM);
                    at = there;
                }
            }
        }
        let text = at.wrapping_add(size_of::<T>());
        let len = ROOM.saturating_sub(size_of::<T>());
        let pointer = core::ptr::with_exposed_provenance_mut(at);
        Some((pointer, (core::ptr::with_exposed_provenance_mut(text), len)))
    }

    /// As getpwnam(3): null when there is none, or with errno.
    fn find(&self, wanted: impl Fn(&T) -> bool) -> *mut T {
        let Some((to, text)) = self.own() else { return failed(libc::ENOMEM) };
        let mut result = core::ptr::null_mut();
        match self.find_into(to, text, &mut result, wanted) {
            0 => result,
            errno => failed(errno),
        }
    }

    /// As getpwent(3).
    fn each(&self) -> *mut T {
        let Some((to, text)) = self.own() else { return failed(libc::ENOMEM) };
        let mut result = core::ptr::null_mut();
        match self.each_into(to, text, &mut result) {
            0 => result,
            libc::ENOENT => core::ptr::null_mut(),
            errno => failed(errno),
        }
    }

    /// As getpwent_r(3).
    fn each_into(&self, to: *mut T, text: (*mut c_char, usize), result: *mut *mut T) -> c_int {
        let mut stream = self.open.load(Ordering::Relaxed);
        if stream.is_null() {
            stream = self.stream();
            self.open.store(stream, Ordering::Relaxed);
        }
        c::poke(result, core::ptr::null_mut());
        if stream.is_null() {
            return c::errno();
        }
        (self.next)(stream, to, text.0, text.1, result)
    }

    fn end(&self) {
        let stream = self.open.swap(core::ptr::null_mut(), Ordering::Relaxed);
        if !stream.is_null() {
            super::stdio::fclose(stream);
        }
    }
}

fn failed<T>(errno: c_int) -> *mut T {
    c::set_errno(errno);
    core::ptr::null_mut()
}

fn is(text: *const c_char, name: *const c_char) -> bool {
    c::bytes(text) == c::bytes(name)
}

hook! {
    /// getpwnam(3)
    fn [getpwnam](name: *const c_char) -> *mut passwd {
        if USERS.mapped() { USERS.find(|user| is(user.pw_name, name)) } else { real(name) }
    }
    /// getpwuid(3)
    fn [getpwuid](uid: uid_t) -> *mut passwd {
        if USERS.mapped() { USERS.find(|user| user.pw_uid == uid) } else { real(uid) }
    }
    /// getpwnam_r(3)
    fn [getpwnam_r](
        name: *const c_char, to: *mut passwd, text: *mut c_char, len: usize, result: *mut *mut passwd
    ) -> c_int {
        if USERS.mapped() {
            USERS.find_into(to, (text, len), result, |user| is(user.pw_name, name))
        } else {
            real(name, to, text, len, result)
        }
    }
    /// getpwuid_r(3)
    fn [getpwuid_r](
        uid: uid_t, to: *mut passwd, text: *mut c_char, len: usize, result: *mut *mut passwd
    ) -> c_int {
        if USERS.mapped() {
            USERS.find_into(to, (text, len), result, |user| user.pw_uid == uid)
        } else {
            real(uid, to, text, len, result)
        }
    }
    /// getpwent(3)
    fn [getpwent]() -> *mut passwd {
        if USERS.mapped() { USERS.each() } else { real() }
    }
    /// getpwent_r(3)
    fn [getpwent_r](
        to: *mut passwd, text: *mut c_char, len: usize, result: *mut *mut passwd
    ) -> c_int {
        if USERS.mapped() {
            USERS.each_into(to, (text, len), result)
        } else {
            real(to, text, len, result)
        }
    }
    /// setpwent(3), endpwent(3)
    fn [setpwent endpwent]() -> () {
        if USERS.mapped() { USERS.end() } else { real() }
    }
    /// getgrnam(3)
    fn [getgrnam](name: *const c_char) -> *mut group {
        if GROUPS.mapped() { GROUPS.find(|group| is(group.gr_name, name)) } else { real(name) }
    }
    /// getgrgid(3)
    fn [getgrgid](gid: gid_t) -> *mut group {
        if GROUPS.mapped() { GROUPS.find(|group| group.gr_gid == gid) } else { real(gid) }
    }
    /// getgrnam_r(3)
    fn [getgrnam_r](
        name: *const c_char, to: *mut group, text: *mut c_char, len: usize, result: *mut *mut group
    ) -> c_int {
        if GROUPS.mapped() {
            GROUPS.find_into(to, (text, len), result, |group| is(group.gr_name, name))
        } else {
            real(name, to, text, len, result)
        }
    }
    /// getgrgid_r(3)
    fn [getgrgid_r](
        gid: gid_t, to: *mut group, text: *mut c_char, len: usize, result: *mut *mut group
    ) -> c_int {
        if GROUPS.mapped() {
            GROUPS.find_into(to, (text, len), result, |group| group.gr_gid == gid)
        } else {
            real(gid, to, text, len, result)
        }
    }
    /// getgrent(3)
    fn [getgrent]() -> *mut group {
        if GROUPS.mapped() { GROUPS.each() } else { real() }
    }
    /// getgrent_r(3)
    fn [getgrent_r](
        to: *mut group, text: *mut c_char, len: usize, result: *mut *mut group
    ) -> c_int {
        if GROUPS.mapped() {
            GROUPS.each_into(to, (text, len), result)
        } else {
            real(to, text, len, result)
        }
    }
    /// setgrent(3), endgrent(3)
    fn [setgrent endgrent]() -> () {
        if GROUPS.mapped() { GROUPS.end() } else { real() }
    }
}
