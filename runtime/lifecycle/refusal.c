/* refusal.c: see refusal.h. */
#include "lifecycle/refusal.h"

#include "base/log.h"

void refusal_tell(bool *has_complained, const struct ledger *ledger, const char *what, size_t count,
                  const struct err *err)
{
    bool is_away = err->code == ERR_STORE && !ledger_is_up(ledger);
    if (*has_complained || is_away) return;
    *has_complained = true;
    log_error("%s of %zu tasks is refused and tried again: %s%s", what, count, err->text,
              err->code == ERR_STORE ? " (does Postgres lack disk, memory or connections?)" : "");
}

void refusal_over(bool *has_complained, const char *what, size_t count)
{
    if (*has_complained) log_info("%s of %zu tasks goes on", what, count);
    *has_complained = false;
}
