/* key=text, key:=json, files: one JSON object, or a message that says how to write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "runtime/cli/parameters.c"

static const char schema_text[] =
    "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"s\":{\"type\":\"string\"},"
    "\"flag\":{\"type\":\"boolean\"},\"list\":{\"type\":\"array\"}},"
    "\"additionalProperties\":true}";

static struct params_schema *schema;
static struct err err;

#define COLLECT(whole, ...) collect(whole, (const char *const[]){ __VA_ARGS__, NULL })

/* The object as text with sorted keys, or NULL with err. */
static const char *collect(const char *whole, const char *const *words)
{
    static char *last;
    json_t *object = NULL;
    int count = 0;
    while (words[count]) count++;
    free(last);
    last = NULL;
    err_clear(&err);
    if (parameters_collect(schema, count, (char *const *)(uintptr_t)words, whole, &object, &err))
        last = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(object);
    return last;
}

static int open_schema(void **state)
{
    (void)state;
    return params_schema_compile(schema_text, strlen(schema_text), &schema, &err) ? 0 : -1;
}

static int close_schema(void **state)
{
    (void)state;
    COLLECT("[]", "s=1"); /* is refused, and frees the last text */
    params_schema_free(schema);
    return 0;
}

static void text_takes_the_type_of_the_schema(void **state)
{
    (void)state;
    assert_string_equal(COLLECT(NULL, "n=3", "s=3", "flag=true", "other=3"),
                        "{\"flag\":true,\"n\":3,\"other\":\"3\",\"s\":\"3\"}");
    assert_string_equal(COLLECT(NULL, "s="), "{\"s\":\"\"}");
    assert_null(COLLECT(NULL, "n=x"));
    assert_non_null(strstr(err.text, "n must be an integer"));
    assert_null(COLLECT(NULL, "list=a"));
    assert_non_null(strstr(err.text, "list:="));
}

static void json_is_taken_as_it_is(void **state)
{
    (void)state;
    assert_string_equal(COLLECT(NULL, "list:=[1, \"a\"]", "s:=null", "other:={\"a\":{}}"),
                        "{\"list\":[1,\"a\"],\"other\":{\"a\":{}},\"s\":null}");
    assert_null(COLLECT(NULL, "list:=[1"));
    assert_non_null(strstr(err.text, "list"));
}

static void the_first_sign_separates(void **state)
{
    (void)state;
    assert_string_equal(COLLECT(NULL, "s=a=b:=c"), "{\"s\":\"a=b:=c\"}");
    assert_string_equal(COLLECT(NULL, "other:=\"x=y\""), "{\"other\":\"x=y\"}");
    assert_null(COLLECT(NULL, "=3"));
    assert_null(COLLECT(NULL, ":=3"));
    assert_null(COLLECT(NULL, "message"));
    assert_non_null(strstr(err.text, "key=text"));
}

static void a_key_comes_once(void **state)
{
    (void)state;
    assert_null(COLLECT(NULL, "n=1", "n:=2"));
    assert_non_null(strstr(err.text, "n is given twice"));
    assert_null(COLLECT("{\"n\":1}", "n=2"));
    assert_string_equal(COLLECT("{\"n\":1}", "s=2"), "{\"n\":1,\"s\":\"2\"}");
    assert_null(COLLECT("[1]", "s=2"));
    assert_non_null(strstr(err.text, "--params"));
}

static void a_name_that_is_no_utf8_is_refused(void **state)
{
    (void)state;
    assert_null(COLLECT(NULL, "\xff=1"));
    assert_string_equal(err.text, "the name '\ufffd' is not valid UTF-8");
}

static void files_are_read(void **state)
{
    (void)state;
    char path[] = "/tmp/ctutor-parameters-XXXXXX", word[64];
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "12\n", 3) == 3);
    snprintf(word, sizeof word, "n=@%s", path);
    assert_string_equal(COLLECT(NULL, word), "{\"n\":12}");
    snprintf(word, sizeof word, "s=@%s", path);
    assert_string_equal(COLLECT(NULL, word), "{\"s\":\"12\\n\"}");
    snprintf(word, sizeof word, "n:=@%s", path);
    assert_string_equal(COLLECT(NULL, word), "{\"n\":12}");
    assert_true(write(fd, "\0", 1) == 1);
    snprintf(word, sizeof word, "s=@%s", path);
    assert_null(COLLECT(NULL, word));
    close(fd);
    unlink(path);
    assert_null(COLLECT(NULL, word));
    assert_non_null(strstr(err.text, path));
}

static void a_literal_at_is_written_with_a_backslash(void **state)
{
    (void)state;
    assert_string_equal(COLLECT(NULL, "s=\\@home"), "{\"s\":\"@home\"}");
    assert_string_equal(COLLECT(NULL, "s=\\n"), "{\"s\":\"\\\\n\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_takes_the_type_of_the_schema),
        cmocka_unit_test(json_is_taken_as_it_is),
        cmocka_unit_test(the_first_sign_separates),
        cmocka_unit_test(a_key_comes_once),
        cmocka_unit_test(a_name_that_is_no_utf8_is_refused),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(a_literal_at_is_written_with_a_backslash),
    };
    return cmocka_run_group_tests(tests, open_schema, close_schema);
}
