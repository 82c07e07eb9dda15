/* The minimal agent by ptrace: `trace classic COMMAND` stops every call twice, `trace seccomp
 * COMMAND` stops the calls of the set once, by a filter. Each stop reads the call's number and
 * arguments and goes on. Processes and threads that the command starts are followed. */
#include "calls.h"
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif
#define ENTRY 1
#define EXIT 2
#define SECCOMP_STOP 3

/* struct ptrace_syscall_info of linux/ptrace.h, which does not go together with sys/ptrace.h. */
struct info {
  uint8_t op;
  uint8_t pad[3];
  uint32_t arch;
  uint64_t pointer, stack;
  union {
    struct {
      uint64_t nr, args[6];
    } entry;
    struct {
      int64_t value;
      uint8_t is_error;
    } exit;
  };
};

static unsigned long calls;
static pid_t probing;

static void answer(pid_t pid, bool at_exit) {
  struct user_regs_struct regs;
  ptrace(PTRACE_GETREGS, pid, 0, &regs);
  if (!at_exit) regs.orig_rax = (unsigned long long)-1;
  regs.rax = PROBED;
  ptrace(PTRACE_SETREGS, pid, 0, &regs);
}

static void on_stop(pid_t pid) {
  struct info info;
  memset(&info, 0, sizeof info);
  if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0) return;
  if (info.op == EXIT) {
    if (probing == pid) answer(pid, true), probing = 0;
    return;
  }
  calls++;
  if (is_probe((long)info.entry.nr, (long)info.entry.args[0])) {
    answer(pid, false);
    if (info.op == ENTRY) probing = pid;
  }
}

static void start(char **command, bool filter) {
  if (ptrace(PTRACE_TRACEME, 0, 0, 0)) fail("ptrace");
  raise(SIGSTOP);
  if (filter) {
    struct sock_filter code[64];
    struct sock_fprog program = {0, code};
    program.len = filter_calls(code, CALLS, CALLS_COUNT, SECCOMP_RET_TRACE, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) fail("no seccomp filter");
  }
  execvp(command[0], command);
  fail(command[0]);
}

int main(int argc, char **argv) {
  if (argc < 3) return 125;
  bool filter = !strcmp(argv[1], "seccomp");
  int status;
  pid_t first = fork();
  if (first == 0) start(argv + 2, filter);
  if (first < 0 || waitpid(first, &status, 0) != first || !WIFSTOPPED(status)) fail("fork");
  long options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK |
                 PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
  if (filter) options |= PTRACE_O_TRACESECCOMP;
  if (ptrace(PTRACE_SETOPTIONS, first, 0, options)) fail("ptrace");
  int go = filter ? PTRACE_CONT : PTRACE_SYSCALL, ended = 125;
  ptrace(go, first, 0, 0);
  pid_t pid;
  while ((pid = waitpid(-1, &status, __WALL)) > 0) {
    if (!WIFSTOPPED(status)) {
      if (pid == first) ended = as_child(status);
      continue;
    }
    int signal = WSTOPSIG(status), event = status >> 16;
    if (signal == (SIGTRAP | 0x80) || event == PTRACE_EVENT_SECCOMP) {
      on_stop(pid);
      signal = 0;
    } else if (event || signal == SIGSTOP || signal == SIGTRAP) {
      /* Events, and the stop that a new process begins with. */
      signal = 0;
    }
    ptrace(go, pid, 0, signal);
  }
  return ended;
}
