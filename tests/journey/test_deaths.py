"""Processes that die or stand still: nothing is lost, nobody is charged who did nothing, nothing is left running."""

import glob
import json
import os
import signal
import time
import unittest

from ctutor import JourneyTest, is_alive, reap_orphans, wait_until
from journey import STRAYS, strays

NAP = """
return {
  timeout = 120, params = { seconds = "number" },
  execute = function(ctx, params) ctx.sleep(params.seconds) return ctx.attempt end,
}
"""
HOT = """
return { timeout = 60, max_losses = %d, execute = function(ctx)
  if ctx.attempt > 1 then return ctx.attempt end
  ctx.sleep(0.01)
  while true do end
end }
"""
STUCK = """
return { execute = function() return 1 end,
  on_success = function(ctx) ctx.info("computes") string.find(("a"):rep(40), ("a*"):rep(20) .. "b") end }
"""
LEASE = 5
ENV = {"CTUTOR_LEASE": "%ds" % LEASE}


class DeathTest(JourneyTest):
    def setUp(self):
        for name, text in {"nap": NAP, "hot": HOT % 3, "once": HOT % 0, "last": HOT % 1, "strays": STRAYS,
                           "stuck": STUCK}.items():
            self.place.task(name, text)

    def started(self, *args):
        task_id = self.place.submit(*args)
        self.place.wait_status(task_id, "STARTED")
        return task_id

    def result(self, task_id, seconds=60):
        return self.place.run("result", task_id, "--wait=%ds" % seconds, "--json").json

    def check_attempt(self, task_id, attempt):
        result = self.result(task_id)
        self.assertEqual((result["status"], result["attempt"], result["failures"], result["errors"]),
                         ("SUCCESS", attempt, 0, []))

    def budgets(self, task_id):
        return self.place.psql("SELECT status, starts, failures, losses, unwitnessed FROM active "
                               "WHERE id = '%s'" % task_id)

    def fenced(self):
        (row,) = self.place.run("workers", "--json").expect(0).json["workers"]
        return row["fenced"]

    def directories(self):
        return glob.glob(os.path.join(self.place.tmp, "ctutor-run-*", "*", "*"))

    # ---- a runner ----

    def test_a_hook_that_costs_processes_is_given_up(self):
        with self.place.worker(env=ENV) as worker:
            nap, stuck = self.started("nap", "seconds=3"), self.place.submit("stuck")
            for time_ in range(1, 4):
                wait_until(lambda: worker.log().count("computes") == time_)
                (runner,) = worker.runners()
                os.kill(runner, signal.SIGKILL)
                wait_until(lambda: not is_alive(runner))
            wait_until(lambda: "on_success of stuck (%s) is given up" % stuck in worker.log())
            wait_until(lambda: self.place.value("SELECT count(*) FROM hooks_owed") == "0")
            self.check_attempt(stuck, 1)
            neighbour = self.result(nap)
            self.assertEqual((neighbour["status"], neighbour["failures"], neighbour["errors"]), ("SUCCESS", 0, []))

    def test_what_a_killed_runner_left_behind_is_gone(self):
        with self.place.worker() as worker:
            task_id = self.started("strays")
            wait_until(lambda: len(strays()) == 4)
            self.assertTrue(self.directories())
            os.kill(worker.runners()[0], signal.SIGKILL)
            wait_until(lambda: not strays(), 5, "no subprocess survives 5 s")
            self.check_attempt(task_id, 2)
            wait_until(lambda: not self.directories(), 5)

    def test_who_computed_is_charged_and_its_neighbour_is_not(self):
        with self.place.worker() as worker:
            nap = self.started("nap", "seconds=3")
            hot = self.started("hot")
            time.sleep(0.5)  # it spins by now; nothing tells from outside
            os.kill(worker.runners()[0], signal.SIGKILL)
            self.check_attempt(nap, 2)
            result = self.result(hot)
            self.assertEqual((result["status"], result["attempt"], result["failures"]), ("SUCCESS", 2, 0))
            self.assertEqual([error["kind"] for error in result["errors"]], ["worker_lost"])

    def test_a_killed_runner_loses_none_of_its_many(self):
        line = json.dumps({"task_name": "nap", "parameters": {"seconds": 3}}) + "\n"
        with self.place.worker(processes=2) as worker:
            ids = self.place.run("submit", "--bulk", "-", input=line * 200).expect(0).lines
            wait_until(lambda: self.place.value("SELECT count(*) FROM active WHERE status = 1") == "200", 20)
            busy = self.place.value("SELECT w.pid FROM active a JOIN workers w ON w.incarnation = a.owner LIMIT 1")
            os.kill(int(busy), signal.SIGKILL)  # the other one may have come too late for a share
            for task_id in ids:
                self.place.run("result", task_id, "--wait=60s").expect(0)
            mine = "id = ANY('{%s}')" % ",".join(ids)
            self.assertEqual(self.place.value("SELECT sum(losses + failures) FROM outcomes WHERE " + mine), "0")
            self.assertGreater(int(self.place.value("SELECT count(*) FROM attempts WHERE ended = 'released' AND " + mine)), 0)
            wait_until(lambda: len(worker.runners()) == 2, 10)

    def test_a_culprit_ends_when_its_losses_are_used_up(self):
        with self.place.worker() as worker:
            task_id = self.started("last")
            time.sleep(0.5)  # it spins by now; nothing tells from outside
            os.kill(worker.runners()[0], signal.SIGKILL)
            result = self.result(task_id)
            self.assertEqual((result["status"], result["error"]["kind"], result["attempt"]), ("FAILURE", "worker_lost", 1))
            self.assertIn("loss 1 of 1", result["error"]["message"])

    def test_a_run_past_its_timeout_takes_all_it_started_along(self):
        with self.place.worker():
            task_id = self.started("strays", "--timeout=2s")
            wait_until(lambda: len(strays()) == 4)
            self.assertEqual(self.result(task_id)["error"]["kind"], "timeout")
            wait_until(lambda: not strays(), 5, "no subprocess survives 5 s")

    def test_never_run_twice_means_never(self):
        with self.place.worker() as worker:
            task_id = self.started("once")
            os.kill(worker.runners()[0], signal.SIGKILL)
            result = self.result(task_id)
            self.assertEqual((result["status"], result["error"]["kind"], result["attempt"]),
                             ("FAILURE", "worker_lost", 1))

    def test_a_drain_that_must_kill_charges_nobody(self):
        worker = self.place.start_worker(grace="500ms")
        nap, hot = self.started("nap", "seconds=100"), self.started("hot")
        time.sleep(0.5)
        self.assertEqual(worker.stop(), 0)
        for task_id in (hot, nap):
            self.assertEqual(self.budgets(task_id), [("0", "1", "0", "0", "0")])
        self.place.run("cancel", hot, nap).expect(0)

    def test_a_runner_that_stood_still_for_the_lease_starts_anew(self):
        with self.place.worker(env={"CTUTOR_LEASE": "3s"}) as worker:
            task_id = self.started("nap", "seconds=6")
            (runner,) = worker.runners()
            os.kill(runner, signal.SIGSTOP)
            time.sleep(4.5)
            os.kill(runner, signal.SIGCONT)
            wait_until(lambda: not is_alive(runner), 3)
            self.assertIn("I stood still", worker.log())
            self.check_attempt(task_id, 2)
            wait_until(lambda: self.fenced() == 1, 3, "it is counted")

    # ---- a supervisor ----

    def test_runners_end_with_their_supervisor_and_take_all_along(self):
        worker = self.place.start_worker(processes=2)
        task_id = self.started("strays")
        wait_until(lambda: len(strays()) == 4)
        runners = worker.runners()
        worker.signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, runners)), 5)
        wait_until(lambda: not strays(), 5)
        worker.wait()
        began = time.monotonic()
        with self.place.worker():  # on the same machine nobody waits for a lease
            self.check_attempt(task_id, 2)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_supervisor_that_stands_still_is_replaced_and_leaves_when_it_wakes(self):
        still = self.place.start_worker(name="still", env=ENV)
        task_id = self.started("nap", "seconds=8")
        with self.place.worker(name="heir", env=ENV):
            runners = still.runners()
            began = time.monotonic()
            still.signal(signal.SIGSTOP)
            wait_until(lambda: not any(map(is_alive, runners)), LEASE, "they fence themselves in time")
            info = self.place.wait_status(task_id, "SUCCESS", seconds=60)
            self.assertLess(time.monotonic() - began, LEASE + 7 + 8 + 2)
            self.assertEqual((info["worker"], info["attempt"], info["failures"]), ("heir", 2, 0))
            still.signal(signal.SIGCONT)
            self.assertEqual(still.wait(20), 75)
            self.assertIn("declared dead", still.log())

    # ---- a whole worker ----

    def test_a_killed_worker_is_taken_over_and_a_living_one_is_left_alone(self):
        with self.place.worker(name="heir", env=ENV, processes=2):
            mine = [self.started("nap", "seconds=18") for _ in range(10)]
            doomed = self.place.start_worker(name="doomed", env=ENV, queues="doomed,default")
            his = [self.started("nap", "seconds=6", "--queue=doomed") for _ in range(3)]
            doomed.kill_group()
            dead = time.monotonic()
            self.place.run("queues", "pause", "doomed").expect(0)
            wait_until(lambda: all(self.budgets(one)[0][0] == "0" for one in his), LEASE + 7)
            self.assertGreater(time.monotonic() - dead, LEASE - 2, "not before the lease is over")
            self.place.run("queues", "resume", "doomed").expect(0)
            with self.place.worker(name="third", queues="doomed"):
                for task_id in his:
                    self.check_attempt(task_id, 2)
            for task_id in mine:
                self.check_attempt(task_id, 1)

    def test_the_next_worker_of_a_machine_buries_the_last_one(self):
        worker = self.place.start_worker(name="phoenix")
        task_id = self.started("strays")
        wait_until(lambda: len(strays()) == 4)
        nap = self.started("nap", "seconds=2")
        worker.kill_group()
        reap_orphans()
        self.assertTrue(self.directories())
        began = time.monotonic()
        with self.place.worker(name="phoenix"):
            self.assertEqual(strays(), [])
            self.check_attempt(task_id, 2)
            self.check_attempt(nap, 2)
            self.assertLess(time.monotonic() - began, 10, "nobody waited for a lease")
            wait_until(lambda: not self.directories(), 5)


if __name__ == "__main__":
    unittest.main()
