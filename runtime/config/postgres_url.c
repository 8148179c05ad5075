/* postgres_url.c: libpq takes the text apart and knows which options are secret; its own messages
 * quote pieces of the text, a password perhaps, and are therefore not passed on. */
#include "config/postgres_url.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static bool is_place(const char *keyword);

bool postgres_url_convert(const char *text, const char *password, enum postgres_url_form form,
                          char **out, struct err *err)
{
    PQconninfoOption *options = PQconninfoParse(text, NULL);
    if (!options)
        return err_set(
            err, ERR_INPUT,
            "must be a URI like postgresql://user:password@host:port/database (special "
            "characters percent-encoded) or a connection string like 'host=... dbname=...'");
    struct buf conninfo = BUF_EMPTY;
    for (PQconninfoOption *option = options; option->keyword; option++) {
        const char *value = option->val;
        if (!value && strcmp(option->keyword, "password") == 0) value = password;
        if (!value || !*value) continue;
        if (form == POSTGRES_URL_PLACE && !is_place(option->keyword)) continue;
        bool is_secret = option->dispchar[0] == '*';
        postgres_url_add(&conninfo, option->keyword,
                         is_secret && form != POSTGRES_URL_FULL ? "***" : value);
    }
    PQconninfoFree(options);
    *out = buf_take(&conninfo);
    return true;
}

/* Quotes only where libpq needs it, for the eye of the reader. */
void postgres_url_add(struct buf *out, const char *keyword, const char *value)
{
    bool is_quoted = strpbrk(value, " \t\r\n\v\f'\\") != NULL;
    buf_addf(out, "%s%s=%s", out->len ? " " : "", keyword, is_quoted ? "'" : "");
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\') buf_add_char(out, '\\');
        buf_add_char(out, *value);
    }
    if (is_quoted) buf_add_char(out, '\'');
}

static bool is_place(const char *keyword)
{
    static const char *const names[] = { "service", "host", "hostaddr", "port", "user", "dbname" };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strcmp(keyword, names[i]) == 0) return true;
    return false;
}
