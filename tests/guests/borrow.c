/* Children that borrow their parent's memory (vfork): what they do with their own descriptors, directory
 * and mask must not be seen in the parent. DIR holds a file "inner"; FILE is read; NEW is made.
 *   borrow descriptor FILE LOCAL   the child's number 7 is FILE, the parent's is LOCAL
 *   borrow given FILE              the parent's number 7 is FILE, the child's something else
 *   borrow directory DIR           the child works in DIR
 *   borrow mask NEW                the child makes NEW.child, the parent NEW
 *   borrow held FILE               the child dies with FILE open, or runs a program with it
 *   borrow often PROGRAM           many children run PROGRAM with an empty environment
 *   borrow fails FILE              nothing to run; FILE is no program
 *   borrow read                    prints what number 7 has */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self;
/* Not in a register, which vfork may give back as it was. */
static int turn, before;

static void show(const char *who, const char *path) {
    char bytes[64] = {0};
    int fd = path ? open(path, O_RDONLY) : 7;
    ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
    if (got < 0) printf("%s: errno %d\n", who, errno);
    else printf("%s: %.*s\n", who, (int)strcspn(bytes, "\n"), bytes);
    fflush(stdout);
    if (path && fd >= 0) close(fd);
}

static void wait_for(const char *who, pid_t pid) {
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) printf("%s: errno %d\n", who, errno);
    else printf("%s: status %#x\n", who, status);
    fflush(stdout);
}

static void read_seven(void) {
    execl(self, self, "read", (char *)NULL);
    _exit(9);
}

static void descriptor(const char *file, const char *local) {
    dup2(open(local, O_RDONLY), 7);
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(open(file, O_RDONLY), 7);
        read_seven();
    }
    wait_for("child", pid);
    show("parent", NULL);
    show("again", file);
}

static void given(const char *file) {
    dup2(open(file, O_RDONLY), 7);
    pid_t pid = vfork();
    if (pid == 0) {
        close(7);
        dup2(open("/dev/null", O_RDONLY), 7);
        read_seven();
    }
    wait_for("child", pid);
    show("parent", NULL);
}

static void directory(const char *dir) {
    pid_t pid = vfork();
    if (pid == 0) {
        if (chdir(dir) == 0) execlp("cat", "cat", "inner", (char *)NULL);
        _exit(9);
    }
    wait_for("child", pid);
    show("parent", "inner");
    pid = vfork();
    if (pid == 0) {
        execlp("cat", "cat", "inner", (char *)NULL);
        _exit(9);
    }
    wait_for("second", pid);
    if (chdir(dir) == 0) show("moved", "inner");
}

static void mask(const char *new) {
    char name[4096];
    struct stat data;
    snprintf(name, sizeof name, "%s.child", new);
    umask(027);
    pid_t pid = vfork();
    if (pid == 0) {
        umask(0);
        close(open(name, O_WRONLY | O_CREAT, 0666));
        _exit(0);
    }
    wait_for("child", pid);
    close(open(new, O_WRONLY | O_CREAT, 0666));
    if (stat(name, &data) == 0) printf("child made %o\n", data.st_mode & 0777);
    if (stat(new, &data) == 0) printf("parent made %o\n", data.st_mode & 0777);
}

static int open_files(void) {
    int count = 0;
    for (int fd = 0; fd < 2048; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static int mappings(void) {
    int count = 0, byte;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && (byte = getc(maps)) != EOF) count += byte == '\n';
    if (maps) fclose(maps);
    return count;
}

static void held(const char *file) {
    before = open_files();
    for (turn = 0; turn < 4; turn++) {
        pid_t pid = vfork();
        if (pid == 0) {
            char byte;
            int fd = open(file, O_RDONLY);
            if (read(fd, &byte, 1) != 1) _exit(8);
            if (turn % 2) execlp("true", "true", (char *)NULL);
            _exit(3);
        }
        wait_for("child", pid);
    }
    printf("%d more open\n", open_files() - before);
    show("parent", file);
}

static void often(char *program) {
    char *const arguments[] = {program, NULL}, *const none[] = {NULL};
    for (turn = 0; turn < 60; turn++) {
        pid_t pid = vfork();
        int status = 0;
        if (pid == 0) {
            execve(program, arguments, none);
            _exit(9);
        }
        waitpid(pid, &status, 0);
        if (status != 0) printf("status %#x\n", status);
        if (turn == 10) before = mappings();
    }
    printf("memory %s\n", mappings() - before > 3 ? "grows" : "stays");
}

static void fails(const char *file) {
    const char *names[] = {"/no/such/program", "nosuchprogram", file};
    for (turn = 0; turn < 3; turn++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execlp(names[turn], names[turn], (char *)NULL);
            _exit(errno);
        }
        wait_for("fails", pid);
    }
}

int main(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : "";
    self = argv[0];
    if (!strcmp(word, "read")) show("read", NULL);
    else if (!strcmp(word, "descriptor") && argc > 3) descriptor(argv[2], argv[3]);
    else if (!strcmp(word, "given") && argc > 2) given(argv[2]);
    else if (!strcmp(word, "directory") && argc > 2) directory(argv[2]);
    else if (!strcmp(word, "mask") && argc > 2) mask(argv[2]);
    else if (!strcmp(word, "held") && argc > 2) held(argv[2]);
    else if (!strcmp(word, "often") && argc > 2) often(argv[2]);
    else if (!strcmp(word, "fails") && argc > 2) fails(argv[2]);
    else return 2;
    return 0;
}
