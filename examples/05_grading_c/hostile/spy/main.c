/* Looks for secrets, for the tests and for other processes, tries to become root and to reach the network; says what it got. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int count;

static void got(const char *what, int is_true)
{
    if (!is_true) return;
    fprintf(stderr, "%s%s", count++ > 0 ? ", " : "", what);
}

static int can_connect(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53) };
    inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static int sees_others(void)
{
    int seen = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) seen += atoi(entry->d_name) > 0;
    return seen > 5;
}

int main(void)
{
    got("/etc/shadow", open("/etc/shadow", O_RDONLY) >= 0);
    got("/etc/passwd", open("/etc/passwd", O_RDONLY) >= 0);
    got("/root", open("/root", O_RDONLY) >= 0);
    got("the tests", open("/tmp/tests/test.yaml", O_RDONLY) >= 0);
    got("a place to write", open("/usr/x", O_WRONLY | O_CREAT, 0600) >= 0 || open("/x", O_WRONLY | O_CREAT, 0600) >= 0);
    got("the network", can_connect());
    got("other processes", sees_others());
    got("root", setuid(0) == 0);
    got("the environment", getenv("CTUTOR_RUN") != NULL);
    fprintf(stderr, "%s\n", count > 0 ? "" : "found nothing");
    return 9;
}
