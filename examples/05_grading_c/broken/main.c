#include <stdio.h>

int main(void)
{
    printf("it does not compile\n")
    return 0;
}
