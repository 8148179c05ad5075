/* params_pattern.c: the schema word `pattern`: regular expressions as JavaScript writes them,
 * matched by the C library's extended expressions.
 *
 * The idea: one pass rewrites what both know into the C library's spelling (\d becomes [0-9], a dot
 * stops at line ends, specials inside brackets become [.x.]) and refuses what it cannot do: looking
 * around, back-references, lazy repeats, word boundaries, named groups. What remains is matched by
 * an automaton, once, from the start of the text: behind a `^` that leads the pattern, or else with
 * `.*` before it, where the C library would start anew at every character. A `^` elsewhere leaves
 * only that: `.*` would pass line ends, behind which it holds (glibc 2.36); such a pattern, then,
 * is matched against short texts only. What making and matching cost is bounded by
 * params_weight.c. Both run in the locale C.UTF-8, where a dot is one character, not one byte.
 */
#include <ctype.h>
#include <locale.h>
#include <pthread.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/params_schema.h"
#include "task/params_weight.h"

#define REPEAT_MAX 1000
#define RANGE_MAX  500

struct params_pattern {
    regex_t regex;
    bool is_anywhere; /* a match may begin at any character, not only at the first */
    size_t longest;   /* text, in bytes */
    char *text;       /* as the author wrote it */
    char *posix;      /* the same as the C library reads it, not anchored */
};

/* What JavaScript takes for a space, spelled out: what [:space:] is differs from engine to engine.
 */
#define SPACES                                                                                     \
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"          \
    "\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"

struct rewrite {
    const char *at; /* what is left of the author's text */
    struct buf out;
    struct weights weights;
    bool may_repeat;     /* something stands before that `*` could apply to */
    bool has_start;      /* a ^ */
    bool starts_loosely; /* not all of it stands behind one first ^ */
    struct err *err;
};

/* One element: a character, or a set such as \d. */
struct atom {
    char bytes[8];
    const char *set; /* what stands inside the brackets, or NULL: a character */
    bool is_negated;
};

static locale_t utf8_locale;
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;

static bool compile_regex(const char *text, regex_t *regex, struct err *err);
static bool rewrite_next(struct rewrite *r);
static bool rewrite_group(struct rewrite *r);
static bool rewrite_group_end(struct rewrite *r);
static bool rewrite_repeat(struct rewrite *r);
static bool rewrite_counts(struct rewrite *r);
static bool read_count(const char **at, long *count);
static bool rewrite_escape(struct rewrite *r);
static bool rewrite_bracket(struct rewrite *r);
static bool rewrite_bracket_item(struct rewrite *r);
static bool add_range(struct rewrite *r, unsigned first, unsigned last);
static void add_bracket_character(struct rewrite *r, const struct atom *atom);
static bool read_bracket_atom(struct rewrite *r, struct atom *atom);
static void read_character(struct rewrite *r, struct atom *atom);
static bool read_escape(struct rewrite *r, struct atom *atom);
static bool read_hex_escape(struct rewrite *r, struct atom *atom);
static void encode(unsigned code, char *bytes);
static unsigned decode(const char *bytes);
static bool refuse_escape(struct rewrite *r);
static bool refuse(struct rewrite *r, const char *why);

bool params_pattern_compile(const char *text, struct params_pattern **out, struct err *err)
{
    *out = NULL;
    struct rewrite r = { .at = text, .err = err, .starts_loosely = text[0] != '^' };
    bool ok = strlen(text) <= PATTERN_MAX || refuse(&r, "longer than 1000 bytes");
    while (ok && *r.at) ok = rewrite_next(&r);
    if (ok && r.weights.open > 0) ok = refuse(&r, "a '(' is never closed");
    ok = ok && weights_check(&r.weights, err);
    char *posix = buf_take(&r.out);
    bool is_led = !r.starts_loosely, is_anywhere = r.has_start && !is_led;
    char *searched = r.has_start ? xstrdup(posix + is_led) : xasprintf(".*(%s)", posix);
    regex_t regex;
    if (ok && compile_regex(searched, &regex, err)) {
        *out = xmalloc(sizeof **out);
        **out = (struct params_pattern){ regex, is_anywhere,
                                         weights_longest_text(&r.weights, is_anywhere),
                                         xstrdup(text), posix };
    } else {
        free(posix);
    }
    free(searched);
    return *out || err_wrap(err, "pattern '%.100s'", text);
}

void params_pattern_free(struct params_pattern *pattern)
{
    if (!pattern) return;
    regfree(&pattern->regex);
    free(pattern->text);
    free(pattern->posix);
    free(pattern);
}

size_t params_pattern_longest(const struct params_pattern *pattern) { return pattern->longest; }

const char *params_pattern_text(const struct params_pattern *pattern) { return pattern->text; }

const char *params_pattern_posix(const struct params_pattern *pattern) { return pattern->posix; }

bool params_pattern_matches(const struct params_pattern *pattern, const char *text, size_t len)
{
    struct re_pattern_buffer *regex = (struct re_pattern_buffer *)(uintptr_t)&pattern->regex;
    int size = (int)len, range = pattern->is_anywhere ? size : 0;
    locale_t before = uselocale(utf8_locale);
    int at = re_search(regex, text, size, 0, range, NULL);
    uselocale(before);
    return at >= 0;
}

/* Without C.UTF-8 the locale stays 0, which uselocale takes as "leave it". */
static void open_locale(void) { utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0); }

static bool compile_regex(const char *text, regex_t *regex, struct err *err)
{
    pthread_once(&utf8_once, open_locale);
    locale_t before = uselocale(utf8_locale);
    int result = regcomp(regex, text, REG_EXTENDED | REG_NOSUB);
    uselocale(before);
    if (result == 0) return true;
    char why[100];
    regerror(result, regex, why, sizeof why);
    return err_set(err, ERR_INPUT, "%s", why);
}

static bool rewrite_next(struct rewrite *r)
{
    switch (*r->at) {
    case '\\': return rewrite_escape(r);
    case '[': return rewrite_bracket(r);
    case '(': return rewrite_group(r);
    case ')': return rewrite_group_end(r);
    case '*':
    case '+':
    case '?':
    case '{': return rewrite_repeat(r);
    case '.': buf_add_text(&r->out, "[^\n\r]"); break;
    case ']':
    case '}': buf_addf(&r->out, "\\%c", *r->at); break;
    default: buf_add_char(&r->out, *r->at);
    }
    r->may_repeat = !strchr("|^$", *r->at);
    if (*r->at == '^') r->has_start = true;
    bool is_inner = (*r->at == '^' && r->out.len > 1) || (*r->at == '$' && r->at[1] != '\0');
    if (*r->at == '|' && r->weights.open == 0) r->starts_loosely = true;
    if (r->may_repeat)
        weights_element(&r->weights, *r->at == '.');
    else if (*r->at == '|')
        weights_branch(&r->weights);
    else
        weights_anchor(&r->weights, is_inner);
    r->at++;
    return true;
}

static bool rewrite_group(struct rewrite *r)
{
    r->at++;
    if (strncmp(r->at, "?=", 2) == 0 || strncmp(r->at, "?!", 2) == 0 ||
        strncmp(r->at, "?<=", 3) == 0 || strncmp(r->at, "?<!", 3) == 0) {
        return refuse(r, "looking ahead or behind, as (?=...), is not supported");
    }
    if (strncmp(r->at, "?:", 2) == 0) {
        r->at += 2;
    } else if (*r->at == '?') {
        return refuse(r, "groups with names or flags are not supported; use (...)");
    }
    buf_add_char(&r->out, '(');
    weights_open(&r->weights);
    r->may_repeat = false;
    return true;
}

static bool rewrite_group_end(struct rewrite *r)
{
    if (r->weights.open == 0)
        return refuse(r, "a ')' without its '('; write \\) for the character");
    buf_add_char(&r->out, ')');
    r->at++;
    weights_close(&r->weights);
    r->may_repeat = true;
    return true;
}

static bool rewrite_repeat(struct rewrite *r)
{
    if (!r->may_repeat) return refuse(r, "nothing to repeat before '*', '+', '?' or '{'");
    if (*r->at == '{') {
        if (!rewrite_counts(r)) return false;
    } else {
        weights_repeat(&r->weights, *r->at == '+', *r->at == '?' ? 1 : WEIGHT_ENDLESS);
        buf_add_char(&r->out, *r->at++);
    }
    if (*r->at == '?') return refuse(r, "lazy repeats, as *?, are not supported");
    r->may_repeat = false;
    return true;
}

/* {2} {2,} {2,5} */
static bool rewrite_counts(struct rewrite *r)
{
    const char *start = r->at, *at = r->at + 1;
    long low, high = REPEAT_MAX;
    bool is_right = read_count(&at, &low);
    if (is_right && *at != ',') high = low;
    if (is_right && *at == ',' && *++at != '}') is_right = read_count(&at, &high);
    if (!is_right || *at != '}') return refuse(r, "write a count as {2}, {2,} or {2,5}, or \\{");
    if (low > high || high > REPEAT_MAX) return refuse(r, "counts go from low to high, up to 1000");
    weights_repeat(&r->weights, low, at[-1] == ',' ? WEIGHT_ENDLESS : high);
    r->at = at + 1;
    buf_add(&r->out, start, (size_t)(r->at - start));
    return true;
}

static bool read_count(const char **at, long *count)
{
    char *end;
    if (!isdigit((unsigned char)**at)) return false;
    *count = strtol(*at, &end, 10);
    *at = end;
    return true;
}

static bool rewrite_escape(struct rewrite *r)
{
    struct atom atom;
    if (!read_escape(r, &atom)) return false;
    if (atom.set) {
        buf_addf(&r->out, "[%s%s]", atom.is_negated ? "^" : "", atom.set);
    } else {
        bool is_special = strchr(".[]{}()*+?^$|\\", atom.bytes[0]) != NULL;
        buf_addf(&r->out, "%s%s", is_special ? "\\" : "", atom.bytes);
    }
    weights_element(&r->weights, atom.set != NULL);
    r->may_repeat = true;
    return true;
}

static bool rewrite_bracket(struct rewrite *r)
{
    buf_add_char(&r->out, *r->at++);
    if (*r->at == '^') buf_add_char(&r->out, *r->at++);
    if (*r->at == ']') return refuse(r, "empty brackets; write \\] for the character");
    while (*r->at && *r->at != ']') {
        if (!rewrite_bracket_item(r)) return false;
    }
    if (!*r->at) return refuse(r, "a '[' is never closed");
    buf_add_char(&r->out, *r->at++);
    weights_element(&r->weights, true);
    r->may_repeat = true;
    return true;
}

/* A character, a set, or a range of two characters. */
static bool rewrite_bracket_item(struct rewrite *r)
{
    struct atom first, last;
    if (!read_bracket_atom(r, &first)) return false;
    if (first.set) {
        buf_add_text(&r->out, first.set);
        return true;
    }
    add_bracket_character(r, &first);
    if (r->at[0] != '-' || r->at[1] == ']' || r->at[1] == '\0') return true;
    r->at++;
    if (!read_bracket_atom(r, &last)) return false;
    if (last.set) return refuse(r, "a range ends with a character, not with a set such as \\d");
    return add_range(r, decode(first.bytes), decode(last.bytes));
}

/* Behind its first character. The C library knows ranges of ASCII only: others are spelled out. */
static bool add_range(struct rewrite *r, unsigned first, unsigned last)
{
    struct atom atom = { 0 };
    if (last < first) return refuse(r, "a range goes from low to high");
    if (first < 0x80) {
        unsigned end = last < 0x80 ? last : 0x7F;
        buf_add_char(&r->out, '-');
        encode(end, atom.bytes);
        add_bracket_character(r, &atom);
        first = end;
    }
    if (last - first > RANGE_MAX)
        return refuse(r, "a range beyond ASCII has 500 characters at most");
    while (first++ < last) {
        memset(atom.bytes, 0, sizeof atom.bytes);
        encode(first, atom.bytes);
        buf_add_text(&r->out, first >= 0xD800 && first <= 0xDFFF ? "" : atom.bytes);
    }
    return true;
}

static void add_bracket_character(struct rewrite *r, const struct atom *atom)
{
    bool is_special = strchr("]^-[", atom->bytes[0]) != NULL;
    buf_addf(&r->out, is_special ? "[.%s.]" : "%s", atom->bytes);
}

static bool read_bracket_atom(struct rewrite *r, struct atom *atom)
{
    if (*r->at != '\\') {
        read_character(r, atom);
        return true;
    }
    if (!read_escape(r, atom)) return false;
    if (atom->set && atom->is_negated) return refuse(r, "\\D, \\W, \\S cannot stand inside [...]");
    return true;
}

static void read_character(struct rewrite *r, struct atom *atom)
{
    size_t len = 0;
    *atom = (struct atom){ 0 };
    do {
        atom->bytes[len++] = *r->at++;
    } while (((unsigned char)*r->at & 0xC0) == 0x80 && len < 4);
}

static bool read_escape(struct rewrite *r, struct atom *atom)
{
    static const char controls[][2] = {
        { 'n', '\n' }, { 't', '\t' }, { 'r', '\r' }, { 'f', '\f' }, { 'v', '\v' }
    };
    char c = r->at[1];
    *atom = (struct atom){ .is_negated = c == 'D' || c == 'W' || c == 'S' };
    if (c == 'u' || c == 'x') return read_hex_escape(r, atom);
    if (c == 'd' || c == 'D') atom->set = "0-9";
    if (c == 'w' || c == 'W') atom->set = "A-Za-z0-9_";
    if (c == 's' || c == 'S') atom->set = SPACES;
    for (size_t i = 0; i < COUNT_OF(controls); i++) {
        if (c == controls[i][0]) atom->bytes[0] = controls[i][1];
    }
    if (ispunct((unsigned char)c)) atom->bytes[0] = c;
    if (!atom->set && !atom->bytes[0]) return refuse_escape(r);
    r->at += 2;
    return true;
}

/* \x41 and \u00e4 */
static bool read_hex_escape(struct rewrite *r, struct atom *atom)
{
    size_t digits = r->at[1] == 'u' ? 4 : 2;
    char hex[5] = { 0 };
    strncpy(hex, r->at + 2, digits);
    if (strspn(hex, "0123456789abcdefABCDEF") != digits) return refuse_escape(r);
    unsigned code = (unsigned)strtoul(hex, NULL, 16);
    if (code == 0 || (code >= 0xD800 && code <= 0xDFFF)) return refuse_escape(r);
    encode(code, atom->bytes);
    r->at += 2 + digits;
    return true;
}

static void encode(unsigned code, char *bytes)
{
    unsigned shift = code < 0x80 ? 0 : code < 0x800 ? 6 : code < 0x10000 ? 12 : 18;
    static const unsigned leads[] = { 0, 0xC0, 0xE0, 0xF0 };
    *bytes++ = (char)(leads[shift / 6] | code >> shift);
    for (; shift > 0; shift -= 6) *bytes++ = (char)(0x80 | (code >> (shift - 6) & 0x3F));
}

/* The code of the one character in bytes, which is valid UTF-8. */
static unsigned decode(const char *bytes)
{
    const unsigned char *at = (const unsigned char *)bytes;
    unsigned code = *at < 0x80   ? *at
                    : *at < 0xE0 ? *at & 0x1FU
                    : *at < 0xF0 ? *at & 0xFU
                                 : *at & 7U;
    while (*++at) code = code << 6 | (*at & 0x3FU);
    return code;
}

static bool refuse_escape(struct rewrite *r)
{
    char c = r->at[1];
    if (c == '\0') return refuse(r, "ends with a backslash");
    if (c >= '1' && c <= '9') return refuse(r, "back-references, as \\1, are not supported");
    if (c == 'b' || c == 'B') return refuse(r, "word boundaries, as \\b, are not supported");
    return refuse(r, "unknown escape; known are \\d \\w \\s \\D \\W \\S \\n \\t \\r \\f \\v \\xHH "
                     "\\uHHHH and a backslash before punctuation");
}

static bool refuse(struct rewrite *r, const char *why)
{
    return err_set(r->err, ERR_INPUT, "%s", why);
}
