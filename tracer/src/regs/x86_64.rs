//! x86_64: the number is in `orig_rax`, the arguments in rdi rsi rdx r10 r8 r9, the result in rax.

/// The value of `seccomp_data.arch` for this architecture's own calls.
pub(crate) const AUDIT_ARCH: u32 = 0xC000_003E;
/// Numbers from here on belong to the x32 calls, which share the value above.
pub(crate) const FOREIGN_BIT: u32 = 0x4000_0000;
/// Length of the instruction that makes a call.
const SYSCALL_LEN: u64 = 2;

/// All general registers of a stopped guest thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regs(pub(crate) libc::user_regs_struct);

#[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits on x86_64")]
impl Regs {
    /// The number of the call that is being entered or left.
    pub(crate) const fn nr(&self) -> usize {
        self.0.orig_rax as usize
    }

    /// The call's arguments.
    pub(crate) const fn args(&self) -> [usize; 6] {
        let r = &self.0;
        [
            r.rdi as usize,
            r.rsi as usize,
            r.rdx as usize,
            r.r10 as usize,
            r.r8 as usize,
            r.r9 as usize,
        ]
    }

    /// The result, at the exit of a call.
    pub(crate) const fn result(&self) -> isize {
        self.0.rax.cast_signed() as isize
    }

    /// The address behind the call's instruction.
    pub(crate) const fn ip(&self) -> u64 {
        self.0.rip
    }

    /// The stack pointer.
    pub(crate) const fn sp(&self) -> usize {
        self.0.rsp as usize
    }
}

impl Regs {
    /// Replaces the arguments only.
    pub(crate) const fn set_args(&mut self, args: [usize; 6]) {
        let r = &mut self.0;
        [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9] = [
            args[0] as u64,
            args[1] as u64,
            args[2] as u64,
            args[3] as u64,
            args[4] as u64,
            args[5] as u64,
        ];
    }

    /// At the entry of a call: makes it another one.
    pub(crate) const fn set_call(&mut self, nr: usize, args: [usize; 6]) {
        self.0.orig_rax = nr as u64;
        self.set_args(args);
    }

    /// The call is over with this result: the kernel neither makes it (at the entry) nor restarts
    /// it (at the exit).
    pub(crate) const fn set_done(&mut self, value: isize) {
        self.0.orig_rax = u64::MAX;
        self.0.rax = (value as i64).cast_unsigned();
    }

    /// At the exit of a call: its result is this one. Unlike after [`Regs::set_done`] the kernel may
    /// restart the call when the result is one of its restart codes.
    pub(crate) const fn set_result(&mut self, value: isize) {
        self.0.rax = (value as i64).cast_unsigned();
    }

    /// At the exit of a call: makes the guest enter it again, as the registers were at the entry.
    pub(crate) const fn step_back(&mut self) {
        self.0.rip -= SYSCALL_LEN;
        self.0.rax = self.0.orig_rax;
        self.0.orig_rax = u64::MAX;
    }
}
