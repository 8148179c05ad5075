/* params_weight.h: what a pattern costs, told piece by piece while it is read: how large the C
 * library makes it, how long and large it gets at a text. Counts multiply: the C library makes
 * copies. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define PATTERN_MAX    1000 /* bytes */
#define WEIGHT_ENDLESS -1   /* as `high` of a repeat */

/* Of a piece of the pattern. */
struct weight {
    long elements;         /* characters and sets */
    long choices;          /* sets, branches, repeats: with n the automaton may have 2^n states */
    long empties;          /* what may match nothing */
    bool is_needed;        /* the branch at hand needs a character */
    bool has_empty_branch; /* one before it needs none */
};

/* {0}: of the empty pattern. */
struct weights {
    int open;                            /* groups */
    struct weight sums[PATTERN_MAX + 1]; /* of each of them so far; 0: of the whole */
    struct weight last;                  /* what a repeat would apply to */
    bool was_needed;                     /* the branch, before that */
    bool has_anchor;                     /* a ^ or $ inside the pattern */
    bool spins; /* something that may match nothing is repeated without end */
};

void weights_element(struct weights *weights, bool is_set);
/* is_inner: not first or last. */
void weights_anchor(struct weights *weights, bool is_inner);
void weights_branch(struct weights *weights);
void weights_open(struct weights *weights);
void weights_close(struct weights *weights);
/* Of what came last. */
void weights_repeat(struct weights *weights, long low, long high);
/* ERR_INPUT: more than the C library can be trusted with. */
MUSTUSE bool weights_check(const struct weights *weights, struct err *err);
/* In bytes; SIZE_MAX: as long as it likes. */
size_t weights_longest_text(const struct weights *weights, bool is_anywhere);
