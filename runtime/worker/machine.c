/* machine.c: see machine.h. */
#include "worker/machine.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void machine_read(struct machine *machine)
{
    struct stat pids;
    *machine = (struct machine){ 0 };
    gethostname(machine->host, sizeof machine->host - 1);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file && fscanf(file, "%63s", machine->boot_id) != 1) machine->boot_id[0] = '\0';
    if (file) fclose(file);
    size_t len = strlen(machine->boot_id);
    if (stat("/proc/self/ns/pid", &pids) == 0) {
        snprintf(machine->boot_id + len, sizeof machine->boot_id - len, "/%llu",
                 (unsigned long long)pids.st_ino);
    }
}
