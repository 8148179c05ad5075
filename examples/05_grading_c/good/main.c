#include <stdio.h>

int main(void)
{
    long number, sum = 0, maximum = 0, count = 0;
    while (scanf("%ld", &number) == 1) {
        if (count == 0 || number > maximum) maximum = number;
        sum += number;
        count++;
    }
    if (count == 0) {
        puts("nothing to do");
        return 3;
    }
    printf("count %ld\nsum %ld\nmaximum %ld\n", count, sum, maximum);
    return 0;
}
