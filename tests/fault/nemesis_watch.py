"""Looks at the stores while the nemesis is at work: what must hold at every moment.

I6 no running row whose owner is dead for longer than lease + sweep; I7 no due task waits 10 s while
a slot is free and a living worker carries its name; I8 each hint names a known task and no start
that has not been. I6 and I7 speak of a system that is well: they count only what was seen while
nothing was wrong. Also notes since when each worker's heartbeat has stood still.
"""

import threading
import time
import uuid

import ctutor
import invariants
from invariants import Broken

SWEEP = 5.0
ELECTION = 6.0  # until a keeper leads again, beats and sweeps
WAITING = 10.0

DEAD_OWNERS = """
SELECT a.id, w.incarnation, extract(epoch FROM clock_timestamp() - w.ended_at) FROM active a
JOIN workers w ON w.incarnation = a.owner WHERE a.status = 1 AND w.state <> 'alive'
"""
DUE = """
SELECT a.id, a.starts FROM active a JOIN queues q ON q.name = a.queue AND NOT q.paused
WHERE a.status IN (0, 2) AND a.run_at <= now() AND a.cancel_at IS NULL
  AND EXISTS (SELECT FROM workers w WHERE w.state = 'alive' AND a.name = ANY (w.carries))
  AND (SELECT count(*) FROM active WHERE status = 1)
    < (SELECT sum(slots) FROM workers WHERE state = 'alive' AND supervisor IS NOT NULL)
"""
BEATS = "SELECT incarnation, heartbeat, extract(epoch FROM clock_timestamp()) FROM workers WHERE state = 'alive'"
STARTS = """
SELECT t.id, coalesce((SELECT starts FROM active a WHERE a.id = t.id),
                      (SELECT max(attempt) FROM outcomes o WHERE o.id = t.id))
FROM tasks t
"""


class Watch(threading.Thread):
    def __init__(self, world, may_be_gone, every=0.3):
        """may_be_gone(): ids that may have been deleted; of those a hint may be left that is dropped
        when somebody claims it."""
        super().__init__(daemon=True)
        self.world, self.place, self.every = world, world.place, every
        self.may_be_gone = may_be_gone
        self.lease = float(world.lease.rstrip("s"))
        self.broken, self.finals, self.looks = {}, {}, 0
        self.waiting, self.orphaned = {}, {}
        self.beats = {}  # incarnation -> (heartbeat, seconds since the epoch of the last look without it)
        self.looked_at = 0.0  # when beats were last read
        self.over = threading.Event()

    def stop(self):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(self.every):
            try:
                self.look()
                self.looks += 1
            except (AssertionError, OSError, ctutor.RedisError):
                self.waiting, self.orphaned = {}, {}  # a store is away

    def look(self):
        self._note_beats()
        if self.looks % 3 == 0:
            self._note_finals()
        self._look_at_hints()
        if self.world.calm_for() <= 0:
            self.waiting, self.orphaned = {}, {}
            return
        self._time(self.orphaned, [(row[0], row[1]) for row in self.place.psql(DEAD_OWNERS)],
                   self.lease + SWEEP + ELECTION, "I6", "runs for an owner that is dead for %.1f s")
        self._time(self.waiting, [(row[0], row[1]) for row in self.place.psql(DUE)],
                   WAITING + self.lease + SWEEP, "I7", "is due and waits for %.1f s")

    def _time(self, since, rows, most, invariant, text):
        """Each of the rows may be seen for so long, counted while nothing is wrong."""
        now = time.monotonic()
        calm = self.world.calm_for()
        for key in [key for key in since if key not in rows]:
            del since[key]
        for key in rows:
            since.setdefault(key, now)
            seconds = min(now - since[key], calm)
            if seconds > most:
                self.broken.setdefault((invariant, key[0]), Broken(invariant, key[0], text % seconds))

    def _note_beats(self):
        now = 0.0
        for incarnation, heartbeat, now in self.place.psql(BEATS):
            if self.beats.get(incarnation, (None,))[0] != heartbeat:
                self.beats[incarnation] = (heartbeat, self.looked_at or float(now))
        self.looked_at = float(now) or self.looked_at

    def _note_finals(self):
        for row in invariants.read_table(self.place, "outcomes", invariants.OUTCOMES):
            self.finals.setdefault((row.id, row.round), invariants.final_digest(row))

    def _look_at_hints(self):
        """Hints first: starts only count up."""
        ns = "{%s}" % self.place.namespace
        pairs = self.place.redis("HGETALL", ns + ":starts")
        hinted = {uuid.UUID(bytes=key): int(value) for key, value in zip(pairs[::2], pairs[1::2])}
        for member in self.place.redis("HKEYS", ns + ":claimed"):
            hinted.setdefault(uuid.UUID(bytes=member), 0)
        for queue in self.place.redis("SMEMBERS", ns + ":queues"):
            for member in self.place.redis("ZRANGE", ns + ":q:" + queue.decode(), 0, -1):
                hinted.setdefault(uuid.UUID(bytes=member), 0)
        if not hinted:
            return
        starts = {task_id: int(count) for task_id, count in self.place.psql(STARTS)}
        for task_id, count in hinted.items():
            known = starts.get(str(task_id))
            if count > known if known is not None else str(task_id) not in self.may_be_gone():
                self.broken[("I8", str(task_id))] = Broken(
                    "I8", str(task_id), "hint of start %d, the ledger knows %s" % (count, known))
