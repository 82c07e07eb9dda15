/* What libc reads by itself: `system DIRECTORY LINK [all]`, run natively and under Parrot, must say the
   same. Without the third word only what a preloaded program sees. The tree has `lib/` with two libraries of
   which one needs the other (LINK leads there), `zone`, `catalog`. `system accounts` says who there is. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nl_types.h>
#include <pty.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

static void accounts(void) {
    printf("== accounts\n");
    struct passwd *user = getpwnam("parroted");
    printf("getpwnam %s %d %s %s\n", user ? user->pw_name : "none", user ? (int)user->pw_uid : -1, user ? user->pw_dir : "", user ? user->pw_shell : "");
    user = getpwuid(4242);
    printf("getpwuid %s\n", user ? user->pw_name : "none");
    printf("getpwnam of nobody there: %d\n", getpwnam("nosuchuserhere") == NULL);
    struct passwd place, *found = NULL;
    char room[1000];
    int result = getpwnam_r("parroted", &place, room, sizeof room, &found);
    printf("getpwnam_r %d %s\n", result, found ? found->pw_gecos : "none");
    result = getpwnam_r("parroted", &place, room, 3, &found);
    printf("getpwnam_r without room %d %d\n", result == ERANGE, found == NULL);
    struct group *group = getgrnam("parrots");
    printf("getgrnam %s %d", group ? group->gr_name : "none", group ? (int)group->gr_gid : -1);
    for (char **member = group ? group->gr_mem : NULL; member && *member; member++) printf(" %s", *member);
    group = getgrgid(4343);
    printf("\ngetgrgid %s\n", group ? group->gr_name : "none");
    int count = 0;
    setpwent();
    while ((user = getpwent()) != NULL) count += strcmp(user->pw_name, "parroted") == 0;
    endpwent();
    printf("getpwent %d\n", count);
    count = 0;
    while ((group = getgrent()) != NULL) count += strcmp(group->gr_name, "parrots") == 0;
    endgrent();
    printf("getgrent %d\n", count);
}

static void library(const char *name) {
    void *handle = dlopen(name, RTLD_NOW);
    int (*answer)(void) = handle ? (int (*)(void))dlsym(handle, "answer") : NULL;
    printf("dlopen %s: %d\n", strrchr(name, '/'), answer ? answer() : -1);
    if (handle) dlclose(handle);
}

static void libraries(const char *link) {
    char name[4200];
    printf("== libraries\n");
    if (getcwd(name, sizeof name - 100) == NULL) exit(3);
    strcat(name, "/lib/libalone.so");
    library(name);
    library("lib/libalone.so");
    library("lib/libneeds.so");
    snprintf(name, sizeof name, "%s/libalone.so", link);
    library(name);
    printf("missing %d\n", dlopen("lib/libnosuch.so", RTLD_NOW) == NULL);
}

static void catalog(void) {
    printf("== catalog\n");
    nl_catd cat = catopen("./catalog", 0);
    printf("catopen %d %s\n", cat != (nl_catd)-1, cat != (nl_catd)-1 ? catgets(cat, 1, 1, "default") : "");
    if (cat != (nl_catd)-1) catclose(cat);
    printf("missing %d\n", catopen("./nosuchcatalog", 0) == (nl_catd)-1);
}

static void unseen(void) {
    char text[4200], here[4000];
    printf("== zone\n");
    if (getcwd(here, sizeof here) == NULL) exit(3);
    snprintf(text, sizeof text, ":%s/zone", here);
    setenv("TZ", text, 1);
    tzset();
    time_t then = 1000000000;
    strftime(text, sizeof text, "%F %T %Z", localtime(&then));
    puts(text);
}

/* A process that leaves its terminal, directory and descriptors. */
static void daemons(void) {
    printf("== daemon\n");
    fflush(stdout);
    int ends[2];
    if (pipe(ends) != 0) exit(3);
    char here[4000];
    if (getcwd(here, sizeof here) == NULL) exit(3);
    if (fork() == 0) {
        close(ends[0]);
        FILE *back = fdopen(ends[1], "w");
        int kept = open("hello", O_RDONLY);
        if (daemon(0, 0) != 0) _exit(1);
        char text[100] = "";
        fprintf(back, "cwd %s relative %d", getcwd(text, sizeof text), access("hello", F_OK));
        fprintf(back, " streams %ld %d", (long)read(0, text, 10), isatty(1));
        fprintf(back, " kept %ld", (long)read(kept, text, 5));
        snprintf(here + strlen(here), 20, "/made");
        int fd = open(here, O_WRONLY | O_CREAT, 0600);
        fprintf(back, " wrote %ld", (long)write(fd, "by a daemon", 11));
        fprintf(back, " close %d\n", close(fd));
        fclose(back);
        _exit(0);
    }
    close(ends[1]);
    int status;
    wait(&status);
    FILE *back = fdopen(ends[0], "r");
    char line[1000];
    while (fgets(line, sizeof line, back) != NULL) printf("%s", line);
    fclose(back);
    struct stat about = {0};
    stat("made", &about);
    printf("made %ld\n", (long)about.st_size);

    printf("== forkpty\n");
    fflush(stdout);
    int end;
    pid_t child = forkpty(&end, NULL, NULL, NULL);
    if (child == 0) {
        int fd = open("hello", O_RDONLY);
        ssize_t len = read(fd, line, sizeof line);
        printf("tty %d %.*s", isatty(0) && isatty(1), (int)len, line);
        fflush(stdout);
        _exit(3);
    }
    size_t total = 0;
    ssize_t got;
    while (total < sizeof line - 1 && (got = read(end, line + total, sizeof line - 1 - total)) > 0) total += got;
    line[total] = 0;
    waitpid(child, &status, 0);
    printf("%s status %d\n", line, WEXITSTATUS(status));
    close(end);
    end = posix_openpt(O_RDWR | O_NOCTTY);
    printf("posix_openpt %d grantpt %d", end >= 0, grantpt(end));
    printf(" unlockpt %d", unlockpt(end));
    printf(" name %d\n", ptsname(end) != NULL);
    int other = open(ptsname(end), O_RDWR | O_NOCTTY);
    printf("slave %d", other >= 0);
    printf(" wrote %ld", (long)write(other, "x\n", 2));
    // The terminal hands over what it has, which may be less.
    long all = 0;
    while (all < 3 && (got = read(end, line, 3 - all)) > 0) all += got;
    printf(" read %ld\n", all);
    close(other);
    close(end);
}

int main(int count, char **words) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 2 && strcmp(words[1], "accounts") == 0) {
        accounts();
        return 0;
    }
    if (count < 3 || chdir(words[1]) != 0) return 2;
    libraries(words[2]);
    catalog();
    daemons();
    if (count > 3) unseen();
    return 0;
}
