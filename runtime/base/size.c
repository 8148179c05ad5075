#include "base/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool size_parse(const char *text, int64_t min, int64_t max, int64_t *bytes)
{
    static const char letters[] = "KMG";
    char *end;
    *bytes = 0;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    int64_t number = strtoll(text, &end, 10);
    const char *letter = *end ? strchr(letters, *end) : NULL;
    unsigned shift = letter ? 10 * (unsigned)(letter - letters + 1) : 0;
    if (letter) end++;
    if (errno != 0 || *end != '\0' || number > max >> shift || number << shift < min) return false;
    *bytes = number << shift;
    return true;
}
