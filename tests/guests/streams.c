/* Every way of libc to get a stream: `streams DIRECTORY`, run natively and under Parrot, must say the same.
   `hello` is small and there whole at once, `big` is fetched as it is read, an existing file that is opened
   for writing is written through: three kinds of descriptor behind a stream. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

static void say_file(const char *name) {
    char bytes[200];
    int fd = open(name, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, bytes, sizeof bytes - 1);
    bytes[len < 0 ? 0 : len] = 0;
    for (char *at = bytes; *at != 0; at++)
        if (*at == '\n') *at = '|';
    struct stat about = {0};
    if (fd >= 0) fstat(fd, &about);
    printf("   %s: %ld \"%s\"\n", name, (long)about.st_size, bytes);
    if (fd >= 0) close(fd);
}

static void mode(const char *name, const char *how) {
    errno = 0;
    FILE *stream = fopen(name, how);
    printf("== fopen %s %s: %s\n", name, how, stream != NULL ? "yes" : strerror(errno));
    if (stream == NULL) return;
    int fd = fileno(stream), flags = fcntl(fd, F_GETFL);
    printf("access %x cloexec %d readable %d writable %d\n", flags & (O_ACCMODE | O_APPEND),
           fcntl(fd, F_GETFD) & FD_CLOEXEC, __freadable(stream) != 0, __fwritable(stream) != 0);
    char line[100] = "";
    errno = 0;
    char *got = fgets(line, sizeof line, stream);
    line[strcspn(line, "\n")] = 0;
    printf("first line %s \"%s\" eof %d error %d at %ld\n", got != NULL ? "yes" : "no", line, feof(stream) != 0,
           ferror(stream) != 0, ftell(stream));
    if (strcmp(name, "d") == 0) {
        fclose(stream);
        return;
    }
    clearerr(stream);
    if (fseek(stream, 2, SEEK_SET) != 0) printf("fseek %s\n", strerror(errno));
    errno = 0;
    int put = fputs("XY", stream);
    int flushed = fflush(stream);
    printf("fputs %d fflush %d error %d at %ld\n", put >= 0, flushed, ferror(stream) != 0, ftell(stream));
    clearerr(stream);
    if (fseek(stream, -1, SEEK_END) == 0) printf("end %ld last %d\n", ftell(stream), getc(stream));
    rewind(stream);
    printf("after rewind %ld\n", ftell(stream));
    printf("ungetc %d", ungetc('u', stream));
    printf(" getc %d\n", getc(stream));
    printf("fclose %d\n", fclose(stream));
    say_file(name);
}

/* freopen: from one kind of file to another, on a stream of one's own and on the standard ones. */
static void again(const char *from, const char *how, const char *to, const char *how_to) {
    FILE *stream = fopen(from, how);
    printf("== freopen %s %s to %s %s\n", from, how, to != NULL ? to : "itself", how_to);
    if (stream == NULL) {
        printf("fopen: %s\n", strerror(errno));
        return;
    }
    int fd = fileno(stream);
    if (how[0] != 'r') fputs("left behind", stream);
    else printf("one byte %d\n", getc(stream));
    errno = 0;
    FILE *other = freopen(to, how_to, stream);
    printf("same stream %d", other == stream);
    if (other == NULL) {
        printf(" %s\n", strerror(errno));
        return;
    }
    printf(" same number %d", fileno(other) == fd);
    if (how_to[0] == 'r') {
        char line[100] = "";
        char *got = fgets(line, sizeof line, other);
        line[strcspn(line, "\n")] = 0;
        printf(" line %d \"%s\" at %ld", got != NULL, line, ftell(other));
    }
    if (how_to[0] != 'r' || how_to[1] == '+') {
        fseek(other, 0, SEEK_CUR);
        printf(" put %d", fputs("new", other) >= 0);
    }
    printf(" error %d", ferror(other) != 0);
    printf(" fclose %d\n", fclose(other));
    say_file(from);
    if (to != NULL) say_file(to);
}

static void standard(const char *title, const char *in, const char *out) {
    printf("== standard streams %s\n", title);
    fflush(stdout);
    if (fork() == 0) {
        if (freopen(in, "r", stdin) == NULL || freopen(out, "w", stdout) == NULL) _exit(9);
        int c, count = 0;
        while ((c = getchar()) != EOF) count++;
        printf("counted %d on %d %d\n", count, fileno(stdin), fileno(stdout));
        fflush(stdout);
        if (freopen(in, "r", stdin) == NULL) _exit(8);
        char line[100];
        if (scanf("%99s", line) == 1) puts(line);
        fflush(stdout);
        /* A child gets them as descriptors. */
        exit(system("head -n 1 | wc -l; echo child"));
    }
    int status;
    wait(&status);
    printf("status %d\n", WEXITSTATUS(status));
    say_file(out);
}

static void wide(const char *name, const char *how) {
    FILE *stream = fopen(name, how);
    printf("== wide %s %s %s\n", name, how, stream != NULL ? "yes" : strerror(errno));
    if (stream == NULL) return;
    wchar_t line[100];
    while (fgetws(line, 100, stream) != NULL) {
        for (wchar_t *at = line; *at != 0; at++) printf("%x ", (unsigned)*at);
        putchar('\n');
    }
    printf("eof %d", feof(stream) != 0);
    printf(" fclose %d\n", fclose(stream));
}

static void piped(const char *command, const char *how) {
    fflush(stdout);
    FILE *stream = popen(command, how);
    char line[100] = "";
    if (how[0] == 'r') {
        while (fgets(line, sizeof line, stream) != NULL) printf("   popen: %s", line);
    } else {
        fputs("through a pipe\n", stream);
    }
    printf("== popen %s %s: %d\n", command, how, pclose(stream));
}

static void descriptors(void) {
    printf("== fdopen\n");
    int fd = open("big", O_RDONLY);
    FILE *stream = fdopen(fd, "r");
    char line[100];
    if (fgets(line, sizeof line, stream) != NULL) printf("%s", line);
    printf("fileno %d ", fileno(stream) == fd);
    printf("fclose %d ", fclose(stream));
    printf("closed %d\n", fcntl(fd, F_GETFD) < 0);
    fd = open("hello", O_RDONLY);
    errno = 0;
    stream = fdopen(fd, "w");
    printf("wrong mode %d %s\n", stream == NULL, strerror(errno));
    if (stream != NULL) fclose(stream);
    else close(fd);
    fd = open("numbers", O_RDWR | O_APPEND);
    stream = fdopen(fd, "a+");
    fputs("appended\n", stream);
    rewind(stream);
    if (fgets(line, sizeof line, stream) != NULL) printf("%s", line);
    char *all = NULL;
    size_t room = 0;
    long lines = 1;
    while (getline(&all, &room, stream) > 0) lines++;
    printf("lines %ld last %s", lines, all);
    free(all);
    printf("fclose %d\n", fclose(stream));
    errno = 0;
    printf("bad %d %s\n", fdopen(999, "r") == NULL, strerror(errno));
}

static void memory(void) {
    printf("== memory streams\n");
    char bytes[] = "in memory";
    FILE *stream = fmemopen(bytes, sizeof bytes, "r");
    int c = getc(stream);
    printf("fmemopen %c fileno %d", c, fileno(stream));
    printf(" fclose %d\n", fclose(stream));
    char *text = NULL;
    size_t len = 0;
    stream = open_memstream(&text, &len);
    fprintf(stream, "%d words", 3);
    fclose(stream);
    printf("open_memstream %s %zu\n", text, len);
    free(text);
    wchar_t *wide_text = NULL;
    stream = open_wmemstream(&wide_text, &len);
    fwprintf(stream, L"wide");
    fclose(stream);
    printf("open_wmemstream %zu\n", len);
    free(wide_text);
    stream = tmpfile();
    fputs("temporary", stream);
    rewind(stream);
    char line[100] = "";
    if (fgets(line, sizeof line, stream) != NULL) printf("tmpfile %s\n", line);
    fclose(stream);
}

static void buffers(void) {
    printf("== buffers and long reads\n");
    FILE *stream = fopen("big", "r");
    char buffer[3000];
    setvbuf(stream, buffer, _IOFBF, sizeof buffer);
    unsigned long sum = 0, total = 0;
    static unsigned char block[70001];
    size_t got;
    while ((got = fread(block, 1, sizeof block, stream)) > 0) {
        for (size_t i = 0; i < got; i++) sum = sum * 31 + block[i];
        total += got;
    }
    printf("fread %lu %lx eof %d\n", total, sum, feof(stream) != 0);
    fpos_t place;
    fseeko(stream, 5000000, SEEK_SET);
    fgetpos(stream, &place);
    int c = getc(stream);
    fseek(stream, 0, SEEK_END);
    fsetpos(stream, &place);
    printf("fsetpos %d\n", getc(stream) == c);
    fclose(stream);
    stream = fopen("big", "r+");
    setvbuf(stream, NULL, _IONBF, 0);
    fseek(stream, 100, SEEK_SET);
    printf("unbuffered %d", fputs("unbuffered", stream) >= 0);
    printf(" %d\n", fprintf(stream, "%05d", 42));
    fseek(stream, 95, SEEK_SET);
    if (fread(block, 1, 25, stream) == 25) printf("%.25s|\n", block);
    printf("fclose %d\n", fclose(stream));
    stream = fopen("big", "r");
    char *line = NULL;
    size_t room = 0;
    long lines = 0;
    while (getdelim(&line, &room, 'w', stream) > 0 && lines < 1000) lines++;
    printf("getdelim %ld at %ld\n", lines, ftell(stream));
    free(line);
    int number = 0;
    rewind(stream);
    int found = fscanf(stream, "%d", &number);
    printf("fscanf %d %d\n", found, number);
    fclose(stream);
}

int main(int count, char **words) {
    if (count < 2 || chdir(words[1]) != 0) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *reading[] = {"r", "rb", "re", "rm", "r+", "rb+"};
    for (int i = 0; i < 6; i++) mode("hello", reading[i]);
    mode("big", "r");
    mode("nosuch", "r");
    mode("d", "r");
    mode("hello", "q");
    mode("hello", "wx");
    mode("fresh", "wx");
    mode("fresh", "w");
    mode("fresh", "w+");
    mode("fresh", "a");
    mode("fresh", "a+");
    mode("fresh", "r+e");
    mode("nosuch/fresh", "w");
    again("hello", "r", "numbers", "r");
    again("hello", "r", "big", "r");
    again("big", "r", "hello", "r");
    again("big", "r", "fresh", "w");
    again("fresh", "r+", "hello", "r");
    again("hello", "r+", "fresh", "r+");
    again("fresh", "w", "hello", "r");
    again("fresh", "w", "fresh2", "w");
    again("fresh2", "a", "fresh", "a");
    again("big", "r", "nosuch", "r");
    again("hello", "r", "nosuch", "r");
    again("big", "r", NULL, "r");
    again("hello", "r", NULL, "r");
    again("hello", "r+", NULL, "r");
    again("/dev/null", "r", "big", "r");
    again("big", "r", "/etc/hostname", "r");
    standard("small", "hello", "made");
    standard("large", "big", "made");
    setlocale(LC_ALL, "C.UTF-8");
    wide("d/caf\303\251", "r");
    FILE *stream = fopen("umlaut", "w");
    fputs("z\303\251ro\n\342\202\254\n", stream);
    fclose(stream);
    wide("umlaut", "r,ccs=UTF-8");
    wide("umlaut", "r");
    wide("umlaut", "r+,ccs=UTF-8");
    piped("cat hello; head -n 1 big", "r");
    piped("cat > made", "w");
    say_file("made");
    descriptors();
    memory();
    buffers();
    return 0;
}
