"""What the commands do beyond the main job: slips of the hand, terminals, readers that leave, hostile text."""

import contextlib
import json
import os
import pty
import signal
import time
import unittest

from ctutor import children, read_terminal, wait_until
from journey import ABSENT_ID, ServedTest

FILES = {
    "greet": 'return { queue = "default", params = { name = "string" }, execute = function(_, p) return p.name end }',
    "big": 'return { queue = "default", params = { x = "number" },\n'
           '  execute = function(ctx, p) ctx.progress(50, { x = p.x * 10 }) return "ok" end }',
    "wait": 'return { queue = "default", execute = function(ctx)\n'
            '  ctx.info("begun")\n'
            '  for i = 1, 100 do ctx.progress(i) ctx.sleep(0.1) end\nend }',
    "steps": 'return { queue = "default", execute = function(ctx)\n'
             '  for i = 1, 10 do ctx.progress(i * 10) ctx.info("step " .. i) ctx.sleep(0.2) end\nend }',
    "echo": 'return { queue = "default", additional_params = true, params = { more = { type = "boolean", default = false } },\n'
            '  execute = function(ctx, p) if p.more then return { p } end return p end }',
    "hostile": 'return { queue = "default", execute = function(ctx)\n'
               '  ctx.info("\\27[2J \\194\\1552J \\127 \\226\\128\\174")\n'
               '  ctx.progress(50, { ["k\\27[2J"] = "\\194\\1552J" })\n'
               '  return { ["\\27[2J"] = "\\194\\155 \\127 ok" }\nend }',
}


class Commands(ServedTest):
    files = FILES
    stores = {}  # where they are, if commands do not know it

    def submit(self, *args):
        return self.run_("submit", *args).out.strip()

    def final(self, *args):
        task = self.submit(*args)
        self.result(task)
        return task

    def on_terminal(self, *args):
        """What a terminal gets to see of stdout and stderr."""
        master, slave = pty.openpty()
        process = self.place.start(*args, stdout=slave, stderr=slave)
        os.close(slave)
        shown = read_terminal(master)
        process.wait(30)
        return shown

    def test_a_dry_run_with_ids_harms_nothing(self):
        task = self.submit("greet", "name=a", "--delay", "1h", "--tag", "dry")
        for verb in ("cancel", "retry", "delete"):
            self.assertIn("--dry-run", self.run_(verb, task, "--dry-run", status=2).err)
        self.assertEqual(self.info(task)["status"], "PENDING")
        self.assertEqual(self.run_("cancel", "--tag", "dry", "--dry-run", "--json").json["matched"], 1)
        self.assertEqual(self.info(task)["status"], "PENDING")
        self.run_("cancel", task)

    def test_an_empty_duration_is_not_a_short_one(self):
        task = self.final("greet", "name=a")
        for words in (["--older-than", ""], ["--older-than="]):
            self.assertIn("--older-than", self.run_("prune", *words, status=2).err)
        self.assertEqual(self.info(task)["status"], "SUCCESS")

    def test_empty_filters_match_nothing(self):
        task = self.final("greet", "name=a")
        self.run_("delete", "--status", ",", "--yes", status=2)
        for option in ("--name", "--queue", "--tag", "--worker"):
            self.assertEqual(self.run_("delete", option, "", "--yes", "--json").json["matched"], 0)
        self.assertEqual(self.info(task)["status"], "SUCCESS")

    def test_a_wait_of_no_time_says_what_is_final(self):
        task = self.final("greet", "name=a")
        self.assertEqual(self.run_("result", task, "--wait", "0").json, "a")
        self.run_("result", ABSENT_ID, "--wait", "0", status=4)
        waiting = self.submit("greet", "name=a", "--delay", "1h")
        self.run_("result", waiting, "--wait", "0", status=124)
        self.run_("cancel", waiting)

    def test_what_goes_not_with_bulk_is_refused(self):
        lines = json.dumps({"task_name": "greet", "parameters": {"name": "a"}}) + "\n"
        for words in (["--priority", "3"], ["--wait"], ["--tag", "x"], ["--params", "{}"], ["greet"]):
            told = self.run_("submit", "--bulk", "-", *words, status=2, input=lines)
            self.assertEqual(told.out, "")
            self.assertIn("--bulk", told.err)

    def test_nesting_ends_at_the_same_level_everywhere(self):
        words = "nested deeper than 64 levels"

        def parameters(levels, **more):
            return json.dumps({"x": "NEST", **more}).replace('"NEST"', "[" * (levels - 1) + "]" * (levels - 1))

        def line(levels):
            return json.dumps({"task_name": "echo", "parameters": "NEST"}).replace('"NEST"', parameters(levels))

        task = self.submit("echo", "--params", parameters(64))
        self.assertEqual(len(self.result(task)["result"]), 2)
        for args in (["--params", parameters(65)], ["x:=" + "[" * 64 + "]" * 64], ["x:=" + "[" * 65 + "]" * 65]):
            self.assertIn(words, self.run_("submit", "echo", *args, status=2).err)
        told = self.run_("submit", "--bulk", "-", status=2, input="\n".join(line(n) for n in (64, 65, 66, 500)))
        self.assertEqual(len(told.lines), 1)
        self.assertEqual(told.err.count("parameters: " + words), 3, told.err)
        self.assertEqual(self.result(told.lines[0])["status"], "SUCCESS")
        error = self.result(self.submit("echo", "--params", parameters(64, more=True)), status=1)["error"]
        self.assertEqual(error["kind"], "unstorable")
        self.assertIn(words, error["message"])

    def test_several_ids_are_all_tried(self):
        waiting = [self.submit("greet", "name=a", "--delay", "1h") for _ in range(2)]
        final = self.final("greet", "name=a")
        answers = self.run_("cancel", waiting[0], final, ABSENT_ID, waiting[1], "--json", status=6).json
        self.assertEqual([answer["status"] for answer in answers], ["cancelled", "refused", "not_found", "cancelled"])
        self.run_("delete", ABSENT_ID, *waiting, status=4)
        self.run_("cancel", waiting[0], "no-id", status=2)

    def test_a_number_that_no_integer_holds_hides_no_task(self):
        task = self.final("big", "x=1e300")
        self.assertIn(task, self.run_("list").out)
        self.assertIn("big", self.run_("status", task).out)
        self.assertEqual(self.run_("submit", "big", "x=1e300", "--wait").out.strip(), '"ok"')
        self.assertIn("SUCCESS", self.run_("watch", task, "--json").out)

    def test_bytes_that_are_no_text_are_refused_by_name(self):
        bad = "\udcff"  # the byte 0xFF
        self.assertIn("--tag", self.run_("list", "--tag", bad, status=2).err)
        self.run_("submit", bad, status=4)
        self.run_("tasks", "show", bad, status=4)
        self.run_("worker", "reload", bad, status=2)
        self.assertIn("name", self.run_("submit", "greet", "name=" + bad, status=2).err)

    def test_workers_that_are_not_there_are_named(self):
        alive = self.run_("workers", "--json").json["workers"][0]["name"]
        told = self.run_("worker", "status", "ghost", status=1)
        self.assertIn("ghost", told.err)
        self.assertNotIn("no worker is alive", told.err)
        self.assertEqual(self.run_("worker", "status", "ghost", "--json", status=1).json, {"workers": []})
        self.run_("worker", "status", alive, "ghost", status=1)
        self.assertIn("ghost", self.run_("worker", "reload", alive, "ghost", status=4).err)

    def test_a_reader_that_leaves_ends_the_watch(self):
        task = self.submit("wait")
        self.wait_started(task)
        for words in (["watch", task], ["watch", task, "--json"]):
            process = self.place.start(*words)
            self.assertTrue(process.stdout.readline())
            process.stdout.close()
            self.assertEqual(process.wait(5), 0)
            self.assertEqual(process.stderr.read(), "")
        self.assertEqual(self.info(task)["status"], "STARTED")
        self.run_("cancel", task)
        self.result(task, status=1)

    def test_a_terminal_sees_no_control_character_of_a_task(self):
        task = self.final("hostile")
        value = {"\x1b[2J": "\x9b \x7f ok"}
        self.assertEqual(self.run_("result", task).json, value)
        for words in (["result", task], ["result", task, "--json"], ["status", task], ["status", task, "--json"],
                      ["logs", task], ["logs", task, "--json"], ["watch", task], ["list", "--json"]):
            shown = self.on_terminal(*words).decode().replace("\r\n", "\n")
            for sequence in ("\x1b[2J", "\x9b", "\x7f", "\u202e"):
                self.assertNotIn(sequence, shown, words)
            if words[1:] == [task] and words[0] == "result":
                self.assertEqual(json.loads(shown), value)
            if "--json" in words:
                json.loads(shown)

    def test_a_watch_tells_the_status_before_what_happens_in_it(self):
        task = self.submit("wait")
        wait_until(lambda: self.run_("logs", task).out, 10)
        process = self.place.start("watch", task, "--json")
        events = [json.loads(process.stdout.readline()) for _ in range(2)]
        self.interrupt(process)
        self.assertEqual([event["event"] for event in events], ["status", "log"])
        self.run_("cancel", task)
        self.result(task, status=1)

    def test_the_progress_of_a_watch_does_not_go_back(self):
        """The ledger's is up to a second old."""
        events = [json.loads(line) for line in self.run_("watch", self.submit("steps"), "--json").lines]
        told = [event["percentage"] for event in events if event["event"] == "progress"]
        self.assertEqual(told, sorted(told))
        self.assertEqual(told[-1], 100)

    def test_a_watch_says_when_it_happened_not_when_it_looked(self):
        task = self.final("hostile")
        info = self.info(task)
        events = [json.loads(line) for line in self.run_("watch", task, "--json").lines]
        told = {event["event"]: event["at"] for event in events}
        self.assertEqual(told["status"], info["finished_at"])
        self.assertEqual(told["progress"], info["progress"]["updated_at"])

    def test_ctrl_c_does_not_wait_for_a_store_that_hangs(self):
        task = self.submit("wait")
        self.wait_started(task)
        process = self.place.start("watch", task)
        self.assertTrue(process.stdout.readline())
        servers = [self.place.postgres_server.pid, *children(self.place.postgres_server.pid)]
        for pid in servers:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.5)  # it looks once a second: now one is under way, which nobody sees from outside
            began = time.monotonic()
            self.assertEqual(self.interrupt(process)[0], 130)
            self.assertLess(time.monotonic() - began, 2)
        finally:
            for pid in servers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        self.run_("cancel", task)
        self.result(task, status=1)

    def test_half_a_configured_api_is_nothing(self):
        for name, value in {"CTUTOR_API_URL": "http://127.0.0.1:1", "CTUTOR_TOKEN": "sesame"}.items():
            self.run_("list", env={"CTUTOR_API_URL": None, "CTUTOR_TOKEN": None, **self.stores, name: value})


if __name__ == "__main__":
    unittest.main()
