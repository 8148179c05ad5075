"""Aimed faults: small plans in which each event waits for the one before, so that a mistake of
mistakes.py shows every time, and a right program passes.

    partition  one worker is cut off from both stores while it runs tasks, Redis loses everything,
               the tasks are started again elsewhere; then the first worker's ends arrive.
    client     Postgres is gone for everybody while a client submits; then the client is killed.
    outage     Postgres is gone for everybody, for longer than the lease; one worker gets it back a
               moment later than the keeper does.
"""

import json
import random
import time

import ctutor
from nemesis import Round
from nemesis_clients import new_id
from nemesis_plan import LEASE


class Aimed(Round):
    """A round whose faults are those of a plan, and whose clients do only what it says."""

    drain_seconds_most, hint_seconds_most = 25, 12

    def __init__(self, plan):
        super().__init__(0, 0, workers=2, runners=1)
        self.clients.threads = []
        self.play = PLANS[plan]

    def _do_harm(self):
        self.play(self)
        self.world.turn(at_once=True)

    # -- what plans are made of --

    def until(self, condition, what, seconds=20):
        if not self._wait(condition, seconds):
            raise AssertionError("did not happen: %s\n%s" % (what, self._state()))

    def count(self, condition):
        return int(self.world.place.value("SELECT count(*) FROM active WHERE " + condition))

    def acting(self):
        """How many runs have done their first thing."""
        with open(self.world.log_path) as effects:
            return effects.read().count(" start ")

    def lines(self, count, seconds):
        return [{"id": new_id(), "task_name": "plain", "parameters": {"seconds": seconds}} for _ in range(count)]

    def leader_and_other(self):
        """Places of the worker that keeps, and of the other one."""
        def leader():
            pid = self.world.place.value("SELECT w.pid FROM keeper k JOIN workers w ON w.incarnation = k.holder")
            return [index for index, worker in enumerate(self.world.workers) if worker and str(worker.pid) == pid]

        self.until(leader, "somebody keeps")
        return leader()[0], 1 - leader()[0]


def partition(self):
    world, seconds = self.world, 3.5
    leader, other = self.leader_and_other()
    world.proxies[leader].redis.freeze()  # so that the other one runs them all
    self.clients._submit(self.lines(12, seconds))
    self.until(lambda: self.acting() == 12, "all are started")
    started = time.monotonic()
    world.proxies[leader].heal()
    world.proxies[other].redis.freeze()
    world.proxies[other].postgres.freeze()
    world.note("worker %d is cut off" % other)
    world._redis("FLUSHALL")
    world.note("FLUSHALL")
    self.until(lambda: self.count("status = 1 AND starts > 1") > 0, "what it ran is started again")
    self._wait(lambda: time.monotonic() > started + seconds + 1)  # its own runs are over
    world.proxies[other].heal()
    world.note("worker %d is back" % other)
    self._wait(lambda: False, 1)


def client(self):
    world = self.world
    process = world.place.start("submit", "--bulk", "-", "--json", stdin=-1)
    first, rest = self.lines(1, 0), self.lines(8, 0)
    write(process, first)
    answer = process.stdout.readline()
    # It has what it needs from the catalogue, and its insert is over.
    self.until(lambda: world.place.value("SELECT count(*) FROM outcomes") == "1", "the first task is done")
    for party in (0, 1):
        world.proxies[party].postgres.freeze()
    world.proxies["clients"].postgres.black_hole()
    world.note("Postgres is gone")
    write(process, rest)
    self._wait(lambda: False, 1.5)
    process.kill()
    told, _ = process.communicate()
    world.note("the client is killed, it had been told %d answers" % len(told.splitlines()))
    world.heal()
    self.clients._told(first + rest, [json.loads(line) for line in (answer + told).splitlines()])
    self.clients.again.clear()  # nobody asks again


def write(process, lines):
    process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
    process.stdin.flush()


def outage(self):
    world = self.world
    leader, other = self.leader_and_other()
    self.clients._submit(self.lines(6, 5))
    self.until(lambda: self.acting() == 6, "all are started")
    self._wait(lambda: False, 1)
    for party in world.parties:
        world.proxies[party].postgres.freeze()
    world.proxies[other].redis.freeze()  # it takes no hints that it cannot start
    world.note_postgres_away()
    world.note("Postgres is gone")
    self._wait(lambda: False, LEASE + 1)
    world.proxies[leader].heal()
    world.note_postgres_back()
    world.note("worker %d, the keeper, has it back" % leader)
    self._wait(lambda: False, 1)
    world.heal()


PLANS = {"partition": partition, "client": client, "outage": outage}


def run(plan):
    """(broken, summary, report) of one plan."""
    random.seed(0)
    one = Aimed(plan)
    try:
        one.run()
        return one.broken, one.summary(), one.report(most=4)
    finally:
        one.close()
        ctutor.reap_orphans()
