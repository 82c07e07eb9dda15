/* The libc symbols that preload.c and wrap.c stand in for: name, result, parameters, arguments. */
#define SYMBOLS(HOOK)                                                                             \
  HOOK(getpid, int, (void), ())                                                                   \
  HOOK(read, ssize_t, (int fd, void *to, size_t size), (fd, to, size))                            \
  HOOK(write, ssize_t, (int fd, const void *from, size_t size), (fd, from, size))                 \
  HOOK(pread, ssize_t, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))             \
  HOOK(pwrite, ssize_t, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))  \
  HOOK(open, int, (const char *path, int flags, int mode), (path, flags, mode))                   \
  HOOK(openat, int, (int dir, const char *path, int flags, int mode), (dir, path, flags, mode))   \
  HOOK(stat, int, (const char *path, void *to), (path, to))                                       \
  HOOK(lstat, int, (const char *path, void *to), (path, to))                                      \
  HOOK(fstat, int, (int fd, void *to), (fd, to))                                                  \
  HOOK(lseek, off_t, (int fd, off_t at, int how), (fd, at, how))                                  \
  HOOK(getdents64, ssize_t, (int fd, void *to, size_t size), (fd, to, size))                      \
  HOOK(access, int, (const char *path, int mode), (path, mode))                                   \
  HOOK(chdir, int, (const char *path), (path))
