"""What must hold whatever happened, read from the ledger's tables and from what runs did to the
world (the side-effect log: lines `id attempt word worker seconds`, by the monotonic clock, or by the
wall clock after an @: programs that tasks start have no other).

    history = History(place, "effects")      # when nothing is active any more
    for broken in check(history, asked, ...): print(broken, history.of(broken.id))

The numbers are those of docs/reliability.md: I1 accepted tasks exist; I2 one final row per round,
never changed; I3 starts 1..n, each with one end, within the budgets, bystanders uncharged; I4 the
result is the last start's; I5 runs overlap only if the first was declared lost by its silence; I9
one active task per unique key; death: nobody is declared dead who did not stand still for the
lease while Postgres answered. I6, I7 and I8 hold at every moment: see nemesis_watch.py.
"""

import collections
import json
import re
import time

PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED = range(6)
Broken = collections.namedtuple("Broken", "invariant id text")
Line = collections.namedtuple("Line", "id attempt word worker at")

TASKS = "id name queue created_at retry_max max_losses unique_key parameters expires_at"
ACTIVE = "id status starts round claim_id owner run_at cancel_at"
OUTCOMES = ("id round attempt claim_id status failures losses started_at finished_at cancel_at"
            " worker kind result")
ATTEMPTS = "id attempt round claim_id ended started_at ended_at worker kind"
WORKERS = "incarnation supervisor name state pid ended_at"
SPECIAL = {
    "created_at": "extract(epoch FROM created_at)", "expires_at": "extract(epoch FROM expires_at)",
    "started_at": "extract(epoch FROM started_at)", "ended_at": "extract(epoch FROM ended_at)",
    "finished_at": "extract(epoch FROM finished_at)", "run_at": "extract(epoch FROM run_at)",
    "cancel_at": "extract(epoch FROM cancel_at)", "kind": "error->>'kind' AS kind",
}
NUMBERS = {"retry_max", "max_losses", "status", "starts", "round", "attempt", "failures", "losses",
           "pid"}
SILENT = re.compile(r"worker process ([0-9a-f-]{36}) has not beaten for")


def read_table(place, table, columns):
    names = columns.split()
    chosen = ", ".join(SPECIAL.get(name, name) for name in names)
    row_of = collections.namedtuple(table, names)
    return [row_of(*map(_value, names, row))
            for row in place.psql("SELECT %s FROM %s" % (chosen, table))]


def _value(name, text):
    if text == "":
        return None
    if name in NUMBERS:
        return int(text)
    return float(text) if name.endswith("_at") else text


def read_lines(path):
    ahead = time.time() - time.monotonic()
    with open(path) as file:
        for text in file.read().splitlines():
            words = text.split()
            at = float(words[4][1:]) - ahead if words[4].startswith("@") else float(words[4])
            yield Line(words[0], int(words[1]), words[2], words[3], at)


class History:
    """Everything that is known, by id."""

    def __init__(self, place, effects_path):
        self.tasks = {row.id: row for row in read_table(place, "tasks", TASKS)}
        self.active = {row.id: row for row in read_table(place, "active", ACTIVE)}
        self.outcomes = collections.defaultdict(list)
        self.attempts = collections.defaultdict(list)
        self.lines = collections.defaultdict(list)
        for row in sorted(read_table(place, "outcomes", OUTCOMES), key=lambda row: row.round):
            self.outcomes[row.id].append(row)
        for row in sorted(read_table(place, "attempts", ATTEMPTS), key=lambda row: row.attempt):
            self.attempts[row.id].append(row)
        for line in read_lines(effects_path):
            self.lines[line.id].append(line)
        self.workers = {row.incarnation: row for row in read_table(place, "workers", WORKERS)}
        self.logs = [worker.log() for worker in place.workers]
        self.silent = {found for log in self.logs for found in SILENT.findall(log)}

    def of(self, task_id):
        """All that is known about a task, as text."""
        rows = [self.tasks.get(task_id), self.active.get(task_id)]
        rows += self.attempts[task_id] + self.outcomes[task_id] + self.lines[task_id]
        rows += ["worker said: " + line for log in self.logs for line in log.splitlines()
                 if task_id in line]
        return "\n".join("    %s" % (row,) for row in rows if row)

    def ends(self, task_id):
        """The rows that end a start each: attempts, and the outcomes that a start decided."""
        return self.attempts[task_id] + [row for row in self.outcomes[task_id] if row.claim_id]

    def worker_of(self, task_id, attempt):
        return next((row.worker for row in self.ends(task_id) if row.attempt == attempt), None)


def check(history, accepted, finals=None, cancelled=(), deaths=None, forgotten=()):
    """accepted: ids that clients were told; finals: what outcomes were when they were first seen,
    {(id, round): status and claim}; cancelled: ids that somebody asked to cancel; deaths: of
    processes, of which each may be charged to one task; forgotten: ids that may have been deleted."""
    broken = [Broken("I1", task_id, "was accepted and does not exist")
              for task_id in accepted if task_id not in history.tasks and task_id not in forgotten]
    broken += [Broken("I1", task_id, "is gone, and not all of it")
               for rows in (history.active, history.attempts, history.outcomes)
               for task_id in rows if rows[task_id] and task_id not in history.tasks]
    broken += [Broken("I2", task_id, "is not final") for task_id in history.active]
    for task_id in history.tasks:
        for rule in (finals_once, starts_without_gaps, budgets, last_start, overlaps, effects):
            broken += [Broken(rule.invariant, task_id, text) for text in rule(history, task_id)]
        broken += [Broken("I3", task_id, text)
                   for text in expected(history, task_id, task_id in cancelled)]
    for (task_id, number), seen in (finals or {}).items():
        if task_id in forgotten and task_id not in history.tasks:
            continue
        now = [final_digest(row) for row in history.outcomes[task_id] if row.round == number]
        if now != [seen]:
            broken.append(Broken("I2", task_id, "final row of round %d was %s, is %s" % (number, seen, now)))
    broken += unique_keys(history)
    if deaths is not None:
        charged = [(row.id, row.attempt) for rows in history.attempts.values() for row in rows
                   if row.ended == "lost"]
        if len(charged) > deaths:
            broken.append(Broken("I3", charged[0][0], "%d losses were charged, %d processes died"
                                 % (len(charged), deaths)))
    return broken


def pauses(history, spans):
    """spans: (queue, from, until) in which it was paused, and whoever paused it was told so. A start
    that was under way may end a moment later."""
    for queue, since, until in spans:
        for task in history.tasks.values():
            for row in history.ends(task.id):
                if task.queue == queue and row.started_at and since + 1 < row.started_at < until:
                    yield Broken("pause", task.id, "start %d began %.2f s after its queue %s was paused"
                                 % (row.attempt, row.started_at - since, queue))


def deaths_by_silence(history, beats, away, lease):
    """beats: incarnation -> (heartbeat, a moment before it had come to that); away: spans in which
    Postgres answered nobody. The keeper counts on through a short one: two thirds of the lease are
    enough for us."""
    for worker in history.workers.values():
        if worker.incarnation not in history.silent or worker.state != "dead" or worker.incarnation not in beats:
            continue
        since = beats[worker.incarnation][1]
        silence = worker.ended_at - since - _overlap(since, worker.ended_at, away)
        if silence < lease * 2 / 3:
            yield Broken("death", worker.incarnation, "%s was declared dead when it had stood still for %.2f s "
                         "in which Postgres answered; the lease is %g s" % (worker.name, silence, lease))


def _overlap(since, until, spans):
    """Seconds of [since, until] that lie in one of the spans, which may overlap each other."""
    seconds, at = 0.0, since
    for begin, end in sorted(spans):
        begin, end = max(begin, at), min(end, until)
        if end > begin:
            seconds, at = seconds + end - begin, end
    return seconds


def final_digest(row):
    return (row.status, row.claim_id, row.attempt, row.finished_at)


def _rule(invariant):
    def mark(function):
        function.invariant = invariant
        return function
    return mark


@_rule("I2")
def finals_once(history, task_id):
    rounds = [row.round for row in history.outcomes[task_id]]
    if task_id not in history.active and rounds != list(range(1, len(rounds) + 1)) or not rounds:
        yield "final rows of rounds %s" % rounds


@_rule("I3")
def starts_without_gaps(history, task_id):
    if task_id in history.active:
        return
    ends = sorted(row.attempt for row in history.ends(task_id))
    top = max((row.attempt for row in history.outcomes[task_id]), default=0)
    if ends != list(range(1, top + 1)):
        yield "%d starts, these have an end: %s" % (top, ends)
    rounds = [row.round for row in sorted(history.ends(task_id), key=lambda row: row.attempt)]
    if rounds != sorted(rounds):
        yield "rounds of its starts: %s" % rounds


@_rule("I3")
def budgets(history, task_id):
    task = history.tasks[task_id]
    for end in history.outcomes[task_id]:
        of_round = [row for row in history.attempts[task_id] if row.round == end.round]
        failed = sum(row.ended == "failed" for row in of_round)
        lost = sum(row.ended == "lost" for row in of_round)
        last = end.status == FAILURE and end.claim_id is not None
        may_be_last = last or end.status == REVOKED and end.claim_id is not None
        if end.failures - failed not in ({1} if last and end.kind != "worker_lost"
                                         else {0, 1} if may_be_last else {0}):
            yield "round %d: %d failures, %d failed starts" % (end.round, end.failures, failed)
        if end.losses - lost not in ({0, 1} if may_be_last else {0}):
            yield "round %d: %d losses, %d lost starts" % (end.round, end.losses, lost)
        if end.failures > task.retry_max + 1 or end.losses > max(1, task.max_losses):
            yield "round %d: %d failures, %d losses" % (end.round, end.failures, end.losses)


@_rule("I4")
def last_start(history, task_id):
    claims = [row.claim_id for row in history.ends(task_id)]
    if None in claims or len(set(claims)) != len(claims):
        yield "claims of its starts: %s" % claims
    for end in history.outcomes[task_id]:
        if any(row.attempt > end.attempt for row in history.attempts[task_id] if row.round == end.round):
            yield "round %d was ended by start %d" % (end.round, end.attempt)
        if end.status == SUCCESS and json.loads(end.result)["attempt"] != end.attempt:
            yield "start %d succeeded with %s" % (end.attempt, end.result)


@_rule("I5")
def overlaps(history, task_id):
    lines = history.lines[task_id]
    began = {line.attempt: line.at for line in lines if line.word == "start"}
    for line in lines:
        later = [attempt for attempt in began
                 if attempt > line.attempt and line.at > began[attempt]]
        if later and not line.word.endswith("_hook") and not _was_silent(history, task_id, line.attempt):
            yield "start %d still acted (%s at %.6f) when start %d had begun" % (
                line.attempt, line.word, line.at, later[0])


def _was_silent(history, task_id, attempt):
    """Its worker was declared dead for its silence, not seen to end: then two may overlap."""
    for row in history.attempts[task_id] + history.outcomes[task_id]:
        if row.attempt == attempt:
            ended = row.ended_at if hasattr(row, "ended_at") else row.finished_at
            return any(worker.name == row.worker and worker.incarnation in history.silent
                       and worker.state == "dead" and worker.ended_at <= ended
                       for worker in history.workers.values())
    return False


@_rule("I5")
def effects(history, task_id):
    """What runs did to the world fits what the ledger says of them."""
    lines = history.lines[task_id]
    counts = collections.Counter((line.attempt, line.word) for line in lines)
    for (attempt, word), count in counts.items():
        if word in ("start", "end") and count > 1:
            yield "start %d was run %d times" % (attempt, count)
    ended = {row.attempt for row in history.ends(task_id)}
    for line in lines:
        if line.attempt not in ended and task_id not in history.active:
            yield "start %d acted, the ledger does not know it" % line.attempt
        elif line.word in ("start", "tick", "end"):
            worker = history.worker_of(task_id, line.attempt)
            if worker and line.worker != worker:
                yield "start %d acted on %s, belongs to %s" % (line.attempt, line.worker, worker)
    for end in history.outcomes[task_id]:
        if end.status == SUCCESS and not counts[end.attempt, "end"]:
            yield "start %d is a success that did not end" % end.attempt


def expected(history, task_id, may_be_revoked):
    """What the tasks of tests/fault/tasks.d come to when nobody but themselves is charged."""
    task = history.tasks[task_id]
    if task_id in history.active or not history.outcomes[task_id]:
        return
    end = history.outcomes[task_id][-1]
    words = {line.word for line in history.lines[task_id]}
    if end.status == REVOKED:
        if not may_be_revoked and not task.expires_at:
            yield "is revoked, nobody asked for it"
        return
    failures = {"flaky": json.loads(task.parameters).get("failures"), "doomed": 2, "spinning": 1,
                "deaf": 1}.get(task.name, 0)
    status = FAILURE if task.name in ("doomed", "spinning", "deaf") else SUCCESS
    if end.kind == "worker_lost":
        if end.losses < max(1, task.max_losses):
            yield "is lost after %d losses" % end.losses
    elif (end.status, end.failures) != (status, failures):
        yield "ended as %d with %d failures, not as %d with %d" % (end.status, end.failures, status, failures)
    if task.name == "flaky" and end.status == SUCCESS and "success_hook" not in words:
        yield "its on_success did not run"
    if task.name in ("doomed", "spinning") and "failure_hook" not in words:
        yield "its on_failure did not run"


def unique_keys(history):
    held = collections.defaultdict(list)
    for task in history.tasks.values():
        if task.unique_key:
            for end in history.outcomes[task.id]:
                # From its first start: created_at is when its transaction began, and that may have
                # waited for the end of the holder.
                starts = [row.started_at for row in history.ends(task.id)
                          if row.round == end.round and row.started_at]
                began = min(starts, default=end.finished_at)
                held[task.name, task.unique_key].append((began, end.finished_at, task.id))
    for key, times in held.items():
        times.sort()
        for (_, until, first), (since, _, second) in zip(times, times[1:]):
            if since < until:
                yield Broken("I9", second, "and %s held %s at once" % (first, key))
