/* test_environment.c: what task code finds as its globals, and what it does not. */
#include "unit/script/world.h"

#define ends_with_error(body, part) expect_error(body, END_FAILED, part)

static void undeclared_globals_are_errors(void **state)
{
    (void)state;
    ends_with_error("x = 1", "t.lua:3: assignment to undeclared global 'x'; declare it local");
    ends_with_error("return foo", "t.lua:3: undefined global 'foo'");
    ends_with_error("_G.x = 1", "'_G' is read-only");
    ends_with_error("return _G.foo", "undefined global 'foo'");
    ends_with_error("print = nil", "assignment to undeclared global 'print'");
    expect_result("return rawget(_G, 'foo') == nil and _G.print == print", "true");
}

static void standard_tables_are_read_only(void **state)
{
    (void)state;
    ends_with_error("string.format = 1", "t.lua:3: 'string' is read-only");
    ends_with_error("math.x = 1", "'math' is read-only");
    ends_with_error("rawset(string, 'x', 1)", "'string' is read-only");
    ends_with_error("rawset(_G, 'x', 1)", "'_G' is read-only");
    ends_with_error("table.insert(table, 1)", "table expected");
    ends_with_error("setmetatable(os, {})", "setmetatable");
    ends_with_error("getmetatable('').__index = {}", "attempt to index");
    ends_with_error("('').x = 1", "attempt to index");
    ends_with_error("require('ctutor.test').park = 1", "'ctutor.test' is read-only");
    ends_with_error("return require('ctutor.test').prak", "t.lua:3: ctutor.test has no 'prak'");
    expect_result(
        "return { getmetatable(''), getmetatable(string), rawget(string, 'rep') == string.rep }",
        "[false,false,true]");
    expect_result("return setmetatable({}, { __index = string }).upper('a')", "\"A\"");
}

static void absent_names_say_what_to_use(void **state)
{
    (void)state;
    static const char *const uses[][2] = {
        { "io.open('x')", "io.open is not available in tasks: use ctutor.fs" },
        { "os.execute('x')",
          "t.lua:3: os.execute is not available in tasks: use ctutor.process.run" },
        { "os.exit(1)", "os.exit is not available" },
        { "os.getenv('x')", "os.getenv is not available" },
        { "os.remove('x')", "ctutor.fs.remove" },
        { "os.rename('x', 'y')", "os.rename is not" },
        { "os.tmpname()", "ctutor.fs.tempdir" },
        { "os.setlocale('C')", "os.setlocale is not" },
        { "ffi.cdef('')", "ffi.cdef is not available" },
        { "jit.off()", "jit.off is not available" },
        { "debug.sethook()", "debug.sethook is not available" },
        { "debug.getregistry()", "only debug.traceback is" },
        { "package.loadlib('x', 'y')", "package.loadlib is not" },
        { "module('x')", "t.lua:3: module is not available" },
        { "dofile('x')", "dofile is not available" },
        { "loadfile('x')", "loadfile is not available" },
        { "string.dump(print)", "string.dump is not available" },
        { "('x').dump(print)", "string.dump is not available" },
        { "setfenv(1, {})", "setfenv is not available" },
        { "getfenv(1)", "getfenv is not available" },
        { "newproxy(true)", "newproxy is not available" },
        { "collectgarbage()", "collectgarbage is not available" },
        { "require('ffi')", "module 'ffi' not found" },
        { "require('jit.util')", "module 'jit.util' not found" },
    };
    for (size_t i = 0; i < COUNT_OF(uses); i++) ends_with_error(uses[i][0], uses[i][1]);
    expect_result("return type(collectgarbage('count')), debug.traceback('x')", "\"number\"");
}

static void what_tasks_rely_on_is_there(void **state)
{
    (void)state;
    expect_result(
        "local t = table.pack(1, nil, 3) return { t.n, select('#', table.unpack(t, 1, t.n)) }",
        "[3,3]");
    expect_result(
        "local s = {} for k, v in pairs({ 3, 1, 2 }) do s[k] = v end table.sort(s) return s",
        "[1,2,3]");
    expect_result("return { ('%d'):format(7), bit.band(7, 2), math.floor(1.5), os.time() > 0 }",
                  "[\"7\",2,1,true]");
    expect_result("return { pcall(error, 'x') }", "[false,\"x\"]");
    expect_result("return { xpcall(error, function(m) return m .. '!' end, 'x') }",
                  "[false,\"x!\"]");
    expect_result("return { xpcall(function(...) return select('#', ...), ... end, print, 1, 2) }",
                  "[true,2,1,2]");
    ends_with_error("xpcall(print)", "bad argument #2 to 'xpcall'");
    expect_result("local n = 0 for k, v in pairs(string) do n = n + (string[k] == v and 1 or 99) "
                  "end return n > 10 and n < 30",
                  "true");
    expect_result("local it, t = pairs(math) return t == math and pairs({}) == next", "true");
}

/* It would be the end of the process. */
static void endless_recursion_through_c_functions_is_an_error(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "local function f() return (('a'):gsub('a', f)) end f()",
        "local function f() return (('a'):gsub('a', function() return pcall(f) and 'x' end)) end "
        "f() error('stack overflow')",
        "local function f() table.sort({ 3, 2, 1 }, f) end f()",
        "local function f() return string.format('%s', setmetatable({}, { __tostring = f })) end "
        "f()",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) ends_with_error(bodies[i], "stack overflow");
}

static void coroutines_nest_as_deep_as_in_plain_lua(void **state)
{
    (void)state;
    ends_with_error("local function f() return coroutine.wrap(f)() end f()",
                    "coroutines are nested too deep (200)");
    expect_result("local deepest = 0 local function f(n) deepest = n if n == 200 then return end "
                  "coroutine.wrap(f)(n + 1) end f(1) return deepest",
                  "200");
    expect_result("local co = coroutine.wrap(function() while true do coroutine.yield() end end) "
                  "for i = 1, 1000 do co() end return 'in a row'",
                  "\"in a row\"");
}

static void code_is_loaded_from_text_only(void **state)
{
    (void)state;
    expect_result("return load('return 1 + 1')()", "2");
    expect_result("return loadstring('return ...')(5)", "5");
    expect_result(
        "local n = 0 return load(function() n = n + 1 return ({ 'return ', '9' })[n] end)()", "9");
    expect_result("return load('return y', 'c', 't', { y = 4 })()", "4");
    expect_result("return load('return type(print)', 'c', 't', _G)()", "\"function\"");
    ends_with_error("load('x = 1', '=c', 't', string)",
                    "t.lua:3: bad argument #4 to 'load' (table expected, got userdata)");
    ends_with_error("load('x = 1', '=c', 't', _G)()", "c:1: assignment to undeclared global 'x'");
    expect_result("return { load('x =', '=c') == nil, (select(2, load('x =', '=c'))) }",
                  "[true,\"c:1: unexpected symbol near '<eof>'\"]");
    expect_result("return { load('\\27LJ\\2', 'c') == nil, load('return 1', 'c', 'b') == nil }",
                  "[true,true]");
    ends_with_error("load('x = 1', '=c')()", "c:1: assignment to undeclared global 'x'");
    ends_with_error("return load('return y', '=c')()", "c:1: undefined global 'y'");
    expect_result("return load(\"return require('ctutor.test') ~= nil\")()", "true");
}

static void print_logs_at_info(void **state)
{
    (void)state;
    struct story story = { 0 };
    expect("print('a', 1, nil, true) print()", (struct start){ 0 }, &story);
    assert_string_equal(buf_text(&story.log), "info:a\t1\tnil\ttrue\ninfo:\n");
    story_close(&story);
}

static struct generation *generation_with_libs(const char *body)
{
    char *text = xasprintf("return { execute = function(ctx)\n%s\nend }", body);
    const struct text_file files[] = {
        { "t.lua", text },
        { "lib/plain.lua", "return { n = 1 }" },
        { "lib/pack/init.lua", "return { name = ..., sub = require 'pack.sub' }" },
        { "lib/pack/sub.lua", "return 'sub'" },
        { "lib/one.lua", "return require 'two'" },
        { "lib/two.lua", "return require 'one'" },
        { "lib/bad.lua", "local x = 1\nerror('broken')" },
        { "lib/syntax.lua", "return +" },
        { "lib/silent.lua", "local x = 1" },
        { "lib/waits.lua", "return require('ctutor.test').sleep(0)" },
        { "lib/global.lua", "g = 1" },
        { "lib/endless.lua", "while true do end" },
    };
    struct generation *generation = generation_of_files(files, COUNT_OF(files));
    free(text);
    return generation;
}

static void expect_required(const char *body, const char *expected)
{
    struct generation *generation = generation_with_libs(body);
    struct story story = { 0 };
    story_start(&story, generation, (struct start){ .timeout_us = 500000 });
    story_finish(&story);
    const char *seen = story.result ? story.result : story.error;
    if (!strstr(seen, expected)) fail_msg("%s -> %s", body, seen);
    story_close(&story);
    generation_done(generation);
}

static void require_finds_bindings_and_the_lib_tree_only(void **state)
{
    (void)state;
    expect_required("return { require('plain').n, require('plain') == require('plain') }",
                    "[1,true]");
    expect_required("local p = require 'pack' return { p.name, p.sub }", "[\"pack\",\"sub\"]");
    expect_required("return require 'silent'", "true");
    expect_required("require 'one'", "requires itself in a circle");
    expect_required("require 'bad'", "lib/bad.lua:2: broken");
    expect_required("require 'syntax'", "lib/syntax.lua:1: unexpected symbol");
    expect_required("require 'global'", "lib/global.lua:1: assignment to undeclared global 'g'");
    expect_required("require 'nothing'",
                    "module 'nothing' not found; there are: ctutor.test, plain, pack");
    expect_required("require 'plian'", "module 'plian' not found; did you mean 'plain'?");
    expect_required("require '../t'", "not found");
    expect_required("require 'pack/sub'", "not found");
    expect_required("return { pcall(require, 'bad'), pcall(require, 'bad') }", "broken");
}

static void the_top_level_of_a_module_cannot_wait_or_hang(void **state)
{
    (void)state;
    expect_required("require 'waits'", "cannot wait inside require");
    expect_required("pcall(require, 'endless') return require 'plain'", "timed out after 500ms");
}

static void files_of_a_generation_do_not_see_each_others_names(void **state)
{
    (void)state;
    const struct text_file files[] = {
        { "t.lua", "local n = 0 return { execute = function() n = n + 1 return n end }" },
        { "u.lua", "return { execute = function() return rawget(_G, 'n') == nil end }" },
    };
    struct generation *generation = generation_of_files(files, 2);
    static const char *const expected[] = { "1", "2", "true" };
    for (int i = 0; i < 3; i++) {
        struct story story = { 0 };
        story_start(&story, generation, (struct start){ .name = i < 2 ? "t" : "u" });
        story_finish(&story);
        assert_string_equal(story.result, expected[i]);
        story_close(&story);
    }
    generation_done(generation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undeclared_globals_are_errors),
        cmocka_unit_test(standard_tables_are_read_only),
        cmocka_unit_test(absent_names_say_what_to_use),
        cmocka_unit_test(what_tasks_rely_on_is_there),
        cmocka_unit_test(endless_recursion_through_c_functions_is_an_error),
        cmocka_unit_test(coroutines_nest_as_deep_as_in_plain_lua),
        cmocka_unit_test(code_is_loaded_from_text_only),
        cmocka_unit_test(print_logs_at_info),
        cmocka_unit_test(require_finds_bindings_and_the_lib_tree_only),
        cmocka_unit_test(the_top_level_of_a_module_cannot_wait_or_hang),
        cmocka_unit_test(files_of_a_generation_do_not_see_each_others_names),
    };
    return cmocka_run_group_tests(tests, world_open, world_close);
}
