/* submit_answer.c: see submit_answer.h. */
#include "lifecycle/submit_answer.h"

#include "base/jsonw.h"

void submit_answer_json(struct buf *out, const struct submit_answer *answer, const char *warning)
{
    struct jsonw w;
    char id[IDENT_TEXT_SIZE];
    bool is_new = answer->verdict == INSERT_NEW || answer->verdict == INSERT_REPEATED;
    ident_text(&answer->id, id);
    jsonw_init(&w, out);
    jsonw_object(&w);
    jsonw_key_text(&w, "task_id", id);
    jsonw_key_text(&w, "status", is_new ? "submitted" : "duplicate");
    jsonw_key_text(&w, "message", is_new ? "accepted" : "it was submitted before");
    if (warning) {
        jsonw_key(&w, "warnings");
        jsonw_array(&w);
        jsonw_text(&w, warning);
        jsonw_array_end(&w);
    }
    if (is_new && answer->deferred) jsonw_key_text(&w, "dispatch", "deferred");
    jsonw_object_end(&w);
}

bool submit_answer_is_good(const struct submit_answer *answer, const struct err *failure,
                           const struct ident *id, int64_t max_waiting, struct err *err)
{
    char text[IDENT_TEXT_SIZE];
    ident_text(id, text);
    if (failure && failure->code == ERR_STORE)
        return err_set(err, ERR_STORE,
                       "%s. Whether the task was accepted is not known: repeat it with the id %s, "
                       "which cannot submit it twice",
                       failure->text, text);
    if (failure) {
        *err = *failure;
        return false;
    }
    switch (answer->verdict) {
    case INSERT_NEW:
    case INSERT_REPEATED:
    case INSERT_DUPLICATE: return true;
    case INSERT_KEY_CONFLICT:
        return err_set(err, ERR_CONFLICT, "this Idempotency-Key was used for another request");
    case INSERT_CONFLICT:
        return err_set(err, ERR_CONFLICT, "the id %s is in use by another task", text);
    case INSERT_FULL:
        return err_set(err, ERR_FULL, "the queue is full: %lld tasks wait (CTUTOR_MAX_WAITING)",
                       (long long)max_waiting);
    }
    return false;
}
