/* What all minimal agents share: the set of calls that they catch, the one call that they answer,
 * and the number of calls caught.
 *
 * An agent catches the calls of CALLS, counts them, and lets them happen: it changes nothing. The
 * exception is close(PROBE), which every agent answers with PROBED where the kernel says EBADF, so
 * that the program that is measured can tell whether it is caught at all. */
#ifndef CALLS_H
#define CALLS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROBE (-1077)
#define PROBED 77

static const int CALLS[] = {
    SYS_getpid, SYS_read,  SYS_write,      SYS_pread64,    SYS_pwrite64, SYS_open,
    SYS_openat, SYS_close, SYS_stat,       SYS_lstat,      SYS_fstat,    SYS_newfstatat,
    SYS_statx,  SYS_lseek, SYS_getdents64, SYS_access,     SYS_readlink, SYS_chdir,
    SYS_unlink, SYS_mkdir, SYS_rename,
};
#define CALLS_COUNT (sizeof CALLS / sizeof CALLS[0])

static inline int in_calls(long nr) {
  for (size_t i = 0; i < CALLS_COUNT; i++)
    if (CALLS[i] == nr) return 1;
  return 0;
}

static inline int is_probe(long nr, long first) { return nr == SYS_close && (int)first == PROBE; }

/* A system call without libc. */
static inline long raw(long nr, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#define FIELD(name) (uint32_t) offsetof(struct seccomp_data, name)
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)

/* Writes a filter that returns `action` for the calls, and allows everything else. Calls from code
 * in [start, end) are allowed too, if end is not 0. Gives the number of instructions. */
static inline unsigned short filter_calls(struct sock_filter *code, const int *calls, size_t count,
                                          uint32_t action, uintptr_t start, uintptr_t end) {
  struct sock_filter *at = code;
  *at++ = (struct sock_filter)LOAD(FIELD(arch));
  *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  *at++ = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
  *at++ = (struct sock_filter)LOAD(FIELD(nr));
  for (size_t i = 0; i < count; i++) {
    uint8_t past = (uint8_t)(count - i);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], past, 0);
  }
  *at++ = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
  if (end) {
    *at++ = (struct sock_filter)LOAD(FIELD(instruction_pointer) + 4);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(start >> 32), 0, 4);
    *at++ = (struct sock_filter)LOAD(FIELD(instruction_pointer));
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)start, 0, 2);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)end, 1, 0);
    *at++ = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
  }
  *at++ = (struct sock_filter)RETURN(action);
  return (unsigned short)(at - code);
}

/* Ends with a sentence. */
__attribute__((noreturn, unused)) static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(125);
}

/* Makes a parent end as its child did. */
__attribute__((unused)) static int as_child(int status) {
  return (status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}
#endif
