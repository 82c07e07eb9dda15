/* Uses a local file by many calls, with a mark before and after the loop that strace shows. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count != 3) return 2;
    int rounds = atoi(words[2]);
    char bytes[100] = "some bytes";
    struct stat about;
    int fd = open(words[1], O_RDWR | O_CREAT, 0600);
    for (int i = -1; i < rounds; i++) {
        /* One round for the first use of the descriptor, then the mark. */
        if (i == 0 && write(-1, "BEGIN", 5) >= 0) return 1;
        if (write(fd, bytes, sizeof bytes) < 0) return 1;
        if (pwrite(fd, bytes, 10, 5) < 0) return 1;
        if (lseek(fd, 0, SEEK_SET) != 0) return 1;
        if (read(fd, bytes, sizeof bytes) < 0) return 1;
        if (pread(fd, bytes, 10, 5) < 0) return 1;
        if (fstat(fd, &about) != 0) return 1;
        if (fcntl(fd, F_GETFL) < 0) return 1;
    }
    if (write(-1, "END", 3) >= 0) return 1;
    return close(fd);
}
