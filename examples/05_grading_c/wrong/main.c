#include <stdio.h>

/* Three mistakes: the maximum starts from 0, the exit status is forgotten, the sum overflows. */
int main(void)
{
    int number, count = 0, maximum = 0;
    unsigned sum = 0;
    while (scanf("%d", &number) == 1) {
        if (number > maximum) maximum = number;
        sum += (unsigned)number;
        count++;
    }
    if (count == 0) {
        puts("nothing to do");
        return 0;
    }
    printf("count %d\nsum %d\nmaximum %d\n", count, (int)sum, maximum);
    return 0;
}
