/* test_generation.c: states come and go with their runs, and leave nothing behind. */
#include <dirent.h>
#include <malloc.h>
#include <unistd.h>

#include "unit/script/world.h"

static void runs_finish_on_the_code_they_began_with(void **state)
{
    (void)state;
    struct generation *older = generation_of_body("test.park() return 'old'");
    struct story first = { 0 }, second = { 0 };
    story_start(&first, older, (struct start){ 0 });
    turn_until(!list_is_empty(&parked));
    struct generation *newer = generation_of_body("return 'new'");
    generation_retire(older);
    story_start(&second, newer, (struct start){ 0 });
    story_finish(&second);
    assert_string_equal(second.result, "\"new\"");
    wake_first(false);
    story_finish(&first); /* frees the older one; the sanitizer tells */
    assert_string_equal(first.result, "\"old\"");
    story_close(&first);
    story_close(&second);
    generation_done(newer);
}

static void a_generation_tells_what_it_carries(void **state)
{
    (void)state;
    const struct text_file files[] = {
        { "t.lua", "return { execute = function() end, on_retry = function() end }" },
        { "u.lua", "return { name = 'other', execute = function() end }" },
    };
    struct generation *generation = generation_of_files(files, 2);
    assert_int_equal(generation_count(generation), 2);
    assert_string_equal(generation_at(generation, 0)->name, "t");
    assert_int_equal(generation_at(generation, 0)->hooks, HOOK_RETRY);
    assert_string_equal(generation_at(generation, 1)->version, "0123456789abcdef");
    assert_int_equal(strlen(generation_at(generation, 1)->schema_hash), 16);
    assert_ptr_equal(generation_find(generation, "other"), generation_at(generation, 1));
    assert_null(generation_find(generation, "u"));
    generation_done(generation);
}

static void a_file_that_fails_is_named(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        { "error('top')", "t.lua:1: top" },
        { "return 5", "t.lua: must return a table, returned number" },
        { "return {", "t.lua:1: unexpected symbol near '<eof>'" },
        { "error({ message = 'm' })", "t.lua: m" },
        { "while true do end", "t.lua: loading took longer than 2s" },
    };
    struct generation *serving = generation_of_body("local n = 0 while true do n = n + 1 end");
    lua_State *owner = interrupt_owner();
    assert_non_null(owner);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct snapshot snapshot;
        struct generation *generation;
        struct err err;
        snapshot_of(&(struct text_file){ "t.lua", texts[i][0] }, 1, &snapshot);
        assert_false(generation_new(&host, &snapshot, &generation, &err));
        if (!strstr(err.text, texts[i][1])) fail_msg("%s -> %s", texts[i][0], err.text);
        snapshot_close(&snapshot);
        assert_ptr_equal(interrupt_owner(), owner); /* it took the profiler, and gave it back */
    }
    struct story story = { 0 };
    story_start(&story, serving, (struct start){ .timeout_us = 100000 });
    story_finish(&story);
    assert_int_equal(story.end, END_TIMEOUT);
    story_close(&story);
    generation_done(serving);
}

static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *entries = opendir("/proc/self/fd");
    assert_non_null(entries);
    while (readdir(entries)) count++;
    closedir(entries);
    return count;
}

static long resident_pages(void)
{
    long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

static void one_cycle(bool with_run)
{
    struct generation *generation =
        generation_of_body("local t = {} for i = 1, 1000 do t[i] = 'x' .. i end return #t");
    if (with_run) {
        struct story story = { 0 };
        story_start(&story, generation, (struct start){ 0 });
        story_finish(&story);
        assert_string_equal(story.result, "1000");
        story_close(&story);
    }
    generation_done(generation);
}

static void a_thousand_swaps_leave_memory_and_descriptors_flat(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) one_cycle(i % 10 == 0);
    malloc_trim(0);
    size_t descriptors = count_descriptors();
    long pages = resident_pages();
    for (int i = 0; i < 1000; i++) one_cycle(i % 10 == 0);
    malloc_trim(0);
    assert_int_equal(count_descriptors(), descriptors);
    long more_kib = (resident_pages() - pages) * (sysconf(_SC_PAGESIZE) / 1024);
    /* One state is above 100 KiB: a leak of each would be 100 MiB. Sanitizers keep freed memory for
     * a while. */
    assert_true(more_kib < 40000);
}

static void snapshots_survive_encoding(void **state)
{
    (void)state;
    const struct text_file files[] = {
        { "t.lua", "return 1" },
        { "lib/a.lua", "" },
        { "lib/b/c.lua", "x" },
        { "u.lua", "" },
    };
    struct snapshot snapshot, copy;
    struct buf out = BUF_EMPTY, again = BUF_EMPTY;
    struct err err;
    snapshot_of(files, COUNT_OF(files), &snapshot);
    snapshot_encode(&snapshot, &out);
    assert_true(snapshot_decode(out.data, out.len, &copy, &err));
    assert_int_equal(copy.tree_count, 1);
    assert_int_equal(copy.trees[0].count, 2);
    assert_string_equal(copy.trees[0].files[1].path, "b/c.lua");
    assert_string_equal(copy.tasks[1].file, "u.lua");
    assert_string_equal(copy.tasks[0].bytes, "return 1");
    snapshot_encode(&copy, &again);
    assert_int_equal(out.len, again.len);
    assert_memory_equal(out.data, again.data, out.len);
    snapshot_close(&copy);
    for (size_t cut = 0; cut < out.len; cut++)
        assert_false(snapshot_decode(out.data, cut, &copy, &err));
    for (size_t at = 0; at < out.len;
         at++) { /* damage is refused or gives another snapshot, never worse */
        out.data[at] = (char)(out.data[at] ^ 0xff);
        if (snapshot_decode(out.data, out.len, &copy, &err)) snapshot_close(&copy);
        out.data[at] = (char)(out.data[at] ^ 0xff);
    }
    snapshot_close(&snapshot);
    buf_close(&out);
    buf_close(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_finish_on_the_code_they_began_with),
        cmocka_unit_test(a_generation_tells_what_it_carries),
        cmocka_unit_test(a_file_that_fails_is_named),
        cmocka_unit_test(a_thousand_swaps_leave_memory_and_descriptors_flat),
        cmocka_unit_test(snapshots_survive_encoding),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
