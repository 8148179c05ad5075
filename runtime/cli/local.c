/* local.c: see local.h. */
#include "cli/local.h"

#include "bindings/bindings.h"
#include "script/interrupt.h"

bool local_open(struct app *app, const char *directory, struct local_tasks *out, struct err *err)
{
    *out = (struct local_tasks){
        .host = { .loop = &app->loop, .bindings = binding_table, .binding_count = binding_count }
    };
    out->host.max_result = (size_t)config_int(app->config, SET_MAX_RESULT);
    interrupt_start(NULL);
    if (check_directory(directory, NULL, &out->host, config_duration_us(app->config, SET_TIMEOUT),
                        &out->outcome, err))
        return true;
    interrupt_stop();
    return false;
}

void local_close(struct local_tasks *tasks)
{
    check_outcome_close(&tasks->outcome);
    interrupt_stop();
}
