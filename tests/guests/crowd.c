/* Many at once: threads (-t) or processes (-p), all let go at the same moment.
 *   crowd -t|-p COUNT readers FILE    each opens the file and reads all of it, in its own piece size
 *   crowd -t|-p COUNT preaders FILE   one descriptor, each reads all of it by pread
 *   crowd -t|-p COUNT records FILE    one descriptor and one position; 16-byte records "%015d\n":
 *                                     each must come to exactly one reader
 *   crowd -t|-p COUNT regions FILE    each writes its own region of one file by pwrite
 *   crowd -t|-p COUNT append FILE     each opens with O_APPEND and writes records
 *   crowd -t|-p COUNT files DIR       each makes, writes, reads, renames and removes files of its own
 *   crowd -t|-p COUNT mix FILE        each opens, stats, reads a bit, closes, many times
 * Prints "ok" and ends with 0, or says what was wrong. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD 16
#define REGION 5000
#define MAX_RECORDS 65536

static const char *work, *path;
static int count, shared = -1;
static struct { int gate, bad, seen[MAX_RECORDS]; } *all; /* shared by processes too */

static void bad(int who, const char *what) {
    char line[256];
    int length = snprintf(line, sizeof line, "%s %d: %s: errno %d\n", work, who, what, errno);
    if (write(2, line, (size_t)length) < 0) {}
    __atomic_add_fetch(&all->bad, 1, __ATOMIC_SEQ_CST);
}

/* The file of readers: records, so any byte is known by its place. */
static int right(const char *bytes, size_t length, off_t offset) {
    for (size_t i = 0; i < length; i++) {
        long long at = (long long)offset + (long long)i, number = at / RECORD;
        int place = (int)(at % RECORD);
        char expected = '\n';
        if (place < RECORD - 1) {
            for (int digit = RECORD - 2; digit > place; digit--) number /= 10;
            expected = (char)('0' + number % 10);
        }
        if (bytes[i] != expected) return 0;
    }
    return 1;
}

static void readers(int who, int positional) {
    struct stat about;
    int fd = positional ? shared : open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &about) != 0) { bad(who, "open"); return; }
    size_t size = 1000 + (size_t)who * 777;
    char *bytes = malloc(size);
    off_t offset = 0;
    ssize_t got;
    while ((got = positional ? pread(fd, bytes, size, offset) : read(fd, bytes, size)) > 0) {
        if (!right(bytes, (size_t)got, offset)) { bad(who, "wrong bytes"); break; }
        offset += got;
    }
    if (got < 0) bad(who, "read");
    if (got == 0 && offset != about.st_size) bad(who, "short file");
    free(bytes);
    if (!positional) close(fd);
}

static void records(int who) {
    char bytes[RECORD + 1] = {0};
    ssize_t got;
    while ((got = read(shared, bytes, RECORD)) == RECORD) {
        int number = atoi(bytes);
        if (number < 0 || number >= MAX_RECORDS || bytes[RECORD - 1] != '\n') { bad(who, "mixed record"); return; }
        __atomic_add_fetch(&all->seen[number], 1, __ATOMIC_SEQ_CST);
    }
    if (got != 0) bad(who, got < 0 ? "read" : "cut record");
}

static void regions(int who) {
    char bytes[REGION];
    memset(bytes, 'A' + who % 26, sizeof bytes);
    int fd = open(path, O_RDWR);
    if (fd < 0) { bad(who, "open"); return; }
    for (int at = 0; at < REGION; at += 1000)
        if (pwrite(fd, bytes + at, 1000, (off_t)who * REGION + at) != 1000) bad(who, "pwrite");
    if (close(fd) != 0) bad(who, "close");
}

static void append(int who) {
    int fd = open(path, O_WRONLY | O_APPEND);
    if (fd < 0) { bad(who, "open"); return; }
    for (int i = 0; i < 20; i++) {
        char record[RECORD + 1];
        snprintf(record, sizeof record, "%015d\n", who * 20 + i);
        if (write(fd, record, RECORD) != RECORD) bad(who, "write");
    }
    if (close(fd) != 0) bad(who, "close");
}

static void files(int who) {
    for (int i = 0; i < 5; i++) {
        char name[512], other[600], bytes[3000], back[3001];
        snprintf(name, sizeof name, "%s/f-%d-%d", path, who, i);
        snprintf(other, sizeof other, "%s.new", name);
        memset(bytes, 'a' + (who + i) % 26, sizeof bytes);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes || close(fd) != 0) { bad(who, "make"); continue; }
        if (rename(name, other) != 0) bad(who, "rename");
        fd = open(other, O_RDONLY);
        if (fd < 0 || read(fd, back, sizeof back) != (ssize_t)sizeof bytes || memcmp(bytes, back, sizeof bytes) != 0) bad(who, "read back");
        close(fd);
        if (i > 0 && unlink(other) != 0) bad(who, "unlink");
    }
}

static void mix(int who) {
    for (int i = 0; i < 20; i++) {
        struct stat about;
        char bytes[100];
        int fd = open(path, O_RDONLY);
        if (fd < 0) { bad(who, "open"); continue; }
        if (stat(path, &about) != 0 || about.st_size < 100) bad(who, "stat");
        off_t offset = (off_t)((who * 131 + i * 977) % (about.st_size - 100));
        if (pread(fd, bytes, 100, offset) != 100 || !right(bytes, 100, offset)) bad(who, "pread");
        if (close(fd) != 0) bad(who, "close");
    }
}

static void one(int who) {
    while (!__atomic_load_n(&all->gate, __ATOMIC_SEQ_CST)) usleep(100);
    if (!strcmp(work, "readers")) readers(who, 0);
    else if (!strcmp(work, "preaders")) readers(who, 1);
    else if (!strcmp(work, "records")) records(who);
    else if (!strcmp(work, "regions")) regions(who);
    else if (!strcmp(work, "append")) append(who);
    else if (!strcmp(work, "files")) files(who);
    else if (!strcmp(work, "mix")) mix(who);
    else bad(who, "no such work");
}

static void *thread(void *who) { one((int)(long)who); return NULL; }

/* Reads a whole file of records and counts each. */
static int count_records(int expected) {
    char bytes[RECORD + 1] = {0};
    FILE *stream = fopen(path, "r");
    int total = 0;
    while (stream != NULL && fread(bytes, 1, RECORD, stream) == RECORD) {
        int number = atoi(bytes);
        if (number < 0 || number >= expected || bytes[RECORD - 1] != '\n') { bad(-1, "mixed record in the file"); break; }
        all->seen[number]++;
        total++;
    }
    if (stream != NULL) fclose(stream);
    return total;
}

static void verify(void) {
    if (!strcmp(work, "append")) {
        if (count_records(count * 20) != count * 20) bad(-1, "records lost or doubled in the file");
        for (int i = 0; i < count * 20; i++) if (all->seen[i] != 1) { bad(i, "record lost or doubled"); break; }
    } else if (!strcmp(work, "records")) {
        struct stat about;
        fstat(shared, &about);
        for (int i = 0; i < about.st_size / RECORD; i++) if (all->seen[i] != 1) { bad(i, all->seen[i] ? "record doubled" : "record lost"); break; }
    } else if (!strcmp(work, "regions")) {
        FILE *stream = fopen(path, "r");
        for (long i = 0; i < (long)count * REGION; i++)
            if (stream == NULL || fgetc(stream) != 'A' + (int)(i / REGION) % 26) { bad((int)(i / REGION), "wrong byte in the region"); break; }
        if (stream != NULL) fclose(stream);
    }
}

int main(int words, char **word) {
    if (words != 5) return 2;
    count = atoi(word[2]), work = word[3], path = word[4];
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!strcmp(work, "preaders") || !strcmp(work, "records")) shared = open(path, O_RDONLY);
    if (!strcmp(work, "append") || !strcmp(work, "regions")) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || close(fd) != 0) { bad(-1, "create"); return 1; }
    }
    pthread_t threads[1024];
    pid_t pids[1024];
    for (int i = 0; i < count; i++) {
        if (word[1][1] == 't') { if (pthread_create(&threads[i], NULL, thread, (void *)(long)i) != 0) bad(i, "pthread_create"); }
        else {
            pids[i] = fork();
            if (pids[i] < 0) bad(i, "fork");
            if (pids[i] == 0) { one(i); _exit(0); }
        }
    }
    __atomic_store_n(&all->gate, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < count; i++) {
        int status = 0;
        if (word[1][1] == 't') pthread_join(threads[i], NULL);
        else if (waitpid(pids[i], &status, 0) != pids[i] || status != 0) bad(i, "child's status");
    }
    verify();
    if (all->bad == 0) puts("ok");
    return all->bad == 0 ? 0 : 1;
}
