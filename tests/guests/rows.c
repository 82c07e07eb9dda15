/* Calls that few programs make, by number, on what is at argument 1 (a directory with a file f, a
 * link to it and a directory d), one line each: the name and what came of it. Argument 2 is a plain
 * local directory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static char where[4096];

static const char *below(const char *name) {
    static char paths[8][4200];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", where, name);
    return path;
}

static long say(const char *name, long value) {
    int error = errno;
    if (value < 0) printf("%s: %s\n", name, strerrorname_np(error));
    else printf("%s: ok\n", name);
    fflush(stdout);
    return value;
}

/* struct xattr_args */
struct xattr { unsigned long value; unsigned int size, flags; };

static void xattrs(void) {
    char text[64] = "";
    struct xattr value = {(unsigned long)"five!", 5, 0}, room = {(unsigned long)text, sizeof text, 0};
    const char *f = below("f");
    if (say("setxattrat", syscall(463, AT_FDCWD, f, 0, "user.five", &value, sizeof value)) < 0) return;
    long n = say("getxattrat", syscall(464, AT_FDCWD, f, 0, "user.five", &room, sizeof room));
    printf(" %.*s\n", (int)n, text);
    int fd = open(f, O_RDONLY);
    n = say("getxattrat empty", syscall(464, fd, "", AT_EMPTY_PATH, "user.five", &room, sizeof room));
    printf(" %.*s\n", (int)n, text);
    n = say("listxattrat", syscall(465, AT_FDCWD, f, 0, text, sizeof text));
    printf(" %s\n", n > 0 && memmem(text, n, "user.five", 10) ? "user.five" : "none");
    say("removexattrat", syscall(466, AT_FDCWD, f, 0, "user.five"));
    say("getxattrat gone", syscall(464, AT_FDCWD, f, 0, "user.five", &room, sizeof room));
    say("getxattrat short", syscall(464, AT_FDCWD, f, 0, "user.five", &room, 8));
    close(fd);
}

static void resolves(void) {
    static const struct { const char *name; unsigned long flag; } all[] = {
        {"RESOLVE_NO_XDEV", RESOLVE_NO_XDEV}, {"RESOLVE_NO_MAGICLINKS", RESOLVE_NO_MAGICLINKS},
        {"RESOLVE_NO_SYMLINKS", RESOLVE_NO_SYMLINKS}, {"RESOLVE_BENEATH", RESOLVE_BENEATH},
        {"RESOLVE_IN_ROOT", RESOLVE_IN_ROOT}, {"RESOLVE_CACHED", 0x20},
    };
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct open_how how = {.flags = O_RDONLY, .resolve = all[i].flag};
        int fd = say(all[i].name, syscall(SYS_openat2, AT_FDCWD, below("f"), &how, sizeof how));
        if (fd >= 0) close(fd);
    }
}

static void mounts(void) {
    say("mount", syscall(SYS_mount, "none", below("d"), "tmpfs", 0, 0));
    say("bind mount", syscall(SYS_mount, below("d"), below("d"), "", MS_BIND, 0));
    say("umount2", syscall(SYS_umount2, below("d"), 0));
    say("open_tree", syscall(428, AT_FDCWD, below("d"), 0));
    say("open_tree_attr", syscall(467, AT_FDCWD, below("d"), 0, 0, 0));
    say("move_mount", syscall(429, AT_FDCWD, below("d"), AT_FDCWD, below("d"), 0));
    say("fspick", syscall(433, AT_FDCWD, below("d"), 0));
    say("mount_setattr", syscall(442, AT_FDCWD, below("d"), 0, 0, 0));
    say("swapon", syscall(SYS_swapon, below("f"), 0));
}

static void handles(void) {
    struct { unsigned bytes; int type; char data[128]; } handle = {.bytes = 128};
    int id;
    long attributes[8] = {0};
    say("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, below("f"), &handle, &id, 0));
    say("file_getattr", syscall(468, AT_FDCWD, below("f"), attributes, 24, 0));
    int watch = syscall(SYS_fanotify_init, 0x200, 0);
    if (watch >= 0) say("fanotify_mark", syscall(SYS_fanotify_mark, watch, 1, 2L, AT_FDCWD, below("f")));
    else puts("fanotify_mark: ENODEV");
}

static void sockets(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int one = socket(AF_UNIX, SOCK_STREAM, 0), two = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(name.sun_path, sizeof name.sun_path, "%s", below("f"));
    say("connect", syscall(SYS_connect, one, &name, sizeof name));
    snprintf(name.sun_path, sizeof name.sun_path, "%s", below("socket"));
    if (say("bind", syscall(SYS_bind, one, &name, sizeof name)) == 0) {
        listen(one, 1);
        say("connect to it", syscall(SYS_connect, two, &name, sizeof name));
        unlink(name.sun_path);
    }
}

static void descriptors(void) {
    int ends[2], fd = open(below("f"), O_RDWR);
    char text[8] = "";
    struct iovec vector = {text, 1};
    if (pipe(ends) < 0) return;
    say("tee", syscall(SYS_tee, fd, ends[1], 1, 0));
    say("vmsplice", syscall(SYS_vmsplice, fd, &vector, 1, 0));
    say("F_SETLEASE", fcntl(fd, F_SETLEASE, F_WRLCK));
    say("F_NOTIFY", fcntl(fd, F_NOTIFY, DN_MODIFY));
    int self = syscall(SYS_pidfd_open, getpid(), 0), copy = syscall(SYS_pidfd_getfd, self, fd, 0);
    say("pidfd_getfd", copy);
    printf(" %zd\n", read(copy, text, sizeof text));
    say("close_range", syscall(SYS_close_range, copy, copy, 0));
    say("read closed", read(copy, text, 1));
}

static void directory(void) {
    struct stat dot, empty;
    if (chdir(where) < 0) return;
    say("stat .", stat(".", &dot));
    say("newfstatat empty", syscall(SYS_newfstatat, AT_FDCWD, "", &empty, AT_EMPTY_PATH));
    puts(dot.st_ino == empty.st_ino && dot.st_dev == empty.st_dev ? " the same" : " another");
    say("faccessat2", syscall(SYS_faccessat2, AT_FDCWD, "link", R_OK, AT_SYMLINK_NOFOLLOW));
    say("fchmodat2", syscall(452, AT_FDCWD, "f", 0640, 0));
    printf(" %o\n", stat("f", &dot) == 0 ? dot.st_mode & 0777 : 0);
}

int main(int count, char **words) {
    if (count < 2) return 2;
    snprintf(where, sizeof where, "%s", words[1]);
    xattrs();
    resolves();
    mounts();
    handles();
    sockets();
    descriptors();
    directory();
    return 0;
}
