/* Every entry of libc that moves data: `data DIRECTORY`, run natively and under Parrot, must say the same:
   the right bytes. What may fail on a remote file, so that programs fall back, is tried with the fallback. */
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SAY(call)                                                                           \
    do {                                                                                    \
        errno = 0;                                                                          \
        long got = (long)(call);                                                            \
        printf("%s = %ld %s\n", #call, got, got < 0 ? strerror(errno) : "");                \
    } while (0)

static char room[1 << 17];

static void vectors(const char *name, int flags) {
    printf("== vectors %s\n", name);
    int fd = open(name, flags);
    char a[5] = "", b[8] = "";
    struct iovec parts[2] = {{a, 4}, {b, 7}};
    SAY(readv(fd, parts, 2));
    printf("%s|%s\n", a, b);
    SAY(preadv(fd, parts, 2, 1));
    printf("%s|%s\n", a, b);
    SAY(preadv2(fd, parts, 2, 2, 0));
    printf("%s|%s\n", a, b);
    SAY(preadv2(fd, parts, 2, -1, 0));
    SAY(pread(fd, a, 4, 3));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(lseek(fd, -3, SEEK_END) > 0);
    SAY(read(fd, a, 4));
    SAY(read(fd, a, 4));
    SAY(lseek(fd, -1, SEEK_SET));
    SAY(pread(fd, a, 4, -1));
    SAY(readahead(fd, 0, 4096));
    SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    if ((flags & O_ACCMODE) != O_RDONLY) {
        struct iovec out[2] = {{"one", 3}, {"two", 3}};
        SAY(pwritev(fd, out, 2, 2));
        SAY(pwritev2(fd, out, 2, 20, 0));
        SAY(lseek(fd, 0, SEEK_SET));
        SAY(writev(fd, out, 2));
        SAY(pwrite(fd, "at", 2, 9));
        SAY(fdatasync(fd));
        SAY(fsync(fd));
        SAY(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0);
        SAY(pread(fd, room, 30, 0));
        printf("%.30s\n", room);
    }
    printf("close %d\n", close(fd));
}

static void asynchronous(const char *name) {
    printf("== aio %s\n", name);
    int fd = open(name, O_RDWR);
    char bytes[11] = "";
    struct aiocb one = {.aio_fildes = fd, .aio_buf = bytes, .aio_nbytes = 10, .aio_offset = 4};
    const struct aiocb *list[] = {&one};
    SAY(aio_read(&one));
    while (aio_error(&one) == EINPROGRESS) aio_suspend(list, 1, NULL);
    printf("aio_read %d %ld %s\n", aio_error(&one), (long)aio_return(&one), bytes);
    struct aiocb two = {.aio_fildes = fd, .aio_buf = "written", .aio_nbytes = 7, .aio_offset = 1};
    list[0] = &two;
    SAY(aio_write(&two));
    while (aio_error(&two) == EINPROGRESS) aio_suspend(list, 1, NULL);
    printf("aio_write %d %ld\n", aio_error(&two), (long)aio_return(&two));
    SAY(pread(fd, bytes, 10, 0));
    puts(bytes);
    close(fd);
}

/* Copies as programs do: by the kernel, and by hand where it says no. */
static void copies(const char *from) {
    printf("== copies of %s\n", from);
    struct stat about;
    stat(from, &about);
    for (int how = 0; how < 3; how++) {
        int in = open(from, O_RDONLY), out = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
        off_t done = 0;
        while (done < about.st_size) {
            ssize_t some = how == 0   ? copy_file_range(in, NULL, out, NULL, 1 << 20, 0)
                           : how == 1 ? sendfile(out, in, NULL, 1 << 20)
                                      : -1;
            if (some < 0) {
                some = read(in, room, sizeof room);
                if (some > 0) some = write(out, room, some);
            }
            if (some <= 0) break;
            done += some;
        }
        printf("way %d: %s", how, done == about.st_size ? "all" : strerror(errno));
        printf(" close %d", close(out));
        close(in);
        in = open(from, O_RDONLY);
        out = open("copy", O_RDONLY);
        static char other[sizeof room];
        ssize_t got;
        int same = 1;
        while ((got = read(in, room, sizeof room)) > 0) same &= read(out, other, got) == got && memcmp(room, other, got) == 0;
        printf(" same %d\n", same);
        close(in);
        close(out);
    }
    int in = open(from, O_RDONLY), ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) exit(3);
    off_t at = 2;
    ssize_t sent = sendfile(ends[0], in, &at, 3);
    if (sent < 0) sent = pread(in, room, 3, 2), sent = write(ends[0], room, sent);
    long got = read(ends[1], room, 3);
    printf("to a socket %ld read %ld %.3s\n", (long)sent, got, room);
    if (pipe(ends) != 0) exit(3);
    loff_t place = 2;
    ssize_t moved = splice(in, &place, ends[1], NULL, 3, 0);
    if (moved < 0) moved = pread(in, room, 3, 2), moved = write(ends[1], room, moved);
    got = read(ends[0], room, 3);
    printf("through a pipe %ld read %ld %.3s\n", (long)moved, got, room);
    unlink("copy");
}

static void mapped(const char *name) {
    printf("== mmap %s\n", name);
    int fd = open(name, O_RDWR);
    struct stat about;
    fstat(fd, &about);
    char *at = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    unsigned sum = 0;
    for (off_t i = 0; at != MAP_FAILED && i < about.st_size; i++) sum = sum * 31 + (unsigned char)at[i];
    printf("private %d %x\n", at != MAP_FAILED, sum);
    if (at != MAP_FAILED) munmap(at, about.st_size);
    at = mmap(NULL, about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    printf("shared %d\n", at != MAP_FAILED);
    if (at != MAP_FAILED) {
        at[0] = 'M';
        printf("msync %d", msync(at, about.st_size, MS_SYNC));
        printf(" munmap %d\n", munmap(at, about.st_size));
    }
    printf("close %d\n", close(fd));
    fd = open(name, O_RDONLY);
    long got = read(fd, room, 1);
    printf("read back %ld %.1s\n", got, room);
    close(fd);
}

static void sparse(void) {
    printf("== fallocate and holes\n");
    int fd = open("sparse", O_RDWR | O_CREAT, 0600);
    SAY(fallocate(fd, 0, 0, 100));
    SAY(lseek(fd, 0, SEEK_END));
    SAY(posix_fallocate(fd, 100, 100));
    SAY(lseek(fd, 0, SEEK_END));
    SAY(fallocate(fd, 0, 0, -1));
    SAY(pwrite(fd, "end", 3, 1000));
    SAY(pread(fd, room, 10, 995));
    printf("%d %d\n", room[0], room[5]);
    SAY(close(fd));
    fd = open("numbers", O_RDONLY);
    SAY(posix_fallocate(fd, 0, 10));
    SAY(lockf(fd, F_TEST, 0) == 0);
    close(fd);
    unlink("sparse");
}

static void not_files(void) {
    printf("== what is no file of a directory\n");
    char name[64];
    snprintf(name, sizeof name, "/parrot-test-%d", getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    printf("shm_open %d ftruncate %d", fd >= 0, ftruncate(fd, 4096));
    printf(" unlink %d\n", shm_unlink(name));
    close(fd);
    sem_t *one = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    printf("sem_open %d", one != SEM_FAILED);
    printf(" wait %d", sem_wait(one));
    printf(" post %d", sem_post(one));
    printf(" unlink %d\n", sem_unlink(name));
    sem_close(one);
    fd = memfd_create("mine", 0);
    printf("memfd_create %d", fd >= 0);
    printf(" write %ld", (long)write(fd, "x", 1));
    printf(" pread %ld\n", (long)pread(fd, room, 5, 0));
    close(fd);
}

int main(int count, char **words) {
    if (count < 2 || chdir(words[1]) != 0) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    vectors("numbers", O_RDONLY);
    vectors("big", O_RDONLY);
    vectors("z", O_RDWR);
    asynchronous("z");
    asynchronous("big");
    copies("numbers");
    copies("big");
    mapped("numbers");
    mapped("big");
    sparse();
    not_files();
    return 0;
}
