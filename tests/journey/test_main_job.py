"""The main job, end to end: submit a task, wait, and read its result, its error, its attempts."""

import os
import signal
import time
import unittest

import ctutor
import journey

GIVE = """
local json = require "ctutor.json"
local values = {
  null = function() return nil end,
  object = function() return {} end,
  array = function() return json.array {} end,
  inner = function() return { object = {}, array = json.array {}, null = json.null } end,
  text = function() return "quoted \\"text\\"" end,
  [ "false" ] = function() return false end,
}
return {
  params = { what = { type = "string", enum = { "null", "object", "array", "inner", "text", "false" } } },
  execute = function(ctx, params) return values[params.what]() end,
}
"""
ECHO = """
return { additional_params = true, execute = function(ctx, params) return params end }
"""
SLEEP = """
return {
  params = { seconds = { type = "number", default = 600 } },
  execute = function(ctx, params) ctx.sleep(params.seconds) return "slept" end,
}
"""
FAIL = """
return {
  retries = { max = 2, backoff = "fixed", base = 0.05, jitter = false },
  execute = function(ctx)
    ctx.warn("attempt " .. ctx.attempt)
    ctx.progress(10 * ctx.attempt, { attempt = ctx.attempt })
    error({ code = 17 })
  end,
}
"""
STAGES = """
local fs = require "ctutor.fs"
return { params = { file = "string" }, execute = function(ctx, params)
  local function wait() while not fs.exists(params.file) do ctx.sleep(0.05) end end
  ctx.progress(10) ctx.sleep(1.1) wait()
  ctx.progress(50) fs.remove(params.file) ctx.sleep(1.1) wait()
end }
"""
HOOKED = """
local fs = require "ctutor.fs"
return { params = { file = "string" }, execute = function() end, on_success = function(ctx)
  fs.append(ctx.params.file .. ".runs", "begun\\n")
  while not fs.exists(ctx.params.file) do ctx.sleep(0.05) end
  fs.remove(ctx.params.file)
end }
"""
RETURNED_ERROR = """
return { execute = function() return nil, "the world refuses", { code = "EWORLD", list = { 1, 2 } } end }
"""


class MainJob(journey.ServedTest):
    tasks = journey.SHIPPED
    files = {"give": GIVE, "echo": ECHO, "sleeper": SLEEP, "fail": FAIL, "returned": RETURNED_ERROR}

    def count_tasks(self):
        return int(self.place.value("SELECT count(*) FROM task_info"))

    # -- success --

    def test_submit_wait_prints_the_result_alone_and_the_id_on_stderr(self):
        done = self.run_("submit", "my_simple_task", "message=hi", "count:=2", "--wait")
        self.assertEqual(done.json, {"status": "completed", "total_iterations": 2,
                                     "results": ["hi - iteration 1", "hi - iteration 2"]})
        self.assertEqual(len(done.lines), 1)
        self.assertRegex(done.err, r"^[0-9a-f-]{36}\n$")
        self.assertEqual(self.info(done.err.strip())["status"], "SUCCESS")

    def test_submit_wait_json_prints_a_task_result(self):
        result = self.run_("submit", "my_simple_task", "message=hi", "--tag=a", "--tag=b",
                           "--priority=7", "--wait", "--json").json
        self.assertEqual(list(result), journey.TASK_RESULT)
        self.assertEqual(result["task_name"], "my_simple_task")
        self.assertEqual((result["status"], result["queue"], result["priority"], result["tags"]),
                         ("SUCCESS", "default", 7, ["a", "b"]))
        self.assertEqual((result["attempt"], result["failures"], result["max_attempts"]), (1, 0, 1))
        self.assertEqual(result["parameters"], {"message": "hi"})
        self.assertEqual(result["progress"]["percentage"], 100)
        self.assertEqual(result["progress"]["metadata"], {"done": 1, "of": 1})
        self.assertEqual((result["error"], result["errors"]), (None, []))
        self.assertTrue(result["result_available"])
        self.assertTrue(1 <= result["duration"] < 4, result["duration"])
        self.assertTrue(result["created_at"] <= result["started_at"] < result["finished_at"])

    def test_submit_prints_the_id_alone_and_result_waits_for_it(self):
        task_id = self.place.submit("my_simple_task", "message=hi")
        self.assertRegex(task_id, "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
        done = self.run_("result", task_id, "--wait")
        self.assertEqual(done.json["results"], ["hi - iteration 1"])
        self.assertEqual(self.run_("result", task_id).json, done.json)

    def test_a_waiting_worker_starts_a_task_at_once(self):
        task_id = self.place.submit("echo")
        result = self.result(task_id)
        waited = float(self.place.value(
            "SELECT extract(epoch FROM started_at - created_at) FROM task_info WHERE task_id = '%s'"
            % task_id))
        self.assertEqual(result["status"], "SUCCESS")
        self.assertLess(waited, 0.5)

    def test_null_and_empty_results_stay_what_they_are(self):
        for what, text in (("null", "null"), ("object", "{}"), ("array", "[]"), ("false", "false"),
                           ("text", '"quoted \\"text\\""')):
            with self.subTest(what):
                done = self.run_("submit", "give", "what=" + what, "--wait")
                self.assertEqual(done.out, text + "\n")
        inner = self.run_("submit", "give", "what=inner", "--wait").json
        self.assertEqual(inner, {"object": {}, "array": [], "null": None})
        result = self.run_("submit", "give", "what=null", "--wait", "--json").json
        self.assertIsNone(result["result"])
        self.assertTrue(result["result_available"])

    def test_parameters_come_back_as_they_went_in(self):
        given = {"text": "Zoë \U0001f600 ‮ 北京 \t\n\u0001 \\ \"", "empty": "", "array": [],
                 "object": {}, "deep": [[], {}, [[]], {"a": []}], "null": [None], "true": True,
                 "zero": 0, "minus": -2.5, "large": 9007199254740991, "тест ключ": 1}
        done = self.run_("submit", "echo", "--params=-", "--wait",
                         input=ctutor.json.dumps(given, ensure_ascii=False))
        self.assertEqual(done.json, given)
        info = self.info(done.err.strip())
        self.assertEqual(info["parameters"], given)

    # -- the catalogue --

    def test_the_catalogue_tells_what_a_task_wants(self):
        row = next(line for line in self.run_("tasks").lines if line.startswith("example_failing "))
        self.assertEqual(row.split()[1:5], ["default", "1m", "2", "1"])
        shown = self.run_("tasks", "show", "example_long_running").out
        for words in (r"timeout +2h\n", r"queue +default\n", r"duration", r"maximum 3600"):
            self.assertRegex(shown, words)
        self.assertRegex(self.run_("tasks", "show", "example_failing").out, "exponential back-off from 1s to 10s, jitter")
        told = {task["name"]: task for task in self.run_("tasks", "--json").json}["my_simple_task"]
        self.assertEqual((told["queue"], told["priority"], told["timeout"], told["error"]), ("default", 5, 1800, None))
        self.assertEqual(told["parameters"]["required"], ["message"])
        self.assertEqual(len(told["workers"]), 1)
        self.run_("tasks", "show", "nope", status=4)

    # -- refused --

    def test_a_missing_parameter_is_refused_by_name(self):
        before = self.count_tasks()
        done = self.run_("submit", "my_simple_task", "count:=3", status=2)
        self.assertIn("message", done.err)
        self.assertEqual(done.out, "")
        answer = self.run_("submit", "my_simple_task", "count:=0", "--json", status=2).json
        self.assertEqual(sorted(error["field"] for error in answer["errors"]), ["count", "message"])
        self.assertEqual(self.count_tasks(), before)

    def test_an_unknown_task_is_exit_4_and_a_near_name_is_told(self):
        self.assertIn("nope", self.run_("submit", "nope", status=4).err)
        self.assertIn("my_simple_task", self.run_("submit", "my_simple_tsk", "message=x", status=4).err)

    def test_what_is_out_of_bounds_is_refused(self):
        for options in (["--priority=11"], ["--priority=-1"], ["--delay=soon"], ["--queue=Not A Queue"],
                        ["--delay=5s", "--at=2030-01-01T00:00:00Z"], ["--retries=-1"],
                        ["--delay=10s", "--expires=5s"], ["--tag=" + 65 * "x"], ["--id=7"],
                        ["--no-such-option"]):
            with self.subTest(options):
                done = self.place.run("submit", "echo", *options)
                self.assertEqual(done.status, 2, done.err)
                self.assertEqual(done.out, "")
                self.assertTrue(done.err.startswith("ctutor-run: "), done.err)

    def test_ids_that_do_not_exist_are_exit_4_and_words_that_are_none_exit_2(self):
        for command in ("status", "result", "watch", "logs", "cancel", "retry", "delete"):
            with self.subTest(command):
                self.run_(command, journey.ABSENT_ID, status=4)
                self.run_(command, "nonsense", status=2)

    # -- failure --

    def test_a_failing_task_is_tried_three_times_and_its_error_is_told(self):
        done = self.run_("submit", "example_failing", "error_message=Broken pen", "--wait", status=1)
        self.assertEqual(done.out, "")
        for attempt in (1, 2, 3):
            self.assertRegex(done.err, "attempt %d: exception: Broken pen" % attempt)
        self.assertIn("FAILURE", done.err)
        result = self.result(done.err.split()[0], status=1)
        self.assertEqual((result["status"], result["attempt"], result["failures"],
                          result["max_attempts"]), ("FAILURE", 3, 3, 3))
        self.assertEqual([error["attempt"] for error in result["errors"]], [1, 2, 3])
        for error in result["errors"]:
            self.assertEqual(list(error), journey.ERROR)
            self.assertEqual((error["kind"], error["message"]), ("exception", "Broken pen"))
            self.assertIn("example_failing.lua:", error["traceback"])
        self.assertEqual(result["error"], result["errors"][-1])
        self.assertFalse(result["result_available"])
        self.assertIsNone(result["result"])

    def test_a_failed_task_is_exit_0_for_status_and_1_for_result_and_watch(self):
        task_id = self.place.submit("fail")
        self.assertIn("code", self.result(task_id, status=1)["error"]["message"])
        info = self.info(task_id)
        self.assertEqual(list(info), journey.TASK_INFO)
        self.assertEqual((info["status"], info["progress"]["percentage"]), ("FAILURE", 30))
        self.assertIn("exception", self.run_("result", task_id, status=1).err)
        last = ctutor.json.loads(self.run_("watch", task_id, "--json", status=1).lines[-1])
        self.assertEqual((last["event"], last["status"], last["attempt"]), ("status", "FAILURE", 3))
        logs = self.run_("logs", task_id, "--json").json
        self.assertFalse(logs["has_more"])
        self.assertEqual([(log["attempt"], log["level"], log["text"]) for log in logs["logs"]],
                         [(n, "warn", "attempt %d" % n) for n in (1, 2, 3)])
        self.assertTrue(all("at" in log for log in logs["logs"]))

    def test_nil_and_a_message_fail_the_attempt_with_its_details(self):
        result = self.result(self.place.submit("returned"), status=1)
        self.assertEqual(result["error"]["message"], "the world refuses")
        self.assertEqual(result["error"]["details"], {"code": "EWORLD", "list": [1, 2]})
        self.assertIn("EWORLD", self.run_("result", result["task_id"], status=1).err)

    # -- waiting --

    def test_the_result_of_a_task_that_is_not_final_is_exit_5(self):
        task_id = self.place.submit("sleeper", "seconds=600")
        self.run_("result", task_id, status=5)
        answer = self.run_("result", task_id, "--json", status=5).json
        self.assertEqual(answer["code"], "not_final")
        self.run_("cancel", task_id)
        self.result(task_id, status=1)

    def test_a_wait_that_runs_out_is_exit_124_and_the_task_goes_on(self):
        began = time.monotonic()
        done = self.run_("submit", "sleeper", "seconds=3", "--wait", "1s", status=124)
        self.assertTrue(0.9 < time.monotonic() - began < 2.9)
        self.assertEqual(done.out, "")
        task_id = done.err.split()[0]
        self.run_("result", task_id, "--wait=200ms", status=124)
        self.assertEqual(self.run_("result", task_id, "--wait").json, "slept")

    def test_ctrl_c_ends_the_wait_with_130_and_the_task_goes_on(self):
        process = self.place.start("submit", "sleeper", "seconds=2", "--wait")
        task_id = process.stderr.readline().strip()
        self.wait_started(task_id)
        status, out, err = self.interrupt(process)
        self.assertEqual((status, out), (130, ""))
        self.assertIn(task_id, err)
        self.assertEqual(self.result(task_id)["result"], "slept")
        self.assertEqual(self.info(task_id)["attempt"], 1)

    def test_ctrl_c_ends_a_watch_with_130(self):
        task_id = self.place.submit("sleeper", "seconds=2")
        process = self.place.start("watch", task_id)
        process.stdout.readline()
        self.assertEqual(self.interrupt(process)[0], 130)
        self.assertEqual(self.result(task_id)["status"], "SUCCESS")

    def test_watch_follows_status_progress_and_logs_in_order(self):
        task_id = self.place.submit("fail", "--delay=3s")
        done = self.run_("watch", task_id, "--json", status=1)
        events = [ctutor.json.loads(line) for line in done.lines]
        self.assertEqual({event["id"] for event in events}, {task_id})
        statuses = [(event["status"], event["attempt"]) for event in events if event["event"] == "status"]
        self.assertEqual(statuses[0], ("PENDING", 0))
        self.assertEqual(statuses[-1], ("FAILURE", 3))
        self.assertEqual(len(statuses), len(set(statuses)), statuses)
        self.assertEqual([e["text"] for e in events if e["event"] == "log"],
                         ["attempt 1", "attempt 2", "attempt 3"])
        self.assertEqual(events[-1]["event"], "status")
        for event in events:
            self.assertRegex(event["at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_logs_follow_ends_with_the_task(self):
        task_id = self.place.submit("fail", "--delay=3s")
        done = self.run_("logs", task_id, "--follow")
        self.assertEqual([line.split()[-2:] for line in done.lines],
                         [["attempt", "1"], ["attempt", "2"], ["attempt", "3"]])

    # -- the same again --

    def test_a_unique_key_gives_the_first_id_until_the_task_is_final(self):
        first = self.place.submit("sleeper", "seconds=600", "--unique=desk")
        again = self.run_("submit", "sleeper", "seconds=1", "--unique=desk", "--json").json
        self.assertEqual((again["task_id"], again["status"]), (first, "duplicate"))
        other = self.run_("submit", "echo", "--unique=desk", "--json").json
        self.assertEqual(other["status"], "submitted")
        self.assertEqual(self.info(first)["parameters"], {"seconds": 600})
        self.run_("cancel", first)
        self.result(first, status=1)
        free = self.run_("submit", "sleeper", "seconds=0", "--unique=desk", "--json").json
        self.assertEqual(free["status"], "submitted")
        self.assertNotEqual(free["task_id"], first)
        self.result(free["task_id"])
        self.result(other["task_id"])

    def test_a_given_id_again_is_a_duplicate_and_anything_else_a_conflict(self):
        task_id = self.place.submit("echo", "--delay=1ms")
        self.result(task_id)
        mine = task_id[:-4] + ("0000" if task_id[-4:] != "0000" else "1111")
        first = self.run_("submit", "echo", "a:=1", "b:=[2]", "--id", mine.upper(), "--json").json
        self.assertEqual((first["task_id"], first["status"]), (mine, "submitted"))
        again = self.run_("submit", "echo", "b:=[2]", "a:=1", "--id", mine, "--json").json
        self.assertEqual((again["task_id"], again["status"]), (mine, "duplicate"))
        refused = self.run_("submit", "echo", "a:=2", "--id", mine, "--json", status=2).json
        self.assertEqual(refused["code"], "conflict")
        self.run_("submit", "give", "what=null", "--id", mine, status=2)
        self.assertEqual(self.result(mine)["result"], {"a": 1, "b": [2]})

    def test_an_id_of_another_kind_or_time_is_refused(self):
        now = int(time.time() * 1000)
        for at, version in ((now - 8 * 86400000, 7), (now + 2 * 86400000, 7), (now, 4)):
            text = "%012x" % at
            mine = "%s-%s-%daaa-8aaa-aaaaaaaaaaaa" % (text[:8], text[8:], version)
            self.assertIn("id", self.run_("submit", "echo", "--id", mine, status=2).err)


class StoresAway(journey.ServedTest):
    """Redis or Postgres is stopped: what users of the command line see."""

    files = {"echo": ECHO, "sleeper": SLEEP, "stages": STAGES, "hooked": HOOKED}

    def test_a_task_submitted_while_redis_is_away_starts_after_its_return(self):
        self.place.redis_server.stop(signal.SIGKILL)
        try:
            done = self.run_("submit", "echo", "n:=1")
            self.assertLess(done.seconds, 6)
            self.assertIn("warning", done.err)
            self.assertIn("Redis", done.err)
            answer = self.run_("submit", "echo", "n:=2", "--json").json
            self.assertEqual((answer["status"], answer["dispatch"]), ("submitted", "deferred"))
            self.assertEqual(self.info(done.out.strip())["status"], "PENDING")
            self.assertEqual(self.run_("queues", "--json").status, 0)
        finally:
            self.place.redis_server.start()
        began = time.monotonic()
        for task_id in (done.out.strip(), answer["task_id"]):
            self.assertEqual(self.result(task_id)["attempt"], 1)
        self.assertLess(time.monotonic() - began, 10)

    def test_running_tasks_and_waits_outlast_redis(self):
        process = self.place.start("submit", "sleeper", "seconds=3", "--wait", "--json")
        self.wait_started(process.stderr.readline().strip())
        self.place.redis_server.stop(signal.SIGKILL)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            self.place.redis_server.start()
        self.assertEqual(process.returncode, 0, err)
        self.assertEqual(ctutor.json.loads(out)["attempt"], 1)
        self.run_("submit", "echo", "--wait")

    def test_every_command_is_exit_3_soon_while_postgres_is_away(self):
        self.place.postgres_server.stop(signal.SIGQUIT)
        try:
            commands = [["submit", "echo"], ["status", journey.ABSENT_ID], ["list"], ["queues"],
                        ["cancel", journey.ABSENT_ID], ["workers"], ["tasks"]]
            running = [(self.place.start(*command), command) for command in commands]
            began = time.monotonic()
            for process, command in running:
                out, err = process.communicate(timeout=30)
                self.assertEqual((process.returncode, out), (3, ""), command)
                self.assertIn("Postgres", err)
            self.assertLess(time.monotonic() - began, 15)
        finally:
            self.place.postgres_server.start()
        self.assertEqual(self.run_("submit", "echo", "n:=1", "--wait=30s").json, {"n": 1})

    def test_a_task_that_ends_while_postgres_is_away_keeps_its_result(self):
        task_id = self.place.submit("sleeper", "seconds=2")
        self.wait_started(task_id)
        self.place.postgres_server.stop(signal.SIGQUIT)
        time.sleep(3)  # it ends in this time
        self.place.postgres_server.start()
        result = self.result(task_id)
        self.assertEqual((result["result"], result["attempt"]), ("slept", 1))

    def test_progress_made_while_postgres_is_away_is_told_after_its_return(self):
        file = os.path.join(self.place.work, "stage")
        task_id = self.place.submit("stages", "file=" + file)
        ctutor.wait_until(lambda: self.info(task_id)["progress"]["percentage"] == 10, 10)
        self.place.postgres_server.stop(signal.SIGQUIT)
        try:
            open(file, "w").close()
            ctutor.wait_until(lambda: not os.path.exists(file), 10)
        finally:
            self.place.postgres_server.start()
        ctutor.wait_until(lambda: self.info(task_id)["progress"]["percentage"] == 50, 10)
        open(file, "w").close()
        self.assertEqual(self.result(task_id)["status"], "SUCCESS")

    def test_a_hook_that_ends_during_a_long_outage_of_postgres_runs_once(self):
        file = os.path.join(self.place.work, "hook")
        task_id = self.place.submit("hooked", "file=" + file)
        self.assertEqual(self.result(task_id)["status"], "SUCCESS")
        ctutor.wait_until(lambda: journey.stamps(file + ".runs"), 10)
        self.place.postgres_server.stop(signal.SIGQUIT)
        try:
            open(file, "w").close()
            ctutor.wait_until(lambda: not os.path.exists(file), 10)
            time.sleep(11)  # longer than a statement waits for its connection
        finally:
            self.place.postgres_server.start()
        self.place.check_nothing_left(15)
        self.assertEqual(journey.stamps(file + ".runs"), ["begun"])

    def test_without_a_schema_the_command_says_how_to_make_one(self):
        done = self.run_("list", env={"CTUTOR_NAMESPACE": "elsewhere"}, status=2)
        self.assertIn("migrate", done.err)


if __name__ == "__main__":
    unittest.main()
