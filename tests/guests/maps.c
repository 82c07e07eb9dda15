/* Mapped files.
 *   maps STEP FILE BEHIND    BEHIND is the same file where it really lies; FILE starts with 10000
 *                            bytes 'a' (but for the steps that make it)
 * What is seen through the map, through the descriptor, and BEHIND. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
static const char *file, *behind;
static sigjmp_buf back;

static void die(const char *what) { printf("%s: errno %d\n", what, errno); exit(1); }

static int start(int flags) {
    int fd = open(file, flags, 0600);
    if (fd < 0) die("open");
    return fd;
}

static char *map(int fd, size_t length, int prot, int flags) {
    char *at = mmap(NULL, length, prot, flags, fd, 0);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

static char *shared(int fd, size_t length) { return map(fd, length, PROT_READ | PROT_WRITE, MAP_SHARED); }

static void synced(char *at, size_t length) { if (msync(at, length, MS_SYNC) != 0) die("msync"); }

/* Six bytes at an offset of a file, and its size. */
static void show(const char *who, const char *path, off_t offset) {
    char text[7] = {0};
    struct stat about;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about) != 0) die(who);
    ssize_t got = pread(fd, text, 6, offset);
    for (ssize_t i = 0; i < got; i++) if (!text[i]) text[i] = '0';
    printf("%s: %zd %s of %lld\n", who, got, text, (long long)about.st_size);
    close(fd);
}

static void show_fd(const char *who, int fd, off_t offset) {
    char text[7] = {0};
    ssize_t got = pread(fd, text, 6, offset);
    printf("%s: %zd %s\n", who, got, text);
}

static void on_bus(int number) { siglongjmp(back, number); }

static void touch(const char *who, volatile char *at) {
    signal(SIGBUS, on_bus);
    if (sigsetjmp(back, 1) == 0) printf("%s: %d\n", who, *at);
    else printf("%s: SIGBUS\n", who);
}

static void by_msync(void) {
    int fd = start(O_RDWR);
    char *at = shared(fd, 10000);
    memcpy(at + 5000, "MAPPED", 6);
    synced(at, 10000);
    show("behind after msync", behind, 5000);
    memcpy(at + 6000, "SECOND", 6);
    show_fd("descriptor", fd, 6000);
    synced(at, 10000);
    show("behind after the second msync", behind, 6000);
    memcpy(at + 1, "closed", 6);
    close(fd);
    show("behind after close", behind, 1);
    memcpy(at + 7, "AFTER!", 6);
    synced(at, 10000);
    show("behind after msync without a descriptor", behind, 7);
    munmap(at, 10000);
    if (msync(at, 10000, MS_SYNC) == 0 || errno != ENOMEM) printf("msync of nothing: errno %d\n", errno);
}

static char *mapped_at(char *at, int prot, int flags, int fd, off_t offset) {
    if (mmap(at, PAGE, prot, flags | MAP_FIXED, fd, offset) != at) die("mmap");
    return at;
}

/* Pages side by side that are not so in the file; then one of them is no file's. */
static void by_parts(void) {
    int fd = start(O_RDWR);
    char *at = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *second = mapped_at(at, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
    char *first = mapped_at(at + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memcpy(second + 10, "SECOND", 6);
    memcpy(first + 10, "FIRST!", 6);
    synced(at, 2 * PAGE);
    show("first behind", behind, 10);
    show("second behind", behind, PAGE + 10);
    mapped_at(first, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(second + 20, "MIXED!", 6);
    synced(at, 2 * PAGE);
    show("second behind, with another", behind, PAGE + 20);
    munmap(at, 2 * PAGE);
    close(fd);
}

static void by_munmap(void) {
    int fd = start(O_RDWR);
    char *at = shared(fd, 10000);
    close(fd);
    memcpy(at + 4094, "BORDER", 6);
    munmap(at, 10000);
    show("by name after munmap", file, 4094);
    show("behind", behind, 4094);
}

static void by_exit(void) {
    char *at = shared(start(O_RDWR), 10000);
    memcpy(at + 9000, "EXITED", 6);
    exit(0);
}

static void by_kill(void) {
    char *at = shared(start(O_RDWR), 10000);
    memcpy(at + 8000, "KILLED", 6);
    kill(getpid(), SIGKILL);
}

static void by_fork(void) {
    int fd = start(O_RDWR), status;
    char *at = shared(fd, 10000);
    pid_t child = fork();
    if (child == 0) {
        memcpy(at + 100, "CHILD!", 6);
        synced(at, 10000);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("child %d, in the parent's map: %.6s\n", status, at + 100);
    show("behind", behind, 100);
    memcpy(at + 200, "PARENT", 6);
    child = fork();
    if (child == 0) {
        printf("in the child's map: %.6s\n", at + 200);
        memcpy(at + 300, "NOSYNC", 6);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("in the parent's map: %.6s\n", at + 300);
    synced(at, 10000);
    show("behind", behind, 300);
    close(fd);
}

static void by_growth(void) {
    int fd = start(O_RDWR);
    char *at = shared(fd, 5 * PAGE);
    touch("past the end", at + 4 * PAGE);
    if (ftruncate(fd, 5 * PAGE) != 0) die("ftruncate");
    touch("after growth", at + 4 * PAGE);
    memcpy(at + 4 * PAGE, "GROWN!", 6);
    synced(at, 5 * PAGE);
    show("behind", behind, 4 * PAGE);
    if (pwrite(fd, "WRITE!", 6, 6 * PAGE) != 6) die("pwrite");
    at = mremap(at, 5 * PAGE, 7 * PAGE, MREMAP_MAYMOVE);
    if (at == MAP_FAILED) die("mremap");
    printf("written: %.6s\n", at + 6 * PAGE);
    memcpy(at + 6 * PAGE - 3, "REMAP!", 6);
    synced(at, 7 * PAGE);
    show("behind", behind, 6 * PAGE - 3);
    close(fd);
}

static void by_cutting(void) {
    int fd = start(O_RDWR);
    char *at = shared(fd, 10000);
    touch("before", at + PAGE);
    if (ftruncate(fd, 100) != 0) die("ftruncate");
    touch("in the last page", at + 200);
    touch("past it", at + PAGE);
    memcpy(at + 90, "AT END", 6);
    synced(at, PAGE);
    show("behind", behind, 90);
    close(fd);
}

static void beyond(void) {
    int fd = start(O_RDONLY);
    for (int flags = MAP_PRIVATE; ; flags = MAP_SHARED) {
        char *at = map(fd, 5 * PAGE, PROT_READ, flags);
        touch("last byte", at + 9999);
        touch("rest of the page", at + 10000);
        touch("next page", at + 3 * PAGE);
        if (flags == MAP_SHARED) break;
    }
    errno = 0;
    if (mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED) printf("mapped for writing\n");
    printf("errno %d\n", errno);
    if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 100) != MAP_FAILED) printf("mapped at 100\n");
    printf("errno %d\n", errno);
}

static void by_private(void) {
    int fd = start(O_RDONLY);
    char *mine = map(fd, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    memcpy(mine + 10, "MINE!!", 6);
    synced(mine, 10000);
    char *other = map(fd, 10000, PROT_READ, MAP_PRIVATE);
    printf("mine %.6s other %.6s\n", mine + 10, other + 10);
    show_fd("descriptor", fd, 10);
    munmap(mine, 10000);
    close(fd);
    printf("after close: %.6s\n", other + 10);
    show("behind", behind, 10);
}

static void unlinked(void) {
    struct stat about;
    int fd = start(O_RDWR);
    if (unlink(file) != 0) die("unlink");
    char *at = shared(fd, 10000);
    memcpy(at + 20, "NONAME", 6);
    synced(at, 10000);
    show_fd("descriptor", fd, 20);
    if (pwrite(fd, "STORED", 6, 30) != 6) die("pwrite");
    printf("map: %.6s\n", at + 30);
    if (ftruncate(fd, 20000) != 0) die("ftruncate");
    if (fstat(fd, &about) != 0) die("fstat");
    printf("links %d size %lld\n", (int)about.st_nlink, (long long)about.st_size);
    touch("grown", at + 9999);
    close(fd);
    printf("map after close: %.6s\n", at + 20);
    printf("name: %d\n", access(file, F_OK));
}

static void made(void) {
    int fd = start(O_RDWR | O_CREAT | O_TRUNC);
    if (ftruncate(fd, 3 * PAGE) != 0) die("ftruncate");
    char *at = shared(fd, 3 * PAGE);
    memcpy(at + PAGE, "MADE!!", 6);
    synced(at, 3 * PAGE);
    show("behind", behind, PAGE);
    close(fd);
    memcpy(at + 2 * PAGE, "LATER!", 6);
    munmap(at, 3 * PAGE);
    show("by name", file, 2 * PAGE);
    show("behind", behind, 2 * PAGE);
}

static void both(void) {
    int fd = start(O_RDWR), other = start(O_RDWR);
    char *one = shared(fd, 10000), *two = shared(other, 10000);
    memcpy(one + 40, "ONEMAP", 6);
    printf("other map: %.6s\n", two + 40);
    if (pwrite(other, "WRITES", 6, 50) != 6) die("pwrite");
    printf("maps: %.6s %.6s\n", one + 50, two + 50);
    memcpy(two + 60, "TWOMAP", 6);
    show_fd("first descriptor", fd, 60);
    show("by name", file, 60);
    close(fd);
    close(other);
    show("behind", behind, 40);
}

int main(int count, char **words) {
    static const struct { const char *name; void (*run)(void); } steps[] = {
        {"msync", by_msync}, {"parts", by_parts}, {"munmap", by_munmap}, {"exit", by_exit}, {"kill", by_kill},
        {"fork", by_fork}, {"grow", by_growth}, {"cut", by_cutting}, {"beyond", beyond},
        {"private", by_private}, {"unlinked", unlinked}, {"made", made}, {"both", both},
    };
    if (count != 4) return 2;
    file = words[2];
    behind = words[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strcmp(words[1], steps[i].name) == 0) { steps[i].run(); return 0; }
    return 2;
}
