#include "broker/args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void args_close(struct args *args)
{
    buf_close(&args->bytes);
    buf_close(&args->lens);
}

void args_add(struct args *args, const void *data, size_t len)
{
    buf_add(&args->bytes, data, len);
    buf_add(&args->lens, &len, sizeof len);
}

void args_text(struct args *args, const char *text) { args_add(args, text, strlen(text)); }

void args_int(struct args *args, int64_t value)
{
    char text[24];
    args_add(args, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
}

void args_ident(struct args *args, const struct ident *id)
{
    args_add(args, id->bytes, sizeof id->bytes);
}

void args_kin(struct args *args, uint64_t kin)
{
    char text[24];
    args_add(args, text, (size_t)snprintf(text, sizeof text, "-%" PRIx64, kin));
}

void args_moved(struct args *args, const char *queue)
{
    size_t len = strlen(queue) + 1;
    buf_add_char(&args->bytes, '>');
    buf_add(&args->bytes, queue, len - 1);
    buf_add(&args->lens, &len, sizeof len);
}

void args_send(struct args *args, struct redis *redis, struct redis_script *script, const char *key,
               redis_done_fn *done, void *arg)
{
    size_t count = args->lens.len / sizeof(size_t);
    const char **argv = xcalloc(count + 1, sizeof *argv);
    size_t *lens = xcalloc(count + 1, sizeof *lens);
    argv[0] = key;
    lens[0] = strlen(key);
    if (count > 0) memcpy(lens + 1, args->lens.data, args->lens.len);
    const char *at = buf_text(&args->bytes);
    for (size_t i = 1; i <= count; at += lens[i++]) argv[i] = at;
    struct redis_command command = { .argc = count + 1, .argv = argv, .argv_len = lens };
    redis_script(redis, script, 1, &command, done, arg);
    free(argv);
    free(lens);
    args_close(args);
}
