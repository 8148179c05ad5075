/* list.h: intrusive doubly linked ring. A node that is in no list points to itself, so list_del is
 * safe to repeat. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_is_empty(const struct list *l) { return l->next == l; }
static inline void list_del(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void list_push_back(struct list *l, struct list *node)
{
    list_insert_before(l, node);
}
static inline void list_push_front(struct list *l, struct list *node)
{
    list_insert_before(l->next, node);
}
static inline struct list *list_pop_front(struct list *l)
{
    struct list *node = l->next;
    if (node == l) return NULL;
    list_del(node);
    return node;
}
/* Moves all nodes of from behind those of to; from is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}
/* Walks safely while the body removes `it`. */
#define LIST_EACH(it, l)                                                                           \
    for (struct list *it = (l)->next, *it##_next = it->next; it != (l);                            \
         it = it##_next, it##_next = it->next)
