/* The minimal agent by syscall user dispatch: every call of the thread from outside this library
 * raises SIGSYS while the selector says so.
 *
 * The kernel drops the dispatch at fork, clone and exec. What a child of fork does before its exec
 * is not caught; the program that it becomes arms itself anew. Starting a process happens with the
 * selector open, because a signal handler cannot return twice on one stack. */
#include "signals.h"
#include <dlfcn.h>
#include <spawn.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

static volatile char selector;

__attribute__((constructor)) static void start(void) {
  struct range own = handle_sigsys();
  if (prctl(PR_SET_SYSCALL_USER_DISPATCH, 1L, own.start, own.end - own.start, &selector))
    fail("no syscall user dispatch");
  selector = 1;
}

pid_t fork(void) {
  static pid_t (*real)(void);
  if (!real) real = (pid_t(*)(void))dlsym(RTLD_NEXT, "fork");
  selector = 0;
  pid_t pid = real();
  if (pid != 0) selector = 1;
  return pid;
}

pid_t vfork(void) { return fork(); }

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) {
  static __typeof__(posix_spawn) *real;
  if (!real) real = (__typeof__(posix_spawn) *)dlsym(RTLD_NEXT, "posix_spawn");
  selector = 0;
  int result = real(pid, path, actions, attributes, argv, envp);
  selector = 1;
  return result;
}
