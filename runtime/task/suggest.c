/* suggest.c: edit distance where inserting, dropping, changing a letter and swapping two neighbours
 * each count one. A candidate is near when a third of the word's letters or fewer (at least one,
 * of a word of three or more) differ, or when one of both begins the other ("int" and "integer").
 */
#include "task/suggest.h"

#include <stdbool.h>
#include <string.h>

#define WORD_MAX 64 /* nobody mistypes longer words in a way that could be told */

static bool is_beginning(const char *a, size_t a_len, const char *b, size_t b_len);
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len);
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

void suggest_consider(struct suggestion *suggestion, const char *candidate)
{
    size_t word_len = strlen(suggestion->word), len = strlen(candidate);
    if (word_len == 0 || len == 0 || word_len > WORD_MAX || len > WORD_MAX) return;
    size_t near = word_len < 3 ? 0 : word_len < 6 ? 1 : word_len / 3;
    size_t found = distance(suggestion->word, word_len, candidate, len);
    if (found > near && !is_beginning(suggestion->word, word_len, candidate, len)) return;
    if (suggestion->nearest && found >= suggestion->distance) return;
    suggestion->nearest = candidate;
    suggestion->distance = found;
}

static bool is_beginning(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t shorter = least(a_len, b_len);
    return shorter >= 3 && memcmp(a, b, shorter) == 0;
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][WORD_MAX + 1]; /* before the last, last, this one; by turns */
    for (size_t j = 0; j <= b_len; j++) rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *row = rows[i % 3], *last = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t changed = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = least(changed, 1 + least(last[j], row[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = least(row[j], older[j - 2] + 1);
        }
    }
    return rows[a_len % 3][b_len];
}
