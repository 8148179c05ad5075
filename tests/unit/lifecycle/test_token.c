/* test_token.c: the form of tokens, scopes, globs (token.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lifecycle/token.h"

static void what_is_made_is_understood(void **state)
{
    (void)state;
    struct token made, parsed, other;
    char text[TOKEN_TEXT_SIZE], other_text[TOKEN_TEXT_SIZE], hex[TOKEN_HEX_SIZE];
    uint8_t hash[TOKEN_HASH_SIZE];
    for (int i = 0; i < 1000; i++) {
        token_make(&made, text);
        assert_int_equal(strlen(text), TOKEN_TEXT_SIZE - 1);
        assert_true(token_parse(text, &parsed));
        assert_string_equal(parsed.id, made.id);
        assert_true(token_is_same(&parsed, made.hash));
        token_make(&other, other_text);
        assert_false(token_is_same(&other, made.hash));
    }
    token_hash_text(&made, hex);
    assert_true(token_hash_parse(hex, hash));
    assert_true(token_is_same(&made, hash));
    assert_false(token_hash_parse("", hash));
    hex[0] = 'x';
    assert_false(token_hash_parse(hex, hash));
}

static void each_change_of_a_token_is_another_or_none(void **state)
{
    (void)state;
    struct token made, parsed;
    char text[TOKEN_TEXT_SIZE];
    token_make(&made, text);
    for (size_t i = 0; i < TOKEN_TEXT_SIZE - 1; i++) {
        for (int to = 1; to < 256; to++) {
            char kept = text[i];
            if ((char)to == kept) continue;
            text[i] = (char)to;
            bool is_same = token_parse(text, &parsed) && strcmp(parsed.id, made.id) == 0 &&
                           token_is_same(&parsed, made.hash);
            assert_false(is_same);
            text[i] = kept;
        }
    }
    for (size_t len = 0; len < TOKEN_TEXT_SIZE - 1; len++) {
        char *cut = xstrndup(text, len);
        assert_false(token_parse(cut, &parsed));
        free(cut);
    }
    char *longer = xasprintf("%sA", text);
    assert_false(token_parse(longer, &parsed));
    free(longer);
}

static void scopes_are_ordered_words(void **state)
{
    (void)state;
    enum scope scope;
    assert_true(scope_parse("read", &scope) && scope == SCOPE_READ);
    assert_true(scope_parse("submit", &scope) && scope == SCOPE_SUBMIT);
    assert_true(scope_parse("admin", &scope) && scope == SCOPE_ADMIN);
    assert_string_equal(scope_word(SCOPE_SUBMIT), "submit");
    assert_true(SCOPE_READ < SCOPE_SUBMIT && SCOPE_SUBMIT < SCOPE_ADMIN);
    for (const char *const *word = (const char *const[]){ "", "open", "page", "Admin", "reads", 0 };
         *word; word++)
        assert_false(scope_parse(*word, &scope));
}

static void globs_match_names(void **state)
{
    (void)state;
    static const struct {
        const char *glob, *name, *like;
        bool fits;
    } rows[] = {
        { "*", "any.name-1", "%", true },
        { "grade_*", "grade_one", "grade\\_%", true },
        { "grade_*", "gradeXone", "grade\\_%", false },
        { "grade_*", "grade_", "grade\\_%", true },
        { "a?c", "abc", "a_c", true },
        { "a?c", "ac", "a_c", false },
        { "*.x", ".x.x", "%.x", true },
        { "one", "one", "one", true },
        { "one", "One", "one", false },
        { "one", "ones", "one", false },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *like = glob_like(rows[i].glob);
        assert_true(glob_is_valid(rows[i].glob));
        assert_int_equal(glob_matches(rows[i].glob, rows[i].name), rows[i].fits);
        assert_string_equal(like, rows[i].like);
        free(like);
    }
    for (const char *const *glob =
             (const char *const[]){ "", "[ab]", "a\\*", "a%", "a b", "a/b", "\xc3\xa4*", 0 };
         *glob; glob++)
        assert_false(glob_is_valid(*glob));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_is_understood),
        cmocka_unit_test(each_change_of_a_token_is_another_or_none),
        cmocka_unit_test(scopes_are_ordered_words),
        cmocka_unit_test(globs_match_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
