/* suggest.h: "did you mean": the known word nearest to a mistyped one. Pure.
 *
 *     struct suggestion near = { .word = "mesage" };
 *     suggest_consider(&near, "message");   ... one call for each known word
 *     near.nearest is "message", or NULL when nothing is near enough. */
#pragma once
#include <stddef.h>

struct suggestion {
    const char *word;    /* borrowed */
    const char *nearest; /* borrowed from the candidates, NULL: none */
    size_t distance;     /* of nearest */
};

void suggest_consider(struct suggestion *suggestion, const char *candidate);
