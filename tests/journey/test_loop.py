"""Tasks that hold the loop of their runner, and what it takes beyond Lua: seen and said."""

import re
import time
import unittest

from ctutor import JourneyTest, wait_until

# Three slices of 1.2 s, in the same second another name's.
SPIN = """
return { params = { seconds = "number", times = "integer" },
  execute = function(ctx, params)
    local time = require "ctutor.time"
    for i = 1, params.times do
      local till = time.monotonic() + params.seconds
      while time.monotonic() < till do end
      ctx.sleep(0)
    end
    return 1
  end }
"""
OUTPUT = """
return { memory = "8M", timeout = 60, execute = function(ctx)
  return require "ctutor.process".run { "sh", "-c",
    "head -c 250000000 /dev/zero >&2; head -c 250000000 /dev/zero; sleep 30", max_output = "256M" }
end }
"""


class LoopTest(JourneyTest):
    def setUp(self):
        for name, text in {"spin": SPIN, "spun": SPIN, "output": OUTPUT}.items():
            self.place.task(name, text)

    def result(self, task_id):
        return self.place.run("result", task_id, "--wait=60s", "--json").json

    def told(self, worker, name):
        return re.findall(r"task %s \((\S+)\) held its runner for (\d+) ms, until (\S+):" % name, worker.log())

    def test_long_slices_are_logged_with_task_and_line(self):
        with self.place.worker() as worker:
            long = self.place.submit("spin", "seconds=0.6", "times=2")
            self.assertEqual(self.result(long)["status"], "SUCCESS")
            short = self.place.submit("spun", "seconds=0.15", "times=5")
            self.assertEqual(self.result(short)["status"], "SUCCESS")
            quick = self.place.submit("spun", "seconds=0.03", "times=1")
            self.result(quick)
            (of_long, *_), (of_short, *rest) = self.told(worker, "spin"), self.told(worker, "spun")
            self.assertEqual((of_long[0], of_long[2]), (long, "spin.lua:8"))
            self.assertTrue(600 <= int(of_long[1]) < 900, of_long)
            self.assertEqual((of_short[0], of_short[2]), (short, "spun.lua:8"))
            self.assertEqual(rest, [], "once a second for each name")

    def lag(self):
        (row,) = self.place.run("workers", "--json").json["workers"]
        return row["loop_lag"]

    def test_the_lag_of_a_loop_is_seen_while_it_lasts_and_after(self):
        with self.place.worker(env={"CTUTOR_LEASE": "5s"}):
            wait_until(lambda: self.lag() < 0.5)
            still = self.place.submit("spin", "seconds=6", "times=1")
            began = time.monotonic()
            wait_until(lambda: self.lag() >= 1, 5, "while it stands still")
            self.assertLess(time.monotonic() - began, 5)
            self.result(still)
            wait_until(lambda: self.lag() >= 4, 3, "once it turns again")
            wait_until(lambda: self.lag() < 0.5, 6, "and then it is forgotten")

    def test_what_c_functions_hold_for_an_isolated_run_counts_too(self):
        with self.place.worker() as worker:
            runners = worker.runners()
            result = self.result(self.place.submit("output"))
            self.assertEqual((result["status"], result["error"]["kind"]), ("FAILURE", "memory"))
            self.assertIn("its process was killed", result["error"]["message"])
            self.assertEqual((result["failures"], worker.runners()), (1, runners))


if __name__ == "__main__":
    unittest.main()
