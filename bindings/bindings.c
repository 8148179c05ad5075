/* bindings.c: the table of all modules that a task can `require`. */
#include "bindings/bindings.h"

#include "base/mem.h"
#include "bindings/bind.h"

const struct binding binding_table[] = {
    { "cjson", bind_cjson_open },      { "ctutor.fs", bind_fs_open },
    { "ctutor.json", bind_json_open }, { "ctutor.process", bind_process_open },
    { "ctutor.time", bind_time_open }, { "ctutor.yaml", bind_yaml_open },
};
const size_t binding_count = COUNT_OF(binding_table);
