/* Directories in directories, deeper than any path can say. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    int depth = 0;
    while (depth < 5000 && mkdir("d", 0700) == 0 && chdir("d") == 0) depth++;
    fprintf(stderr, "%d deep\n", depth);
    return 9;
}
