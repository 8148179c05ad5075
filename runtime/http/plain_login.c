/* plain_login.c: the way in for who has no script: a token, or the login of the settings. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http/form.h"
#include "http/html.h"
#include "http/login.h"

struct credentials {
    char *token, *user, *password; /* NULL: not given */
};

static void answer_form(struct exchange *exchange, int status, const char *why);
static bool take_field(void *arg, const char *name, const char *value);
static void let_in(struct exchange *exchange);
static void refuse(struct exchange *exchange, int status, const struct err *err);
static void forget(char *secret);

static const struct login_door by_form = { let_in, refuse };

void handle_plain_login(struct exchange *exchange) { answer_form(exchange, 200, NULL); }

static void answer_form(struct exchange *exchange, int status, const char *why)
{
    struct buf out = BUF_EMPTY;
    bool has_user = *config_text(exchange->api->config, SET_DASHBOARD_USER);
    html_begin(&out, "Log in");
    if (why) {
        buf_add_text(&out, "<p role=\"alert\"><b>");
        html_text(&out, why);
        buf_add_text(&out, "</b></p>\n");
    }
    if (has_user)
        buf_add_text(&out,
                     "<form class=\"task\" method=\"post\" action=\"/plain/login\">\n"
                     "<label>User<input name=\"user\" autocomplete=\"username\" required></label>\n"
                     "<label>Password<input name=\"password\" type=\"password\" "
                     "autocomplete=\"current-password\" required></label>\n"
                     "<button>Log in</button></form>\n<p>or</p>\n");
    buf_add_text(&out,
                 "<form class=\"task\" method=\"post\" action=\"/plain/login\">\n"
                 "<label>Token<small>as <code>ctutor-run token create</code> shows it</small>"
                 "<input name=\"token\" type=\"password\" autocomplete=\"off\" required></label>\n"
                 "<button>Log in with a token</button></form>\n");
    html_end(&out);
    answer_page(exchange, status, &out);
}

void handle_plain_login_sent(struct exchange *exchange)
{
    struct credentials given = { 0 };
    size_t len;
    const char *text = http_body(exchange->request, &len);
    if (!form_each(text, len, take_field, &given))
        answer_form(exchange, 422, "the form is not valid");
    else if (given.token && !given.user && !given.password)
        login_by_token(exchange, given.token, &by_form);
    else if (!given.token && given.user && given.password)
        login_by_password(exchange, given.user, given.password, &by_form);
    else
        answer_form(exchange, 422, "give either a token, or user and password");
    forget(given.token);
    forget(given.user);
    forget(given.password);
}

/* Of each the first; what else there may be is left out. */
static bool take_field(void *arg, const char *name, const char *value)
{
    struct credentials *given = arg;
    char **fields[] = { &given->token, &given->user, &given->password };
    static const char *const names[] = { "token", "user", "password" };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) != 0 || *fields[i]) continue;
        *fields[i] = xstrdup(value);
    }
    return true;
}

static void let_in(struct exchange *exchange) { answer_redirect(exchange, "/plain"); }

static void refuse(struct exchange *exchange, int status, const struct err *err)
{
    answer_form(exchange, status, err->text);
}

static void forget(char *secret)
{
    if (secret) explicit_bzero(secret, strlen(secret));
    free(secret);
}
