/* test_ident.c: base/ident.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ident.h"

#define MANY 20000

static void ident_v7_rises_also_within_a_millisecond(void **state)
{
    (void)state;
    struct ident last = ident_v7();
    for (int i = 0; i < MANY; i++) {
        struct ident id = ident_v7();
        assert_true(ident_compare(&id, &last) > 0);
        assert_true(ident_is_v7(&id));
        last = id;
    }
}

static void ident_v7_carries_the_time(void **state)
{
    (void)state;
    int64_t before = clock_wall_us() / 1000;
    struct ident id = ident_v7();
    /* Many ids in one millisecond may have moved the time part on a little. */
    assert_in_range(ident_ms(&id), before, clock_wall_us() / 1000 + MANY / 2048);
}

static void *draw(void *arg)
{
    struct ident *ids = arg;
    for (int i = 0; i < MANY; i++) ids[i] = ident_v7();
    return NULL;
}

static int compare(const void *a, const void *b) { return ident_compare(a, b); }

static void ident_v7_of_two_threads_never_meet(void **state)
{
    (void)state;
    static struct ident ids[2 * MANY];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, draw, ids + i * MANY);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    qsort(ids, 2 * MANY, sizeof *ids, compare);
    for (int i = 1; i < 2 * MANY; i++) {
        assert_true(ident_compare(&ids[i - 1], &ids[i]) < 0);
        /* time and counter alone already differ */
        assert_true(memcmp(ids[i - 1].bytes, ids[i].bytes, 8) != 0);
    }
}

static void ident_text_and_parse_are_inverse(void **state)
{
    (void)state;
    char text[IDENT_TEXT_SIZE];
    struct ident id, back;
    assert_true(ident_parse("0190A0b1-c2d3-7e4f-8a5b-001122334455", &id));
    ident_text(&id, text);
    assert_string_equal(text, "0190a0b1-c2d3-7e4f-8a5b-001122334455");
    assert_int_equal(ident_ms(&id), 0x0190a0b1c2d3);
    assert_true(ident_is_v7(&id));
    id = ident_random();
    assert_false(ident_is_v7(&id));
    ident_text(&id, text);
    assert_int_equal(text[14], '4');
    assert_true(ident_parse(text, &back));
    assert_true(ident_equal(&id, &back));
}

static void ident_parse_refuses_other_forms(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "0190a0b1",
                                       "0190a0b1c2d37e4f8a5b001122334455",
                                       "0190a0b1-c2d3-7e4f-8a5b-00112233445",
                                       "0190a0b1-c2d3-7e4f-8a5b-0011223344555",
                                       "0190a0b1-c2d3-7e4f-8a5b-00112233445g",
                                       "0190a0b1c-2d3-7e4f-8a5b-001122334455",
                                       " 190a0b1-c2d3-7e4f-8a5b-001122334455" };
    struct ident id = { { 9 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(ident_parse(bad[i], &id));
    assert_int_equal(id.bytes[0], 9);
}

static void ident_zero_is_recognised(void **state)
{
    (void)state;
    struct ident id = { { 0 } };
    assert_true(ident_is_zero(&id));
    id.bytes[15] = 1;
    assert_false(ident_is_zero(&id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ident_v7_rises_also_within_a_millisecond),
        cmocka_unit_test(ident_v7_carries_the_time),
        cmocka_unit_test(ident_v7_of_two_threads_never_meet),
        cmocka_unit_test(ident_text_and_parse_are_inverse),
        cmocka_unit_test(ident_parse_refuses_other_forms),
        cmocka_unit_test(ident_zero_is_recognised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
