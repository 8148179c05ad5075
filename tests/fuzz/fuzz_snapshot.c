/* fuzz_snapshot.c: the task files as one process hands them to another. What is read is written the
 * same, byte for byte; anything else is damaged. */
#include "base/buf.h"
#include "fuzz/fuzz.h"
#include "script/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snapshot snapshot;
    struct buf again = BUF_EMPTY;
    struct err err;
    if (snapshot_decode((const char *)data, size, &snapshot, &err)) {
        for (size_t i = 0; i < snapshot.task_count; i++)
            require(snapshot.tasks[i].tree < snapshot.tree_count);
        snapshot_encode(&snapshot, &again);
        require(again.len == size && memcmp(again.data, data, size) == 0);
        snapshot_close(&snapshot);
    } else {
        require_refusal(&err);
    }
    buf_close(&again);
    return 0;
}
