"""The nemesis: workers, stores and clients under random faults; then everything is healed, progress
is demanded, and the invariants are checked.

    nemesis.py [--seed N] [--minutes M] [--round SECONDS]

One round is one seed: a fresh installation, a plan of faults drawn from the seed, the check. With
--minutes the rounds of seed, seed + 1, ... follow each other until the time is over. A round that
fails prints its seed, its faults with their times, and the whole history of the tasks concerned;
`--seed N` alone repeats its plan.
"""

import argparse
import os
import random
import re
import sys
import time

import ctutor
import invariants
import nemesis_plan
from invariants import Broken
from nemesis_clients import Clients
from nemesis_watch import Watch
from nemesis_world import ALLOWED_ENDS, World

DRAIN_SECONDS = 60
HINT_SECONDS = 25
CRASHES = re.compile(r"ended by signal (?:4|6|7|8|11)\b|AddressSanitizer|runtime error|Assertion")


class Round:
    drain_seconds_most, hint_seconds_most = DRAIN_SECONDS, HINT_SECONDS

    def __init__(self, seed, seconds, workers=2, runners=2):
        self.seed, self.seconds = seed, seconds
        self.plan = nemesis_plan.make(seed, seconds, workers, runners)
        parties = [*range(workers), "clients"]
        self.world = World(workers, runners, tcp=nemesis_plan.over_tcp(seed, parties))
        self.clients = Clients(self.world, seed)
        self.watch = Watch(self.world, self._may_be_gone)
        self.broken = []
        self.drain_seconds = 0.0
        self.history = None

    def run(self):
        """True: nothing is broken."""
        world = self.world
        try:
            world.keep_workers()
            for worker in world.workers:
                worker.wait_ready()
            world.began = time.monotonic()
            self.clients.start()
            self.watch.start()
            self._do_harm()
            world.heal()
            self._demand_progress()
            self._leave()
            self._check()
        except AssertionError as error:
            self.broken.append(Broken("run", "-", str(error)))
        return not self.broken

    def _do_harm(self):
        for fault in self.plan:
            self._wait(lambda at=fault.at: self.world.now() >= at)
            self.world.do(fault, nemesis_plan.text(fault).split("  ", 1)[1])
        self._wait(lambda: self.world.now() >= self.seconds)

    def _wait(self, condition, seconds=600):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            self.world.turn()
            time.sleep(0.02)
        return True

    def _demand_progress(self):
        """All that was accepted comes to its end, without anybody's help but time's."""
        began = time.monotonic()
        self.clients.over.set()
        done = self._wait(lambda: not any(thread.is_alive() for thread in self.clients.threads), 120)
        self.clients.stop()
        place = self.world.place
        done = done and self._wait(lambda: place.value("SELECT count(*) FROM active") == "0"
                                   and place.value("SELECT count(*) FROM hooks_owed") == "0",
                                   self.drain_seconds_most)
        self.drain_seconds = time.monotonic() - began
        if not done:
            self.broken.append(Broken("I7", "-", "not all is final %d s after all is healed\n%s" % (
                self.drain_seconds_most, self._state())))
        # Hints of what has ended go when a lease on them is over and somebody claims them again.
        elif not self._wait(lambda: not place._hints_left(), self.hint_seconds_most):
            self.broken.append(Broken("left", "-", "hints of ended tasks stay:\n" + self._state()))

    def _state(self):
        """Who leads, who lives, what waits where: for a system that stands still."""
        place, lines = self.world.place, []
        for query in ("SELECT * FROM keeper", "SELECT incarnation, supervisor, name, state, heartbeat FROM workers"
                      " WHERE state = 'alive'", "SELECT queue, status, starts, run_at > created_at AS later, count(*)"
                      " FROM active GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 10"):
            lines += ["    %s" % (row,) for row in place.psql(query)]
        for key in sorted(place.redis("KEYS", "{%s}:*" % place.namespace)):
            lines.append("    Redis %s: %s" % (key.decode(), place.redis("TYPE", key).decode()))
        lines.append("    epoch %s" % place.redis("GET", "{%s}:epoch" % place.namespace))
        return "\n".join(lines)

    def _leave(self):
        self.watch.stop()
        self.world.keep_workers()
        for index, worker in enumerate(self.world.workers):
            status = worker.stop() if worker else 0
            if status != 0:
                self.broken.append(Broken("exit", "-", "worker %d left with %d\n%s" % (
                    index, status, worker.log()[-2000:])))
        self.world.workers = [None] * len(self.world.workers)

    def _check(self):
        world = self.world
        self.history = history = invariants.History(world.place, world.log_path)
        deaths = sum(row.state == "dead" for row in history.workers.values() if row.supervisor)
        self.broken += self.clients.broken + list(self.watch.broken.values())
        self.broken += invariants.check(history, self.clients.accepted, self.watch.finals,
                                        self.clients.cancelled, deaths, self._may_be_gone())
        self.broken += invariants.pauses(history, self.clients.pauses)
        self.broken += [Broken("I1", task_id, "is said to be deleted and is there")
                        for task_id in self.clients.deleted if task_id in history.tasks]
        self.broken += invariants.deaths_by_silence(history, self.watch.beats, world.postgres_away, self.watch.lease)
        for at, index, status in world.ended:
            if status not in ALLOWED_ENDS:
                self.broken.append(Broken("exit", "-", "worker %d ended with %d at %.2f" % (index, status, at)))
        for log in history.logs:
            for line in log.splitlines():
                if CRASHES.search(line):
                    self.broken.append(Broken("crash", "-", line))
        try:
            world.place.check_nothing_left()
        except AssertionError as left:
            self.broken.append(Broken("left", "-", str(left)))

    def _may_be_gone(self):
        """Those that somebody deleted, and those that were final for long enough when he pruned."""
        ended = {}
        for (task_id, _), (*_, finished_at) in self.watch.finals.items():
            ended[task_id] = max(finished_at, ended.get(task_id, 0))
        return self.clients.forgotten | {task_id for task_id, at in ended.items() if at < self.clients.pruned_until}

    def summary(self):
        history = self.history
        if not history:
            return "seed %d: did not come to its check" % self.seed
        ended = [row.ended for rows in history.attempts.values() for row in rows]
        starts = sum(len(history.ends(task_id)) for task_id in history.tasks)
        return ("seed %d: %d faults in %d s, %d tasks (%d accepted), %d starts (%s), %d died by the lease, "
                "%d cancels, %d operator retries, %d deleted, %d pauses, all final %.1f s after healing, %d looks: %s" % (
                    self.seed, len(self.plan), self.seconds, len(history.tasks), len(self.clients.accepted),
                    starts, ", ".join("%d %s" % (ended.count(word), word) for word in sorted(set(ended))),
                    len(history.silent), len(self.clients.cancelled), len(self.clients.retried), len(self.clients.deleted), len(self.clients.pauses),
                    self.drain_seconds, self.watch.looks,
                    "%d things are broken" % len(self.broken) if self.broken else "all invariants hold"))

    def report(self, most=8):
        """What is needed to understand a failure."""
        parts = ["seed %d, the faults:" % self.seed] + self.world.happened + ["broken:"]
        for broken in self.broken[:most]:
            parts.append("%s %s: %s" % broken)
            if self.history and broken.id in self.history.tasks:
                parts.append(self.history.of(broken.id))
        if len(self.broken) > most:
            parts.append("... and %d more" % (len(self.broken) - most))
        return "\n".join(parts)

    def keep_logs(self, folder):
        """Copies of the workers' logs, for who wants to read on."""
        os.makedirs(folder, exist_ok=True)
        for number, worker in enumerate(self.world.place.workers):
            with open(os.path.join(folder, "seed-%d-worker-%d.log" % (self.seed, number)), "w") as file:
                file.write(worker.log())

    def close(self):
        self.clients.over.set()
        if self.watch.is_alive():
            self.watch.stop()
        self.world.close()
        ctutor.reap_orphans()


def run_round(seed, seconds, logs=None, **shape):
    """(holds, summary, report) of one round."""
    one = Round(seed, seconds, **shape)
    try:
        holds = one.run()
        if not holds and logs:
            one.keep_logs(logs)
        return holds, one.summary(), "" if holds else one.report()
    finally:
        one.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="of the first round (default: drawn)")
    parser.add_argument("--minutes", type=float, help="how long to go on (default: one round)")
    parser.add_argument("--round", type=float, default=45, help="seconds of faults in a round (45)")
    parser.add_argument("--logs", help="folder for the workers' logs of a failed round")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    end = time.monotonic() + 60 * (options.minutes or 0)
    while True:
        holds, summary, report = run_round(seed, options.round, options.logs)
        print(summary, flush=True)
        if not holds:
            print(report)
            print("repeat with: ./dev nemesis --seed %d --round %g" % (seed, options.round))
            return 1
        if time.monotonic() >= end:
            return 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
