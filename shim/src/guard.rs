//! The memory of a call that is (or may be) ours: slots.
//!
//! A slot holds everything one call needs: scratch buffers, places for rewritten strings, a
//! connection to the agent. There are no thread-locals here; a slot is claimed by writing the
//! thread's id into its owner word, so a signal handler that interrupts a call of the same thread,
//! or another thread, simply takes the next one. That makes re-entry harmless, and nothing waits.
//!
//! ```text
//! owner page (wiped at fork)   | mark | owner 0 | owner 1 | …
//! slots (private memory)       | slot 0: client, scratch, places | slot 1 | …
//! ```
//!
//! After a fork the child finds the owner page zeroed (`MADV_WIPEONFORK`) and starts anew; the
//! sockets it inherited belong to its parent, which the client notices by itself.
#![expect(unsafe_code, reason = "slots are mapped memory, handed out once at a time")]

use crate::{agent, c, debug, memory, namespace};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use parrot_common::client::SessionClient;
use parrot_common::handler::Scratch;
use parrot_common::sys::{self, arg};
use parrot_common::{Reply, Request, Stop};
use syscalls::Sysno;

/// Slots that are mapped together; more calls at once than this fail with ENOMEM.
const COUNT: usize = 64;
/// The owner of a slot that did not say which thread it is.
const SOMEBODY: u32 = u32::MAX;
/// The first word of the owner page, once it is set up.
const MARK: u32 = 0x7061_7272;

/// Up to three strings that the kernel reads in place of the guest's own.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Places {
    bytes: [[u8; 4096]; 3],
    used: usize,
}

impl Places {
    /// Copies bytes to the next free place; its address.
    pub(crate) fn put(&mut self, data: &[u8]) -> Option<usize> {
        let place = self.bytes.get_mut(self.used)?;
        place.get_mut(..data.len())?.copy_from_slice(data);
        self.used = self.used.saturating_add(1);
        Some(place.as_ptr() as usize)
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }
}

/// The memory of one call. All-zero bytes are a slot whose client is not made yet.
#[repr(C)]
pub(crate) struct Slot {
    client_made: bool,
    client: core::mem::MaybeUninit<SessionClient<'static>>,
    pub(crate) good: (usize, usize),
    pub(crate) places: Places,
    pub(crate) scratch: Scratch,
}

/// The parts of a claimed slot.
pub(crate) struct Parts<'s> {
    pub(crate) client: &'s mut SessionClient<'static>,
    pub(crate) good: &'s mut (usize, usize),
    pub(crate) places: &'s mut Places,
    pub(crate) scratch: &'s mut Scratch,
}

#[repr(C)]
struct Owners {
    mark: AtomicU32,
    owner: [AtomicU32; COUNT],
}

static OWNERS: AtomicUsize = AtomicUsize::new(0);
static SLOTS: AtomicUsize = AtomicUsize::new(0);
/// Which slots have a client.
static MADE: AtomicU64 = AtomicU64::new(0);
const _: () = assert!(COUNT == 64, "one bit each");

/// A claimed slot; free again when dropped.
pub(crate) struct Claim {
    owner: &'static AtomicU32,
    slot: *mut Slot,
    index: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.owner.store(0, Ordering::Release);
    }
}

impl Claim {
    /// The slot's parts.
    pub(crate) fn parts(&mut self) -> Option<Parts<'_>> {
        // SAFETY: the slot is mapped for good, was zero or used as a slot before, and the owner
        // word says that it is this claim's alone.
        let slot = unsafe { &mut *self.slot };
        if !slot.client_made {
            let session = namespace::get()?.session;
            let client = SessionClient::new(session, Some(agent::start));
            slot.client.write(client.watched(watch));
            slot.client_made = true;
            let bit = 1_u64.wrapping_shl(self.index as u32);
            MADE.fetch_or(bit, Ordering::Relaxed);
        }
        slot.places.clear();
        // SAFETY: written above or in an earlier claim.
        let client = unsafe { slot.client.assume_init_mut() };
        let Slot { good, places, scratch, .. } = slot;
        Some(Parts { client, good, places, scratch })
    }
}

/// Sees every request of a client, for the trace.
fn watch(request: &Request<'_>, answer: Result<&Reply, &Stop>) {
    if debug::on(debug::REMOTE) {
        debug::request(request, answer);
    }
}

/// Claims a slot. `None`: no memory, or more calls at once than there are slots.
///
/// `brief`: the call is a copy out of memory as a rule. Asking for the thread's number would cost it
/// a third of its time, so the slot is marked as somebody's only; should the thread be cancelled in
/// it, the slot is lost.
pub(crate) fn claim(brief: bool) -> Option<Claim> {
    let owners = owners()?;
    let me = if brief { SOMEBODY } else { sys::gettid().cast_unsigned() };
    claim_for(owners, me).or_else(|| {
        reclaim(owners);
        claim_for(owners, me)
    })
}

fn claim_for(owners: &'static Owners, me: u32) -> Option<Claim> {
    for (index, owner) in owners.owner.iter().enumerate() {
        if owner.load(Ordering::Relaxed) == 0
            && owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            let at = SLOTS.load(Ordering::Acquire);
            let offset = index.wrapping_mul(size_of::<Slot>());
            let slot = core::ptr::with_exposed_provenance_mut(at.wrapping_add(offset));
            return Some(Claim { owner, slot, index });
        }
    }
    None
}

/// Frees the slots of threads that ended in a call (cancelled, or left by `longjmp`).
#[cold]
fn reclaim(owners: &Owners) {
    let pid = arg(sys::getpid());
    for owner in &owners.owner {
        let tid = owner.load(Ordering::Relaxed);
        let dead = memory::raw(Sysno::tgkill, [pid, tid as usize, 0, 0, 0, 0]).is_err();
        if tid != 0 && tid != SOMEBODY && dead {
            let _ = owner.compare_exchange(tid, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// The owner page, mapped at the first use.
fn owners() -> Option<&'static Owners> {
    let mut at = OWNERS.load(Ordering::Acquire);
    if at == 0 {
        at = set_up()?;
    }
    // SAFETY: the mapped page, never unmapped; all its bytes are atomics.
    let owners = unsafe { &*core::ptr::with_exposed_provenance::<Owners>(at) };
    if owners.mark.load(Ordering::Relaxed) != MARK {
        // A forked child, still alone: what the slots hold is the parent's state in the middle of
        // anything. Their connections are the parent's too.
        forked();
        owners.mark.store(MARK, Ordering::Relaxed);
    }
    Some(owners)
}

#[cold]
fn set_up() -> Option<usize> {
    let errno = c::errno();
    let page = memory::map_zeroed(4096)?;
    let slots_len = size_of::<Slot>().saturating_mul(COUNT);
    let slots = memory::map_zeroed(slots_len)?;
    let advice = arg(libc::MADV_WIPEONFORK);
    let _ = memory::raw(Sysno::madvise, [page, 4096, advice, 0, 0, 0]);
    // SAFETY: the fresh page.
    let owners = unsafe { &*core::ptr::with_exposed_provenance::<Owners>(page) };
    owners.mark.store(MARK, Ordering::Relaxed);
    let raced = SLOTS.compare_exchange(0, slots, Ordering::AcqRel, Ordering::Acquire).is_err();
    if raced {
        memory::unmap(slots, slots_len);
        memory::unmap(page, 4096);
        // The other thread publishes the page next.
        loop {
            let at = OWNERS.load(Ordering::Acquire);
            if at != 0 {
                return Some(at);
            }
            let _ = memory::raw(Sysno::sched_yield, [0; 6]);
        }
    }
    OWNERS.store(page, Ordering::Release);
    c::set_errno(errno);
    Some(page)
}

/// Calls `each` with these slots, if they have a client. For processes with one thread.
fn each_made(mut made: u64, mut each: impl FnMut(&mut Slot)) {
    let at = SLOTS.load(Ordering::Acquire);
    while made != 0 {
        let index = made.trailing_zeros() as usize;
        made &= made.wrapping_sub(1);
        let offset = index.wrapping_mul(size_of::<Slot>());
        let slot = core::ptr::with_exposed_provenance_mut::<Slot>(at.wrapping_add(offset));
        // SAFETY: a mapped slot, and this is the only thread.
        let slot = unsafe { &mut *slot };
        if slot.client_made {
            each(slot);
        }
    }
}

/// In a forked child: closes the connections of the parent's slots.
fn forked() {
    each_made(MADE.swap(0, Ordering::Relaxed), |slot| {
        // SAFETY: it was made.
        let client = unsafe { slot.client.assume_init_mut() };
        if let Some(fd) = client.descriptor() {
            let socket = crate::fds::stat(fd)
                .is_some_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFSOCK);
            if socket && fd > 255 {
                sys::close(fd);
            }
        }
        slot.client_made = false;
    });
}

/// Whether this process, which has one thread, has a connection.
pub(crate) fn connected() -> bool {
    let mut connected = false;
    each_made(MADE.load(Ordering::Relaxed), |slot| {
        // SAFETY: it was made.
        let client = unsafe { slot.client.assume_init_ref() };
        connected |= client.descriptor().is_some();
    });
    connected
}

/// After a vfork: the connections are those of the child, which had no others. Their descriptors were
/// its own, what they mapped is here. Slots that it held stay held until they are needed ([`reclaim`]).
pub(crate) fn disown() {
    each_made(MADE.swap(0, Ordering::Relaxed), |slot| {
        slot.client_made = false;
        // SAFETY: it was made, and whoever used it is gone. It closes no other process's socket.
        unsafe { slot.client.assume_init_drop() };
    });
}

/// To be called in a child right after a fork that went through us.
pub(crate) fn after_fork() {
    crate::borrow::own();
    if OWNERS.load(Ordering::Acquire) != 0 {
        let _ = owners();
    }
}
