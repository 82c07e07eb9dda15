/* What the two agents that work by SIGSYS share: the handler makes the call itself, from this
 * library's own code, whose calls are not caught, and returns by a call from there too. */
#include "calls.h"
#include <link.h>
#include <signal.h>
#include <ucontext.h>

static unsigned long calls;

struct kernel_action {
  void (*handler)(int, siginfo_t *, void *);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};

void agent_restorer(void) __attribute__((visibility("hidden")));
__asm__(".text\n.hidden agent_restorer\n.globl agent_restorer\n"
        "agent_restorer: mov $15, %eax\n  syscall\n");

/* A blocked SIGSYS kills, so the program must not be able to block it. */
#define SIGSYS_BIT (1ul << (SIGSYS - 1))

/* sigsuspend and sigaction, without SIGSYS in their masks. */
static void make_with_sigsys(greg_t *r, long nr) {
  struct kernel_action action;
  uint64_t mask;
  long first = r[REG_RDI], second = r[REG_RSI];
  if (nr == SYS_rt_sigsuspend) {
    mask = *(uint64_t *)first & ~SIGSYS_BIT;
    first = (long)&mask;
  } else if (second) {
    action = *(struct kernel_action *)second;
    action.mask &= ~SIGSYS_BIT;
    second = (long)&action;
  }
  r[REG_RAX] = raw(nr, first, second, r[REG_RDX], r[REG_R10], 0, 0);
}

static void on_call(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  ucontext_t *at = context;
  greg_t *r = at->uc_mcontext.gregs;
  long nr = r[REG_RAX];
  calls++;
  if (nr == SYS_rt_sigreturn)
    /* The program's own handler returns: its frame, not ours. */
    __asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n syscall" ::"r"(r[REG_RSP]) : "memory");
  if (nr == SYS_rt_sigsuspend || nr == SYS_rt_sigaction) {
    make_with_sigsys(r, nr);
    return;
  }
  if (nr == SYS_rt_sigprocmask) {
    /* The mask that counts is the one that our return will set. */
    uint64_t *mask = (uint64_t *)&at->uc_sigmask, old = *mask;
    const uint64_t *given = (const uint64_t *)r[REG_RSI];
    if (given && r[REG_RDI] == SIG_BLOCK) *mask |= *given;
    if (given && r[REG_RDI] == SIG_UNBLOCK) *mask &= ~*given;
    if (given && r[REG_RDI] == SIG_SETMASK) *mask = *given;
    *mask &= ~SIGSYS_BIT;
    if (r[REG_RDX]) *(uint64_t *)r[REG_RDX] = old;
    r[REG_RAX] = 0;
    return;
  }
  r[REG_RAX] = is_probe(nr, r[REG_RDI]) ? PROBED
                                        : raw(nr, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10],
                                              r[REG_R8], r[REG_R9]);
}

struct range {
  uintptr_t start, end;
};

static int find_own(struct dl_phdr_info *info, size_t size, void *to) {
  (void)size;
  struct range *range = to;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    uintptr_t start = info->dlpi_addr + part->p_vaddr, here = (uintptr_t)&find_own;
    if (part->p_type == PT_LOAD && here >= start && here < start + part->p_memsz) {
      range->start = start;
      range->end = start + part->p_memsz;
      return 1;
    }
  }
  return 0;
}

static struct range handle_sigsys(void) {
  struct range own = {0};
  dl_iterate_phdr(find_own, &own);
  /* SA_SIGINFO, SA_RESTORER, SA_NODEFER */
  struct kernel_action action = {on_call, 4 | 0x04000000 | 0x40000000, agent_restorer, 0};
  if (!own.end || raw(SYS_rt_sigaction, SIGSYS, (long)&action, 0, 8, 0, 0) != 0)
    fail("no handler for SIGSYS");
  return own;
}
