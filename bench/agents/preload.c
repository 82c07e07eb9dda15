/* The minimal agent by LD_PRELOAD: a function for each symbol, which counts and calls the next one
 * of that name. Compiled without libc's headers for these functions, whose types it simplifies. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include "symbols.h"

typedef long ssize_t;
typedef long off_t;

static unsigned long calls;

#define REAL(name, result, params, args) static result(*real_##name) params;
SYMBOLS(REAL)
static int (*real_close)(int);

/* Found at the start, so that no call has to ask. */
__attribute__((constructor)) static void start(void) {
#define FIND(name, result, params, args) real_##name = (result(*) params)dlsym(RTLD_NEXT, #name);
  SYMBOLS(FIND)
  real_close = (int (*)(int))dlsym(RTLD_NEXT, "close");
}

#define HOOK(name, result, params, args) \
  result name params {                   \
    if (!real_##name) start();           \
    calls++;                             \
    return real_##name args;             \
  }
SYMBOLS(HOOK)

int close(int fd) {
  if (!real_close) start();
  calls++;
  return fd == -1077 ? 77 : real_close(fd);
}
