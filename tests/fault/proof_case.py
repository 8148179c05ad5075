"""What the scenarios of the proof share: an installation whose tasks leave traces, and the table's rows.

    with Proof("runner killed", lease=15) as proof:
        proof.submit(1000, seconds=1)
        ... kills, notes proof.harmed[pid] = time.time() ...
        proof.finish()

Times come from the ledger and the logs, never from a look that may be late: a process is detected
when its row in `workers` ended, a task runs again at the `started_at` of its next attempt.
"""

import datetime
import os
import re
import time
from types import SimpleNamespace

import ctutor
import invariants
from nemesis_clients import Clients, new_id

# Sleeps, with a trace at its start and its end.
NAP = """
local effects = require "effects"
return {
  timeout = "10m", params = { seconds = "number" },
  execute = function(ctx, params)
    effects.note(ctx, "start")
    ctx.sleep(params.seconds)
    return effects.done(ctx)
  end,
}
"""
EFFECTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tasks.d", "lib", "effects.lua")
# Ends of runners; the next start of each task that went back. (Who is charged waits for its back-off.)
DEATHS = "SELECT pid, extract(epoch FROM ended_at) FROM workers WHERE state <> 'alive' AND supervisor IS NOT NULL"
# Which death a row of attempts belongs to: it is written in the transaction that declares it.
DEATH = """
CROSS JOIN LATERAL (SELECT * FROM workers w WHERE w.name = a.worker AND w.supervisor IS NOT NULL AND w.ended_at <= a.ended_at
  ORDER BY w.ended_at DESC LIMIT 1) w
"""
RERUNS = """
WITH starts AS (SELECT id, attempt, started_at FROM attempts UNION ALL SELECT id, attempt, started_at FROM outcomes)
SELECT w.pid, extract(epoch FROM s.started_at) FROM attempts a """ + DEATH + """
JOIN starts s ON s.id = a.id AND s.attempt = a.attempt + 1 WHERE a.ended = 'released'
"""
# A death charges one task at most, and nothing else charges one that sleeps.
BYSTANDERS = """
SELECT coalesce(sum(charged - 1), 0) FROM (SELECT count(*) AS charged FROM attempts a """ + DEATH + """
  WHERE a.ended = 'lost' GROUP BY w.incarnation) one
UNION ALL SELECT coalesce(sum(failures), 0) FROM outcomes o JOIN tasks t ON t.id = o.id WHERE t.name = 'nap'
"""


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class Proof:
    """One row of the table."""

    def __init__(self, fault, lease=15, env=None, tasks=None, options=()):
        self.fault, self.lease = fault, lease
        self.detect, self.rerun = [], []  # seconds
        self.harmed = {}                  # pid -> when
        self.count = 0                    # of faults
        self.lost = self.overlaps = self.bystanders = 0
        self.audit, self.notes, self.broken = "-", [], []
        self.cancelled = set()            # ids
        self.place = ctutor.Installation(postgres_options=options)
        self.effects = os.path.join(self.place.root, "effects")
        open(self.effects, "w").close()
        with open(EFFECTS) as file:
            self.place.task("lib/effects", file.read())
        self.place.task("lib/place", "return %r\n" % self.effects)
        for name, text in {"nap": NAP, **(tasks or {})}.items():
            self.place.task(name, text)
        self.place.env.update({"CTUTOR_LEASE": "%ds" % lease, **(env or {})})
        self.clients = Clients(SimpleNamespace(place=self.place), 0)
        self.clients.threads = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.place.close()
        ctutor.reap_orphans()

    def demand(self, holds, text):
        if not holds:
            self.broken.append(text)

    def demand_most(self, seconds, most, what):
        self.demand(seconds <= most, "%s after %.2f s, not %s s" % (what, seconds, most))

    # -- tasks --

    def naps(self, count, seconds):
        """Lines for `submit --bulk`; seconds may be a function."""
        return [{"id": new_id(), "task_name": "nap",
                 "parameters": {"seconds": round(seconds() if callable(seconds) else seconds, 3)}} for _ in range(count)]

    def submit(self, lines):
        """Until it is answered, also when a store is away: their ids."""
        self.clients._submit(lines)
        while self.clients.again and not self.clients.over.is_set():
            again, self.clients.again = self.clients.again, []
            self.clients._submit(again)
        return [line["id"] for line in lines]

    def nap(self, count, seconds):
        """Naps that have all begun."""
        ids = self.submit(self.naps(count, seconds))
        self.wait_value("SELECT count(*) FROM active WHERE status = 1 AND id = ANY ('{%s}')" % ",".join(ids), count)
        return ids

    def wait_value(self, query, wanted, seconds=60):
        ctutor.wait_until(lambda: self.place.value(query) == str(wanted), seconds, "%s gives %s" % (query, wanted))

    def started_at(self, task_id):
        return float(self.place.value("SELECT extract(epoch FROM started_at) FROM task_info WHERE task_id = '%s'" % task_id))

    def seconds_to_start(self):
        """Of a nap submitted now."""
        began = time.time()
        task_id = self.place.run("submit", "nap", "seconds:=0", "--wait", "--json", seconds=120).json["task_id"]
        return self.started_at(task_id) - began

    # -- the end --

    def wait_final(self, seconds=240):
        self.wait_value("SELECT count(*) FROM active", 0, seconds)
        self.wait_value("SELECT count(*) FROM hooks_owed", 0, 30)

    def finish(self, *workers, seconds=240):
        """Everything comes to its end; then what the ledger, the traces and the audit say."""
        self.clients.stop()
        self.broken += [str(broken) for broken in self.clients.broken]
        self.wait_final(seconds)
        for worker in workers:
            status = worker.stop()
            self.demand(status == 0, "a worker left with %d\n%s" % (status, worker.log()[-2000:]))
        self.check_audit()
        self.check_history()
        self.read_times()
        try:
            self.place.check_nothing_left()
        except AssertionError as left:
            self.broken.append(str(left))

    def check_audit(self):
        done = self.place.run("audit", seconds=300)
        self.audit = "clean" if done.status == 0 else "NOT CLEAN"
        self.demand(done.status == 0, "audit: " + done.out + done.err)

    def check_history(self):
        """Only of the naps: what is there to end badly is judged by its scenario."""
        history = invariants.History(self.place, self.effects)
        others = {task_id for task_id, task in history.tasks.items() if task.name != "nap"}
        for rows in history.tasks, history.active, history.outcomes, history.attempts, history.lines:
            for task_id in others & set(rows):
                del rows[task_id]
        for broken in invariants.check(history, self.clients.accepted, cancelled=self.cancelled):
            self.lost += broken.invariant == "I1"
            self.overlaps += broken.invariant == "I5"
            self.broken.append("%s %s: %s\n%s" % (*broken, history.of(broken.id)))
        self.bystanders = sum(int(row[0]) for row in self.place.psql(BYSTANDERS))
        self.demand(self.bystanders == 0, "%d bystanders were charged" % self.bystanders)

    def read_times(self):
        for pid, ended in self.place.psql(DEATHS):
            if int(pid) in self.harmed:
                self.detect.append(float(ended) - self.harmed[int(pid)])
        for pid, started in self.place.psql(RERUNS):
            if int(pid) in self.harmed:
                self.rerun.append(float(started) - self.harmed[int(pid)])

    def first_start_after(self, moment):
        """Seconds from then to the next start of any task."""
        return float(self.place.value("""
            SELECT min(extract(epoch FROM started_at)) - %f FROM
              (SELECT started_at FROM attempts UNION ALL SELECT started_at FROM outcomes) s
            WHERE started_at > to_timestamp(%f)""" % (moment, moment)))

    # -- the row --

    def row(self):
        def pair(values):
            return "%7.3f %7.3f" % (percentile(values, 0.5), percentile(values, 0.99)) if values else "      -       -"

        return "%-46s %7d %4d s %s %s %5d %8d %10d  %-9s %s" % (
            self.fault, self.count, self.lease, pair(self.detect), pair(self.rerun), self.lost, self.overlaps, self.bystanders,
            self.audit, "; ".join(self.notes))


HEAD = "%-46s %7s %6s %15s %15s %5s %8s %10s  %-9s" % (
    "fault", "n", "lease", "detect p50 p99", "rerun p50 p99", "lost", "overlaps", "bystanders", "audit")


def logged_after(worker, pattern, moment):
    """Seconds from then to the first line of the log that matches, or None."""
    for line in worker.log().splitlines():
        found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z", line)
        if found and re.search(pattern, line):
            at = parse_time(found.group(1))
            if at >= moment - 0.001:
                return at - moment
    return None


def parse_time(text):
    return datetime.datetime.strptime(text + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
