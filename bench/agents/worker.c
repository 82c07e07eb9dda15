/* The program that is measured under the minimal agents: the same operations, the same way of
 * timing, the same lines as `parrot-bench worker`. It is in C so that it can be linked in several
 * ways: dynamic, static, static with --wrap.
 *
 *   INDEX \t NANOSECONDS \t COUNT     a result
 *   INDEX \t ! \t STORY               an operation that failed
 *   end
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROBE (-1077)
#define PROBED 77
#define WINDOW (1u << 20)
#define LARGE (16u << 20)

extern char **environ;

static const char *path;
static int fd = -1;
static char *buffer;
static uint64_t position, window, step;
static const char *story;

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The byte that stands at an offset of every file that is read; as in sandbox.rs. */
static unsigned char pattern(uint64_t at) {
  return (unsigned char)(((at ^ (at >> 12)) * 31) & 0xff) | 1;
}

static int op_getpid(void) { return getpid() > 0 ? 0 : -1; }
static int op_stat(void) {
  struct stat s;
  return stat(path, &s);
}
static int op_fstat(void) {
  struct stat s;
  return fstat(fd, &s);
}
static int op_open(void) {
  int f = open(path, O_RDONLY);
  return f < 0 ? -1 : close(f);
}
static int rewind_fd(void) {
  position = 0;
  return lseek(fd, 0, SEEK_SET) == 0 ? 0 : -1;
}
static int full(ssize_t moved) {
  if (moved >= 0 && (uint64_t)moved != step) errno = EIO;
  return moved == (ssize_t)step ? 0 : -1;
}
static int op_read(void) {
  if (position >= window && rewind_fd()) return -1;
  position += step;
  return full(read(fd, buffer, step));
}
static int op_write(void) {
  if (position >= window && rewind_fd()) return -1;
  position += step;
  return full(write(fd, buffer, step));
}
static int op_getdents(void) {
  if (lseek(fd, 0, SEEK_SET) != 0) return -1;
  ssize_t n;
  while ((n = getdents64(fd, buffer, 32768)) > 0) {
  }
  return (int)n;
}
static int ended(pid_t pid) {
  int status;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  if (status == 0) return 0;
  static char text[80];
  if (WIFSIGNALED(status))
    snprintf(text, sizeof text, "the new program is killed: %s", strsignal(WTERMSIG(status)));
  else
    snprintf(text, sizeof text, "the new program ends with %d", WEXITSTATUS(status));
  story = text;
  return -1;
}
static int op_fork(void) {
  pid_t pid = fork();
  if (pid == 0) {
    char *argv[] = {(char *)path, NULL};
    execve(path, argv, environ);
    _exit(126);
  }
  return ended(pid);
}
static int spawned(char **argv) {
  pid_t pid;
  int error = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
  if (error) {
    errno = error;
    return -1;
  }
  return ended(pid);
}
static int op_spawn(void) {
  char *argv[] = {(char *)path, NULL};
  return spawned(argv);
}
static int op_shell(void) {
  /* Two commands, so that the shell cannot simply become the first. */
  char command[4096];
  snprintf(command, sizeof command, "%s; %s", path, path);
  char *argv[] = {"/bin/sh", "-c", command, NULL};
  return spawned(argv);
}

static int open_file(int flags, uint64_t each, uint64_t wanted) {
  struct stat s;
  fd = open(path, flags | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &s)) return -1;
  step = each;
  window = ((uint64_t)s.st_size < wanted ? (uint64_t)s.st_size : wanted) / step * step;
  if (window == 0) errno = EINVAL;
  return window ? rewind_fd() : -1;
}
/* Reads the window once and compares: warms what caches there are. */
static int verify(void) {
  uint64_t each = step, looked = window;
  step = step < 8192 ? 8192 : step;
  for (uint64_t at = 0; at + step <= looked; at += step) {
    if (full(read(fd, buffer, step))) return -1;
    for (uint64_t i = 0; i < step; i++)
      if ((unsigned char)buffer[i] != pattern(at + i)) {
        story = "wrong bytes";
        return -1;
      }
  }
  step = each;
  return rewind_fd();
}
static int start_none(void) { return 0; }
static int start_file(void) { return open_file(O_RDONLY, 1, WINDOW); }
static int start_dir(void) { return (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ? -1 : 0; }
static int start_read1(void) { return open_file(O_RDONLY, 1, WINDOW) ? -1 : verify(); }
static int start_read8k(void) { return open_file(O_RDONLY, 8192, WINDOW) ? -1 : verify(); }
static int start_read1m(void) { return open_file(O_RDONLY, 1 << 20, LARGE) ? -1 : verify(); }
static int start_write8k(void) { return open_file(O_RDWR, 8192, WINDOW); }

static const struct kind {
  const char *word;
  int (*start)(void);
  int (*op)(void);
} KINDS[] = {
    {"getpid", start_none, op_getpid},      {"stat", start_none, op_stat},
    {"fstat", start_file, op_fstat},        {"open", start_none, op_open},
    {"read1", start_read1, op_read},        {"read8k", start_read8k, op_read},
    {"read1m", start_read1m, op_read},      {"write8k", start_write8k, op_write},
    {"getdents", start_dir, op_getdents},   {"fork", start_none, op_fork},
    {"spawn", start_none, op_spawn},        {"shell", start_none, op_shell},
};

static uint64_t slow_ns;

static int batch(int (*op)(void), uint64_t count, uint64_t *took) {
  uint64_t start = now();
  for (uint64_t i = 0; i < count; i++) {
    if (op()) return -1;
    if (slow_ns)
      for (uint64_t from = now(); now() - from < slow_ns;) {
      }
  }
  *took = now() - start;
  return 0;
}

/* Warm-up, then the best of three batches: as measure.rs does. */
static int measure(int (*op)(void), uint64_t length, double *ns, uint64_t *count) {
  uint64_t took, n = 1;
  for (;; n *= 2) {
    if (batch(op, n, &took)) return -1;
    if (took * 2 >= length) break;
  }
  double each = (double)(took ? took : 1) / (double)n;
  double fewest = 100e6 / each < 10 ? 100e6 / each : 10;
  double wanted = (double)length / each;
  n = (uint64_t)(wanted > fewest ? wanted : fewest);
  if (n == 0) n = 1;
  uint64_t best = UINT64_MAX;
  for (int i = 0; i < 3; i++) {
    if (batch(op, n, &took)) return -1;
    if (took < best) best = took;
  }
  *ns = (double)best / (double)n;
  *count = n;
  return 0;
}

/* Whether what has to catch this program does. */
static int caught(const char *expect) {
  char text[1 << 16];
  if (!expect) return 1;
  if (!strcmp(expect, "answer")) return close(PROBE) == PROBED;
  if (!strcmp(expect, "nobody")) return close(PROBE) == -1;
  if (!strncmp(expect, "fs=", 3)) {
    char *end;
    unsigned long magic = strtoul(expect + 3, &end, 16);
    struct statfs s;
    return *end == ':' && !statfs(end + 1, &s) && (unsigned long)s.f_type == magic;
  }
  int tracer = !strcmp(expect, "tracer");
  FILE *file = fopen(tracer ? "/proc/self/status" : "/proc/self/maps", "r");
  if (!file) return 0;
  int found = 0;
  while (fgets(text, sizeof text, file))
    found |= tracer ? !strncmp(text, "TracerPid:", 10) && atoi(text + 10) : !!strstr(text, expect);
  fclose(file);
  return found;
}

static int one(int index, char *word, uint64_t length, const char *label, const char *slow) {
  char *equals = strchr(word, '=');
  if (equals) *equals = 0;
  path = equals ? equals + 1 : "";
  const struct kind *kind = NULL;
  for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++)
    if (!strcmp(KINDS[i].word, word)) kind = &KINDS[i];
  if (!kind) {
    fprintf(stderr, "unknown operation %s\n", word);
    return -1;
  }
  slow_ns = 0;
  size_t size = strlen(label);
  if (slow && !strncmp(slow, label, size) && slow[size] == ':') {
    const char *rest = slow + size + 1;
    size_t length_of = strlen(word);
    if (!strncmp(rest, word, length_of) && rest[length_of] == ':')
      slow_ns = strtoull(rest + length_of + 1, NULL, 10);
  }
  double ns = 0;
  uint64_t count = 0;
  errno = 0;
  story = NULL;
  if (kind->start() || measure(kind->op, length, &ns, &count))
    printf("%d\t!\t%s\n", index, story ? story : strerror(errno));
  else
    printf("%d\t%.3f\t%llu\n", index, ns, (unsigned long long)count);
  fflush(stdout);
  if (fd >= 0) close(fd);
  fd = -1;
  return 0;
}

int main(int argc, char **argv) {
  uint64_t length = 5000000;
  const char *label = "", *expect = NULL, *slow = getenv("PARROT_BENCH_SLOW");
  int index = 0;
  buffer = malloc(1 << 20);
  if (!buffer) return 125;
  memset(buffer, 1, 1 << 20);
  /* The first argument is the word `worker`. */
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "--label")) label = argv[++i];
    else if (!strcmp(argv[i], "--batch-ms")) length = strtoull(argv[++i], NULL, 10) * 1000000u;
    else if (!strcmp(argv[i], "--expect")) expect = argv[++i];
    else if (!strcmp(argv[i], "--cpu")) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(atoi(argv[++i]), &set);
      if (sched_setaffinity(0, sizeof set, &set)) {
        perror("cannot move to another CPU");
        return 125;
      }
    } else {
      if (index == 0 && !caught(expect)) {
        fprintf(stderr, "nobody catches this: %s is not true\n", expect);
        return 125;
      }
      if (one(index++, argv[i], length, label, slow)) return 125;
    }
  }
  puts("end");
  return 0;
}
