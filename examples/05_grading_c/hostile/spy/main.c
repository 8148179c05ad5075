/* Looks for secrets, for the tests and for other processes, and tries to reach the network. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void try_file(const char *path)
{
    FILE *file = fopen(path, "r");
    fprintf(stderr, "%s: %s; ", path, file ? "READ" : strerror(errno));
}

static void try_network(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(53) };
    inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int status = connect(fd, (struct sockaddr *)&address, sizeof address);
    fprintf(stderr, "network: %s; ", status == 0 ? "CONNECTED" : strerror(errno));
}

static void try_processes(void)
{
    int seen = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) seen += atoi(entry->d_name) > 0;
    fprintf(stderr, "processes: %s; ", seen < 10 ? "only mine" : "OTHERS");
}

int main(void)
{
    try_file("/etc/shadow");
    try_file("/etc/passwd");
    try_file("/root/.bashrc");
    try_file("/tmp/tests/test.yaml");
    try_network();
    try_processes();
    fprintf(stderr, "root: %s; ", setuid(0) == 0 ? "BECAME ROOT" : strerror(errno));
    fprintf(stderr, "environment: %s\n", getenv("CTUTOR_RUN") ? "SEEN" : "clean");
    return 9;
}
