/* params_pattern.c: the schema word `pattern`: regular expressions as JavaScript writes them,
 * matched by the C library's extended expressions.
 *
 * The idea: one pass rewrites what both know into the C library's spelling (\d becomes [0-9], a dot
 * stops at line ends, specials inside brackets become [.x.]) and refuses what it cannot do: looking
 * around, back-references, lazy repeats, word boundaries, named groups. What remains is matched by
 * an automaton, once, from the start of the text: behind a `^` that leads the pattern, or else with
 * `.*` before it, where the C library would start anew at every character. A `^` elsewhere leaves
 * only that: `.*` would pass line ends, behind which it holds (glibc 2.36); such a pattern, then,
 * is matched against short texts only. The automaton may still grow with the text, a state for each
 * character, where many choices follow each other ("x.{100}$"): short texts again, so that no text
 * of a user takes long or all memory. Making it takes the square of what may match nothing, and
 * more behind an anchor or where that is repeated: all three are bounded. Compiling and matching
 * run in the locale C.UTF-8, where a dot is one character, not one byte.
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

#define PATTERN_MAX    1000 /* bytes */
#define REPEAT_MAX     1000
#define RANGE_MAX      500
#define CHOICES_FREE   12      /* 2^12 states are few */
#define TEXT_MOST      10000   /* bytes that a pattern of more choices is matched against ... */
#define STATES_MOST    2000000 /* ... divided by its elements */
#define SIZE_MOST      10000   /* elements, each count multiplied out: the C library makes copies */
#define EMPTY_MOST     1000    /* of these what may match nothing: 30 MiB and 20 ms (glibc 2.36) */
#define ANCHOR_MOST    100 /* the same with an anchor inside: the C library copies what follows */
#define ANCHOR_EMPTIES 10  /* each of them doubles what follows: 2^10 */
#define SPIN_MOST      12  /* the same where that is repeated without end: the time is 3^n */

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

/* Of a piece of the pattern, with each count multiplied out. */
struct weight {
    long elements;
    long choices;   /* sets, alternatives, repeats: with n the automaton may have 2^n states */
    long empties;   /* what may match nothing */
    bool is_needed; /* the branch at hand needs a character */
    bool has_empty_branch; /* one before it needs none */
};

struct rewrite {
    const char *at; /* what is left of the author's text */
    struct buf out;
    int open_groups;
    struct weight sums[PATTERN_MAX + 1]; /* of each open group so far; 0: the whole */
    struct weight last;                  /* of what a repeat would apply to */
    bool was_needed;                     /* the branch, before that */
    bool may_repeat;                     /* something stands before that `*` could apply to */
    bool has_start;                      /* a ^ */
    bool has_anchor;                     /* a ^ or $, not first or last */
    bool spins;          /* something that may match nothing is repeated without end */
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
static void next_branch(struct weight *sum);
static bool rewrite_group(struct rewrite *r);
static bool rewrite_group_end(struct rewrite *r);
static bool rewrite_repeat(struct rewrite *r);
static bool rewrite_counts(struct rewrite *r);
static bool read_count(const char **at, long *count);
static void add_loop(struct rewrite *r);
static void add_element(struct rewrite *r, bool is_set);
static void add_weight(struct rewrite *r, struct weight more);
static void make_optional(struct rewrite *r);
static long most_empties(const struct rewrite *r);
static size_t longest_text(const struct rewrite *r);
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
    if (ok && r.sums[0].elements > SIZE_MOST)
        ok = refuse(&r, "its counts multiply to more than 10000");
    if (ok && r.sums[0].empties > most_empties(&r))
        ok = refuse(&r, "too much of it may match nothing (counts multiply)");
    if (ok && r.open_groups > 0) ok = refuse(&r, "a '(' is never closed");
    char *posix = buf_take(&r.out);
    bool is_led = !r.starts_loosely, is_anywhere = r.has_start && !is_led;
    char *searched = r.has_start ? xstrdup(posix + is_led) : xasprintf(".*(%s)", posix);
    regex_t regex;
    if (ok && compile_regex(searched, &regex, err)) {
        *out = xmalloc(sizeof **out);
        **out =
            (struct params_pattern){ regex, is_anywhere, longest_text(&r), xstrdup(text), posix };
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
    r->has_anchor = r->has_anchor || is_inner;
    if (*r->at == '|' && r->open_groups == 0) r->starts_loosely = true;
    if (r->may_repeat)
        add_element(r, *r->at == '.');
    else
        add_weight(r, (struct weight){ .choices = *r->at == '|',
                                       .empties = is_inner ? ANCHOR_EMPTIES : 1 });
    if (*r->at == '|') next_branch(&r->sums[r->open_groups]);
    r->at++;
    return true;
}

static void next_branch(struct weight *sum)
{
    sum->has_empty_branch = sum->has_empty_branch || !sum->is_needed;
    sum->is_needed = false;
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
    r->sums[++r->open_groups] = (struct weight){ 0 };
    r->may_repeat = false;
    return true;
}

static bool rewrite_group_end(struct rewrite *r)
{
    if (r->open_groups == 0) return refuse(r, "a ')' without its '('; write \\) for the character");
    buf_add_char(&r->out, ')');
    r->at++;
    struct weight group = r->sums[r->open_groups--];
    next_branch(&group);
    group.is_needed = !group.has_empty_branch;
    group.empties += group.elements == 0;
    add_weight(r, group);
    r->may_repeat = true;
    return true;
}

static bool rewrite_repeat(struct rewrite *r)
{
    if (!r->may_repeat) return refuse(r, "nothing to repeat before '*', '+', '?' or '{'");
    if (*r->at == '{') {
        if (!rewrite_counts(r)) return false;
    } else {
        if (*r->at != '+') make_optional(r);
        if (*r->at == '?')
            add_weight(r, (struct weight){ .choices = 1, .empties = 1 });
        else
            add_loop(r);
        buf_add_char(&r->out, *r->at++);
    }
    if (*r->at == '?') return refuse(r, "lazy repeats, as *?, are not supported");
    r->may_repeat = false;
    return true;
}

static long at_most(long value, long most) { return value < most ? value : most; }

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
    bool is_endless = at[-1] == ',';
    long copies = is_endless ? low : high, more = copies > 0 ? copies - 1 : 0;
    struct weight one = r->last;
    if (low == 0) make_optional(r);
    if (is_endless) add_loop(r);
    if (!is_endless) add_weight(r, (struct weight){ .choices = high - low, .empties = high - low });
    add_weight(r, (struct weight){ .elements = one.elements * more,
                                   .choices = one.choices * more,
                                   .empties = one.empties * more });
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

/* A repeat without end of `last`. */
static void add_loop(struct rewrite *r)
{
    r->spins = r->spins || !r->last.is_needed;
    add_weight(r, (struct weight){ .choices = 1, .empties = 1 });
}

static void add_element(struct rewrite *r, bool is_set)
{
    add_weight(r, (struct weight){ .elements = 1, .choices = is_set, .is_needed = true });
}

/* Kept within bounds, so that counts of counts do not overflow. */
static void add_weight(struct rewrite *r, struct weight more)
{
    struct weight *sum = &r->sums[r->open_groups];
    more.elements = at_most(more.elements, SIZE_MOST + 1);
    more.choices = at_most(more.choices, SIZE_MOST + 1);
    more.empties = at_most(more.empties, SIZE_MOST + 1);
    sum->elements = at_most(sum->elements + more.elements, SIZE_MOST + 1);
    sum->choices = at_most(sum->choices + more.choices, SIZE_MOST + 1);
    sum->empties = at_most(sum->empties + more.empties, SIZE_MOST + 1);
    r->was_needed = sum->is_needed;
    sum->is_needed = sum->is_needed || more.is_needed;
    r->last = more;
}

/* What was added last. */
static void make_optional(struct rewrite *r) { r->sums[r->open_groups].is_needed = r->was_needed; }

static long most_empties(const struct rewrite *r)
{
    return r->spins ? SPIN_MOST : r->has_anchor ? ANCHOR_MOST : EMPTY_MOST;
}

/* A state takes some 100 bytes for each element; finding one among many takes time, too. */
static size_t longest_text(const struct rewrite *r)
{
    const struct weight *whole = &r->sums[0];
    if (whole->choices <= CHOICES_FREE) {
        return r->has_start && r->starts_loosely ? TEXT_MOST : SIZE_MAX;
    }
    size_t by_memory = STATES_MOST / (size_t)(whole->elements + 1);
    return by_memory < TEXT_MOST ? by_memory : TEXT_MOST;
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
    add_element(r, atom.set != NULL);
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
    add_element(r, true);
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
