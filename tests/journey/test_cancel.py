"""Cancel, retry and delete: of one task, of several, of all that a filter matches."""

import os
import signal
import time
import unittest

import ctutor
import journey

SLEEPER = """
return {
  params = { seconds = { type = "number", default = 600 }, tag = { type = "string", optional = true } },
  execute = function(ctx, params) ctx.sleep(params.seconds) return "slept" end,
}
"""
RETURNING = """
return { execute = function(ctx)
  local first = pcall(ctx.sleep, 600)
  local cancelled = ctx.cancelled()
  local second = pcall(ctx.sleep, 0.01)
  return { first, cancelled, second }
end }
"""
STUBBORN = """
return { execute = function(ctx)
  while true do pcall(ctx.sleep, 0.05) pcall(ctx.sleep, 600) end
end }
"""
SPINNING = """
return { timeout = "20s", execute = function() while true do end end }
"""
SUBPROCESS = """
local process = require "ctutor.process"
return {
  params = { script = "string" },
  execute = function(ctx, params)
    ctx.info("starts it")
    return process.run { "sh", "-c", params.script, timeout = "10m" }
  end,
}
"""
FAIL = """
return { retries = 0, params = { tag = { type = "string", optional = true } },
         execute = function(ctx)
           if ctx.attempt >= 3 then return { attempt = ctx.attempt, failures = ctx.failures } end
           error("not yet", 0)
         end }
"""
SLOW_RETRY = """
return { retries = { max = 3, backoff = "fixed", base = "1h", jitter = false },
         execute = function() error("broken", 0) end }
"""


class CancelTest(journey.ServedTest):
    files = {"sleeper": SLEEPER, "returning": RETURNING, "stubborn": STUBBORN, "subprocess": SUBPROCESS,
             "fail": FAIL, "slow_retry": SLOW_RETRY}
    settings = {"CTUTOR_LEASE": "5s"}

    def cancel(self, *ids, status=0):
        """What the command answers, as JSON."""
        return self.run_("cancel", *ids, "--json", status=status).json

    def check_revoked(self, task_id, seconds):
        began = time.monotonic()
        result = self.result(task_id, status=1)
        self.assertLess(time.monotonic() - began, seconds)
        self.assertEqual((result["status"], result["error"]["kind"]), ("REVOKED", "cancelled"))
        self.assertFalse(result["result_available"])
        return result

    # -- cancel --

    def test_a_waiting_task_is_revoked_at_once(self):
        self.run_("queues", "pause", "low_priority")
        task_id = self.place.submit("sleeper", "--queue=low_priority")
        self.assertEqual(self.cancel(task_id), [{
            "task_id": task_id, "status": "cancelled", "task_status": "REVOKED",
            "message": "it was waiting"}])
        self.run_("queues", "resume", "low_priority")
        result = self.run_("result", task_id, "--json", status=1).json
        self.assertEqual((result["status"], result["error"]["kind"], result["attempt"]),
                         ("REVOKED", "cancelled", 0))

    def test_a_delayed_task_is_revoked_at_once(self):
        task_id = self.place.submit("sleeper", "--delay=1h")
        self.assertIn("cancelled", self.run_("cancel", task_id).out)
        self.assertEqual(self.info(task_id)["status"], "REVOKED")
        self.run_("result", task_id, status=1)

    def test_a_task_between_two_attempts_is_revoked_at_once(self):
        task_id = self.place.submit("slow_retry")
        self.place.wait_status(task_id, "RETRY")
        self.assertEqual(self.cancel(task_id)[0]["status"], "cancelled")
        result = self.run_("result", task_id, "--json", status=1).json
        self.assertEqual((result["status"], result["error"]["kind"]), ("REVOKED", "cancelled"))

    def test_a_running_task_hears_of_it_at_its_wait(self):
        task_id = self.place.submit("sleeper")
        self.wait_started(task_id)
        answer = self.cancel(task_id)[0]
        self.assertEqual((answer["status"], answer["task_status"]), ("cancelling", "STARTED"))
        result = self.check_revoked(task_id, 3)
        self.assertIsNotNone(result["cancel_requested_at"])
        self.assertLess(result["duration"], 30)

    def test_each_wait_raises_after_a_cancel_and_a_normal_return_is_a_success(self):
        task_id = self.place.submit("returning")
        self.wait_started(task_id)
        self.cancel(task_id)
        result = self.result(task_id)
        self.assertEqual((result["status"], result["result"]), ("SUCCESS", [False, True, False]))

    def test_a_task_that_ignores_it_is_ended_after_its_grace(self):
        task_id = self.place.submit("stubborn")
        self.wait_started(task_id)
        began = time.monotonic()
        self.cancel(task_id)
        result = self.check_revoked(task_id, 15)
        self.assertGreater(time.monotonic() - began, 4)
        self.assertEqual(result["attempt"], 1)

    def test_the_subprocesses_of_a_cancelled_task_are_gone(self):
        script = "sleep 3071 & setsid sleep 3072 & trap '' TERM; sleep 3073; sleep 3074"
        task_id = self.place.submit("subprocess", "script=" + script)

        def sleeping():
            return [pid for pid in ctutor.descendants(os.getpid())
                    if ctutor.command_line(pid).startswith("sleep 307")]

        ctutor.wait_until(lambda: len(sleeping()) == 3, 20)
        self.cancel(task_id)
        self.check_revoked(task_id, 10)
        ctutor.wait_until(lambda: not sleeping(), 15, "no subprocess is left")

    def test_cancelling_twice_is_harmless(self):
        task_id = self.place.submit("sleeper")
        self.wait_started(task_id)
        self.cancel(task_id)
        self.place.run("cancel", task_id)
        self.check_revoked(task_id, 6)

    def test_a_final_task_cannot_be_cancelled(self):
        task_id = self.place.submit("sleeper", "seconds=0")
        self.result(task_id)
        answer = self.cancel(task_id, status=6)[0]
        self.assertEqual((answer["status"], answer["task_status"]), ("refused", "SUCCESS"))
        self.assertEqual(self.info(task_id)["status"], "SUCCESS")

    def test_several_ids_are_all_tried_and_the_first_trouble_is_the_status(self):
        done = self.place.submit("sleeper", "seconds=0")
        self.result(done)
        waiting = self.place.submit("sleeper", "--delay=1h")
        answers = self.cancel(journey.ABSENT_ID, done, waiting, status=4)
        self.assertEqual([answer["task_id"] for answer in answers], [journey.ABSENT_ID, done, waiting])
        self.assertEqual(answers[2]["status"], "cancelled")
        again = self.cancel(done, journey.ABSENT_ID, status=6)
        self.assertEqual(len(again), 2)

    def test_cancel_reaches_a_running_task_while_redis_is_away(self):
        task_id = self.place.submit("sleeper")
        self.wait_started(task_id)
        self.place.redis_server.stop(signal.SIGKILL)
        try:
            began = time.monotonic()
            self.assertEqual(self.cancel(task_id)[0]["status"], "cancelling")
            self.place.wait_status(task_id, "REVOKED", seconds=10)
            self.assertLess(time.monotonic() - began, 5)  # a heartbeat is 1 s, a fifth of the lease
        finally:
            self.place.redis_server.start()

    # -- filters --

    def test_a_filter_cancels_what_it_matches_and_a_dry_run_nothing(self):
        tagged = [self.place.submit("sleeper", "--tag=batch", "--delay=1h") for _ in range(3)]
        tagged.append(self.place.submit("sleeper", "--tag=batch"))
        other = self.place.submit("sleeper", "--tag=other", "--delay=1h")
        self.wait_started(tagged[3])
        self.assertEqual(self.run_("cancel", "--tag=batch", "--dry-run", "--json").json["matched"], 4)
        self.assertEqual(self.info(tagged[0])["status"], "PENDING")
        self.assertIn("--yes", self.run_("cancel", "--tag=batch", status=2).err)
        self.assertEqual(self.info(tagged[0])["status"], "PENDING")
        tally = self.run_("cancel", "--tag=batch", "--yes", "--json").json
        self.assertEqual(tally, {"matched": 4, "done": 4, "refused": 0})
        for task_id in tagged:
            self.place.wait_status(task_id, "REVOKED")
        self.assertEqual(self.info(other)["status"], "PENDING")
        self.run_("cancel", other)

    def test_without_ids_and_filters_nothing_is_touched(self):
        for command in ("cancel", "retry", "delete"):
            self.run_(command, status=2)
            self.run_(command, "--yes", status=2)
            self.run_(command, journey.ABSENT_ID, "--tag=x", "--yes", status=2)

    # -- retry --

    def test_a_retried_task_is_a_new_round_of_the_same_id(self):
        task_id = self.place.submit("fail")
        self.result(task_id, status=1)
        answer = self.run_("retry", task_id, "--json").json[0]
        self.assertEqual((answer["task_id"], answer["status"]), (task_id, "retried"))
        result = self.result(task_id, status=1)
        self.assertEqual((result["attempt"], result["failures"], result["max_attempts"]), (2, 1, 1))
        self.run_("retry", task_id)
        result = self.result(task_id)
        self.assertEqual((result["status"], result["attempt"], result["failures"]), ("SUCCESS", 3, 0))
        self.assertEqual(result["result"], {"attempt": 3, "failures": 0})
        self.assertEqual([error["attempt"] for error in result["errors"]], [1, 2])
        self.assertIsNone(result["error"])

    def test_a_revoked_task_can_be_retried_and_its_expiry_is_gone(self):
        task_id = self.place.submit("sleeper", "seconds=0", "--delay=1h", "--expires=2h")
        self.cancel(task_id)
        self.run_("retry", task_id)
        result = self.result(task_id)
        self.assertEqual((result["status"], result["expires_at"]), ("SUCCESS", None))

    def test_only_failed_and_revoked_tasks_can_be_retried(self):
        done = self.place.submit("sleeper", "seconds=0")
        self.result(done)
        waiting = self.place.submit("sleeper", "--delay=1h")
        for task_id in (done, waiting):
            self.assertEqual(self.run_("retry", task_id, "--json", status=6).json[0]["status"], "refused")
        self.cancel(waiting)

    def test_a_filter_retries_the_failed_ones(self):
        ids = [self.place.submit("fail", "--tag=fails") for _ in range(3)]
        for task_id in ids:
            self.result(task_id, status=1)
        tally = self.run_("retry", "--status=failure", "--tag=fails", "--yes", "--json").json
        self.assertEqual(tally["done"], 3)
        for task_id in ids:
            self.assertEqual(self.result(task_id, status=1)["attempt"], 2)

    def test_a_retry_does_not_take_a_unique_key_from_its_holder(self):
        first = self.place.submit("sleeper", "--delay=1h", "--unique=seat")
        self.cancel(first)
        holder = self.place.submit("sleeper", "--delay=1h", "--unique=seat")
        answer = self.run_("retry", first, "--json", status=6).json[0]
        self.assertIn("unique", answer["message"])
        self.cancel(holder)

    # -- delete --

    def test_a_deleted_task_is_forgotten_with_all_it_had(self):
        task_id = self.place.submit("fail", "--tag=gone")
        self.result(task_id, status=1)
        self.assertEqual(self.run_("delete", task_id, "--json").json[0]["status"], "deleted")
        for command in ("status", "result", "logs", "delete"):
            self.run_(command, task_id, status=4)
        self.assertEqual(self.run_("list", "--tag=gone", "--json").json["tasks"], [])

    def test_only_final_tasks_can_be_deleted(self):
        task_id = self.place.submit("sleeper", "--delay=1h")
        self.assertEqual(self.run_("delete", task_id, "--json", status=6).json[0]["status"], "refused")
        self.assertEqual(self.info(task_id)["status"], "PENDING")
        self.cancel(task_id)

    def test_a_filter_deletes_final_tasks_only(self):
        final = self.place.submit("sleeper", "seconds=0", "--tag=mixed")
        self.result(final)
        waiting = self.place.submit("sleeper", "--delay=1h", "--tag=mixed")
        tally = self.run_("delete", "--tag=mixed", "--yes", "--json").json
        self.assertEqual((tally["matched"], tally["done"]), (1, 1))
        self.run_("status", final, status=4)
        self.cancel(waiting)


class Spinning(ctutor.JourneyTest):
    """A worker of its own: nothing else would run on one that does not stop such a task."""

    def test_a_task_that_never_waits_is_ended_after_its_grace_and_its_neighbour_goes_on(self):
        self.place.task("spinning", SPINNING)
        self.place.task("sleeper", SLEEPER)
        with self.place.worker():
            neighbour = self.place.submit("sleeper", "seconds=3")
            self.place.wait_status(neighbour, "STARTED")
            task_id = self.place.submit("spinning")
            self.place.wait_status(task_id, "STARTED")
            self.place.run("cancel", task_id).expect(0)
            result = self.place.run("result", task_id, "--wait=30s", "--json").expect(1).json
            other = self.place.run("result", neighbour, "--wait=30s", "--json").expect(0).json
        self.assertEqual((other["result"], other["attempt"]), ("slept", 1))
        self.assertEqual((result["status"], result["error"]["kind"]), ("REVOKED", "cancelled"))
        self.assertLess(result["duration"], 15)


if __name__ == "__main__":
    unittest.main()
