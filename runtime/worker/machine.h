/* machine.h: which machine, which boot of it and, there, which pid namespace: with pid and start
 * time they name a process for ever. Containers may share host name and boot; what a pid means they
 * do not share. */
#pragma once

struct machine {
    char host[256];
    char boot_id[96]; /* boot/namespace */
};
void machine_read(struct machine *machine);
