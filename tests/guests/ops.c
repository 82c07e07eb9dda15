/* Executes a script of file operations in the working directory and prints the result of each.
 *   ops SCRIPT DIRECTORY
 * See tests/src/random.rs for the operations. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS 6
static int slots[SLOTS] = {-1, -1, -1, -1, -1, -1};
static char buffer[1 << 20];

static void result(long long value) {
    if (value < 0) printf("errno %d\n", errno);
    else printf("%lld\n", value);
}

static unsigned sum(const char *bytes, long long length) {
    unsigned hash = 2166136261u;
    for (long long i = 0; i < length; i++) hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    return hash;
}

static void result_bytes(long long got) {
    if (got < 0) printf("errno %d\n", errno);
    else printf("%lld sum %08x\n", got, sum(buffer, got));
}

static void fill(long length, int number) {
    for (long i = 0; i < length; i++) buffer[i] = (char)(number * 7 + i * 13 + i / 251);
}

static int flags_of(const char *letters) {
    int flags = strchr(letters, 'w') ? (strchr(letters, 'r') ? O_RDWR : O_WRONLY) : O_RDONLY;
    if (strchr(letters, 'c')) flags |= O_CREAT;
    if (strchr(letters, 't')) flags |= O_TRUNC;
    if (strchr(letters, 'x')) flags |= O_EXCL;
    if (strchr(letters, 'a')) flags |= O_APPEND;
    if (strchr(letters, 'd')) flags |= O_DIRECTORY;
    if (strchr(letters, 'n')) flags |= O_NOFOLLOW;
    return flags;
}

static void result_stat(int error, const struct stat *about) {
    if (error != 0) { printf("errno %d\n", errno); return; }
    if (S_ISDIR(about->st_mode)) printf("dir %o\n", about->st_mode & 07777);
    else printf("%s %o size %lld links %d\n", S_ISLNK(about->st_mode) ? "link" : "file",
                S_ISLNK(about->st_mode) ? 0 : about->st_mode & 07777, (long long)about->st_size, (int)about->st_nlink);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *name) {
    DIR *dir = opendir(name);
    if (dir == NULL) { printf("errno %d\n", errno); return; }
    char *names[200];
    int count = 0;
    struct dirent *entry;
    errno = 0;
    while (count < 200 && (entry = readdir(dir)) != NULL)
        if (strncmp(entry->d_name, ".__", 3) != 0) names[count++] = strdup(entry->d_name);
    if (errno != 0) printf("errno %d after ", errno);
    closedir(dir);
    qsort(names, (size_t)count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) { printf("%s ", names[i]); free(names[i]); }
    printf("(%d)\n", count);
}

static void open_slot(int slot, const char *name, const char *letters, int mode) {
    if (slots[slot] >= 0) close(slots[slot]);
    slots[slot] = open(name, flags_of(letters), mode);
    if (slots[slot] < 0) printf("errno %d\n", errno);
    else printf("open\n");
}

/* Operations on a slot; returns 0 if it is none of these. */
static int on_slot(const char *op, int slot, char a[3][256]) {
    int fd = slots[slot];
    struct stat about;
    if (!strcmp(op, "open")) open_slot(slot, a[0], a[1], (int)strtol(a[2], NULL, 8));
    else if (!strcmp(op, "close")) { result(close(fd)); slots[slot] = -1; }
    else if (!strcmp(op, "read")) result_bytes(read(fd, buffer, (size_t)atol(a[0])));
    else if (!strcmp(op, "pread")) result_bytes(pread(fd, buffer, (size_t)atol(a[0]), atol(a[1])));
    else if (!strcmp(op, "write")) { fill(atol(a[0]), atoi(a[1])); result(write(fd, buffer, (size_t)atol(a[0]))); }
    else if (!strcmp(op, "pwrite")) { fill(atol(a[0]), atoi(a[2])); result(pwrite(fd, buffer, (size_t)atol(a[0]), atol(a[1]))); }
    else if (!strcmp(op, "ftruncate")) result(ftruncate(fd, atol(a[0])));
    else if (!strcmp(op, "fstat")) result_stat(fstat(fd, &about), &about);
    else if (!strcmp(op, "fsync")) result(fsync(fd));
    else if (!strcmp(op, "tell")) {
        /* Where a directory's position is, is the file system's own affair. */
        if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) printf("directory\n");
        else result(lseek(fd, 0, SEEK_CUR));
    } else if (!strcmp(op, "seek")) {
        if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) printf("directory\n");
        else result(lseek(fd, atol(a[0]), strcmp(a[1], "end") ? SEEK_SET : SEEK_END));
    } else if (!strcmp(op, "getfl")) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0) printf("errno %d\n", errno);
        else printf("%s%s\n", (flags & O_ACCMODE) == O_RDONLY ? "r" : (flags & O_ACCMODE) == O_WRONLY ? "w" : "rw", flags & O_APPEND ? "a" : "");
    } else if (!strcmp(op, "dup")) {
        int to = atoi(a[0]) % SLOTS;
        if (fd < 0) printf("closed\n");
        else if (slots[to] >= 0) printf("%d\n", dup2(fd, slots[to]) == slots[to]);
        else printf("%d\n", (slots[to] = dup(fd)) >= 0);
    } else return 0;
    return 1;
}

static void on_name(const char *op, const char *name, const char *other) {
    struct stat about;
    if (!strcmp(op, "truncate")) result(truncate(name, atol(other)));
    else if (!strcmp(op, "stat")) result_stat(stat(name, &about), &about);
    else if (!strcmp(op, "lstat")) result_stat(lstat(name, &about), &about);
    else if (!strcmp(op, "mkdir")) result(mkdir(name, (mode_t)strtol(other, NULL, 8)));
    else if (!strcmp(op, "rmdir")) result(rmdir(name));
    else if (!strcmp(op, "unlink")) result(unlink(name));
    else if (!strcmp(op, "rename")) {
        /* A stock server keeps a list in every directory: none can be replaced by a rename. */
        if (getenv("OPS_STOCK") != NULL && stat(other, &about) == 0 && S_ISDIR(about.st_mode)) printf("not tried\n");
        else result(rename(name, other));
    }
    else if (!strcmp(op, "link")) result(link(name, other));
    else if (!strcmp(op, "symlink")) result(symlink(name, other));
    else if (!strcmp(op, "access")) result(access(name, atoi(other)));
    else if (!strcmp(op, "list")) list(name);
    else if (!strcmp(op, "readlink")) {
        ssize_t got = readlink(name, buffer, sizeof buffer);
        if (got < 0) printf("errno %d\n", errno);
        else printf("%.*s\n", (int)got, buffer);
    } else printf("no such operation\n");
}

int main(int count, char **words) {
    if (count != 3) return 2;
    FILE *script = fopen(words[1], "re");
    if (script == NULL || chdir(words[2]) != 0) { perror("start"); return 1; }
    char line[2000], op[64], first[256], a[3][256];
    for (int number = 1; fgets(line, sizeof line, script) != NULL; number++) {
        memset(a, 0, sizeof a);
        if (sscanf(line, "%63s %255s %255s %255s %255s", op, first, a[0], a[1], a[2]) < 2) continue;
        line[strcspn(line, "\n")] = 0;
        printf("== %d %s\n", number, line);
        if (first[0] >= '0' && first[0] < '0' + SLOTS && first[1] == 0 && on_slot(op, first[0] - '0', a)) {}
        else on_name(op, first, a[0]);
        fflush(stdout);
    }
    for (int i = 0; i < SLOTS; i++) if (slots[i] >= 0) close(slots[i]);
    return 0;
}
