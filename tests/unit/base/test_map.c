/* test_map.c: base/map.h against a plain array, and base/list.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"

#define KEYS 500

static size_t make_key(size_t i, char key[32]) { return (size_t)snprintf(key, 32, "key-%zu", i); }

static void map_finds_what_was_put(void **state)
{
    (void)state;
    struct map *map = map_new();
    int one = 1, two = 2;
    map_put(map, "a", 1, &one);
    map_put(map, "a\0b", 3, &two);
    map_put(map, "", 0, &two);
    assert_ptr_equal(map_find(map, "a", 1), &one);
    assert_ptr_equal(map_find(map, "a\0b", 3), &two);
    assert_ptr_equal(map_find(map, "", 0), &two);
    assert_null(map_find(map, "b", 1));
    map_put(map, "a", 1, &two);
    assert_ptr_equal(map_find(map, "a", 1), &two);
    assert_int_equal(map_count(map), 3);
    assert_null(map_take(map, "b", 1));
    map_free(map);
}

/* Puts and takes in a fixed scatter; after each step every key is where the array says. */
static void map_agrees_with_an_array(void **state)
{
    (void)state;
    struct map *map = map_new();
    static bool present[KEYS];
    static int values[KEYS];
    size_t count = 0;
    uint32_t dice = 12345;
    char key[32];
    for (int step = 0; step < 4000; step++) {
        dice = dice * 1664525u + 1013904223u;
        size_t i = (dice >> 8) % KEYS;
        size_t len = make_key(i, key);
        if (present[i]) {
            assert_ptr_equal(map_take(map, key, len), &values[i]);
            count--;
        } else {
            map_put(map, key, len, &values[i]);
            count++;
        }
        present[i] = !present[i];
        assert_int_equal(map_count(map), count);
        if (step % 50 != 0) continue;
        for (size_t k = 0; k < KEYS; k++) {
            len = make_key(k, key);
            assert_ptr_equal(map_find(map, key, len), present[k] ? &values[k] : NULL);
        }
    }
    map_free(map);
}

static void map_next_visits_each_key_once(void **state)
{
    (void)state;
    struct map *map = map_new();
    static int seen[KEYS];
    char name[32];
    for (size_t i = 0; i < KEYS; i++) map_put(map, name, make_key(i, name), &seen[i]);
    size_t at = 0, key_len;
    const void *key;
    void *value;
    while (map_next(map, &at, &key, &key_len, &value)) {
        size_t len = make_key((size_t)((int *)value - seen), name);
        assert_int_equal(len, key_len);
        assert_memory_equal(key, name, len);
        ++*(int *)value;
    }
    for (size_t i = 0; i < KEYS; i++) assert_int_equal(seen[i], 1);
    map_free(map);
}

struct item {
    struct list node;
    int number;
};

static void list_moves_and_walks_while_nodes_leave(void **state)
{
    (void)state;
    struct list first, second;
    struct item items[4];
    list_init(&first);
    list_init(&second);
    list_move_all(&second, &first);
    assert_true(list_is_empty(&second));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_push_back(i < 2 ? &first : &second, &items[i].node);
    }
    list_move_all(&first, &second);
    assert_true(list_is_empty(&second));
    int expected = 0;
    LIST_EACH (it, &first) {
        assert_int_equal(((struct item *)it)->number, expected++);
        list_del(it);
        list_del(it);
    }
    assert_int_equal(expected, 4);
    assert_null(list_pop_front(&first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_finds_what_was_put),
        cmocka_unit_test(map_agrees_with_an_array),
        cmocka_unit_test(map_next_visits_each_key_once),
        cmocka_unit_test(list_moves_and_walks_while_nodes_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
