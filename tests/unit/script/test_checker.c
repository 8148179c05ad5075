/* test_checker.c: a tasks directory as people leave it: good, bad, hostile; and what goes on
 * serving. */
#include <ftw.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/checker.h"
#include "unit/script/world.h"

#define DEFAULT_TIMEOUT_US INT64_C(3600000000)

static char directory[64];
static struct check_outcome now, before;
static json_t *report, *catalogue;

static int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/ctutor-check-XXXXXX");
    assert_non_null(mkdtemp(directory));
    assert_int_equal(chmod(directory, 0755), 0);
    char *lib = xasprintf("%s/lib", directory);
    assert_int_equal(mkdir(lib, 0755), 0);
    free(lib);
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    check_outcome_close(&now);
    check_outcome_close(&before);
    now = before = (struct check_outcome){ 0 };
    json_decref(report);
    json_decref(catalogue);
    report = catalogue = NULL;
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static char *path_of(const char *file) { return xasprintf("%s/%s", directory, file); }

static void put_bytes(const char *file, const char *bytes, size_t len, mode_t mode)
{
    char *path = path_of(file);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    fclose(out);
    assert_int_equal(chmod(path, mode), 0);
    free(path);
}

static void put(const char *file, const char *text) { put_bytes(file, text, strlen(text), 0644); }

static void put_task(const char *file, const char *fields)
{
    char *text = xasprintf("return { execute = function() end, %s }", fields);
    put(file, text);
    free(text);
}

static void take_away(const char *file)
{
    char *path = path_of(file);
    assert_int_equal(remove(path), 0);
    free(path);
}

/* Checks on top of what the last check left. */
static void check_again(void)
{
    struct err err;
    check_outcome_close(&before);
    before = now;
    now = (struct check_outcome){ 0 };
    json_decref(report);
    json_decref(catalogue);
    const struct snapshot *previous = before.report.len > 0 ? &before.snapshot : NULL;
    if (!check_directory(directory, previous, &host, DEFAULT_TIMEOUT_US, NULL, &now, &err))
        fail_msg("%s", err.text);
    report = json_loadb(now.report.data, now.report.len, 0, NULL);
    catalogue = json_loadb(now.catalogue.data, now.catalogue.len, 0, NULL);
    assert_non_null(report);
    assert_non_null(catalogue);
}

static json_t *line_of(const char *file)
{
    size_t i;
    json_t *line;
    json_array_foreach(report, i, line) if (strcmp(json_string_value(json_object_get(line, "file")),
                                                   file) == 0) return line;
    fail_msg("no line for %s", file);
    return NULL;
}

/* error_part NULL: no error */
static void expect_line(const char *file, const char *outcome, const char *error_part)
{
    json_t *line = line_of(file);
    const char *error = json_string_value(json_object_get(line, "error"));
    const char *seen = json_string_value(json_object_get(line, "outcome"));
    if (strcmp(seen, outcome) != 0 || !error != !error_part ||
        (error && !strstr(error, error_part)))
        fail_msg("%s: %s, %s", file, seen, error ? error : "no error");
}

static const struct snapshot_task *served(const char *name)
{
    for (size_t i = 0; i < now.snapshot.task_count; i++)
        if (strcmp(now.snapshot.tasks[i].name, name) == 0) return &now.snapshot.tasks[i];
    return NULL;
}

static json_t *entry_of(const char *name)
{
    size_t i;
    json_t *entry;
    json_array_foreach(json_object_get(catalogue, "entries"), i,
                       entry) if (strcmp(json_string_value(json_object_get(entry, "name")), name) ==
                                  0) return entry;
    return NULL;
}

static char *run_from_snapshot(const char *name)
{
    struct generation *generation;
    struct err err;
    if (!generation_new(&host, &now.snapshot, &generation, &err)) fail_msg("%s", err.text);
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .name = name });
    story_finish(&story);
    char *text = xstrdup(story.result ? story.result : story.error);
    story_close(&story);
    generation_done(generation);
    return text;
}

static void good_files_are_loaded_and_published(void **state)
{
    (void)state;
    put("plain.lua", "return { execute = function() end }");
    put_task("full.lua",
             "name = 'all.of-it', summary = 'Does \xc3\xa4ll', queue = 'q.1', priority = 7, "
             "timeout = '5m', "
             "retries = { max = 3, backoff = 'linear', base = 2, cap = '1m', jitter = false }, "
             "max_losses = 0, "
             "tags = { 'a', 'b' }, params = { x = { type = 'string', secret = true }, n = { type = "
             "'integer', default = 1 } }, "
             "additional_params = true, on_success = function() end, on_failure = function() end");
    put(".hidden.lua", "error('never read')");
    put("README.md", "no task");
    check_again();
    assert_int_equal(now.errors, 0);
    assert_int_equal(json_array_size(report), 2);
    expect_line("plain.lua", "loaded", NULL);
    json_t *full = entry_of("all.of-it"), *plain = entry_of("plain");
    char *text = json_dumps(full, JSON_SORT_KEYS | JSON_COMPACT);
    static const char *const parts[] = {
        "\"file\":\"full.lua\"",
        "\"hooks\":[\"success\",\"failure\"]",
        "\"max_losses\":0",
        "\"priority\":7",
        "\"queue\":\"q.1\"",
        "\"secrets\":[\"x\"]",
        "\"tags\":[\"a\",\"b\"]",
        "\"timeout_us\":300000000",
        "\"retry\":{\"backoff\":\"linear\",\"base_us\":2000000,\"cap_us\":60000000,\"jitter\":"
        "false,\"max\":3}",
        "\"summary\":\"Does \xc3\xa4ll\"",
        "\"required\":[\"x\"]",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!strstr(text, parts[i])) fail_msg("no %s in %s", parts[i], text);
    free(text);
    text = json_dumps(plain, JSON_SORT_KEYS | JSON_COMPACT);
    assert_non_null(strstr(text, "\"queue\":null"));
    assert_non_null(strstr(text, "\"timeout_us\":3600000000"));
    assert_non_null(strstr(text, "\"max\":0"));
    assert_non_null(strstr(text, "\"max_losses\":3"));
    assert_int_equal(strlen(json_string_value(json_object_get(plain, "version"))), 16);
    free(text);
    char *hash = xstrdup(json_string_value(json_object_get(full, "schema_hash")));
    for (int i = 0; i < 3; i++) { /* a state of its own each time, with its own order of keys */
        check_again();
        expect_line("full.lua", "unchanged", NULL);
        assert_string_equal(
            json_string_value(json_object_get(entry_of("all.of-it"), "schema_hash")), hash);
    }
    struct generation *generation;
    struct err err;
    assert_true(generation_new(&host, &now.snapshot, &generation, &err));
    assert_string_equal(generation_find(generation, "all.of-it")->schema_hash, hash);
    generation_done(generation);
    free(hash);
}

static void mistakes_in_fields_are_taught(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *error;
    } cases[] = {
        { "timout = 5", "t.lua: unknown field 'timout'; did you mean 'timeout'?" },
        { "zzz = 5", "t.lua: unknown field 'zzz'" },
        { "[1] = 5", "a task has named fields only" },
        { "isolate = 1", "t.lua: field 'isolate': must be true or false" },
        { "memory = '1M'", "field 'memory': must be a number of bytes or text such as" },
        { "memory = true", "field 'memory': must be a number of bytes" },
        { "schedule = 1", "field 'schedule' is not available in this version" },
        { "name = 'a b'", "field 'name': 'a b' is no valid name" },
        { "name = 5", "field 'name': must be text, is a number" },
        { "name = ('x'):rep(129)", "field 'name': must have at most 128 bytes" },
        { "summary = 'a\\255'", "field 'summary': must be UTF-8" },
        { "queue = 'Big'", "field 'queue': 'Big' is no valid queue name" },
        { "priority = 11", "field 'priority': must be an integer from 0 to 10" },
        { "priority = 1.5", "field 'priority': must be an integer" },
        { "priority = '5'", "field 'priority': must be an integer" },
        { "timeout = 0", "field 'timeout': must be longer than 0" },
        { "timeout = true", "field 'timeout': must be a number of seconds" },
        { "timeout = '5 apples'", "field 'timeout': must be a number of seconds" },
        { "timeout = -1", "field 'timeout': must be" },
        { "timeout = 0/0", "field 'timeout': must be" },
        { "retries = -1", "field 'retries': must be an integer from 0" },
        { "retries = { backoff = 'fixed' }", "field 'retries': needs max" },
        { "retries = { max = 1, backof = 'fixed' }",
          "unknown field 'backof'; did you mean 'backoff'?" },
        { "retries = { max = 1, backoff = 'cubic' }", "backoff: must be \"exponential\"" },
        { "retries = { max = 1, jitter = 1 }", "jitter: must be true or false" },
        { "retries = { max = 1, base = 'x' }", "field 'retries': base:" },
        { "max_losses = 'x'", "field 'max_losses': must be an integer" },
        { "tags = 'a'", "field 'tags': must be a list" },
        { "tags = { 1 }", "field 'tags': tag 1: must be text" },
        { "tags = { x = 1 }", "field 'tags': must be a list" },
        { "params = 5", "field 'params': must be a table" },
        { "params = { x = { type = 'strin' } }", "field 'params':" },
        { "params = { x = { typ = 'string' } }", "typ" },
        { "params = { x = print }", "field 'params': x: a function" },
        { "additional_params = 1", "field 'additional_params': must be true or false" },
        { "on_success = 5", "field 'on_success': must be a function, is a number" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        put_task("t.lua", cases[i].fields);
        check_again();
        expect_line("t.lua", "failed", cases[i].error);
    }
    put("t.lua", "return { execute = 5 }");
    check_again();
    expect_line("t.lua", "failed", "field 'execute': must be a function");
    put("t.lua", "return {}");
    check_again();
    expect_line("t.lua", "failed", "t.lua: field 'execute' is missing");
    put("t.lua", "local x = 1");
    check_again();
    expect_line("t.lua", "failed", "t.lua: must return a table, returned nothing");
    take_away("t.lua");
    put("no good.lua", "return { execute = function() end }");
    check_again();
    expect_line("no good.lua", "failed", "is no valid task name; give the field 'name'");
}

static void undeclared_globals_are_found_without_running(void **state)
{
    (void)state;
    put("t.lua", "local lib = require 'helper'\nreturn { execute = function()\n  count = 1\n  "
                 "return function()\n    return undefinde\n  end\nend }");
    put("lib/helper.lua", "return { f = function()\n  helped = true\nend }");
    put("u.lua", "return { execute = function()\n  return io.open('x')\nend }");
    check_again();
    expect_line("t.lua", "failed",
                "t.lua:3: assignment to undeclared global 'count'; declare it local");
    expect_line("t.lua", "failed", "t.lua:5: undefined global 'undefinde'");
    expect_line("t.lua", "failed", "lib/helper.lua:2: assignment to undeclared global 'helped'");
    expect_line("u.lua", "loaded", NULL);
    json_t *warnings = json_object_get(line_of("u.lua"), "warnings");
    assert_int_equal(json_array_size(warnings), 1);
    assert_non_null(strstr(json_string_value(json_array_get(warnings, 0)),
                           "u.lua:2: io is not available in tasks: use ctutor.fs"));
}

static void errors_name_file_and_line(void **state)
{
    (void)state;
    put("syntax.lua", "return {\n  execute = function( end\n}");
    put("raises.lua", "\n\nerror('top')");
    put("odd.lua", "error({ message = 'm' })");
    check_again();
    expect_line("syntax.lua", "failed", "syntax.lua:2: ");
    expect_line("raises.lua", "failed", "raises.lua:3: top");
    expect_line("odd.lua", "failed", "odd.lua: m");
    assert_int_equal(now.errors, 3);
    assert_int_equal(json_array_size(json_object_get(catalogue, "errors")), 3);
    assert_int_equal(now.snapshot.task_count, 0);
}

static void hostile_files_are_refused_one_by_one(void **state)
{
    (void)state;
    put_task("good.lua", "");
    put_bytes("bytecode.lua", "\x1bLJ\x02", 4, 0644);
    put_bytes("group.lua", "return {}", 9, 0664);
    put_bytes("world.lua", "return {}", 9, 0646);
    put_bytes("lib/group.lua", "return {}", 9, 0664);
    char *big = xmalloc(1024 * 1024 + 1);
    memset(big, ' ', 1024 * 1024 + 1);
    put_bytes("big.lua", big, 1024 * 1024 + 1, 0644);
    free(big);
    put("endless.lua", "while true do pcall(function() while true do end end) end");
    put("hungry.lua", "return require 'group'");
    char *fifo = path_of("fifo.lua"), *link = path_of("link.lua"), *inner = path_of("inner.lua"),
         *folder = path_of("folder.lua");
    assert_int_equal(mkfifo(fifo, 0644), 0);
    assert_int_equal(symlink("/etc/hostname", link), 0);
    assert_int_equal(symlink("../../../../../../../etc/hostname", inner), 0);
    assert_int_equal(mkdir(folder, 0755), 0);
    check_again();
    expect_line("good.lua", "loaded", NULL);
    expect_line("bytecode.lua", "failed", "bytecode.lua: is bytecode");
    expect_line("group.lua", "failed", "group.lua: group or others may write to it");
    expect_line("world.lua", "failed", "group or others may write");
    expect_line("lib/group.lua", "failed", "lib/group.lua: group or others may write");
    expect_line("big.lua", "failed", "larger than 1 MiB");
    expect_line("endless.lua", "failed", "endless.lua: loading took longer than 2s");
    expect_line("hungry.lua", "failed", "hungry.lua: module 'group' not found");
    expect_line("fifo.lua", "failed", "is not a regular file");
    expect_line("link.lua", "failed", "symbolic link out of the tasks directory");
    expect_line("inner.lua", "failed", "symbolic link out of the tasks directory");
    expect_line("folder.lua", "failed", "is not a regular file");
    assert_int_equal(now.snapshot.task_count, 1);
    free(fifo);
    free(link);
    free(inner);
    free(folder);
}

static void a_directory_that_others_may_write_is_refused(void **state)
{
    (void)state;
    struct err err;
    assert_int_equal(chmod(directory, 0775), 0);
    assert_false(check_directory(directory, NULL, &host, -1, NULL, &now, &err));
    assert_int_equal(err.code, ERR_INPUT);
    assert_non_null(strstr(err.text, "group or others may write"));
    assert_non_null(strstr(err.text, directory));
    assert_int_equal(chmod(directory, 0755), 0);
    assert_false(check_directory("/nonexistent/tasks", NULL, &host, -1, NULL, &now, &err));
    assert_int_equal(err.code, ERR_INPUT);
}

static void a_failing_file_keeps_its_old_version_with_its_old_lib(void **state)
{
    (void)state;
    put("lib/helper.lua", "return 'old lib'");
    put("t.lua", "return { execute = function() return 'old task, ' .. require 'helper' end }");
    check_again();
    char *version = xstrdup(served("t")->version);
    put("lib/helper.lua", "return 'new lib'");
    put("t.lua", "return { execute = function( }");
    put("u.lua", "return { execute = function() return require 'helper' end }");
    check_again();
    expect_line("t.lua", "kept", "t.lua:1: ");
    assert_string_equal(json_string_value(json_object_get(line_of("t.lua"), "name")), "t");
    assert_string_equal(served("t")->version, version);
    assert_int_equal(now.snapshot.tree_count, 2);
    assert_null(entry_of("t")); /* the catalogue keeps what it has */
    assert_int_equal(json_array_size(json_object_get(catalogue, "removed")), 0);
    char *old = run_from_snapshot("t"), *new = run_from_snapshot("u");
    assert_string_equal(old, "\"old task, old lib\"");
    assert_string_equal(new, "\"new lib\"");
    free(old);
    free(new);
    check_again(); /* and again, from what was kept */
    expect_line("t.lua", "kept", "t.lua:1: ");
    put("t.lua", "return { execute = function() return require 'helper' end }");
    check_again();
    expect_line("t.lua", "loaded", NULL);
    assert_int_equal(now.snapshot.tree_count, 1);
    free(version);
}

static void a_version_covers_the_lib_files_that_are_used(void **state)
{
    (void)state;
    put("lib/a.lua", "return require 'b.c'");
    char *folder = path_of("lib/b");
    assert_int_equal(mkdir(folder, 0755), 0);
    put("lib/b/c.lua", "return 1");
    put("lib/other.lua", "return 1");
    put("late.lua", "return { execute = function() return require 'a' end }");
    put("none.lua", "return { execute = function() end }");
    put("open.lua", "return { execute = function(ctx, p) return require(p.x) end }");
    check_again();
    put("lib/other.lua", "return 2");
    check_again();
    expect_line("late.lua", "unchanged", NULL);
    expect_line("open.lua", "loaded", NULL);
    expect_line("none.lua", "unchanged", NULL);
    put("lib/b/c.lua", "return 2");
    check_again();
    expect_line("late.lua", "loaded", NULL);
    expect_line("none.lua", "unchanged", NULL);
    char *result =
        run_from_snapshot("late"); /* an unchanged task runs with the newest lib anyway */
    assert_string_equal(result, "2");
    free(result);
    free(folder);
}

static void a_removed_file_ends_its_task(void **state)
{
    (void)state;
    put_task("t.lua", "name = 'x'");
    put_task("u.lua", "");
    check_again();
    take_away("t.lua");
    check_again();
    expect_line("t.lua", "removed", NULL);
    assert_null(served("x"));
    assert_non_null(served("u"));
    json_t *removed = json_object_get(catalogue, "removed");
    assert_int_equal(json_array_size(removed), 1);
    assert_string_equal(json_string_value(json_array_get(removed, 0)), "x");
    check_again();
    assert_int_equal(json_array_size(report), 1);
}

static void of_two_files_of_one_name_neither_is_taken(void **state)
{
    (void)state;
    put_task("a.lua", "name = 'x'");
    put_task("b.lua", "name = 'x'");
    check_again();
    expect_line("a.lua", "failed", "a.lua: the name 'x' is also used by b.lua");
    expect_line("b.lua", "failed", "b.lua: the name 'x' is also used by a.lua");
    assert_null(served("x"));
    take_away("b.lua");
    check_again();
    expect_line("a.lua", "loaded", NULL);
    char *version = xstrdup(served("x")->version);
    put_task("a.lua", "name = 'x', priority = 1");
    put_task("b.lua", "name = 'x'");
    check_again(); /* what served before goes on */
    expect_line("a.lua", "kept", "also used by b.lua");
    expect_line("b.lua", "failed", "also used by a.lua");
    assert_string_equal(served("x")->version, version);
    assert_int_equal(json_array_size(json_object_get(catalogue, "removed")), 0);
    take_away("a.lua");
    put_task("c.lua", "name = 'x'");
    check_again(); /* also when its file is gone */
    expect_line("a.lua", "kept", NULL);
    assert_string_equal(served("x")->version, version);
    take_away("c.lua");
    check_again();
    expect_line("b.lua", "loaded", NULL);
    expect_line("a.lua", "removed", NULL);
    assert_int_equal(json_array_size(json_object_get(catalogue, "removed")),
                     0); /* b.lua carries the name */
    free(version);
}

static void a_name_held_by_a_kept_task_is_not_taken_over(void **state)
{
    (void)state;
    put_task("a.lua", "name = 'x'");
    check_again();
    put("a.lua", "return {");
    put_task("b.lua", "name = 'x'");
    check_again();
    expect_line("a.lua", "kept", "a.lua:1");
    expect_line("b.lua", "failed", "the name 'x' is also used by a.lua");
    assert_int_equal(now.snapshot.task_count, 1);
}

int main(void)
{
#define CHECKER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CHECKER_TEST(good_files_are_loaded_and_published),
        CHECKER_TEST(mistakes_in_fields_are_taught),
        CHECKER_TEST(undeclared_globals_are_found_without_running),
        CHECKER_TEST(errors_name_file_and_line),
        CHECKER_TEST(hostile_files_are_refused_one_by_one),
        CHECKER_TEST(a_directory_that_others_may_write_is_refused),
        CHECKER_TEST(a_failing_file_keeps_its_old_version_with_its_old_lib),
        CHECKER_TEST(a_version_covers_the_lib_files_that_are_used),
        CHECKER_TEST(a_removed_file_ends_its_task),
        CHECKER_TEST(of_two_files_of_one_name_neither_is_taken),
        CHECKER_TEST(a_name_held_by_a_kept_task_is_not_taken_over),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
