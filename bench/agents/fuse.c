/* The minimal kernel callout: a FUSE file system that shows a directory, without any library.
 *
 *   fuse direct SOURCE PLACE COMMAND    nothing is cached: every call is a message
 *   fuse cached SOURCE PLACE COMMAND    the kernel keeps names, attributes and pages for an hour
 *
 * It is mounted in a mount namespace of its own, which goes when the last process has ended. The
 * thread that serves is this process's; the command is its child. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NODES 4096
#define BUFFER ((1 << 20) + 65536)

static char *nodes[NODES + 1]; /* a path for each node number; 1 is the root */
static int device;
static bool cached;
static char request[BUFFER], data[BUFFER];

static void reply(const struct fuse_in_header *in, int error, const void *body, size_t size) {
  struct fuse_out_header out = {(uint32_t)(sizeof out + (error ? 0 : size)), -error, in->unique};
  struct iovec parts[] = {{&out, sizeof out}, {(void *)body, size}};
  if (writev(device, parts, error || size == 0 ? 1 : 2) < 0 && errno != ENOENT) perror("fuse");
}

static const char *path_of(uint64_t node) {
  return node <= NODES && nodes[node] ? nodes[node] : "/nonexistent";
}

/* The number of a path, new if need be; 0 if there is no room. */
static uint64_t node_of(const char *path) {
  for (uint64_t node = 1; node <= NODES; node++) {
    if (!nodes[node]) nodes[node] = strdup(path);
    if (nodes[node] && !strcmp(nodes[node], path)) return node;
  }
  return 0;
}

static void attributes(const struct stat *s, uint64_t node, struct fuse_attr *to) {
  memset(to, 0, sizeof *to);
  to->ino = node;
  to->size = (uint64_t)s->st_size;
  to->blocks = (uint64_t)s->st_blocks;
  to->atime = (uint64_t)s->st_atim.tv_sec;
  to->mtime = (uint64_t)s->st_mtim.tv_sec;
  to->ctime = (uint64_t)s->st_ctim.tv_sec;
  to->mtimensec = (uint32_t)s->st_mtim.tv_nsec;
  to->mode = s->st_mode;
  to->nlink = (uint32_t)s->st_nlink;
  to->uid = s->st_uid;
  to->gid = s->st_gid;
  to->blksize = 4096;
}

static void do_init(const struct fuse_in_header *in, const struct fuse_init_in *given) {
  struct fuse_init_out out = {0};
  out.major = FUSE_KERNEL_VERSION;
  out.minor = given->minor < FUSE_KERNEL_MINOR_VERSION ? given->minor : FUSE_KERNEL_MINOR_VERSION;
  out.max_readahead = given->max_readahead;
  out.flags = given->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_READ);
  out.max_background = 16;
  out.max_write = 1 << 20;
  out.max_pages = 256;
  reply(in, 0, &out, sizeof out);
}

static void do_lookup(const struct fuse_in_header *in, const char *name) {
  struct stat s;
  struct fuse_entry_out out = {0};
  char path[4096];
  int size = snprintf(path, sizeof path, "%s/%s", path_of(in->nodeid), name);
  if (size < 0 || (size_t)size >= sizeof path) errno = ENAMETOOLONG;
  if (size < 0 || (size_t)size >= sizeof path || lstat(path, &s)) {
    reply(in, errno, NULL, 0);
    return;
  }
  out.nodeid = node_of(path);
  out.entry_valid = out.attr_valid = cached ? 3600 : 0;
  attributes(&s, out.nodeid, &out.attr);
  reply(in, out.nodeid ? 0 : ENFILE, &out, sizeof out);
}

static void do_getattr(const struct fuse_in_header *in) {
  struct stat s;
  struct fuse_attr_out out = {0};
  if (lstat(path_of(in->nodeid), &s)) {
    reply(in, errno, NULL, 0);
    return;
  }
  out.attr_valid = cached ? 3600 : 0;
  attributes(&s, in->nodeid, &out.attr);
  reply(in, 0, &out, sizeof out);
}

static void do_open(const struct fuse_in_header *in, uint32_t flags) {
  struct fuse_open_out out = {0};
  int mask = O_ACCMODE | O_TRUNC | O_APPEND | (in->opcode == FUSE_OPENDIR ? O_DIRECTORY : 0);
  int fd = open(path_of(in->nodeid), ((int)flags | O_DIRECTORY * (in->opcode == FUSE_OPENDIR)) & mask);
  if (fd < 0) {
    reply(in, errno, NULL, 0);
    return;
  }
  out.fh = (uint64_t)fd;
  if (in->opcode == FUSE_OPEN) out.open_flags = cached ? FOPEN_KEEP_CACHE : FOPEN_DIRECT_IO;
  else if (cached) out.open_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR;
  reply(in, 0, &out, sizeof out);
}

static void do_read(const struct fuse_in_header *in, const struct fuse_read_in *given) {
  size_t wanted = given->size < sizeof data ? given->size : sizeof data;
  ssize_t got = pread((int)given->fh, data, wanted, (off_t)given->offset);
  reply(in, got < 0 ? errno : 0, data, got < 0 ? 0 : (size_t)got);
}

static void do_write(const struct fuse_in_header *in, const struct fuse_write_in *given) {
  struct fuse_write_out out = {0};
  ssize_t put = pwrite((int)given->fh, given + 1, given->size, (off_t)given->offset);
  out.size = put < 0 ? 0 : (uint32_t)put;
  reply(in, put < 0 ? errno : 0, &out, sizeof out);
}

/* The whole directory is asked of the kernel each time; offsets count entries. */
static void do_readdir(const struct fuse_in_header *in, const struct fuse_read_in *given) {
  size_t used = 0, room = given->size < sizeof data ? given->size : sizeof data;
  uint64_t at = 0;
  int copy = open(path_of(in->nodeid), O_RDONLY | O_DIRECTORY);
  DIR *dir = copy < 0 ? NULL : fdopendir(copy);
  if (!dir) {
    reply(in, errno, NULL, 0);
    return;
  }
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (at++ < given->offset) continue;
    size_t name = strlen(entry->d_name), size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name);
    if (used + size > room) break;
    struct fuse_dirent *to = (struct fuse_dirent *)(data + used);
    memset(to, 0, size);
    to->ino = entry->d_ino;
    to->off = at;
    to->namelen = (uint32_t)name;
    to->type = entry->d_type;
    memcpy(to->name, entry->d_name, name);
    used += size;
  }
  closedir(dir);
  reply(in, 0, data, used);
}

static void do_statfs(const struct fuse_in_header *in) {
  struct fuse_statfs_out out = {0};
  out.st.bsize = out.st.frsize = 4096;
  out.st.namelen = 255;
  reply(in, 0, &out, sizeof out);
}

static void one(void) {
  const struct fuse_in_header *in = (const struct fuse_in_header *)request;
  const void *body = in + 1;
  switch (in->opcode) {
    case FUSE_INIT: do_init(in, body); break;
    case FUSE_LOOKUP: do_lookup(in, body); break;
    case FUSE_GETATTR: do_getattr(in); break;
    case FUSE_OPEN:
    case FUSE_OPENDIR: do_open(in, ((const struct fuse_open_in *)body)->flags); break;
    case FUSE_READ: do_read(in, body); break;
    case FUSE_WRITE: do_write(in, body); break;
    case FUSE_READDIR: do_readdir(in, body); break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      close((int)((const struct fuse_release_in *)body)->fh);
      reply(in, 0, NULL, 0);
      break;
    case FUSE_STATFS: do_statfs(in); break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: break;
    default: reply(in, ENOSYS, NULL, 0);
  }
}

static void *serve(void *unused) {
  (void)unused;
  for (;;) {
    ssize_t got = read(device, request, sizeof request);
    if (got < 0 && errno == ENODEV) return NULL;
    if (got >= (ssize_t)sizeof(struct fuse_in_header)) one();
  }
}

static void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(125);
}

int main(int argc, char **argv) {
  char options[128];
  int status;
  pthread_t thread;
  if (argc < 5) return 125;
  cached = !strcmp(argv[1], "cached");
  node_of(argv[2]);
  device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) fail("/dev/fuse cannot be used");
  if (unshare(CLONE_NEWNS)) fail("no mount namespace");
  if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail("no private mounts");
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, getuid(),
           getgid());
  if (mount("bench", argv[3], "fuse", MS_NOSUID | MS_NODEV, options)) fail("cannot mount FUSE");
  if (pthread_create(&thread, NULL, serve, NULL)) return 125;
  pid_t child = fork();
  if (child == 0) {
    execvp(argv[4], argv + 4);
    fail(argv[4]);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) return 125;
  umount2(argv[3], MNT_DETACH);
  return (status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}
