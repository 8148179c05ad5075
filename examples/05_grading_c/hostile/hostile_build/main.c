/* The compiler itself is the victim: it would read for ever. */
#include "/dev/zero"
