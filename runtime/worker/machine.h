/* machine.h: which machine and which boot of it: with pid and start time they name a process for
 * ever. */
#pragma once

struct machine {
    char host[256];
    char boot_id[64];
};
void machine_read(struct machine *machine);
