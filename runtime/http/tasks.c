/* tasks.c: reading tasks. The ledger answers in the words of the contract; here is only what was
 * asked for. */
#include <string.h>

#include "http/api.h"
#include "http/follow.h"
#include "http/selection.h"

#define OFFSET_MAX INT64_C(1000000000)

void handle_info(struct exchange *exchange)
{
    ledger_info(exchange->api->ledger, &exchange->id, answer_from_ledger, exchange);
}

static bool read_sort(struct exchange *exchange, bool *is_oldest_first)
{
    const char *sort = http_query(exchange->request, "sort");
    *is_oldest_first = sort && strcmp(sort, "created_at") == 0;
    if (!sort || *is_oldest_first || strcmp(sort, "-created_at") == 0) return true;
    answer_field(exchange, "sort", "takes created_at and -created_at");
    return false;
}

void handle_list(struct exchange *exchange)
{
    struct selection selection;
    if (!selection_from_query(exchange, &selection)) return;
    selection.filter.limit = 100;
    if (read_sort(exchange, &selection.filter.is_oldest_first) &&
        query_int(exchange, "limit", 1, 1000, &selection.filter.limit) &&
        query_int(exchange, "offset", 0, OFFSET_MAX, &selection.filter.offset))
        ledger_list(exchange->api->lists, &selection.filter, answer_from_ledger, exchange);
    selection_close(&selection);
}

void handle_logs(struct exchange *exchange)
{
    int64_t after = 0, limit = 1000;
    bool follows = false;
    if (!query_int(exchange, "after", 0, INT64_MAX, &after) ||
        !query_int(exchange, "limit", 1, 1000, &limit) || !query_bool(exchange, "follow", &follows))
        return;
    if (follows)
        follow_logs(exchange, after);
    else
        ledger_logs(exchange->api->ledger, &exchange->id, after, (int32_t)limit, answer_from_ledger,
                    exchange);
}
