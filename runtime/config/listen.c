/* listen.c: ADDR:PORT. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/config.h"

bool config_listen(const struct config *config, char **address, int *port, struct err *err)
{
    const char *text = config_text(config, SET_LISTEN), *colon = strrchr(text, ':');
    char *end = NULL;
    long number = colon ? strtol(colon + 1, &end, 10) : -1;
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool is_six = len > 2 && text[0] == '[' && text[len - 1] == ']';
    bool is_bare_six = !is_six && memchr(text, ':', len);
    if (len == 0 || !end || *end || end == colon + 1 || number < 0 || number > 65535 || is_bare_six)
        return err_set(err, ERR_INPUT,
                       "CTUTOR_LISTEN (%s) is '%.100s': say ADDR:PORT, such as 127.0.0.1:8000 or "
                       "[::1]:8000",
                       config_origin_text(config, SET_LISTEN), text);
    *address = is_six ? xstrndup(text + 1, len - 2) : xstrndup(text, len);
    *port = (int)number;
    return true;
}
