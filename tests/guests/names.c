/* Every entry of libc that takes a name: `names DIRECTORY`, run natively and under Parrot, must say the
   same. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

static const char *top;

static const char *below(const char *path) {
    size_t len = strlen(top);
    return path != NULL && strncmp(path, top, len) == 0 ? path + len : path;
}

#define SAY(call)                                                                           \
    do {                                                                                    \
        errno = 0;                                                                          \
        long got = (long)(call);                                                            \
        printf("%s = %ld %s\n", #call, got, got < 0 ? strerror(errno) : "");                \
    } while (0)
#define PATH(call)                                                                      \
    do {                                                                                \
        errno = 0;                                                                      \
        char *got = (call);                                                             \
        printf("%s = %s %s\n", #call, got != NULL ? below(got) : "none", got != NULL ? "" : strerror(errno)); \
    } while (0)

static void paths(void) {
    char room[PATH_MAX];
    printf("== realpath and the working directory\n");
    PATH(realpath("hello", NULL));
    PATH(realpath("link", room));
    PATH(realpath("dirlink/deep", room));
    PATH(realpath("d/../d//./e/", room));
    PATH(realpath("nosuch", room));
    PATH(realpath("hello/x", room));
    PATH(realpath("loop", room));
    PATH(realpath("", room));
    PATH(canonicalize_file_name("link"));
    PATH(canonicalize_file_name("dangling"));
    PATH(getcwd(NULL, 0));
    PATH(getcwd(room, sizeof room));
    PATH(getcwd(room, 3));
    PATH(getcwd(NULL, 4096));
    PATH(get_current_dir_name());
    SAY(chdir("d/e"));
    PATH(getcwd(NULL, 0));
    PATH(realpath("..", room));
    PATH(realpath(".", room));
    SAY(chdir("../.."));
    SAY(chdir("hello"));
    SAY(chdir("nosuch"));
    SAY(chdir("dirlink"));
    PATH(getcwd(NULL, 0));
    int fd = open(top, O_RDONLY | O_DIRECTORY);
    SAY(fchdir(fd));
    close(fd);
    PATH(getcwd(NULL, 0));
    SAY(readlink("link", room, sizeof room));
    SAY(readlink("link", room, 2));
    SAY(readlink("hello", room, sizeof room));
    SAY(readlink("nosuch", room, sizeof room));
}

static void made(const char *what, int fd, const char *template) {
    struct stat about = {0};
    fstat(fd, &about);
    printf("%s %s mode %o size %ld flags %x cloexec %d\n", what, fd >= 0 ? "yes" : strerror(errno), about.st_mode, (long)about.st_size, fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND),
           fcntl(fd, F_GETFD));
    printf("   written %ld", (long)write(fd, "bytes", 5));
    printf(" named %d", stat(template, &about) == 0);
    printf(" close %d", close(fd));
    printf(" unlink %d\n", unlink(template));
}

static void temporary(void) {
    printf("== temporary names\n");
    char a[] = "tXXXXXX", b[] = "tXXXXXX.end", c[] = "d/tXXXXXX", d[] = "noXs", e[] = "nosuch/tXXXXXX", f[] = "dirXXXXXX";
    char g[] = "tXXXXXX.c";
    int fd = mkstemp(a);
    made("mkstemp", fd, a);
    fd = mkstemps(b, 4);
    made("mkstemps", fd, b);
    printf("suffix %s\n", b + strlen(b) - 4);
    fd = mkostemp(c, O_CLOEXEC | O_APPEND);
    made("mkostemp", fd, c);
    fd = mkostemps(g, 2, O_CLOEXEC);
    made("mkostemps", fd, g);
    SAY(mkstemp(d));
    SAY(mkstemp(e));
    PATH(mkdtemp(e));
    printf("mkdtemp %d", mkdtemp(f) != NULL);
    printf(" rmdir %d\n", rmdir(f));
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wdeprecated-declarations\"")
    char *name = tempnam(top, "pre");
    printf("tempnam %d %d\n", name != NULL && strncmp(below(name), "/pre", 4) == 0, access(name, F_OK));
    free(name);
    char room[L_tmpnam];
    printf("tmpnam %d\n", tmpnam(room) != NULL);
    _Pragma("GCC diagnostic pop")
    FILE *stream = tmpfile();
    printf("tmpfile %d\n", stream != NULL && fputc('x', stream) == 'x' && fclose(stream) == 0);
}

static void attributes(void) {
    printf("== attributes\n");
    struct stat about;
    struct statx more;
    struct statvfs space;
    struct statfs raw;
    SAY(stat("hello", &about));
    printf("%o %ld %ld %ld\n", about.st_mode, (long)about.st_size, (long)about.st_nlink, (long)about.st_mtime);
    SAY(lstat("link", &about));
    printf("%o\n", about.st_mode & S_IFMT);
    SAY(stat("hello/x", &about));
    SAY(stat("hello/", &about));
    SAY(stat("loop", &about));
    SAY(stat("", &about));
    SAY(fstatat(AT_FDCWD, "link", &about, AT_SYMLINK_NOFOLLOW));
    SAY(fstatat(AT_FDCWD, "hello", &about, 0x8000000));
    SAY(statx(AT_FDCWD, "hello", 1, STATX_ALL, &more));
    SAY(statx(AT_FDCWD, "hello", 0x6000, STATX_ALL, &more));
    SAY(statx(AT_FDCWD, "hello", AT_STATX_FORCE_SYNC, STATX_ALL, &more));
    SAY(statx(AT_FDCWD, "hello", 0, STATX_ALL, &more));
    printf("%o %ld %ld\n", more.stx_mode, (long)more.stx_size, (long)more.stx_mtime.tv_sec);
    int fd = open("hello", O_RDONLY);
    SAY(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &more));
    printf("%ld\n", (long)more.stx_size);
    SAY(fstatat(fd, "", &about, AT_EMPTY_PATH));
    SAY(fstatvfs(fd, &space));
    SAY(fpathconf(fd, _PC_NAME_MAX));
    close(fd);
    SAY(statvfs("hello", &space));
    printf("namemax %ld\n", (long)space.f_namemax);
    SAY(statvfs("nosuch", &space));
    SAY(statfs("d", &raw));
    SAY(statfs("nosuch", &raw));
    SAY(pathconf("hello", _PC_NAME_MAX));
    SAY(pathconf("hello", _PC_PATH_MAX));
    SAY(access("hello", F_OK));
    SAY(access("hello", R_OK | W_OK));
    SAY(access("nosuch", F_OK));
    SAY(access("hello", 99));
    SAY(eaccess("hello", R_OK));
    SAY(euidaccess("nosuch", R_OK));
    SAY(faccessat(AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
    SAY(faccessat(AT_FDCWD, "dangling", F_OK, 0));
    struct file_handle *handle = calloc(1, sizeof *handle + 128);
    handle->handle_bytes = 0;
    int mount;
    errno = 0;
    printf("name_to_handle_at fails %d\n", name_to_handle_at(AT_FDCWD, "hello", handle, &mount, 0) < 0);
    free(handle);
}

static void changed(const char *name) {
    struct stat about = {0};
    lstat(name, &about);
    printf("   %s %o %ld.%ld size %ld\n", name, about.st_mode, (long)about.st_mtim.tv_sec, about.st_mtim.tv_nsec, (long)about.st_size);
}

static void changes(int whole_seconds) {
    printf("== changes\n");
    struct utimbuf both = {1000000000, 1100000000};
    struct timeval pair[2] = {{1000000000, 0}, {1200000000, 500000}};
    struct timespec nano[2] = {{1000000000, 0}, {1300000000, 123456700}};
    if (whole_seconds) pair[1].tv_usec = nano[1].tv_nsec = 0;
    SAY(utime("hello", &both));
    changed("hello");
    SAY(utimes("hello", pair));
    changed("hello");
    SAY(futimesat(AT_FDCWD, "hello", pair));
    SAY(utimensat(AT_FDCWD, "hello", nano, 0));
    changed("hello");
    int fd = open("hello", O_RDWR);
    SAY(futimens(fd, nano));
    SAY(futimes(fd, pair));
    changed("hello");
    pair[0].tv_usec = 1000001;
    SAY(utimes("hello", pair));
    SAY(utimes("nosuch", NULL));
    SAY(fchmod(fd, 0640));
    changed("hello");
    SAY(ftruncate(fd, 3));
    SAY(fchown(fd, getuid(), getgid()));
    SAY(posix_fallocate(fd, 0, 10));
    struct stat about;
    fstat(fd, &about);
    printf("size %ld\n", (long)about.st_size);
    close(fd);
    SAY(chmod("hello", 0600));
    SAY(fchmodat(AT_FDCWD, "hello", 0644, 0));
    SAY(chmod("nosuch", 0600));
    SAY(truncate("hello", 5));
    SAY(truncate("hello", -1));
    SAY(truncate("d", 5));
    SAY(truncate("nosuch", 5));
    SAY(chown("hello", getuid(), getgid()));
    SAY(lchown("link", getuid(), getgid()));
    SAY(chown("nosuch", getuid(), getgid()));
    SAY(mkdir("new", 0700));
    SAY(mkdir("new", 0700));
    SAY(mkdir("nosuch/new", 0700));
    SAY(rename("hello", "new/hello"));
    SAY(rename("new/hello", "hello"));
    SAY(rename("nosuch", "x"));
    SAY(rename("new", "hello"));
    if (!whole_seconds) SAY(renameat2(AT_FDCWD, "hello", AT_FDCWD, "short", RENAME_NOREPLACE));
    SAY(renameat2(AT_FDCWD, "hello", AT_FDCWD, "short", 0x100));
    SAY(linkat(AT_FDCWD, "hello", AT_FDCWD, "hard2", 1));
    SAY(unlinkat(AT_FDCWD, "hello", 1));
    SAY(fchownat(AT_FDCWD, "hello", -1, -1, 1));
    SAY(utimensat(AT_FDCWD, "hello", nano, 1));
    SAY(faccessat(AT_FDCWD, "hello", R_OK, 1));
    SAY(fchmodat(AT_FDCWD, "hello", 0644, 1));
    SAY(open("hello", O_RDONLY | O_DIRECTORY));
    SAY(open("d", O_WRONLY));
    SAY(open("link", O_RDONLY | O_NOFOLLOW));
    SAY(open("hello", O_RDWR | O_CREAT | O_EXCL, 0600));
    SAY(open("hello/", O_RDONLY));
    SAY(open("nosuch/", O_WRONLY | O_CREAT, 0600));
    SAY(creat("d", 0600));
    SAY(mknod("hello", S_IFREG | 0600, 0));
    SAY(mknod("node", S_IFREG | 0600, 0));
    SAY(unlink("node"));
    SAY(link("hello", "new/hard"));
    SAY(link("hello", "short"));
    SAY(symlink("hello", "new/soft"));
    SAY(symlink("hello", "short"));
    SAY(remove("new"));
    SAY(remove("new/hard"));
    SAY(unlink("new/soft"));
    SAY(remove("new"));
    SAY(remove("nosuch"));
    SAY(unlink("d"));
    SAY(rmdir("d"));
    SAY(rmdir("hello"));
    SAY(syscall(SYS_openat, AT_FDCWD, "nosuch", O_RDONLY));
    char bytes[10] = "";
    fd = syscall(SYS_openat, AT_FDCWD, "numbers", O_RDONLY);
    long got = syscall(SYS_read, fd, bytes, 6L);
    printf("by number %ld %.1s", got, bytes);
    printf(" close %ld\n", syscall(SYS_close, fd));
    fd = syscall(SYS_openat, AT_FDCWD, "d", O_RDONLY | O_DIRECTORY);
    SAY(syscall(SYS_unlinkat, fd, "nosuch", 0));
    SAY(syscall(SYS_mkdirat, fd, "numbered", 0700));
    SAY(syscall(SYS_unlinkat, fd, "numbered", AT_REMOVEDIR));
    close(fd);
}

int main(int count, char **words) {
    if (count < 2 || chdir(words[1]) != 0) return 2;
    top = words[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    paths();
    temporary();
    attributes();
    changes(getenv("WHOLE_SECONDS") != NULL);
    return 0;
}
