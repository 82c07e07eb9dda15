/* The minimal agent by seccomp user notification: a thread of another process is told of each call.
 *
 *   notify continue COMMAND      says of every call of the set: let it happen
 *   notify addfd COMMAND         is told of opens only, opens the file itself and puts the
 *                                descriptor into the program; everything else is never caught
 *   notify continue-late ...     without SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP */
#include "calls.h"
#include <pthread.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static unsigned long calls;
static int listener;
static bool adding;

/* Sends a descriptor, or receives one if `sent` is negative. */
static int pass_fd(int socket, int sent) {
  char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {0};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  if (sent < 0) {
    if (recvmsg(socket, &message, 0) != 1) return -1;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (!part) return -1;
    memcpy(&sent, CMSG_DATA(part), sizeof sent);
    return sent;
  }
  struct cmsghdr *part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof sent);
  memcpy(CMSG_DATA(part), &sent, sizeof sent);
  return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

/* Opens for the program; false: let it do so itself. */
static bool add(const struct seccomp_notif *told, struct seccomp_notif_resp *reply) {
  bool at = told->data.nr == SYS_openat;
  if (!at && told->data.nr != SYS_open) return false;
  const __u64 *args = told->data.args + (at ? 1 : 0);
  char path[4096];
  struct iovec to = {path, sizeof path - 1}, from = {(void *)args[0], 4096 - (args[0] & 4095)};
  ssize_t got = process_vm_readv((pid_t)told->pid, &to, 1, &from, 1, 0);
  if (got <= 0 || path[0] != '/' || !memchr(path, 0, (size_t)got)) return false;
  int flags = (int)args[1], fd = open(path, flags | O_CLOEXEC, (mode_t)args[2]);
  if (fd < 0) {
    reply->error = -errno;
    return true;
  }
  struct seccomp_notif_addfd add = {0};
  add.id = told->id;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  add.srcfd = (__u32)fd;
  add.newfd_flags = flags & O_CLOEXEC;
  int given = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
  close(fd);
  /* The answer is sent already. */
  if (given >= 0) reply->id = 0;
  return given >= 0;
}

static void *serve(void *unused) {
  (void)unused;
  struct seccomp_notif told;
  for (;;) {
    memset(&told, 0, sizeof told);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &told)) {
      if (errno == EINTR || errno == ENOENT) continue;
      return NULL;
    }
    calls++;
    struct seccomp_notif_resp reply = {0};
    reply.id = told.id;
    if (is_probe(told.data.nr, (long)told.data.args[0])) reply.val = PROBED;
    else if (!adding || !add(&told, &reply)) reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    if (reply.id) ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
  }
}

static void start(char **command, int socket) {
  struct sock_filter code[64];
  struct sock_fprog program = {0, code};
  const int opens[] = {SYS_open, SYS_openat};
  if (adding) {
    program.len = filter_calls(code, opens, 2, SECCOMP_RET_USER_NOTIF, 0, 0);
    /* And the call that proves it: close(PROBE). Instruction 6 allows what is left. */
    struct sock_filter rest[] = {
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 3), LOAD(FIELD(args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)PROBE, 0, 1),
        RETURN(SECCOMP_RET_USER_NOTIF), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_USER_NOTIF)};
    memcpy(code + 6, rest, sizeof rest);
    code[4].jt = 6;
    code[5].jt = 5;
    program.len = 12;
  } else {
    program.len = filter_calls(code, CALLS, CALLS_COUNT, SECCOMP_RET_USER_NOTIF, 0, 0);
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
  long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  if (fd < 0) fail("no user notification");
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (pass_fd(socket, fd)) fail("cannot pass the listener on");
  execvp(command[0], command);
  fail(command[0]);
}

int main(int argc, char **argv) {
  int pair[2], status;
  pthread_t thread;
  if (argc < 3 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return 125;
  adding = !strncmp(argv[1], "addfd", 5);
  pid_t child = fork();
  if (child == 0) start(argv + 2, pair[1]);
  close(pair[1]);
  if (child < 0 || (listener = pass_fd(pair[0], -1)) < 0) return 125;
  if (!strstr(argv[1], "-late") && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                                         SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP))
    fail("no synchronous wake-up (Linux 6.6)");
  if (pthread_create(&thread, NULL, serve, NULL)) return 125;
  if (waitpid(child, &status, 0) != child) return 125;
  return as_child(status);
}
