#include <stdio.h>
#include <string.h>

int main(void)
{
    static char block[1 << 20];
    memset(block, 'x', sizeof block);
    FILE *file = fopen("huge", "w");
    for (int i = 0; file && i < 1024; i++) fwrite(block, sizeof block, 1, file);
    puts("a gigabyte written");
    return 0;
}
