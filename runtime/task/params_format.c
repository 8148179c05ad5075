/* params_format.c: the values of the schema word `format`. Simple, strict where it is cheap: they
 * find slips of the pen, they do not prove that a mailbox or host exists. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/ident.h"
#include "base/mem.h"
#include "task/params_schema.h"
#include "task/suggest.h"

static bool is_date_time(const char *text);
static bool is_date(const char *text);
static bool is_email(const char *text);
static bool is_uri(const char *text);
static bool is_uuid(const char *text);
static bool is_ipv4(const char *text);
static bool is_ipv6(const char *text);

static const struct params_format formats[] = {
    { "date-time", "a time with its zone such as 2026-11-24T08:00:00Z", is_date_time },
    { "date", "a date such as 2026-11-24", is_date },
    { "email", "an e-mail address", is_email },
    { "uri", "a URI such as https://example.org/", is_uri },
    { "uuid", "a UUID such as 0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5f", is_uuid },
    { "ipv4", "an IPv4 address", is_ipv4 },
    { "ipv6", "an IPv6 address", is_ipv6 },
};

static bool read_date(const char **at);
static bool read_clock(const char **at);
static bool read_zone(const char **at);
static bool read_digits(const char **at, int count, int low, int high, int *value);
static bool read_char(const char **at, const char *any_of);
static bool is_domain(const char *text);

bool params_format_find(const char *name, const struct params_format **out, struct err *err)
{
    struct suggestion near = { .word = name };
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        suggest_consider(&near, formats[i].name);
        *out = &formats[i];
        if (strcmp(name, formats[i].name) == 0) return true;
    }
    *out = NULL;
    return err_set(err, ERR_INPUT,
                   "unknown format '%s'%s%s (known: date-time, date, email, uri, uuid, ipv4, ipv6)",
                   name, near.nearest ? ", did you mean " : "", near.nearest ? near.nearest : "");
}

static bool is_date_time(const char *text)
{
    return read_date(&text) && read_char(&text, "Tt") && read_clock(&text) && read_zone(&text) &&
           *text == '\0';
}

static bool is_date(const char *text) { return read_date(&text) && *text == '\0'; }

static bool read_date(const char **at)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day;
    if (!read_digits(at, 4, 0, 9999, &year) || !read_char(at, "-")) return false;
    if (!read_digits(at, 2, 1, 12, &month) || !read_char(at, "-")) return false;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int length = lengths[month - 1] + (month == 2 && is_leap);
    return read_digits(at, 2, 1, length, &day);
}

static bool read_clock(const char **at)
{
    int part;
    if (!read_digits(at, 2, 0, 23, &part) || !read_char(at, ":")) return false;
    if (!read_digits(at, 2, 0, 59, &part) || !read_char(at, ":")) return false;
    if (!read_digits(at, 2, 0, 60, &part)) return false; /* 60: a leap second */
    if (!read_char(at, ".")) return true;
    size_t digits = strspn(*at, "0123456789");
    *at += digits;
    return digits > 0;
}

static bool read_zone(const char **at)
{
    int part;
    if (read_char(at, "Zz")) return true;
    if (!read_char(at, "+-")) return false;
    return read_digits(at, 2, 0, 23, &part) && read_char(at, ":") &&
           read_digits(at, 2, 0, 59, &part);
}

static bool read_digits(const char **at, int count, int low, int high, int *value)
{
    *value = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9') return false;
        *value = *value * 10 + (**at - '0');
    }
    return *value >= low && *value <= high;
}

static bool read_char(const char **at, const char *any_of)
{
    if (**at == '\0' || !strchr(any_of, **at)) return false;
    (*at)++;
    return true;
}

static bool is_email(const char *text)
{
    const char *at = strrchr(text, '@');
    if (!at || at == text || at - text > 64) return false;
    if (strpbrk(text, " \t\r\n<>,;\"()\\") || strchr(text, '@') != at) return false;
    if (text[0] == '.' || at[-1] == '.' || strstr(text, "..")) return false;
    return is_domain(at + 1);
}

static bool is_domain(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > 253 || strchr(".-", text[0]) || strchr(".-", text[len - 1])) return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80 && !isalnum(c) && c != '.' && c != '-') return false;
    }
    return true;
}

static bool is_uri(const char *text)
{
    size_t scheme = strcspn(text, ":");
    if (!isalpha((unsigned char)text[0]) || text[scheme] == '\0' || text[scheme + 1] == '\0') {
        return false;
    }
    for (size_t i = 0; i < scheme; i++) {
        if (!isalnum((unsigned char)text[i]) && !strchr("+-.", text[i])) return false;
    }
    for (const char *c = text + scheme; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("<>\"{}|\\^`", *c)) return false;
    }
    return true;
}

static bool is_uuid(const char *text)
{
    struct ident id;
    return ident_parse(text, &id);
}

static bool is_ipv4(const char *text)
{
    unsigned char address[sizeof(struct in_addr)];
    return inet_pton(AF_INET, text, address) == 1;
}

static bool is_ipv6(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET6, text, address) == 1;
}
