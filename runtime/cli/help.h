/* help.h: what the table of commands says about itself. */
#pragma once
#include <stdio.h>

#include "cli/app.h"

void help_overview(FILE *out);
void help_command(FILE *out, const struct command *command);
int help_faults(struct app *app); /* help_faults.c; gives the exit status */
