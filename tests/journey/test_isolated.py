"""Tasks in processes of their own: because their file says so, or because they have blocked a loop."""

import os
import re
import signal
import time
import unittest

from ctutor import JourneyTest, is_alive, wait_until

# One C call that does not return in this life, unless told to be quick.
BACKTRACK = """
local process = require "ctutor.process"
return { timeout = 2, retries = { max = 5, backoff = "fixed", base = 0.1 }, params = { quick = { type = "integer", default = 9 } },
  execute = function(ctx, params)
    ctx.info("pid " .. process.run{ "sh", "-c", "echo $PPID" }.stdout)
    ctx.sleep(0.1) -- so that the line is on its way
    if ctx.attempt >= params.quick then return ctx.attempt end
    string.find(("a"):rep(40), ("a*"):rep(20) .. "b")
    -- %s
  end }
"""
PID = 'require "ctutor.process".run{ "sh", "-c", "echo $PPID" }.stdout'
ALONE = """
return { isolate = true, params = { seconds = { type = "number", default = 0 } },
  execute = function(ctx, params) local pid = %s ctx.sleep(params.seconds) return tonumber(pid) end }
""" % PID
TOGETHER = """
return { params = { seconds = { type = "number", default = 0 } },
  execute = function(ctx, params) local pid = %s ctx.sleep(params.seconds) return tonumber(pid) end }
""" % PID
NAP = """
return { timeout = 120, params = { seconds = "number" },
  execute = function(ctx, params) ctx.sleep(params.seconds) return ctx.attempt end }
"""
GREEDY = """
return { memory = "64M", timeout = 60, retries = { max = 1, backoff = "fixed", base = 0.1 },
  params = { way = "string" },
  execute = function(ctx, params)
    local kept = {}
    if params.way == "tables" then for i = 1, 1e9 do kept[i] = { i } end end
    if params.way == "text" then local text = "x" while true do text = text .. text end end
    if params.way == "caught" then
      local good, why = pcall(function() for i = 1, 1e9 do kept[i] = { i } end end)
      kept = nil
      error("I was told: " .. why)
    end
    if params.way == "garbage" then
      for i = 1, 3e6 do kept[i %% 1000] = { i, i, i } end
      return "well"
    end
  end,
  on_failure = function(ctx, err) ctx.info("hook " .. err.kind .. " " .. #("x"):rep(1e6)) end }
""".replace("%%", "%")
HOT = "return { isolate = true, timeout = 1, execute = function() while true do end end }"
HOOKED = """
return { isolate = true, execute = function() return 1 end,
  on_success = function(ctx, result) ctx.info("hook ran") end }
"""


class IsolatedTest(JourneyTest):
    def setUp(self):
        for name, text in {"backtrack": BACKTRACK % 1, "alone": ALONE, "together": TOGETHER, "nap": NAP,
                           "greedy": GREEDY, "hot": HOT, "hooked": HOOKED}.items():
            self.place.task(name, text)

    def result(self, task_id, seconds=60):
        return self.place.run("result", task_id, "--wait=%ds" % seconds, "--json").json

    def started(self, *args):
        task_id = self.place.submit(*args)
        self.place.wait_status(task_id, "STARTED")
        return task_id

    def pids(self, task_id):
        logs = self.place.run("logs", task_id).expect(0).out
        return [int(pid) for pid in re.findall(r"pid (\d+)", logs)]

    # ---- because it blocked ----

    def test_what_blocked_a_loop_runs_alone_until_its_file_changes(self):
        with self.place.worker() as worker:
            naps = [self.started("nap", "seconds=10") for _ in range(5)]
            (runner,) = worker.runners()
            began = time.monotonic()
            first = self.started("backtrack", "quick=3")
            wait_until(lambda: not is_alive(runner), 10)
            self.assertLess(time.monotonic() - began, 4)
            for nap in naps:
                info = self.place.wait_status(nap, "STARTED")
                self.assertEqual(info["failures"], 0)
            heirs = set(worker.runners())
            result = self.result(first)
            self.assertEqual((result["status"], result["result"], result["failures"]), ("SUCCESS", 3, 2))
            self.assertEqual([error["kind"] for error in result["errors"]], ["timeout", "timeout"])
            for nap in naps:  # they began anew once, and felt nothing of the second time
                self.assertEqual((self.result(nap)["result"], self.result(nap)["failures"]), (2, 0))
            pids = self.pids(first)
            self.assertEqual(len(set(pids)), 3)
            self.assertEqual(pids[0], runner)
            self.assertTrue(set(worker.runners()) & heirs)
            self.assertFalse(set(worker.runners()) & set(pids))
            self.assertTrue(self.place.run("tasks", "show", "backtrack", "--json").json["isolate"])
            delayed = self.place.submit("backtrack", "quick=1", "--delay=1s")
            self.assertEqual(self.result(delayed)["status"], "SUCCESS")
            self.assertNotIn(self.pids(delayed)[0], worker.runners())

            self.place.task("backtrack", BACKTRACK % 2)
            self.place.run("worker", "reload").expect(0)
            self.assertFalse(self.place.run("tasks", "show", "backtrack", "--json").json["isolate"])
            again = self.place.submit("backtrack", "quick=1")
            self.assertEqual(self.result(again)["status"], "SUCCESS")
            self.assertIn(self.pids(again)[0], worker.runners())

    def test_hints_move_when_a_task_begins_or_ceases_to_be_alone(self):
        with self.place.worker(isolated=1) as worker:
            self.place.run("queues", "pause", "default").expect(0)
            together = [self.place.submit("together") for _ in range(3)]
            alone = [self.place.submit("alone") for _ in range(3)]
            self.place.task("together", ALONE)
            self.place.task("alone", TOGETHER)
            self.place.run("worker", "reload").expect(0)
            began = time.monotonic()
            self.place.run("queues", "resume", "default").expect(0)
            for task_id in alone:
                self.assertIn(self.result(task_id)["result"], worker.runners())
            for task_id in together:
                self.assertNotIn(self.result(task_id)["result"], worker.runners())
            self.assertLess(time.monotonic() - began, 15)

    def test_a_hint_that_nobody_claims_any_more_is_found(self):
        with self.place.worker(isolated=0) as worker:
            alone = self.place.submit("alone")
            self.place.task("alone", TOGETHER)
            self.place.run("worker", "reload").expect(0)
            began = time.monotonic()
            self.assertIn(self.result(alone)["result"], worker.runners())
            self.assertLess(time.monotonic() - began, 8)

    def test_code_of_a_running_one_stays(self):
        with self.place.worker():
            running = self.started("alone", "seconds=1.5")
            self.place.task("alone", ALONE + "-- anew")
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.result(running)["status"], "SUCCESS")
            later = self.result(self.place.submit("alone"))
            self.assertNotEqual(later["task_version"], self.result(running)["task_version"])

    # ---- because its file says so ----

    def test_it_has_a_process_of_its_own(self):
        with self.place.worker() as worker:
            runners = worker.runners()
            pids = [self.result(self.place.submit("alone"))["result"] for _ in range(2)]
            self.assertEqual(len(set(pids) | set(runners)), 3)
            wait_until(lambda: not worker.isolated(), 5, "it leaves when it is done")
            self.assertEqual(worker.runners(), runners)
            self.assertIn(self.result(self.place.submit("together"))["result"], runners)
            self.assertNotIn("exited with", worker.log())

    def test_one_slot_runs_one_after_another(self):
        with self.place.worker(isolated=1):
            tasks = [self.place.submit("alone", "seconds=0.3") for _ in range(5)]
            spans = []
            for task_id in tasks:
                info = self.result(task_id)
                self.assertEqual(info["status"], "SUCCESS")
                spans.append((info["started_at"], info["finished_at"]))
            for before, after in zip(spans, spans[1:]):
                self.assertLessEqual(before[1], after[0])

    def test_slots_of_their_own(self):
        with self.place.worker(concurrency=1, isolated=2) as worker:
            self.started("nap", "seconds=4")  # the only normal slot
            both = [self.started("alone", "seconds=1.5") for _ in range(2)]
            third = self.place.submit("alone")
            wait_until(lambda: len(worker.isolated()) == 2)
            (row,) = self.place.run("workers", "--json").json["workers"]
            self.assertEqual(sum(one["isolated"] for one in row["runners"]), 2)
            for task_id in both + [third]:
                self.assertEqual(self.result(task_id)["status"], "SUCCESS")
        with self.place.worker(isolated=0):
            left = self.place.submit("alone")
            self.result(self.place.submit("together"))
            self.assertEqual(self.place.run("status", left, "--json").json["status"], "PENDING")
            self.place.run("cancel", left).expect(0)

    def test_pause_and_counts_are_of_the_queue(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            task_id = self.place.submit("alone")
            time.sleep(1.5)
            self.assertEqual(self.place.run("status", task_id, "--json").json["status"], "PENDING")
            queues = self.place.run("queues", "--json").json["queues"]
            self.assertEqual([one["name"] for one in queues], ["default", "high_priority", "low_priority"])
            self.assertEqual(queues[0]["waiting"], 1)
            audit = self.place.run("audit", "--json").expect(0).json
            self.assertEqual(audit["hints"]["waiting"], 1)
            self.place.run("queues", "resume", "default").expect(0)
            self.assertEqual(self.result(task_id)["status"], "SUCCESS")

    def test_its_hooks_run(self):
        with self.place.worker():
            self.result(self.place.submit("hooked"))
            wait_until(lambda: "hook ran" in self.place.workers[-1].log(), 10)

    def test_a_burst_runs_them_too(self):
        with self.place.worker(isolated=0):
            tasks = [self.place.submit("alone") for _ in range(3)]
        worker = self.place.start_worker(burst=True, isolated=1, ready=False)
        self.assertEqual(worker.wait(), 0)
        for task_id in tasks:
            self.assertEqual(self.place.run("status", task_id, "--json").json["status"], "SUCCESS")

    def test_here_it_is_alone_as_well(self):
        done = self.place.run("tasks", "run", "greedy", "way=tables")
        self.assertEqual(done.status, 1)
        self.assertIn("memory: not enough memory: it may take 64 MiB", done.err)

    # ---- its end ----

    def test_memory_is_exact(self):
        with self.place.worker() as worker:
            runners = worker.runners()
            for way in "tables", "text", "caught":
                result = self.result(self.place.submit("greedy", "way=" + way))
                self.assertEqual((result["status"], result["attempt"]), ("FAILURE", 2), way)
                self.assertEqual([one["kind"] for one in result["errors"]], ["memory", "memory"], way)
                self.assertIn("64 MiB", result["error"]["message"])
            self.assertEqual(self.result(self.place.submit("greedy", "way=garbage"))["result"], "well")
            wait_until(lambda: worker.log().count("hook memory 1000000") == 3, 10)
            self.assertEqual(worker.runners(), runners)
            self.assertNotIn("signal", worker.log())

    def test_a_killed_one_starts_again(self):
        with self.place.worker() as worker:
            task_id = self.started("alone", "seconds=1")
            (pid,) = wait_until(lambda: worker.isolated())
            os.kill(pid, signal.SIGKILL)
            result = self.result(task_id)
            self.assertEqual((result["status"], result["attempt"], result["failures"]), ("SUCCESS", 2, 0))

    def test_cancel(self):
        with self.place.worker():
            task_id = self.started("alone", "seconds=60")
            self.place.run("cancel", task_id).expect(0)
            self.assertEqual(self.result(task_id, 5)["status"], "REVOKED")
            self.place.run("queues", "pause", "default").expect(0)
            waiting = self.place.submit("alone")
            self.place.run("cancel", waiting).expect(0)
            self.place.run("queues", "resume", "default").expect(0)

    def test_a_hot_loop_times_out(self):
        with self.place.worker() as worker:
            result = self.result(self.place.submit("hot"))
            self.assertEqual((result["status"], result["error"]["kind"]), ("FAILURE", "timeout"))
            self.assertLess(result["duration"], 1.5)
            self.assertNotIn("killing", worker.log())

    def test_drain_waits_and_then_gives_back(self):
        worker = self.place.start_worker(grace="20s")
        short = self.started("alone", "seconds=1.5")
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.place.run("status", short, "--json").json["status"], "SUCCESS")
        worker = self.place.start_worker(grace="20s")
        long = self.started("alone", "seconds=60")
        worker.signal(signal.SIGTERM)
        wait_until(lambda: "draining" in worker.log())
        worker.signal(signal.SIGTERM)
        self.assertEqual(worker.wait(10), 0)
        info = self.place.run("status", long, "--json").json
        self.assertEqual((info["status"], info["failures"]), ("PENDING", 0))
        self.place.run("cancel", long).expect(0)

    def test_they_end_with_their_supervisor(self):
        worker = self.place.start_worker()
        task_id = self.started("alone", "seconds=2")
        (pid,) = wait_until(lambda: worker.isolated())
        worker.signal(signal.SIGKILL)
        worker.wait()
        wait_until(lambda: not is_alive(pid), 5)
        with self.place.worker():
            self.assertEqual(self.result(task_id)["attempt"], 2)


if __name__ == "__main__":
    unittest.main()
