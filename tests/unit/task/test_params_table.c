/* A task's `params` table -> JSON Schema, and everything a table can get wrong. */
#include "unit/task/params_support.h"

#define ROOT(properties, required)                                                                 \
    "{'additionalProperties':false,'properties':{" properties "},'required':[" required            \
    "],'type':'object'}"

struct row {
    const char *table;
    const char *expected;
};

static void run_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        expect_text(table_result(rows[i].table, false), rows[i].expected);
    }
}

static void names_of_types_and_schemas_become_json_schema(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{}", ROOT("", "") },
        { "[]", ROOT("", "") },
        { "{'message':'string'}", ROOT("'message':{'type':'string'}", "'message'") },
        { "{'x':['integer','null']}", ROOT("'x':{'type':['integer','null']}", "'x'") },
        { "{'any':{}}", ROOT("'any':{}", "'any'") },
        { "{'any':[]}", ROOT("'any':{}", "'any'") },
        { "{'b':'string','a':'null'}",
          ROOT("'a':{'type':'null'},'b':{'type':'string'}", "'a','b'") },
        { "{'count':{'type':'integer','default':1,'minimum':1,'maximum':1000}}",
          ROOT("'count':{'default':1,'maximum':1000,'minimum':1,'type':'integer'}", "") },
        { "{'x':{'optional':true,'multipleOf':0.1}}", ROOT("'x':{'multipleOf':0.1}", "") },
        { "{'x':{'optional':false}}", ROOT("'x':{}", "'x'") },
        { "{'key':{'type':'string','secret':true}}",
          ROOT("'key':{'type':'string','writeOnly':true}", "'key'") },
        { "{'key':{'type':'string','secret':false}}", ROOT("'key':{'type':'string'}", "'key'") },
        { "{'o':{'type':'object','properties':{'pin':{'type':'string','secret':true},'n':'integer'"
          "},'required':['pin'],'additionalProperties':{'type':'null'}}}",
          ROOT("'o':{'additionalProperties':{'type':'null'},'properties':{'n':{'type':'integer'},"
               "'pin':{'type':'string','writeOnly':true}},'required':['pin'],'type':'object'}",
               "'o'") },
        { "{'l':{'type':'array','items':'string','minItems':1,'maxItems':2.0}}",
          ROOT("'l':{'items':{'type':'string'},'maxItems':2,'minItems':1,'type':'array'}", "'l'") },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void an_empty_table_is_a_list_where_one_is_meant(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "{'l':{'type':'array','default':{}}}", ROOT("'l':{'default':[],'type':'array'}", "") },
        { "{'l':{'type':['array','null'],'default':{}}}",
          ROOT("'l':{'default':[],'type':['array','null']}", "") },
        { "{'o':{'type':'object','default':{},'required':{},'properties':[]}}",
          ROOT("'o':{'default':{},'properties':{},'required':[],'type':'object'}", "") },
        { "{'l':{'type':'array','examples':[{}],'enum':[{},[1]]}}",
          ROOT("'l':{'enum':[[],[1]],'examples':[[]],'type':'array'}", "'l'") },
        { "{'x':{'examples':{}}}", ROOT("'x':{'examples':[]}", "'x'") },
    };
    run_rows(rows, COUNT_OF(rows));
}

static void additional_params_opens_the_root(void **state)
{
    (void)state;
    expect_text(table_result("{}", true),
                "{'additionalProperties':true,'properties':{},'required':[],'type':'object'}");
}

static void a_fault_names_parameter_and_word(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "[1]", "! params must be a table of parameter = schema" },
        { "{'x':5}", "! parameter x: must be a schema or the name of a type, is 5" },
        { "{'':'string'}", "! parameter : a parameter needs a name" },
        { "{'x':{'minimun':1}}", "! parameter x: unknown word 'minimun', did you mean minimum?" },
        { "{'x':{'tpye':'string'}}", "! parameter x: unknown word 'tpye', did you mean type?" },
        { "{'x':{'oneOf':[]}}", "! parameter x: unknown word 'oneOf'" },
        { "{'x':{'writeOnly':true}}", "! parameter x: unknown word 'writeOnly'" },
        { "{'x':'int'}", "! parameter x: unknown type 'int', did you mean integer (known: string, "
                         "integer, number, boolean, array, object, null)" },
        { "{'x':{'type':7}}", "! parameter x: unknown type 7 (known: string, integer, number, "
                              "boolean, array, object, null)" },
        { "{'x':{'type':{}}}", "! parameter x: type names no type" },
        { "{'x':{'optional':1}}", "! parameter x: optional must be true or false, is 1" },
        { "{'x':{'secret':'yes'}}", "! parameter x: secret must be true or false, is 'yes'" },
        { "{'x':{'required':true}}",
          "! parameter x: required must be a list of names of properties (a parameter is required "
          "unless it has a default or optional = true), is true" },
        { "{'x':{'minimum':'1'}}", "! parameter x: minimum must be a number, is '1'" },
        { "{'x':{'multipleOf':0}}", "! parameter x: multipleOf must be a number above 0, is 0" },
        { "{'x':{'minLength':-1}}",
          "! parameter x: minLength must be a whole number from 0, is -1" },
        { "{'x':{'maxItems':1.5}}",
          "! parameter x: maxItems must be a whole number from 0, is 1.5" },
        { "{'x':{'minimum':5,'maximum':3}}", "! parameter x: minimum is above maximum" },
        { "{'x':{'minLength':5,'maxLength':3}}", "! parameter x: minLength is above maxLength" },
        { "{'x':{'minItems':5,'maxItems':3}}", "! parameter x: minItems is above maxItems" },
        { "{'x':{'enum':{}}}", "! parameter x: enum lists no value" },
        { "{'x':{'enum':'a'}}", "! parameter x: enum must be a list of values, is 'a'" },
        { "{'x':{'type':'string','enum':['a',1]}}",
          "! parameter x: enum lists 1, which is not of its type" },
        { "{'x':{'type':'string','const':1}}",
          "! parameter x: const is 1, which is not of its type" },
        { "{'x':{'title':1}}", "! parameter x: title must be a string, is 1" },
        { "{'x':{'examples':1}}", "! parameter x: examples must be a list of values, is 1" },
        { "{'x':{'pattern':'('}}", "! parameter x: pattern '(': a '(' is never closed" },
        { "{'x':{'pattern':'((a{100}){100}){2}'}}",
          "! parameter x: pattern '((a{100}){100}){2}': its counts multiply to more than 10000" },
        { "{'x':{'pattern':1}}", "! parameter x: pattern must be a regular expression, is 1" },
        { "{'x':{'format':'datetime'}}",
          "! parameter x: unknown format 'datetime', did you mean date-time (known: date-time, "
          "date, email, uri, uuid, ipv4, ipv6)" },
        { "{'x':{'format':'hostname'}}", "! parameter x: unknown format 'hostname' (known: "
                                         "date-time, date, email, uri, uuid, ipv4, ipv6)" },
        { "{'x':{'properties':5}}",
          "! parameter x: properties must be a table of property = schema" },
        { "{'x':{'properties':{'y':{'optional':true}}}}",
          "! parameter x: property y: optional is for parameters; here, list those in `required`" },
        { "{'x':{'properties':{'y':{'minimum':'a'}}}}",
          "! parameter x: property y: minimum must be a number, is 'a'" },
        { "{'x':{'items':5}}",
          "! parameter x: items: must be a schema or the name of a type, is 5" },
        { "{'x':{'items':{'items':{'enums':[1]}}}}",
          "! parameter x: items: items: unknown word 'enums', did you mean enum?" },
        { "{'x':{'additionalProperties':{'pattern':1}}}",
          "! parameter x: additionalProperties: pattern must be a regular expression, is 1" },
        { "{'x':{'type':'integer','default':'a'}}",
          "! parameter x: default must be an integer, is 'a'" },
        { "{'x':{'type':'integer','default':0,'minimum':1}}",
          "! parameter x: default must be at least 1, is 0" },
        { "{'x':{'type':'string','default':null}}",
          "! parameter x: default must be a string, is null" },
        { "{'x':{'items':'string','default':['a',1]}}",
          "! parameter x: default at [1] must be a string, is 1" },
        { "{'x':{'secret':true,'default':'hunter2'}}",
          "! parameter x: a secret has no default, everybody could read it; use optional = true" },
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *got = table_result(rows[i].table, false);
        for (char *c = got; *c; c++) *c = *c == '"' ? '\'' : *c;
        assert_string_equal(got, rows[i].expected);
        free(got);
    }
}

static void the_order_of_a_table_does_not_show_in_its_schema(void **state)
{
    (void)state;
    char *one = table_result("{'a':{'type':'integer','minimum':1},'b':'string'}", false);
    char *two = table_result("{'b':'string','a':{'minimum':1,'type':'integer'}}", false);
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static void a_schema_that_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "[]",
                                       "{}",
                                       "{\"type\":\"string\"}",
                                       "5",
                                       "{\"type\":[\"object\",\"null\"]}",
                                       "{\"type\":\"object\",\"secret\":true}",
                                       "{\"type\":" };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct params_schema *schema;
        struct err err;
        assert_false(params_schema_compile(bad[i], strlen(bad[i]), &schema, &err));
        assert_null(schema);
        assert_int_equal(err.code, ERR_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_types_and_schemas_become_json_schema),
        cmocka_unit_test(an_empty_table_is_a_list_where_one_is_meant),
        cmocka_unit_test(additional_params_opens_the_root),
        cmocka_unit_test(a_fault_names_parameter_and_word),
        cmocka_unit_test(the_order_of_a_table_does_not_show_in_its_schema),
        cmocka_unit_test(a_schema_that_is_no_object_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
