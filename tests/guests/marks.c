/* Reads 8 bytes at each offset of a file by one method and prints them, or the errno. Never falls
 * back: bytes that are not the file's would show.
 *   marks METHOD FILE SCRATCH OFFSET...
 * METHOD: read pread readv fread mmap sendfile copy_file_range splice aio inherited (FILE is a
 * descriptor number then). SCRATCH is a local file. */
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#define LENGTH 8

static ssize_t by_map(int fd, off_t offset, char *bytes) {
    off_t page = offset & ~(off_t)4095, size = lseek(fd, 0, SEEK_END);
    if (offset >= size) return 0;
    size_t length = (size_t)(offset - page) + LENGTH;
    char *map = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, page);
    if (map == MAP_FAILED) return -1;
    size_t count = size - offset < LENGTH ? (size_t)(size - offset) : LENGTH;
    memcpy(bytes, map + (offset - page), count);
    munmap(map, length);
    return (ssize_t)count;
}

static ssize_t by_aio(int fd, off_t offset, char *bytes) {
    struct aiocb block = {.aio_fildes = fd, .aio_offset = offset, .aio_buf = bytes, .aio_nbytes = LENGTH};
    if (aio_read(&block) != 0) return -1;
    const struct aiocb *list[] = {&block};
    while (aio_error(&block) == EINPROGRESS) aio_suspend(list, 1, NULL);
    int error = aio_error(&block);
    ssize_t got = aio_return(&block);
    if (error != 0) { errno = error; return -1; }
    return got;
}

static ssize_t by_kernel(const char *method, int fd, off_t offset, char *bytes, const char *scratch) {
    ssize_t moved;
    if (strcmp(method, "splice") == 0) {
        int pipes[2];
        if (pipe(pipes) != 0) return -1;
        moved = splice(fd, &offset, pipes[1], NULL, LENGTH, 0);
        if (moved > 0) moved = read(pipes[0], bytes, LENGTH);
        int kept = errno;
        close(pipes[0]);
        close(pipes[1]);
        errno = kept;
        return moved;
    }
    int out = open(scratch, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (out < 0) return -1;
    if (strcmp(method, "sendfile") == 0) moved = sendfile(out, fd, &offset, LENGTH);
    else moved = copy_file_range(fd, &offset, out, NULL, LENGTH, 0);
    if (moved > 0) moved = pread(out, bytes, LENGTH, 0);
    int kept = errno;
    close(out);
    errno = kept;
    return moved;
}

static ssize_t get(const char *method, int fd, off_t offset, char *bytes, const char *scratch) {
    if (strcmp(method, "pread") == 0) return pread(fd, bytes, LENGTH, offset);
    if (strcmp(method, "mmap") == 0) return by_map(fd, offset, bytes);
    if (strcmp(method, "aio") == 0) return by_aio(fd, offset, bytes);
    if (strcmp(method, "read") == 0 || strcmp(method, "inherited") == 0) {
        if (lseek(fd, offset, SEEK_SET) != offset) return -1;
        return read(fd, bytes, LENGTH);
    }
    if (strcmp(method, "readv") == 0) {
        struct iovec pieces[] = {{bytes, 3}, {bytes + 3, LENGTH - 3}};
        return preadv(fd, pieces, 2, offset);
    }
    if (strcmp(method, "fread") == 0) {
        FILE *stream = fdopen(dup(fd), "r");
        if (stream == NULL || fseeko(stream, offset, SEEK_SET) != 0) return -1;
        ssize_t got = (ssize_t)fread(bytes, 1, LENGTH, stream);
        if (ferror(stream)) got = -1;
        fclose(stream);
        return got;
    }
    return by_kernel(method, fd, offset, bytes, scratch);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    int fd = strcmp(words[1], "inherited") == 0 ? atoi(words[2]) : open(words[2], O_RDONLY);
    if (fd < 0) { printf("%s: open: errno %d\n", words[1], errno); return 1; }
    for (int i = 4; i < count; i++) {
        char bytes[LENGTH + 1] = {0};
        ssize_t got = get(words[1], fd, atoll(words[i]), bytes, words[3]);
        printf("%s %s: ", words[1], words[i]);
        if (got < 0) { printf("errno %d\n", errno); continue; }
        for (ssize_t k = 0; k < got; k++) printf(bytes[k] >= ' ' && bytes[k] <= '~' ? "%c" : "\\%o", bytes[k]);
        printf(" (%zd)\n", got);
    }
    return 0;
}
