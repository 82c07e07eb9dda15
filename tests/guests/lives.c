/* Every way in which a process or thread begins, becomes another program, or leaves its parent. One
 * word says which; FILE is read, NEW is written.
 *   threads FILE          eight threads read it
 *   clone FILE            a child by a raw clone, by clone3, by vfork and exec of this program
 *   spawn DIR FILE NEW    posix_spawn with file actions: input, output, directory
 *   exec HOW FILE         replaces itself with cat FILE, by each function; "thread": from a thread;
 *                         "bare": with an empty environment
 *   daemon NEW READY      forks twice, closes everything, writes NEW, then touches READY
 *   filter FILE           installs a filter of its own, reads, and is refused what the filter refuses
 *   popen FILE            system and popen
 *   read FILE             reads it and says so */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static const char *self;

/* Reads the file by calls alone: a child of a raw clone must not use stdio's locks. */
static void show(const char *who, const char *path) {
    char line[256], bytes[128];
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
    int len = got < 0 ? snprintf(line, sizeof line, "%s: errno %d\n", who, errno)
                      : snprintf(line, sizeof line, "%s: %.*s", who, (int)got, bytes);
    if (write(1, line, len) != len) _exit(9);
    if (fd >= 0) close(fd);
}

static void wait_for(const char *who, pid_t pid) {
    int status = 0;
    if (pid < 0) printf("%s: errno %d\n", who, errno);
    else if (waitpid(pid, &status, __WALL) != pid || status != 0) printf("%s: status %#x\n", who, status);
    fflush(stdout);
}

static void *reader(void *path) {
    struct stat data;
    for (int i = 0; i < 20; i++) {
        int fd = open(path, O_RDONLY);
        char byte;
        if (fd < 0 || read(fd, &byte, 1) != 1 || stat(path, &data) != 0) return path;
        close(fd);
    }
    return NULL;
}

static int threads(char *path) {
    pthread_t all[8];
    int bad = 0;
    for (int i = 0; i < 8; i++) pthread_create(&all[i], NULL, reader, path);
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(all[i], &result);
        bad += result != NULL;
    }
    printf("threads: %d failed\n", bad);
    return 0;
}

static int clones(char *path) {
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) { show("clone", path); _exit(0); }
    wait_for("clone", pid);
    struct clone_args how = {.exit_signal = SIGCHLD};
    pid = syscall(SYS_clone3, &how, sizeof how);
    if (pid == 0) { show("clone3", path); _exit(0); }
    wait_for("clone3", pid);
    char *words[] = {(char *)self, "read", path, NULL};
    pid = vfork();
    if (pid == 0) { execv(self, words); _exit(8); }
    wait_for("vfork", pid);
    pid = fork();
    if (pid == 0) {
        if (setsid() < 0) _exit(7);
        pid_t grandchild = fork();
        if (grandchild == 0) { show("grandchild of a session of its own", path); _exit(0); }
        wait_for("grandchild", grandchild);
        _exit(0);
    }
    wait_for("setsid", pid);
    return 0;
}

static int spawns(const char *dir, const char *path, const char *made) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, path, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, made, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addchdir_np(&actions, dir);
    posix_spawn_file_actions_addclose(&actions, 2);
    char *words[] = {"sh", "-c", "cat; ls", NULL};
    pid_t pid = -1;
    int error = posix_spawnp(&pid, "sh", &actions, NULL, words, environ);
    if (error != 0) printf("posix_spawnp: errno %d\n", error);
    else wait_for("spawn", pid);
    show("spawned", made);
    posix_spawn_file_actions_destroy(&actions);
    return 0;
}

static char *cat_words[] = {"cat", NULL, NULL};

static void *exec_in_thread(void *unused) {
    execv("/bin/cat", cat_words);
    return unused;
}

static int execs(const char *how, char *path) {
    cat_words[1] = path;
    if (strcmp(how, "execve") == 0) execve("/bin/cat", cat_words, environ);
    if (strcmp(how, "execv") == 0) execv("/bin/cat", cat_words);
    if (strcmp(how, "execvp") == 0) execvp("cat", cat_words);
    if (strcmp(how, "execvpe") == 0) execvpe("cat", cat_words, environ);
    if (strcmp(how, "execl") == 0) execl("/bin/cat", "cat", path, (char *)NULL);
    if (strcmp(how, "execlp") == 0) execlp("cat", "cat", path, (char *)NULL);
    if (strcmp(how, "execle") == 0) execle("/bin/cat", "cat", path, (char *)NULL, environ);
    if (strcmp(how, "fexecve") == 0) fexecve(open("/bin/cat", O_RDONLY | O_CLOEXEC), cat_words, environ);
    if (strcmp(how, "execveat") == 0)
        syscall(SYS_execveat, open("/bin", O_PATH | O_DIRECTORY), "cat", cat_words, environ, 0);
    if (strcmp(how, "syscall") == 0) syscall(SYS_execve, "/bin/cat", cat_words, environ);
    if (strcmp(how, "thread") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, exec_in_thread, NULL);
        pause();
    }
    if (strcmp(how, "bare") == 0) {
        char *none[] = {NULL};
        clearenv();
        execve("/bin/cat", cat_words, none);
    }
    return 1;
}

static int becomes_daemon(const char *made, const char *ready) {
    if (fork() != 0) return 0;
    setsid();
    if (fork() != 0) _exit(0);
    syscall(SYS_close_range, 0, ~0U, 0);
    if (chdir("/") < 0) _exit(1);
    int fd = open(made, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "by a daemon\n", 12) != 12 || close(fd) < 0) _exit(2);
    fd = open(ready, O_WRONLY);
    if (fd < 0 || write(fd, "ready\n", 6) != 6) _exit(3);
    _exit(0);
}

static int filters(const char *path) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sethostname, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    show("before", path);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, 2, &program) < 0)
        printf("filter: errno %d\n", errno);
    printf("refused: %d\n", sethostname("x", 1) < 0 && errno == EXDEV);
    fflush(stdout);
    show("behind it", path);
    int fd = open(path, O_RDONLY), other = dup(fd);
    printf("seek: %ld\n", (long)lseek(other, 2, SEEK_SET));
    fflush(stdout);
    if (fork() == 0) { show("child", path); _exit(0); }
    wait(NULL);
    return 0;
}

static int commands(const char *path) {
    char command[4200], line[128] = "";
    snprintf(command, sizeof command, "cat '%s' | tr a-z A-Z", path);
    printf("system: %d\n", system(command));
    FILE *stream = popen(command, "r");
    printf("popen: %s", stream && fgets(line, sizeof line, stream) ? line : "nothing\n");
    printf("pclose: %d\n", stream ? pclose(stream) : -1);
    return 0;
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    self = words[0];
    const char *what = count > 2 ? words[1] : "";
    if (strcmp(what, "threads") == 0) return threads(words[2]);
    if (strcmp(what, "clone") == 0) return clones(words[2]);
    if (strcmp(what, "spawn") == 0 && count > 4) return spawns(words[2], words[3], words[4]);
    if (strcmp(what, "exec") == 0 && count > 3) return execs(words[2], words[3]);
    if (strcmp(what, "daemon") == 0 && count > 3) return becomes_daemon(words[2], words[3]);
    if (strcmp(what, "filter") == 0) return filters(words[2]);
    if (strcmp(what, "popen") == 0) return commands(words[2]);
    if (strcmp(what, "read") == 0) { show("read", words[2]); return 0; }
    return 2;
}
