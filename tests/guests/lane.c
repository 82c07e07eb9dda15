/* Local names under a tracer:
 *
 *   lane count DIR ROUNDS    how often this process had to wait while it looked at names in DIR
 *   lane paths NAME...       what realpath says of each, and what it leaves in the buffer
 *   lane cancel FIFO         a thread that waits in open is cancelled */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static long waits(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_nvcsw;
}

static void look(const char *file, const char *missing) {
    struct stat about;
    char text[100];
    if (stat(file, &about) || lstat(file, &about) || access(file, R_OK)) exit(1);
    if (readlink(file, text, sizeof text) >= 0 || errno != EINVAL) exit(2);
    if (lgetxattr(file, "user.none", text, sizeof text) >= 0) exit(7);
    if (!stat(missing, &about) || errno != ENOENT || open(missing, O_RDONLY) >= 0) exit(3);
    int fd = open(file, O_RDONLY);
    if (fd < 0 || fstat(fd, &about) || close(fd)) exit(4);
}

static int count(const char *dir, int rounds) {
    char file[PATH_MAX], missing[PATH_MAX];
    snprintf(file, sizeof file, "%s/file", dir);
    snprintf(missing, sizeof missing, "%s/missing", dir);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    if (chdir(dir)) return 5;
    look(file, missing);
    look("./file", "missing");
    long before = waits();
    for (int i = 0; i < rounds; i++) {
        look(file, missing);
        look("file", "missing");
        look("./file", "././missing");
        if (!realpath(file, NULL) || !getcwd(missing + PATH_MAX / 2, PATH_MAX / 2)) return 6;
    }
    printf("%ld\n", waits() - before);
    return 0;
}

static int paths(char **names) {
    for (; *names; names++) {
        char place[PATH_MAX] = "?";
        const char *found = realpath(*names, place);
        int why = found ? 0 : errno;
        char *fresh = realpath(*names, NULL);
        printf("%.60s: %.60s, %s, %.60s, %d\n", *names, found ? found : "null", strerror(why), place,
               (fresh != NULL) == (found != NULL));
        free(fresh);
    }
    return 0;
}

static int started[2];

static void *opens(void *name) {
    char byte = 1;
    if (write(started[1], &byte, 1) != 1) return NULL;
    return (void *)(long)open(name, O_RDONLY);
}

static int cancel(char *fifo) {
    pthread_t thread;
    void *result;
    char byte;
    if (mkfifo(fifo, 0600) || pipe(started)) return 1;
    if (pthread_create(&thread, NULL, opens, fifo) || read(started[0], &byte, 1) != 1) return 2;
    /* Before it waits or while it does: either way it must end. */
    if (pthread_cancel(thread) || pthread_join(thread, &result)) return 3;
    puts(result == PTHREAD_CANCELED ? "cancelled" : "not cancelled");
    return 0;
}

int main(int words, char **word) {
    if (words == 4 && !strcmp(word[1], "count")) return count(word[2], atoi(word[3]));
    if (words > 2 && !strcmp(word[1], "paths")) return paths(word + 2);
    if (words == 3 && !strcmp(word[1], "cancel")) return cancel(word[2]);
    return 9;
}
