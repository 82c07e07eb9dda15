/* The minimal agent by a seccomp filter that raises SIGSYS (SECCOMP_RET_TRAP) for the calls of the
 * set, unless they come from this library's code.
 *
 * The filter survives exec and the handler does not: the next program is killed by its first call.
 * That is what the technique is, and what the table shows. */
#include "signals.h"

__attribute__((constructor)) static void start(void) {
  struct range own = handle_sigsys();
  struct sock_filter code[64];
  struct sock_fprog program = {0, code};
  if (own.start >> 32 != (own.end - 1) >> 32) {
    errno = EINVAL;
    fail("this library lies across a border that the filter cannot compare");
  }
  program.len = filter_calls(code, CALLS, CALLS_COUNT, SECCOMP_RET_TRAP, own.start, own.end);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  if (raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program, 0, 0, 0) != 0)
    fail("no seccomp filter");
}
