"""Six mistakes of the kind that the protocol exists to exclude, each as a change of the sources.

    mistakes.py --list                one line a mistake: its name, then the files it changes
    mistakes.py NAME FOLDER           writes the changed files to FOLDER, by their own names

The sources carry no trace of them. A replacement says how often its old text occurs; when it does
not, because the source has changed, the build fails and says where. Then the mistake is to be
written anew, as somebody would make it today.
"""

import collections
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# plan: the aimed faults of teeth_plans.py; seen_by: invariants of which one must be reported
Mistake = collections.namedtuple("Mistake", "name sentence plan seen_by changes")
Change = collections.namedtuple("Change", "file count old new")

FINISH = "runtime/ledger/finish.c"
START = "runtime/ledger/start.c"
DUE = "runtime/ledger/keeper.c"
HEARTBEAT = "runtime/ledger/workers.c"
STARTS = "runtime/lifecycle/starts.c"
SUBMIT = "runtime/lifecycle/submit.c"
SCRIPTS = "runtime/broker/scripts.c"
PULSE = "runtime/keeper/pulse.c"

MISTAKES = [
    Mistake(
        "unguarded_finish", "Whoever finishes a running task ends it, also without its claim.",
        "partition", {"I4"}, [
            Change(FINISH, 2, "a.status = 1 AND a.claim_id = f.claim", "a.status = 1"),
        ]),
    Mistake(
        "early_answer", "The client is told that its task is accepted before the insert committed.",
        "client", {"I1"}, [
            Change(SUBMIT, 1, """\
    free(submissions);
""", """\
    free(submissions);
    for (size_t i = 0; i < flight->count; i++) {
        struct submit_item *item = flight->items[i];
        struct submit_answer answer = { .verdict = INSERT_NEW, .id = item->box->submission.id };
        if (item->done) item->done(item->arg, &answer, NULL);
        item->done = NULL;
    }
"""),
            Change(SUBMIT, 1, "    item->done(item->arg, answer, err);\n",
                   "    if (item->done) item->done(item->arg, answer, err);\n"),
            # Who has all its answers leaves; then the insert may be under way still.
            Change(SUBMIT, 1, "struct submitter {\n", "struct submitter {\n    bool closing;\n"),
            Change(SUBMIT, 1, """\
    if (submitter) batch_close(&submitter->batch);
    free(submitter);
""", """\
    if (!submitter) return;
    batch_close(&submitter->batch);
    submitter->closing = submitter->batch.flights > 0;
    if (!submitter->closing) free(submitter);
"""),
            Change(SUBMIT, 1, "    if (!err) {\n", """\
    if (flight->submitter->closing) {
        flight_fail(flight, err);
    } else if (!err) {
"""),
            Change(SUBMIT, 1, "    batch_flight_done(&submitter->batch);\n", """\
    batch_flight_done(&submitter->batch);
    if (submitter->closing && submitter->batch.flights == 0) free(submitter);
"""),
        ]),
    Mistake(
        "redis_counter", "What fences a start is a number that Redis counts, and nothing else.",
        "partition", {"I4"}, [
            Change(SCRIPTS, 1, """\
    "      answer[#answer + 1] = call('HMGET', starts_key, unpack(ids))\\n"
""", """\
    "      local fences = {}\\n"
    "      for n, id in ipairs(ids) do\\n"
    "        fences[n] = tostring(call('HINCRBY', ns..':fence', id, 1))\\n"
    "      end\\n"
    "      answer[#answer + 1] = fences\\n"
"""),
            Change(STARTS, 1, "    hint->claim = ident_random();\n", """\
    hint->claim = (struct ident){ 0 };
    memcpy(hint->claim.bytes, &hint->starts, sizeof hint->starts);
"""),
            Change(START, 1, "SET starts = h.starts + 1", "SET starts = a.starts + 1"),
            Change(START, 1, "a.claim_id = h.claim AND a.starts = h.starts + 1", "a.claim_id = h.claim"),
            Change(START, 1, "a.status IN (0, 2) AND a.starts = h.starts AND", "a.status IN (0, 2) AND"),
            Change(START, 1, "a.status = 1 OR a.starts <> h.starts OR", "a.status = 1 OR"),
        ]),
    Mistake(
        "rescue_by_absence", "When Redis has lost its hints, what runs is pushed and started again like what waits.",
        "partition", {"I5"}, [
            Change(DUE, 1, "  AND a.status IN (0, 2) AND a.cancel_at IS NULL AND",
                   "  AND (a.status IN (0, 2) OR a.status = 1 AND $3 >= 0) AND a.cancel_at IS NULL AND"),
            Change(START, 1, "a.status IN (0, 2) AND a.starts = h.starts AND",
                   "a.status IN (0, 1, 2) AND a.starts = h.starts AND"),
        ]),
    Mistake(
        "death_by_timestamp", "A worker is dead when its last heartbeat, by the clock, is older than the lease.",
        "outage", {"death"}, [
            Change(HEARTBEAT, 1, "SET heartbeat = w.heartbeat + 1", "SET heartbeat = micros(clock_timestamp())"),
            Change(PULSE, 1, "    if (entry->heartbeat != heartbeat) {\n",
                   "    if (heartbeat == 0 || clock_wall_us() - heartbeat < keeper->options.lease_us) {\n"),
            Change(PULSE, 1, "    if (now_us - entry->since_us < keeper->options.lease_us) return;\n", ""),
        ]),
    Mistake(
        "early_hint", "The hint is pushed before the row that it names is inserted.",
        "client", {"I8"}, [
            Change(SUBMIT, 1, "    ledger_insert(flight->submitter->ledger,", """\
    struct broker *broker = flight->submitter->broker;
    struct hint *hints = xcalloc(flight->count, sizeof *hints);
    for (size_t i = 0; i < flight->count; i++) {
        hints[i] = (struct hint){ .id = submissions[i]->id,
                                  .priority = (int16_t)submissions[i]->priority };
        strncpy(hints[i].queue, submissions[i]->queue, sizeof hints[i].queue - 1);
    }
    if (broker && broker_is_up(broker)) broker_push(broker, hints, flight->count, NULL, NULL);
    free(hints);
    ledger_insert(flight->submitter->ledger,"""),
            Change(SUBMIT, 1, "    if (up && hint_count) broker_push(broker, hints, hint_count, NULL, NULL);\n", ""),
            Change(SUBMIT, 1, "#include <stdlib.h>\n", "#include <stdlib.h>\n#include <string.h>\n"),
        ]),
]


def get(name):
    for mistake in MISTAKES:
        if mistake.name == name:
            return mistake
    raise SystemExit("no mistake %s; there are: %s" % (name, " ".join(mistake.name for mistake in MISTAKES)))


def files_of(mistake):
    return sorted({change.file for change in mistake.changes})


def changed(mistake, file):
    """The source as who makes the mistake would have written it."""
    with open(os.path.join(ROOT, file)) as source:
        text = source.read()
    for change in mistake.changes:
        if change.file != file:
            continue
        found = text.count(change.old)
        if found != change.count:
            raise SystemExit("tests/fault/mistakes.py: %s: %s holds this %d times, not %d:\n%s" % (
                mistake.name, file, found, change.count, change.old))
        text = text.replace(change.old, change.new)
    return text


def main(words):
    if words == ["--list"]:
        for mistake in MISTAKES:
            print(mistake.name, *files_of(mistake))
        return
    mistake, folder = get(words[0]), words[1]
    for file in files_of(mistake):
        with open(os.path.join(folder, os.path.basename(file)), "w") as target:
            target.write(changed(mistake, file))


if __name__ == "__main__":
    main(sys.argv[1:])
