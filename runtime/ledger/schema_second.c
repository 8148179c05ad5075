/* schema_second.c: what the doors keep.
 * The second migration. */
#include "ledger/schema.h"

/* clang-format off */
const char schema_second[] =
    /* Answers to repeated requests; a day old, they are forgotten. */
    "CREATE TABLE idempotency (\n"
    "  key text PRIMARY KEY,                            -- of one client: his token's id is in it\n"
    "  body text NOT NULL,                              -- hash of what was asked\n"
    "  task uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now()\n"
    ");\n"
    "CREATE INDEX idempotency_created_at ON idempotency (created_at);\n";
