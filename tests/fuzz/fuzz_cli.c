/* fuzz_cli.c: the words of `submit`, one a line. Options that were accepted mean the same in their
 * other spelling; every parameter that was accepted is in the object, once, and can be kept. */
#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "runtime/cli/options.c"
#include "runtime/cli/parameters.c"
#include "task/params_schema.h"

#define WORDS_MOST 64

static size_t split_lines(char *text, char **words);
static void check_options(size_t count, char **words);
static void check_respelled(const struct cli_args *args);
static void check_parameters(const struct params_schema *schema, const struct cli_args *args);
static void check_collected(const struct cli_args *args, const json_t *object);
static bool reads_file(const struct cli_args *args);
static void check_times(const char *text);

static const struct cli_option rows[] = {
    { "params", "JSON", "", false }, { "queue", "Q", "", false },    { "priority", "N", "", false },
    { "delay", "D", "", false },     { "tag", "T", "", true },       { "wait", "[D]", "", false },
    { "follow", NULL, "", false },   { "dry-run", NULL, "", false }, { 0 }
};
static const struct command command = { .name = "try", .usage = "NAME", .options = rows };

static const char schema_text[] =
    "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"x\":{\"type\":\"number\"},"
    "\"s\":{\"type\":\"string\"},\"b\":{\"type\":\"boolean\"},\"l\":{\"type\":\"array\"},"
    "\"o\":{\"type\":\"object\"},\"e\":{\"enum\":[\"a\",1,true]},\"k\":{\"const\":null},"
    "\"m\":{\"type\":[\"integer\",\"string\"]},\"p\":{\"type\":\"integer\",\"writeOnly\":true}},"
    "\"additionalProperties\":true}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *words[WORDS_MOST];
    size_t count = split_lines(text, words);
    check_options(count, words);
    free(text);
    return 0;
}

static size_t split_lines(char *text, char **words)
{
    size_t count = 0;
    char *rest = text;
    while (rest && count < WORDS_MOST) words[count++] = strsep(&rest, "\n");
    return count;
}

static void check_options(size_t count, char **words)
{
    struct cli_args args;
    struct options_common common = { 0 };
    struct params_schema *schema = NULL;
    struct err err;
    int64_t number = 5;
    require(params_schema_compile(schema_text, sizeof schema_text - 1, &schema, &err));
    for (size_t i = 0; i < count; i++) check_times(words[i]);
    if (options_parse(&command, (int)count, words, &args, &common, &err)) {
        if (!cli_int(&args, "priority", 0, 10, &number, &err))
            require_refusal_at(&err, "--priority");
        require(number >= 0 && number <= 10);
        if (!cli_duration(&args, "delay", &number, &err)) require_refusal_at(&err, "--delay");
        check_respelled(&args);
        check_parameters(schema, &args);
        check_parameters(NULL, &args);
        options_close(&args);
    } else {
        require_refusal(&err);
    }
    params_schema_free(schema);
}

/* --name=value for every value, then -- and the words. */
static void check_respelled(const struct cli_args *args)
{
    size_t count = args->values->count, total = 0;
    char **words = xcalloc(count + (size_t)args->count + 1, sizeof *words);
    struct cli_args again;
    struct options_common common = { 0 };
    struct err err;
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *row =
            find_option(&command, args->values->at[i].name, strlen(args->values->at[i].name));
        require(row && (row->argument || !args->values->at[i].text[0]));
        words[total++] = row->argument ? xasprintf("--%s=%s", row->name, args->values->at[i].text)
                                       : xasprintf("--%s", row->name);
    }
    words[total++] = xstrdup("--");
    for (int i = 0; i < args->count; i++) words[total + (size_t)i] = args->words[i];
    require(options_parse(&command, (int)total + args->count, words, &again, &common, &err));
    require(again.count == args->count && again.values->count == count);
    for (size_t i = 0; i < count; i++) {
        require(again.values->at[i].name == args->values->at[i].name);
        require(strcmp(again.values->at[i].text, args->values->at[i].text) == 0);
    }
    options_close(&again);
    for (size_t i = 0; i < total; i++) free(words[i]);
    free(words);
}

static void check_parameters(const struct params_schema *schema, const struct cli_args *args)
{
    struct err err;
    json_t *object = NULL;
    const char *whole = cli_value(args, "params");
    if (reads_file(args) || args->count == 0) return;
    if (parameters_collect(schema, args->count - 1, args->words + 1, whole, &object, &err)) {
        require(json_is_object(object));
        check_collected(args, object);
        json_decref(object);
    } else {
        require_refusal(&err);
    }
}

static void check_collected(const struct cli_args *args, const json_t *object)
{
    struct buf text = BUF_EMPTY;
    struct err err;
    json_t *back = NULL;
    for (int i = 1; i < args->count; i++) {
        struct piece piece;
        require(split_word(args->words[i], &piece, &err));
        require(json_object_get(object, piece.key));
        free(piece.key);
    }
    require((int)json_object_size(object) >= args->count - 1);
    if (params_is_storable(object,
                           &err)) { /* one level deeper than its parts: the door looks again */
        params_write(&text, object);
        require(params_parse(text.data, text.len, "", &back, &err) &&
                params_is_equal(object, back));
    }
    json_decref(back);
    buf_close(&text);
}

/* Files of this machine, and stdin, are none of a fuzzer's business. */
static bool reads_file(const struct cli_args *args)
{
    const char *whole = cli_value(args, "params");
    bool reads = whole && (*whole == '@' || strcmp(whole, "-") == 0);
    for (int i = 1; i < args->count; i++) {
        const char *equals = strchr(args->words[i], '=');
        reads = reads || (equals && equals[1] == '@');
    }
    return reads;
}

/* What is understood as a duration or a time is the same when written by us and read again. */
static void check_times(const char *text)
{
    struct err err;
    int64_t us, back;
    if (duration_parse(text, &us, &err)) {
        char *shown = duration_text(us);
        require(us >= 0 && duration_parse(shown, &back, &err) && back == us);
        free(shown);
    } else {
        require_refusal(&err);
    }
    if (time_parse(text, &us, &err)) {
        char shown[TIME_TEXT_SIZE];
        time_text(us, shown);
        require(time_parse(shown, &back, &err) && back <= us && us - back < 1000);
    } else {
        require_refusal(&err);
    }
}
