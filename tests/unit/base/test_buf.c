/* test_buf.c: base/buf.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static void buf_text_of_an_empty_buf_is_empty(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    assert_string_equal(buf_text(&buf), "");
    buf_add_text(&buf, NULL);
    assert_int_equal(buf.len, 0);
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "");
    free(taken);
    buf_close(&buf);
}

static void buf_says_when_there_is_no_memory(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    assert_true(buf_try_add(&buf, "abc", 3));
    assert_false(buf_try_add(&buf, "x", SIZE_MAX / 4 - 2));
    assert_false(buf_try_add(&buf, "x", SIZE_MAX));
    assert_true(buf_try_add(&buf, "d", 1));
    assert_true(buf_try_add(&buf, NULL, 0));
    assert_string_equal(buf_text(&buf), "abcd");
    buf_close(&buf);
}

static void buf_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    for (int i = 0; i < 1000; i++) {
        buf_add_char(&buf, (char)('a' + i % 26));
        assert_int_equal(strlen(buf_text(&buf)), i + 1);
    }
    buf_clear(&buf);
    assert_string_equal(buf_text(&buf), "");
    assert_true(buf.cap >= 1001);
    buf_close(&buf);
    assert_null(buf.data);
}

static void buf_addf_appends_more_than_fits(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    buf_add_text(&buf, "x");
    buf_addf(&buf, "%0500d|%s", 7, "end");
    assert_int_equal(buf.len, 1 + 500 + 4);
    assert_string_equal(buf_text(&buf) + 500, "7|end");
    buf_close(&buf);
}

static void buf_writes_big_endian(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    buf_add_u16be(&buf, 0x0102);
    buf_add_u32be(&buf, 0x03040506);
    buf_add_u64be(&buf, UINT64_C(0x0708090A0B0C0DFE));
    assert_memory_equal(buf.data, "\1\2\3\4\5\6\7\x8\x9\xA\xB\xC\xD\xFE", 14);
    assert_int_equal(buf.len, 14);
    buf_close(&buf);
}

static void buf_drop_front_keeps_the_rest(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    buf_add_text(&buf, "hello world");
    buf_drop_front(&buf, 6);
    assert_string_equal(buf_text(&buf), "world");
    buf_drop_front(&buf, 99);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf_text(&buf), "");
    buf_close(&buf);
}

static void buf_reserve_lets_the_caller_write_behind_the_end(void **state)
{
    (void)state;
    struct buf buf = BUF_EMPTY;
    buf_add_text(&buf, "ab");
    memset(buf_reserve(&buf, 200), 'z', 200);
    buf.len += 200;
    buf_add_text(&buf, "!");
    assert_int_equal(buf.len, 203);
    assert_int_equal(buf.data[202], '!');
    buf_close(&buf);
}

static void mem_formats_and_copies(void **state)
{
    (void)state;
    char *text = xasprintf("%s-%d", "a", 5);
    char *part = xstrndup(text, 2);
    assert_string_equal(text, "a-5");
    assert_string_equal(part, "a-");
    free(text);
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_text_of_an_empty_buf_is_empty),
        cmocka_unit_test(buf_says_when_there_is_no_memory),
        cmocka_unit_test(buf_grows_and_stays_terminated),
        cmocka_unit_test(buf_addf_appends_more_than_fits),
        cmocka_unit_test(buf_writes_big_endian),
        cmocka_unit_test(buf_drop_front_keeps_the_rest),
        cmocka_unit_test(buf_reserve_lets_the_caller_write_behind_the_end),
        cmocka_unit_test(mem_formats_and_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
