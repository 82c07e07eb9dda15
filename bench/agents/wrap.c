/* The minimal agent of a program that is linked anew: the linker (`ld --wrap`) sends each call here
 * and gives the original function another name. */
#include <stddef.h>
#include "symbols.h"

typedef long ssize_t;
typedef long off_t;

static unsigned long calls;

#define HOOK(name, result, params, args) \
  result __real_##name params;           \
  result __wrap_##name params;           \
  result __wrap_##name params {          \
    calls++;                             \
    return __real_##name args;           \
  }
SYMBOLS(HOOK)

int __real_close(int);
int __wrap_close(int fd);
int __wrap_close(int fd) {
  calls++;
  return fd == -1077 ? 77 : __real_close(fd);
}
