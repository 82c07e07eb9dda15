/* Every entry of libc that lists or walks: `walks DIRECTORY`, run natively and under Parrot, must say the
   same. Names are printed relative to the directory, sorted where the file system chooses the order. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fts.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wordexp.h>

static char *lines[4096];
static int count;
static const char *top;

static void keep(const char *format, const char *a, int b, int c) {
    char *line;
    if (asprintf(&line, format, a, b, c) < 0) exit(9);
    lines[count++] = line;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

/* What the server keeps for itself is not part of the tree. */
static int hidden(const char *name) { return strncmp(name, ".__", 3) == 0; }

static void show(const char *title) {
    printf("== %s\n", title);
    qsort(lines, count, sizeof *lines, by_text);
    for (int i = 0; i < count; i++) {
        puts(lines[i]);
        free(lines[i]);
    }
    count = 0;
}

static const char *below(const char *path) {
    size_t len = strlen(top);
    return strncmp(path, top, len) == 0 ? path + len : path;
}

static int seen_nftw(const char *path, const struct stat *about, int kind, struct FTW *place) {
    if (hidden(path + place->base)) return 0;
    keep("%s kind %d level %d", below(path), kind, place->level);
    keep("%s base %d size %d", below(path), place->base - (int)(below(path) - path), S_ISREG(about->st_mode) ? (int)about->st_size : -1);
    return 0;
}

static int skip_d(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about;
    if (hidden(path + place->base)) return FTW_CONTINUE;
    keep("%s kind %d level %d", below(path), kind, place->level);
    return strcmp(path + place->base, "d") == 0 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static int seen_kind(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about;
    if (!hidden(path + place->base)) keep("%s%d level %d", "kind ", kind, place->level);
    return 0;
}

/* With FTW_CHDIR the last component leads to the object. */
static int seen_here(const char *path, const struct stat *about, int kind, struct FTW *place) {
    struct stat here;
    if (hidden(path + place->base)) return 0;
    int same = path[place->base] != 0 && lstat(path + place->base, &here) == 0 && here.st_ino == about->st_ino;
    keep("%s kind %d reached %d", below(path), kind, same);
    return 0;
}

static int seen_ftw(const char *path, const struct stat *about, int kind) {
    (void)about;
    if (strstr(path, "/.__") == NULL) keep("%s kind %d %d", below(path), kind, 0);
    return 0;
}

static int by_name(const FTSENT **a, const FTSENT **b) { return strcmp((*a)->fts_name, (*b)->fts_name); }

static void walk_fts(const char *title, char **paths, int options, const char *special) {
    printf("== fts %s\n", title);
    errno = 0;
    FTS *walk = fts_open(paths, options, by_name);
    if (walk == NULL) {
        printf("fts_open: %s\n", strerror(errno));
        return;
    }
    FTSENT *entry;
    while ((entry = fts_read(walk)) != NULL) {
        if (hidden(entry->fts_name)) continue;
        printf("%s [%s] info %d level %d error %s number %ld", below(entry->fts_path), entry->fts_name, entry->fts_info,
               entry->fts_level, strerror(entry->fts_errno), entry->fts_number);
        if (entry->fts_info == FTS_F) printf(" size %ld", (long)entry->fts_statp->st_size);
        if (entry->fts_info == FTS_DC) printf(" cycle %s", below(entry->fts_cycle->fts_path));
        if (entry->fts_level > 0) printf(" in %s", entry->fts_parent->fts_name);
        putchar('\n');
        if (entry->fts_info == FTS_D && strcmp(special, "children") == 0) {
            for (FTSENT *child = fts_children(walk, 0); child != NULL; child = child->fts_link) {
                if (hidden(child->fts_name)) continue;
                printf("   child %s info %d\n", child->fts_name, child->fts_info);
                child->fts_number = 7;
            }
        }
        if (entry->fts_info == FTS_D && strcmp(special, "names") == 0) {
            for (FTSENT *child = fts_children(walk, FTS_NAMEONLY); child != NULL; child = child->fts_link)
                if (!hidden(child->fts_name)) printf("   name %s\n", child->fts_name);
        }
        if (strcmp(special, "skip") == 0 && strcmp(entry->fts_name, "d") == 0 && entry->fts_info == FTS_D)
            fts_set(walk, entry, FTS_SKIP);
        if (strcmp(special, "follow") == 0 && entry->fts_info == FTS_SL) fts_set(walk, entry, FTS_FOLLOW);
        if (strcmp(special, "again") == 0 && entry->fts_info == FTS_F && entry->fts_number++ == 0)
            fts_set(walk, entry, FTS_AGAIN);
        if (strcmp(special, "early") == 0 && entry->fts_level == 2) break;
    }
    printf("end %s\n", entry == NULL ? strerror(errno) : "early");
    if (fts_close(walk) != 0) perror("fts_close");
}

static int no_dots(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void scan(const char *title, struct dirent **list, int found) {
    printf("== %s %d %s\n", title, found, found < 0 ? strerror(errno) : "");
    for (int i = 0; i < found; i++) {
        puts(list[i]->d_name);
        free(list[i]);
    }
    if (found >= 0) free(list);
}

static int bad_dir(const char *path, int error) {
    printf("glob error %s %s\n", below(path), strerror(error));
    return 0;
}

static void globbed(const char *pattern, int flags) {
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", top, pattern);
    glob_t found = {0};
    int result = glob(path, flags, bad_dir, &found);
    printf("== glob %s %x: %d\n", pattern, flags, result);
    for (size_t i = 0; result == 0 && i < found.gl_pathc; i++) puts(below(found.gl_pathv[i]));
    globfree(&found);
}

static void words(const char *text) {
    wordexp_t found;
    int result = wordexp(text, &found, WRDE_NOCMD);
    printf("== wordexp %s: %d\n", text, result);
    for (size_t i = 0; result == 0 && i < found.we_wordc; i++) puts(below(found.we_wordv[i]));
    if (result == 0) wordfree(&found);
}

static void positions(void) {
    printf("== opendir and positions\n");
    DIR *dir = opendir(top);
    char first[64][256];
    long places[64];
    int n = 0;
    struct dirent *entry;
    for (;;) {
        places[n] = telldir(dir);
        if ((entry = readdir(dir)) == NULL || n >= 63) break;
        snprintf(first[n++], 256, "%s", entry->d_name);
    }
    int right = 0;
    for (int i = n - 1; i >= 0; i--) {
        seekdir(dir, places[i]);
        entry = readdir(dir);
        right += entry != NULL && strcmp(entry->d_name, first[i]) == 0;
    }
    printf("found again: %s\n", right == n ? "all" : "not all");
    rewinddir(dir);
    int again = 0;
    while ((entry = readdir(dir)) != NULL) again++;
    printf("after rewinddir: %s\n", again == n ? "all" : "not all");
    struct stat by_fd, by_name;
    printf("dirfd %d", fstat(dirfd(dir), &by_fd) == 0 && stat(top, &by_name) == 0 && by_fd.st_ino == by_name.st_ino);
    printf(" closedir %d\n", closedir(dir));
    int fd = open(top, O_RDONLY | O_DIRECTORY);
    dir = fdopendir(fd);
    again = 0;
    while ((entry = readdir(dir)) != NULL) again++;
    printf("fdopendir %s", again == n ? "all" : "not all");
    printf(" same number %d", dirfd(dir) == fd);
    printf(" closedir %d", closedir(dir));
    printf(" closed %d\n", fcntl(fd, F_GETFD) < 0);
    printf("opendir of a file: %d %s\n", opendir("hello") == NULL, strerror(errno));
    printf("opendir of nothing: %d %s\n", opendir("nosuch") == NULL, strerror(errno));
    fd = open("hello", O_RDONLY);
    printf("fdopendir of a file: %d %s\n", fdopendir(fd) == NULL, strerror(errno));
    close(fd);
    dir = opendir("d");
    struct dirent place, *got = NULL;
    again = 0;
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wdeprecated-declarations\"")
    while (readdir_r(dir, &place, &got) == 0 && got != NULL) again += !hidden(got->d_name);
    _Pragma("GCC diagnostic pop")
    printf("readdir_r %d\n", again);
    closedir(dir);
    char bytes[65536];
    fd = open("d", O_RDONLY | O_DIRECTORY);
    long total = 0, got_bytes;
    while ((got_bytes = syscall(SYS_getdents64, fd, bytes, sizeof bytes)) > 0) total += got_bytes;
    printf("getdents64 %s %ld\n", total > 0 ? "some" : "none", got_bytes);
    close(fd);
}

int main(int words_count, char **arguments) {
    if (words_count < 2) return 2;
    top = arguments[1];
    if (chdir(top) != 0) return 3;
    char *one[] = {arguments[1], NULL};
    char sub[4200], deep[4200], missing[4200], link[4200];
    snprintf(deep, sizeof deep, "%s/d/e", top);
    snprintf(sub, sizeof sub, "%s/d/", top);
    snprintf(missing, sizeof missing, "%s/nosuch", top);
    snprintf(link, sizeof link, "%s/dirlink", top);
    char *many[] = {sub, missing, link, NULL};
    walk_fts("physical", one, FTS_PHYSICAL, "");
    walk_fts("nochdir nostat", one, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, "");
    walk_fts("logical", one, FTS_LOGICAL, "");
    walk_fts("several", many, FTS_PHYSICAL | FTS_NOCHDIR, "");
    walk_fts("comfollow", many, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, "");
    walk_fts("xdev", one, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, "");
    walk_fts("seedot", (char *[]){sub, NULL}, FTS_PHYSICAL | FTS_SEEDOT | FTS_NOCHDIR, "");
    walk_fts("children", one, FTS_PHYSICAL | FTS_NOCHDIR, "children");
    walk_fts("names", one, FTS_PHYSICAL | FTS_NOCHDIR, "names");
    walk_fts("skip", one, FTS_PHYSICAL | FTS_NOCHDIR, "skip");
    walk_fts("follow", one, FTS_PHYSICAL | FTS_NOCHDIR, "follow");
    walk_fts("again", one, FTS_PHYSICAL | FTS_NOCHDIR, "again");
    walk_fts("early", one, FTS_PHYSICAL | FTS_NOCHDIR, "early");
    walk_fts("wrong option", one, 0x4000, "");
    walk_fts("empty name", (char *[]){"", NULL}, FTS_PHYSICAL, "");
    walk_fts("relative", (char *[]){"d", NULL}, FTS_PHYSICAL, "");
    walk_fts("dot", (char *[]){".", NULL}, FTS_PHYSICAL | FTS_NOCHDIR, "");

    int result = nftw(top, seen_nftw, 20, FTW_PHYS);
    printf("nftw %d\n", result);
    show("nftw physical");
    printf("nftw %d\n", nftw(sub, seen_nftw, 20, FTW_DEPTH));
    show("nftw depth, followed");
    if (symlink("e", "d/again") != 0 || mkdir("l", 0700) != 0 || symlink("self", "l/self") != 0) return 4;
    printf("nftw %d\n", nftw("d", seen_kind, 20, 0));
    show("nftw, each directory once");
    errno = 0;
    result = nftw("l", seen_kind, 20, 0);
    printf("nftw %d %s\n", result, strerror(errno));
    show("nftw of a loop");
    if (unlink("d/again") != 0 || unlink("l/self") != 0 || rmdir("l") != 0) return 4;
    printf("nftw %d\n", nftw(sub, seen_here, 20, FTW_PHYS | FTW_CHDIR));
    show("nftw changing directory");
    printf("nftw %d\n", nftw(deep, seen_here, 20, FTW_PHYS | FTW_CHDIR | FTW_DEPTH));
    show("nftw changing directory, depth");
    char *here = get_current_dir_name();
    printf("back in %s\n", below(here));
    free(here);
    printf("nftw %d\n", nftw(top, skip_d, 20, FTW_PHYS | FTW_ACTIONRETVAL));
    show("nftw skip");
    printf("nftw %d\n", nftw("d", seen_nftw, 20, FTW_PHYS | FTW_MOUNT));
    show("nftw relative");
    errno = 0;
    result = nftw(missing, seen_nftw, 20, FTW_PHYS);
    printf("nftw %d %s\n", result, strerror(errno));
    show("nftw missing");
    printf("ftw %d\n", ftw(sub, seen_ftw, 20));
    show("ftw");

    struct dirent **list = NULL;
    scan("scandir", list, scandir(top, &list, no_dots, alphasort));
    scan("scandir relative", list, scandir("d", &list, no_dots, versionsort));
    scan("scandir missing", list, scandir("nosuch", &list, NULL, NULL));
    int fd = open(top, O_RDONLY | O_DIRECTORY);
    scan("scandirat", list, scandirat(fd, "d", &list, no_dots, alphasort));
    scan("scandirat file", list, scandirat(fd, "hello", &list, no_dots, alphasort));
    close(fd);

    globbed("*", 0);
    globbed("*/*e*", 0);
    globbed("[hn]*", GLOB_MARK);
    globbed("{hello,d/text,nosuch}", GLOB_BRACE);
    globbed("nosuch*", GLOB_NOCHECK);
    globbed("nosuch*", 0);
    globbed("hello/*", GLOB_ERR);
    globbed("dirlink/*", GLOB_ONLYDIR);
    globbed("d/?e*", GLOB_NOSORT);
    glob_t found = {0};
    printf("== glob relative %d\n", glob("d/*", 0, NULL, &found));
    for (size_t i = 0; i < found.gl_pathc; i++) puts(found.gl_pathv[i]);
    globfree(&found);
    positions();
    if (words_count > 2) {
        /* libc's own glob, called from inside. */
        char text[4200];
        snprintf(text, sizeof text, "%s/h* d/t* nosuch*", top);
        words(text);
    }
    printf("== fnmatch %d\n", fnmatch("h*", "hello", 0));
    return 0;
}
