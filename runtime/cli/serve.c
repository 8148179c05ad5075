/* serve.c: `serve`. The flag that is a setting was applied before it runs. */
#include "http/serve.h"

#include "cli/commands.h"
#include "cli/options.h"

static int run(struct app *app, const struct cli_args *args);

static const struct cli_option options[] = {
    { "listen", "ADDR:PORT", "where to listen; default: 127.0.0.1:8000", false }, { 0 }
};

const struct command command_serve = {
    .name = "serve",
    .usage = "",
    .summary = "the REST API and its dashboard, in the foreground",
    .details =
        "SIGTERM or Ctrl-C: nobody new is let in, who waits is answered, then it ends.\n"
        "On an address that others reach it needs a token first; on a terminal it shows a\n"
        "link that logs a browser in. DASHBOARD_USER and DASHBOARD_PASSWORD set up a login,\n"
        "CTUTOR_HOSTS other names to be asked by (help config).\n\n"
        "Examples:\n"
        "  ctutor-run serve\n"
        "  ctutor-run serve --listen 127.0.0.1:9000\n"
        "  ctutor-run token create ops --scope admin && ctutor-run serve --listen 0.0.0.0:8000\n",
    .options = options,
    .run = run,
};

static int run(struct app *app, const struct cli_args *args)
{
    struct err err;
    if (!cli_expect_words(&command_serve, args, 0, 0, &err) || !app_refuse_api(app, &err))
        return app_fail(app, &err);
    return serve_main(app->config);
}
