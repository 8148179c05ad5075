/* params_weight.c: see params_weight.h. Measured with glibc 2.36.
 *
 * Making a pattern takes the square of what may match nothing; behind an anchor the C library
 * copies what follows; where something that may match nothing is repeated without end it tries each
 * way through it anew. At a text the automaton may grow, a state for each character, where many
 * choices follow each other ("x.{100}$"): then only short texts are matched, so that no text of a
 * user takes long or all memory. */
#include "task/params_weight.h"

#include <stdint.h>

#define CHOICES_FREE   12      /* 2^12 states are few */
#define TEXT_MOST      10000   /* bytes that a pattern of more choices is matched against ... */
#define STATES_MOST    2000000 /* ... divided by its elements */
#define SIZE_MOST      10000   /* elements */
#define EMPTY_MOST     1000    /* of these what may match nothing: 30 MiB and 20 ms */
#define ANCHOR_MOST    100     /* the same with an anchor inside */
#define ANCHOR_EMPTIES 10      /* each of them doubles what follows: 2^10 */
#define SPIN_MOST      12      /* the same where that is repeated without end: the time is 3^n */

static void add(struct weights *weights, struct weight more);
static void next_branch(struct weight *sum);
static long most_empties(const struct weights *weights);

static long at_most(long value, long most) { return value < most ? value : most; }

/* Kept within bounds, so that counts of counts do not overflow. */
static void add(struct weights *weights, struct weight more)
{
    struct weight *sum = &weights->sums[weights->open];
    more.elements = at_most(more.elements, SIZE_MOST + 1);
    more.choices = at_most(more.choices, SIZE_MOST + 1);
    more.empties = at_most(more.empties, SIZE_MOST + 1);
    sum->elements = at_most(sum->elements + more.elements, SIZE_MOST + 1);
    sum->choices = at_most(sum->choices + more.choices, SIZE_MOST + 1);
    sum->empties = at_most(sum->empties + more.empties, SIZE_MOST + 1);
    weights->was_needed = sum->is_needed;
    sum->is_needed = sum->is_needed || more.is_needed;
    weights->last = more;
}

void weights_element(struct weights *weights, bool is_set)
{
    add(weights, (struct weight){ .elements = 1, .choices = is_set, .is_needed = true });
}

void weights_anchor(struct weights *weights, bool is_inner)
{
    weights->has_anchor = weights->has_anchor || is_inner;
    add(weights, (struct weight){ .empties = is_inner ? ANCHOR_EMPTIES : 1 });
}

void weights_branch(struct weights *weights)
{
    add(weights, (struct weight){ .choices = 1, .empties = 1 });
    next_branch(&weights->sums[weights->open]);
}

static void next_branch(struct weight *sum)
{
    sum->has_empty_branch = sum->has_empty_branch || !sum->is_needed;
    sum->is_needed = false;
}

void weights_open(struct weights *weights)
{
    weights->sums[++weights->open] = (struct weight){ 0 };
}

void weights_close(struct weights *weights)
{
    struct weight group = weights->sums[weights->open--];
    next_branch(&group);
    group.is_needed = !group.has_empty_branch;
    group.empties += group.elements == 0;
    add(weights, group);
}

void weights_repeat(struct weights *weights, long low, long high)
{
    struct weight one = weights->last;
    bool is_endless = high == WEIGHT_ENDLESS;
    long copies = is_endless ? low : high, more = copies > 0 ? copies - 1 : 0;
    long optional = is_endless ? 1 : high - low;
    if (low == 0) weights->sums[weights->open].is_needed = weights->was_needed;
    weights->spins = weights->spins || (is_endless && !one.is_needed);
    add(weights, (struct weight){ .elements = one.elements * more,
                                  .choices = one.choices * more + optional,
                                  .empties = one.empties * more + optional });
}

bool weights_check(const struct weights *weights, struct err *err)
{
    const struct weight *whole = &weights->sums[0];
    if (whole->elements > SIZE_MOST)
        return err_set(err, ERR_INPUT, "its counts multiply to more than %d", SIZE_MOST);
    if (whole->empties > most_empties(weights))
        return err_set(err, ERR_INPUT,
                       "what may match nothing in it, as x? and x*, multiplies to more than %ld%s",
                       most_empties(weights),
                       weights->spins        ? ": it is repeated without end"
                       : weights->has_anchor ? ": there is a '^' or '$' inside"
                                             : "");
    return true;
}

static long most_empties(const struct weights *weights)
{
    return weights->spins ? SPIN_MOST : weights->has_anchor ? ANCHOR_MOST : EMPTY_MOST;
}

/* A state takes some 100 bytes for each element; finding one among many takes time, too. */
size_t weights_longest_text(const struct weights *weights, bool is_anywhere)
{
    const struct weight *whole = &weights->sums[0];
    if (whole->choices <= CHOICES_FREE) return is_anywhere ? TEXT_MOST : SIZE_MAX;
    size_t by_memory = STATES_MOST / (size_t)(whole->elements + 1);
    return by_memory < TEXT_MOST ? by_memory : TEXT_MOST;
}
