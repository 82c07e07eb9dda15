/* Calls that no library can catch, or that nobody knows. One word says which:
 *   open PATH       opens and reads by inline system calls
 *   int80           getpid by the 32-bit entry
 *   x32             getpid with an x32 number
 *   newer PATH      a number that no kernel has yet, with a name
 *   newerfd PATH    the same with a descriptor of the name
 *   service NAME    libc's own open of /etc/services: the port */
#include <errno.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static long raw(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

static long int80(long number) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number) : "r8", "r9", "r10", "r11", "memory");
    return result;
}

static int say(const char *name, long result) {
    if (result == -ENOSYS) printf("%s: ENOSYS\n", name);
    else if (result < 0) printf("%s: errno %ld\n", name, -result);
    else printf("%s: ok\n", name);
    return 0;
}

static int inline_open(const char *path) {
    char text[64];
    long fd = raw(2, (long)path, O_RDONLY, 0);
    if (fd < 0) return say("open", fd);
    long count = raw(0, fd, (long)text, sizeof text);
    if (count < 0) return say("read", count);
    fwrite(text, 1, count, stdout);
    raw(3, fd, 0, 0);
    return 0;
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "", *path = count > 2 ? words[2] : "";
    if (strcmp(what, "open") == 0) return inline_open(path);
    if (strcmp(what, "int80") == 0) return say(what, int80(20));
    if (strcmp(what, "x32") == 0) return say(what, raw(0x40000000 | 39, 0, 0, 0));
    if (strcmp(what, "newer") == 0) return say(what, raw(600, (long)path, 0, 0));
    if (strcmp(what, "newerfd") == 0) return say(what, raw(600, open(path, O_RDONLY), 0, 0));
    if (strcmp(what, "service") == 0) {
        struct servent *found = getservbyname(path, "tcp");
        printf("port %d\n", found ? ntohs(found->s_port) : 0);
        return 0;
    }
    return 2;
}
