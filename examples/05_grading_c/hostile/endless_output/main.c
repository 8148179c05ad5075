/* A gigabyte. */
#include <stdio.h>
#include <string.h>

int main(void)
{
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 1024; i++) fwrite(block, sizeof block, 1, stdout);
    return 0;
}
