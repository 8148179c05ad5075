/* Leaves a process behind that wants to live for ever, in a session of its own. */
#include <unistd.h>

int main(void)
{
    if (fork() != 0) return 9;
    setsid();
    if (fork() != 0) return 9;
    for (;;) pause();
}
