/* Opens a file that nobody answers for, with a signal handler: every so many milliseconds, or
   once with SA_RESTART. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t handled;

static void on_alarm(int signal) {
    (void)signal;
    handled++;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    int usec = atoi(words[3]) * 1000;
    struct sigaction action = {.sa_handler = on_alarm};
    if (strcmp(words[2], "restart") == 0) action.sa_flags = SA_RESTART;
    if (sigaction(SIGALRM, &action, NULL) != 0) return 1;
    struct itimerval timer = {.it_value = {.tv_usec = usec}};
    if (action.sa_flags == 0) timer.it_interval = timer.it_value;
    if (setitimer(ITIMER_REAL, &timer, NULL) != 0) return 1;
    int fd = open(words[1], O_RDONLY);
    printf("%s %s\n", fd < 0 ? strerrorname_np(errno) : "opened", handled > 0 ? "handled" : "no signal");
    return 0;
}
