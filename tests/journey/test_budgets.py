"""How a run ends and what it spends: retries and their delays, snoozes, timeouts, hooks, refusals."""

import datetime
import json
import os
import time
import unittest

import ctutor
import journey

BACK_OFF = """
return {
  retries = { max = 3, backoff = "%s", base = "%s", cap = "%s", jitter = %s },
  execute = function(ctx) ctx.info("begin") error("again", 0) end,
}
"""
ENDS = """
local time = require "ctutor.time"
local ways = {
  retry_in = function(ctx)
    if ctx.attempt < 3 then pcall(ctx.retry_in, "300ms", "not yet") end
    return { attempt = ctx.attempt, failures = ctx.failures }
  end,
  snooze = function(ctx)
    if ctx.attempt < 4 then ctx.snooze(0.3, "too early") end
    return { attempt = ctx.attempt, failures = ctx.failures }
  end,
  long_snooze = function(ctx) ctx.snooze("1h", "come back later") end,
  fatal = function(ctx) pcall(function() ctx.fatal("never again", { reason = "rule 7" }) end) end,
  error_fatal = function(ctx) error(ctx.fatal("never again")) end,
  returned = function(ctx)
    if ctx.attempt == 3 then return "third" end
    return nil, "refused", { attempt = ctx.attempt }
  end,
  undeclared = function() load("undeclared_name = 1")() end, -- load: the check of the file would see it
  undeclared_read = function() return load("return unknown_name")() end,
  table_error = function() error({ code = 7, text = "structured" }) end,
  nil_error = function() error() end,
  object_error = function() error(setmetatable({}, { __tostring = function() return "spoken" end })) end,
  bytes_error = function() error("\\255\\0broken", 0) end,
  sort = function(ctx) local t = { 3, 1, 2 } table.sort(t, function(a, b) ctx.sleep(0.01) return a < b end) end,
  overflow = function() local function f() return 1 + f() end return f() end,
}
return {
  retries = { max = 2, backoff = "fixed", base = 0.05, jitter = false },
  params = { way = "string" },
  execute = function(ctx, params) ctx.info("begin") return ways[params.way](ctx) end,
}
"""
UNSTORABLE = """
local values = {
  a_function = function() return print end,
  nan = function() return { 0 / 0 } end,
  infinity = function() return 1 / 0 end,
  cycle = function() local t = {} t.t = t return t end,
  mixed = function() return { 1, x = 2 } end,
  zero_byte = function() return "a\\0b" end,
  not_utf8 = function() return "\\255\\254" end,
  deep = function() local t = {} for _ = 1, 80 do t = { t } end return t end,
  too_long = function() return ("x"):rep(70000) end,
}
return {
  retries = 2,
  params = { what = "string" },
  execute = function(ctx, params) return values[params.what]() end,
}
"""
LONG = """
return { execute = function() return ("x"):rep(60000) end }
"""
LOOPS = """
local time = require "ctutor.time"
local function spin() while true do end end
local ways = {
  waiting = function(ctx) ctx.sleep(600) end,
  caught = function(ctx) while true do pcall(ctx.sleep, 600) end end,
  inner = function(ctx) coroutine.wrap(function() ctx.sleep(600) end)() end,
  spinning = spin,
  spinning_caught = function() while true do pcall(spin) end end,
  spinning_inner = function() coroutine.wrap(spin)() end,
  spinning_interpreted = function() local t = {} while true do t.x = (t.x or 0) + 1 pcall(error, "x") end end,
}
return {
  timeout = "700ms",
  params = { way = "string" },
  execute = function(ctx, params) return ways[params.way](ctx) end,
}
"""
SLEEPER = """
return {
  params = { seconds = "number" },
  execute = function(ctx, params) ctx.sleep(params.seconds) return ctx.attempt end,
}
"""
HOT = """
return { timeout = 2, execute = function() while true do end end }
"""
HOT_CAUGHT = """
return { timeout = 2, execute = function() pcall(function() while true do end end) return "survived" end }
"""
BACKTRACKING = """
return { timeout = 2, execute = function()
  local text = ("a"):rep(200)
  return text:find(("a*"):rep(50) .. "b")
end }
"""
HOOKED = """
local fs = require "ctutor.fs"
local json = require "ctutor.json"
local function note(ctx, event, value)
  ctx.sleep(0.01) -- a hook may wait
  assert(fs.append(ctx.params.file, json.encode { event = event, attempt = ctx.attempt, value = value } .. "\\n"))
  ctx.info("hook " .. event)
  if ctx.params.breaks then error("a broken hook") end
end
return {
  timeout = "5s",
  retries = { max = 1, backoff = "fixed", base = 0.05, jitter = false },
  params = { file = "string", ends = "string", breaks = { type = "boolean", default = false } },
  execute = function(ctx, params)
    if params.ends == "error" then error("failed on purpose", 0) end
    if params.ends == "fatal" then ctx.fatal("at once") end
    if params.ends == "sleep" then ctx.sleep(600) end
    return { well = "done" }
  end,
  on_success = function(ctx, result) note(ctx, "success", result) end,
  on_retry = function(ctx, err) note(ctx, "retry", err) end,
  on_failure = function(ctx, err) note(ctx, "failure", err) end,
}
"""


def seconds_of(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").timestamp()


class Ends(journey.ServedTest):
    """Tasks that share a runner."""

    files = {
        "fixed": BACK_OFF % ("fixed", "400ms", "1m", "false"),
        "linear": BACK_OFF % ("linear", "300ms", "1m", "false"),
        "exponential": BACK_OFF % ("exponential", "200ms", "1m", "false"),
        "capped": BACK_OFF % ("exponential", "200ms", "300ms", "false"),
        "jittered": BACK_OFF % ("fixed", "500ms", "1m", "true"),
        "ends": ENDS, "unstorable": UNSTORABLE, "long": LONG, "loops": LOOPS, "sleeper": SLEEPER,
        "hot": HOT, "hot_caught": HOT_CAUGHT, "hooked": HOOKED,
    }
    flags = {"concurrency": 1200}
    settings = {"CTUTOR_MAX_RESULT": "64K", "CTUTOR_UNKNOWN_GRACE": "2s"}

    def end_of(self, name, *args, status=1):
        return self.result(self.place.submit(name, *args), status=status)

    # -- retries --

    def pauses(self, name):
        """From each failure to the start of the next attempt."""
        result = self.end_of(name)
        self.assertEqual((result["attempt"], result["failures"], result["max_attempts"]), (4, 4, 4))
        begun = [seconds_of(log["at"]) for log in self.run_("logs", result["task_id"], "--json").json["logs"]]
        failed = [seconds_of(error["at"]) for error in result["errors"]]
        self.assertEqual((len(begun), len(failed)), (4, 4))
        return [after - before for after, before in zip(begun[1:], failed)]

    def check_pauses(self, name, expected):
        pauses = self.pauses(name)
        for pause, least in zip(pauses, expected):
            self.assertTrue(least - 0.05 <= pause < least + 0.6, (pauses, expected))

    def test_fixed_back_off_waits_the_same_each_time(self):
        self.check_pauses("fixed", [0.4, 0.4, 0.4])

    def test_linear_back_off_grows_by_its_base(self):
        self.check_pauses("linear", [0.3, 0.6, 0.9])

    def test_exponential_back_off_doubles(self):
        self.check_pauses("exponential", [0.2, 0.4, 0.8])

    def test_back_off_never_exceeds_its_cap(self):
        self.check_pauses("capped", [0.2, 0.3, 0.3])

    def test_jitter_draws_from_nothing_to_the_delay(self):
        ids = [self.place.submit("jittered") for _ in range(3)]
        pauses = []
        for task_id in ids:
            result = self.result(task_id, status=1)
            failed = [seconds_of(error["at"]) for error in result["errors"]]
            pauses += [after - before for after, before in zip(failed[1:], failed)]
        self.assertTrue(all(-0.01 <= pause < 1.1 for pause in pauses), pauses)
        self.assertGreater(max(pauses) - min(pauses), 0.03, pauses)

    def test_while_a_retry_waits_the_status_is_retry_and_says_when(self):
        task_id = self.place.submit("fixed")
        info = self.place.wait_status(task_id, "RETRY")
        self.assertEqual(info["error"]["message"], "again")
        self.assertGreater(info["run_at"], info["started_at"])
        self.assertIsNone(info["finished_at"])
        self.result(task_id, status=1)

    def test_the_submission_may_choose_the_retries(self):
        result = self.end_of("fixed", "--retries=1")
        self.assertEqual((result["attempt"], result["max_attempts"]), (2, 2))
        result = self.end_of("fixed", "--retries=0")
        self.assertEqual((result["attempt"], result["max_attempts"]), (1, 1))

    def test_retry_in_chooses_the_delay_and_spends_a_failure(self):
        result = self.end_of("ends", "way=retry_in", status=0)
        self.assertEqual(result["result"], {"attempt": 3, "failures": 2})
        self.assertEqual([error["message"] for error in result["errors"]], ["not yet", "not yet"])
        took = seconds_of(result["finished_at"]) - seconds_of(result["created_at"])
        self.assertTrue(0.6 <= took < 2.4, took)

    def test_a_snooze_spends_nothing(self):
        result = self.end_of("ends", "way=snooze", status=0)
        self.assertEqual(result["result"], {"attempt": 4, "failures": 0})
        self.assertEqual((result["failures"], result["errors"]), (0, []))
        took = seconds_of(result["finished_at"]) - seconds_of(result["created_at"])
        self.assertTrue(0.9 <= took < 2.7, took)

    def test_a_snoozed_task_is_pending_with_run_at_ahead(self):
        task_id = self.place.submit("ends", "way=long_snooze")
        info = ctutor.wait_until(
            lambda: (lambda i: i["attempt"] == 1 and i["status"] == "PENDING" and i)(self.info(task_id)), 10)
        ahead = seconds_of(info["run_at"]) - seconds_of(info["started_at"])
        self.assertTrue(3590 < ahead < 3700, info)
        queues = self.run_("queues", "--json").json["queues"]
        self.assertEqual(sum(queue["delayed"] for queue in queues), 1)
        self.run_("cancel", task_id)

    def test_fatal_is_never_retried_and_nothing_catches_it(self):
        result = self.end_of("ends", "way=fatal")
        self.assertEqual((result["attempt"], result["status"]), (1, "FAILURE"))
        self.assertEqual((result["error"]["kind"], result["error"]["message"]),
                         ("exception", "never again"))
        self.assertEqual(result["error"]["details"], {"reason": "rule 7"})
        self.assertEqual(self.end_of("ends", "way=error_fatal")["attempt"], 1)

    def test_nil_and_a_message_fail_an_attempt(self):
        result = self.end_of("ends", "way=returned", status=0)
        self.assertEqual(result["result"], "third")
        self.assertEqual([error["message"] for error in result["errors"]], ["refused", "refused"])
        self.assertEqual(result["errors"][1]["details"], {"attempt": 2})

    # -- errors --

    def error_of(self, way):
        result = self.end_of("ends", "way=" + way, "--retries=0")
        self.assertEqual(result["error"]["kind"], "exception")
        return result["error"]

    def test_an_undeclared_global_is_an_error_with_its_place(self):
        error = self.error_of("undeclared")
        self.assertIn("undeclared_name", error["message"])
        self.assertRegex(error["traceback"], r"ends\.lua:\d+")
        self.assertIn("unknown_name", self.error_of("undeclared_read")["message"])

    def test_errors_of_any_type_are_readable(self):
        self.assertIn("structured", self.error_of("table_error")["message"])
        self.assertIn("spoken", self.error_of("object_error")["message"])
        self.assertTrue(self.error_of("nil_error")["message"])
        self.assertIn("broken", self.error_of("bytes_error")["message"])
        self.assertIn("stack overflow", self.error_of("overflow")["message"])

    def test_waiting_inside_a_c_callback_is_an_error_that_names_the_function(self):
        self.assertIn("sort", self.error_of("sort")["message"])

    def test_a_result_that_cannot_be_kept_is_unstorable_and_not_retried(self):
        whats = ("a_function", "nan", "infinity", "cycle", "mixed", "zero_byte", "not_utf8", "deep",
                 "too_long")
        ids = {what: self.place.submit("unstorable", "what=" + what) for what in whats}
        for what, task_id in ids.items():
            with self.subTest(what):
                result = self.result(task_id, status=1)
                self.assertEqual((result["status"], result["attempt"]), ("FAILURE", 1))
                self.assertEqual(result["error"]["kind"], "unstorable")
                self.assertTrue(result["error"]["message"])

    def test_a_result_below_the_limit_is_kept(self):
        self.assertEqual(len(self.end_of("long", status=0)["result"]), 60000)

    # -- timeouts --

    def test_nothing_outlasts_or_catches_its_timeout(self):
        ways = ("waiting", "caught", "inner", "spinning", "spinning_caught", "spinning_inner",
                "spinning_interpreted")
        for way in ways:
            with self.subTest(way):
                result = self.end_of("loops", "way=" + way)
                self.assertEqual((result["status"], result["error"]["kind"]), ("FAILURE", "timeout"))
                self.assertTrue(0.65 < result["duration"] < 2.1, result["duration"])
                self.assertEqual(result["attempt"], 1)

    def test_the_submission_may_choose_the_timeout(self):
        result = self.end_of("sleeper", "seconds=600", "--timeout=300ms")
        self.assertEqual((result["error"]["kind"], result["timeout"]), ("timeout", 0.3))
        result = self.end_of("sleeper", "seconds=0.1", "--timeout=false", status=0)
        self.assertIsNone(result["timeout"])

    def check_hot_loop(self, name):
        lines = [json.dumps({"task_name": "sleeper", "parameters": {"seconds": 6}})] * 1000
        sleepers = self.run_("submit", "--bulk=-", input="\n".join(lines)).lines
        ctutor.wait_until(lambda: self.place.value(
            "SELECT count(*) FROM task_info WHERE status = 'STARTED' AND task_name = 'sleeper'") == "1000", 20)
        began = time.monotonic()
        result = self.end_of(name)
        self.assertLess(time.monotonic() - began, 6)
        self.assertEqual((result["error"]["kind"], result["attempt"]), ("timeout", 1))
        self.assertTrue(1.9 < result["duration"] < 4, result["duration"])
        rows = ctutor.wait_until(lambda: self.ended(sleepers), 30)
        for status, attempt, failures, duration in rows:
            self.assertEqual((status, attempt, failures), ("SUCCESS", "1", "0"))
            self.assertTrue(5.9 < float(duration) < 7.5, duration)

    def ended(self, ids):
        rows = self.place.psql("SELECT status, attempt, failures, duration FROM task_info WHERE finished_at "
                               "IS NOT NULL AND task_id = ANY ('{%s}')" % ",".join(ids))
        return rows if len(rows) == len(ids) else None

    def test_a_hot_loop_ends_at_its_timeout_and_a_thousand_sleepers_notice_nothing(self):
        self.check_hot_loop("hot")

    def test_a_hot_loop_inside_pcall_ends_at_its_timeout_too(self):
        self.check_hot_loop("hot_caught")

    # -- hooks --

    def hooks_of(self, *args, count, status):
        """What the hooks noted; as many as expected, and then no more."""
        file = os.path.join(self.place.work, "hooks-" + self.id().rpartition(".")[2])
        result = self.end_of("hooked", "file=" + file, *args, status=status)
        ctutor.wait_until(lambda: len(journey.stamps(file)) >= count, 15, "%d hooks ran" % count)
        self.place.check_nothing_left()  # nor is a hook owed
        self.assertEqual(len(journey.stamps(file)), count)
        return result, [json.loads(line) for line in journey.stamps(file)]

    def test_on_success_runs_once_with_the_result_and_logs_in_the_log_of_the_worker(self):
        _, hooks = self.hooks_of("ends=return", count=1, status=0)
        self.assertEqual(hooks, [{"event": "success", "attempt": 1, "value": {"well": "done"}}])
        ctutor.wait_until(lambda: "hook success" in self.worker.log(), 5)

    def test_on_retry_runs_for_each_retry_and_on_failure_for_the_end(self):
        _, hooks = self.hooks_of("ends=error", count=2, status=1)
        self.assertEqual([(hook["event"], hook["attempt"]) for hook in hooks], [("retry", 1), ("failure", 2)])
        for hook in hooks:
            self.assertEqual((hook["value"]["kind"], hook["value"]["message"]),
                             ("exception", "failed on purpose"))

    def test_on_failure_runs_for_fatal_and_timeout(self):
        _, hooks = self.hooks_of("ends=fatal", count=1, status=1)
        self.assertEqual((hooks[0]["event"], hooks[0]["value"]["message"]), ("failure", "at once"))

    def test_on_failure_runs_for_a_timeout(self):
        _, hooks = self.hooks_of("ends=sleep", "--timeout=300ms", "--retries=0", count=1, status=1)
        self.assertEqual((hooks[0]["event"], hooks[0]["value"]["kind"]), ("failure", "timeout"))

    def test_a_broken_hook_changes_nothing(self):
        result, _ = self.hooks_of("ends=return", "breaks=true", count=1, status=0)
        self.assertEqual(self.info(result["task_id"])["status"], "SUCCESS")
        ctutor.wait_until(lambda: "a broken hook" in self.worker.log(), 5)

    def test_no_hook_runs_for_a_cancelled_task(self):
        file = os.path.join(self.place.work, "hooks-none")
        task_id = self.place.submit("hooked", "file=" + file, "ends=sleep")
        self.wait_started(task_id)
        self.run_("cancel", task_id)
        self.assertEqual(self.result(task_id, status=1)["status"], "REVOKED")
        self.place.check_nothing_left()
        self.assertEqual(journey.stamps(file), [])

    # -- what a reload changes --

    def test_parameters_that_no_longer_fit_after_a_reload_are_rejected(self):
        file = os.path.join(self.place.work, "rejected")
        text = """
local fs = require "ctutor.fs"
return { retries = 3, params = { %s }, execute = function() return "ran" end,
  on_failure = function(ctx, err) fs.append("%s", err.kind .. "\\n") end }
"""
        self.place.task("changing", text % ('size = "string"', file))
        self.run_("worker", "reload")
        task_id = self.place.submit("changing", "size=large", "--delay=2s")
        self.place.task("changing", text % ('size = { type = "integer" }', file))
        self.run_("worker", "reload")
        result = self.result(task_id, status=1)
        self.assertEqual((result["status"], result["error"]["kind"], result["attempt"]),
                         ("FAILURE", "rejected", 1))
        self.assertIn("size", result["error"]["message"])
        ctutor.wait_until(lambda: journey.stamps(file) == ["rejected"], 10)

    def test_a_task_whose_file_is_gone_ends_as_unknown_task_after_the_grace(self):
        path = self.place.task("passing", 'return { execute = function() return "ran" end }')
        self.run_("worker", "reload")
        task_id = self.place.submit("passing", "--delay=1s")
        os.remove(path)
        self.run_("worker", "reload")
        self.run_("submit", "passing", status=4)
        result = self.result(task_id, status=1)
        self.assertEqual((result["status"], result["error"]["kind"], result["attempt"]),
                         ("FAILURE", "unknown_task", 0))
        waited = seconds_of(result["finished_at"]) - seconds_of(result["run_at"])
        self.assertTrue(1 < waited < 15, waited)


class Backtracking(ctutor.JourneyTest):
    """C code that Lua's interrupt does not reach: the supervisor kills the runner."""

    def test_a_c_function_that_does_not_return_is_a_timeout_and_neighbours_run_again_uncharged(self):
        self.place.task("backtracking", BACKTRACKING)
        self.place.task("sleeper", SLEEPER)
        with self.place.worker(concurrency=100) as worker:
            sleepers = [self.place.submit("sleeper", "seconds=8") for _ in range(5)]
            for task_id in sleepers:
                self.place.wait_status(task_id, "STARTED")
            began = time.monotonic()
            done = self.place.run("submit", "backtracking", "--wait=60s", "--json").expect(1)
            self.assertLess(time.monotonic() - began, 12)
            self.assertEqual((done.json["error"]["kind"], done.json["failures"]), ("timeout", 1))
            for task_id in sleepers:
                result = self.place.run("result", task_id, "--wait=60s", "--json").expect(0).json
                self.assertEqual((result["attempt"], result["failures"], result["result"]), (2, 0, 2))
                self.assertEqual(result["errors"], [])


if __name__ == "__main__":
    unittest.main()
