/* Pages without scripts: what users wrote stays text; forms as browsers send them. */
#include "http/html.h"
#include "http/form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check_text(const char *text, const char *expected)
{
    struct buf out = BUF_EMPTY;
    html_text(&out, text);
    assert_string_equal(buf_text(&out), expected);
    buf_close(&out);
}

static void what_users_wrote_is_no_markup(void **state)
{
    (void)state;
    check_text("plain", "plain");
    check_text("", "");
    check_text(NULL, "");
    check_text("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;");
    check_text("\" onload=\"x", "&quot; onload=&quot;x");
    check_text("a & &amp; b", "a &amp; &amp;amp; b");
    check_text("\xc3\xa4<", "\xc3\xa4&lt;");
}

static void what_stands_in_an_address_is_escaped(void **state)
{
    struct buf out = BUF_EMPTY;
    (void)state;
    html_url(&out, "a/b?c=\"d\"&\xc3\xa4 Z9-._");
    assert_string_equal(buf_text(&out), "a%2Fb%3Fc%3D%22d%22%26%C3%A4%20Z9-._");
    buf_close(&out);
}

static bool write_down(void *arg, const char *name, const char *value)
{
    buf_addf(arg, "[%s|%s]", name, value);
    return strcmp(name, "stop") != 0;
}

static void check_form(const char *body, bool good, const char *expected)
{
    struct buf out = BUF_EMPTY;
    assert_int_equal(form_each(body, strlen(body), write_down, &out), good);
    assert_string_equal(buf_text(&out), expected);
    buf_close(&out);
}

static void a_form_is_read_as_browsers_send_it(void **state)
{
    (void)state;
    check_form("", true, "");
    check_form("a=1&b=2", true, "[a|1][b|2]");
    check_form("a=x+y%2Bz&%C3%A4=%3D%26", true, "[a|x y+z][\xc3\xa4|=&]");
    check_form("a&b=&=c&&d=1=2", true, "[a|][b|][|c][d|1=2]");
    check_form("a=1&stop=1&b=2", true, "[a|1][stop|1]");
}

static void what_is_no_form_is_refused(void **state)
{
    (void)state;
    check_form("a=1&b=%", false, "[a|1]");
    check_form("a=%4", false, "");
    check_form("a=%zz", false, "");
    check_form("a=%00", false, "");
    check_form("a=%ff", false, "");
    check_form("%80=1", false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_users_wrote_is_no_markup),
        cmocka_unit_test(what_stands_in_an_address_is_escaped),
        cmocka_unit_test(a_form_is_read_as_browsers_send_it),
        cmocka_unit_test(what_is_no_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
