"""Wall clocks are set while everything runs: of single processes and of the stores. Deadlines, leases,
timeouts and delays do not move by it; delays are those of Postgres' clock."""

import os
import time
import unittest

import ctutor
from clocks import Clocks
from journey import stamps
from stores_case import NOTED

HOUR, DAYS = 3600, 3 * 86400
STUCK = 'return { timeout = 2, execute = function(ctx) ctx.sleep(30) end }'


class ClocksAreSet(ctutor.JourneyTest):
    """A worker with two runners; each of them and both stores have clocks that can be set."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clocks = Clocks(cls.place)
        cls.clocks.use("redis", cls.place.redis_server)
        cls.clocks.use("postgres", cls.place.postgres_server)
        cls.log = os.path.join(cls.place.root, "effects")
        cls.place.task("noted", NOTED)
        cls.place.task("stuck", STUCK)
        cls.worker = cls.place.start_worker(
            processes=2, env={**cls.clocks.env("worker"), "CTUTOR_LEASE": "3s"})
        cls.addClassCleanup(cls._leave)

    @classmethod
    def _leave(cls):
        status = cls.worker.stop()
        if status != 0:
            raise AssertionError("the worker left with %d:\n%s" % (status, cls.worker.log()))

    def submit(self, *args):
        return self.place.submit("noted", "log=" + self.log, *args)

    def result(self, task_id, status=0):
        return self.place.run("result", task_id, "--wait=30s", "--json").expect(status).json

    def living(self):
        return self.place.psql("SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1")

    def lateness(self, task_id):
        """Seconds from its time to its last start, both by Postgres' clock."""
        return float(self.place.value(
            "SELECT extract(epoch FROM started_at::timestamptz - run_at::timestamptz) FROM task_info WHERE task_id = '%s'" % task_id))

    def starts_of(self, task_id):
        return [line for line in stamps(self.log) if line.startswith("start " + task_id)]

    def step_and_look(self, *steps):
        """All kinds of waiting are under way when the clocks are set; each ends when it should."""
        running, delayed = self.submit("seconds=2"), self.submit("--delay=1.2s")
        failing, stuck = self.submit("fails:=true"), self.place.submit("stuck")
        for task_id in (running, stuck):
            self.place.wait_status(task_id, "STARTED")
        before, began = self.living(), time.monotonic()
        for step in steps:
            self.clocks.step(*step)
        late, fresh = self.submit("--delay=700ms"), self.submit()
        self.result(fresh)
        self.in_time(began, 4)
        self.assertEqual(self.result(stuck, 1)["error"]["kind"], "timeout")
        self.in_time(began, 5)
        for task_id, attempts in ((running, 1), (delayed, 1), (failing, 2), (late, 1)):
            self.assertEqual(self.result(task_id)["attempt"], attempts)
            self.assertEqual(len(self.starts_of(task_id)), attempts)
        self.in_time(began, 6)
        for task_id in (delayed, late):
            self.assertLess(self.lateness(task_id), 1)
        self.assertEqual(self.living(), before)

    def in_time(self, began, most):
        seconds = time.monotonic() - began
        self.assertLess(seconds, most, self.worker.log()[-4000:])

    def test_of_each_process(self):
        one, other = self.worker.runners()
        self.step_and_look(("worker", HOUR, self.worker.pid), ("worker", DAYS, one), ("worker", -DAYS, other))
        self.step_and_look(("worker", -HOUR, self.worker.pid))

    def test_of_the_keeper_between_two_delayed_tasks(self):
        for seconds in (-HOUR, DAYS):
            self.clocks.step("worker", seconds, self.worker.pid)
            late = self.submit("--delay=700ms")
            self.result(late)
            self.assertLess(self.lateness(late), 0.5)

    def test_of_a_client_by_weeks(self):
        env = self.clocks.env("client")
        for seconds in (40 * 86400, -80 * 86400):
            self.clocks.step("client", seconds)
            refused = self.place.run("submit", "noted", "log=" + self.log, env=env).expect(2)
            self.assertIn("set the clock", refused.err)

    def test_of_redis(self):
        for seconds in (HOUR, -DAYS):
            self.step_and_look(("redis", seconds))

    def test_of_postgres(self):
        """Delays are by its clock; all else goes on as if nothing had been."""
        for seconds in (HOUR, -2 * HOUR):
            running, stuck = self.submit("seconds=2"), self.place.submit("stuck")
            for task_id in (running, stuck):
                self.place.wait_status(task_id, "STARTED")
            before, began = self.living(), time.monotonic()
            self.clocks.step("postgres", seconds)
            fresh, late = self.submit(), self.submit("--delay=700ms")
            self.result(fresh)
            self.in_time(began, 4)
            self.assertEqual(self.result(stuck, 1)["error"]["kind"], "timeout")
            self.in_time(began, 5)
            for task_id in (running, late):
                self.assertEqual(self.result(task_id)["attempt"], 1)
            self.in_time(began, 6)
            self.assertEqual(self.living(), before)


if __name__ == "__main__":
    unittest.main()
