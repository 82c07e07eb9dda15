/* Descriptors that travel: by fork, vfork, exec, dup2, posix_spawn, SCM_RIGHTS. The position is one
 * for all who hold the descriptor.
 *   share FILE NEW        runs every way; FILE must start with the alphabet
 *   share child FD COUNT  reads so many bytes from a descriptor and prints them
 *   share append FD TEXT  writes a text to a descriptor */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *self;

static void show(const char *who, int fd, size_t count) {
    char bytes[64] = {0};
    ssize_t got = read(fd, bytes, count);
    if (got < 0) printf("%s: errno %d\n", who, errno);
    else printf("%s: %.*s\n", who, (int)got, bytes);
    fflush(stdout);
}

static void wait_for(pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || status != 0) printf("child: status %d\n", status);
    fflush(stdout);
}

static int start(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0) { printf("open: errno %d\n", errno); exit(1); }
    return fd;
}

static void by_fork(const char *path) {
    int fd = start(path);
    show("before fork", fd, 3);
    pid_t pid = fork();
    if (pid == 0) { show("forked child", fd, 4); _exit(0); }
    wait_for(pid);
    show("after fork", fd, 3);
    if ((pid = fork()) == 0) { lseek(fd, 20, SEEK_SET); _exit(0); }
    wait_for(pid);
    show("after the child's lseek", fd, 6);
    close(fd);
}

static void by_dup(const char *path) {
    int fd = start(path), other = dup(fd);
    show("original", fd, 5);
    if (dup2(other, 57) != 57) printf("dup2: errno %d\n", errno);
    show("dup2", 57, 5);
    close(fd);
    show("dup after close of the original", other, 5);
    int third = fcntl(57, F_DUPFD_CLOEXEC, 100);
    show("F_DUPFD", third, 5);
    printf("lowest free number is reused: %d\n", start(path) == fd);
}

static void by_exec(const char *path, int flags, int use_vfork) {
    int fd = open(path, O_RDONLY | flags);
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    show("before exec", fd, 2);
    pid_t pid = use_vfork ? vfork() : fork();
    if (pid == 0) {
        execl(self, self, "child", number, "4", (char *)0);
        _exit(127);
    }
    wait_for(pid);
    show("after exec", fd, 2);
    close(fd);
}

static void by_spawn(const char *path) {
    int fd = start(path);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 33);
    posix_spawn_file_actions_addopen(&actions, 34, path, O_RDONLY, 0);
    show("before spawn", fd, 2);
    for (int number = 33; number <= 34; number++) {
        char text[16];
        snprintf(text, sizeof text, "%d", number);
        char *words[] = {(char *)self, "child", text, "3", NULL};
        pid_t pid;
        int error = posix_spawn(&pid, self, &actions, NULL, words, environ);
        if (error != 0) printf("posix_spawn: errno %d\n", error);
        else wait_for(pid);
    }
    show("after spawn", fd, 2);
    posix_spawn_file_actions_destroy(&actions);
    close(fd);
}

static void by_message(const char *path) {
    int pair[2], fd = start(path), got = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) { printf("socketpair: errno %d\n", errno); return; }
    show("before sendmsg", fd, 2);
    union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    char byte = 'x';
    struct iovec piece = {&byte, 1};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        if (recvmsg(pair[1], &message, 0) != 1) printf("recvmsg: errno %d\n", errno);
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        if (head != NULL) memcpy(&got, CMSG_DATA(head), sizeof got);
        show("received", got, 4);
        _exit(0);
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &fd, sizeof fd);
    if (sendmsg(pair[0], &message, 0) != 1) printf("sendmsg: errno %d\n", errno);
    wait_for(pid);
    show("after sendmsg", fd, 2);
    close(fd);
}

static void by_writing(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    if (write(fd, "one ", 4) != 4) printf("write: errno %d\n", errno);
    pid_t pid = fork();
    if (pid == 0) { if (write(fd, "two ", 4) != 4) printf("write: errno %d\n", errno); _exit(0); }
    wait_for(pid);
    pid = fork();
    if (pid == 0) { execl(self, self, "append", number, "three ", (char *)0); _exit(127); }
    wait_for(pid);
    if (write(fd, "four\n", 5) != 5) printf("write: errno %d\n", errno);
    lseek(fd, 0, SEEK_SET);
    show("written", fd, 60);
    if (close(fd) != 0) printf("close: errno %d\n", errno);
    fd = start(path);
    show("read again", fd, 60);
    close(fd);
}

int main(int count, char **words) {
    self = words[0];
    if (count == 4 && strcmp(words[1], "child") == 0) {
        show("exec'd child", atoi(words[2]), (size_t)atoi(words[3]));
        return 0;
    }
    if (count == 4 && strcmp(words[1], "append") == 0) {
        size_t length = strlen(words[3]);
        return write(atoi(words[2]), words[3], length) == (ssize_t)length ? 0 : 1;
    }
    if (count != 3) return 2;
    by_fork(words[1]);
    by_dup(words[1]);
    by_exec(words[1], 0, 0);
    by_exec(words[1], 0, 1);
    by_exec(words[1], O_CLOEXEC, 0);
    by_spawn(words[1]);
    by_message(words[1]);
    by_writing(words[2]);
    return 0;
}
