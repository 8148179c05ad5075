"""What the program does without any server: tasks check, tasks run, version, help, completion."""

import json
import os
import pty
import shutil
import signal
import subprocess
import time
import unittest

import ctutor

DOUBLE = """
return {
  params = { number = "integer", factor = { type = "integer", default = 2, maximum = 5 } },
  execute = function(ctx, params)
    ctx.info("doubling\\27[31m")
    ctx.progress(50, { stage = "half" })
    return { value = params.number * params.factor, attempt = ctx.attempt, of = ctx.max_attempts }
  end,
}
"""
SLEEPER = """
local process = require "ctutor.process"
local fs = require "ctutor.fs"
return { execute = function(ctx)
  fs.write(fs.tempdir() .. "/held", "x")
  ctx.info("asleep")
  process.run { "sleep", "600" }
end }
"""


class LocalTest(unittest.TestCase):
    def setUp(self):
        self.place = ctutor.Folder()
        self.addCleanup(self.place.close)

    def tearDown(self):
        self.assertEqual(os.listdir(self.place.tmp), [])
        ctutor.wait_until(lambda: not ctutor.descendants(os.getpid()), 10, "no process is left")

    def run_(self, *args, status=0, **options):
        return self.place.run(*args, **options).expect(status)

    def start_and_read(self, *args, until):
        """Starts a command and reads its stderr up to a line with that word."""
        process = self.place.start(*args)
        while True:
            line = process.stderr.readline()
            self.assertTrue(line, "ended before it said " + until)
            if until in line:
                return process


class TasksCheck(LocalTest):
    def test_good_files_pass(self):
        self.place.task("double", DOUBLE)
        done = self.run_("tasks", "check")
        self.assertEqual(done.out, "double.lua: ok (double)\n")

    def test_every_bad_file_is_told_with_its_line_and_the_exit_status_is_1(self):
        self.place.task("double", DOUBLE)
        self.place.task("syntax", "return {\n  execute = function(\n}")
        self.place.task("typo", "return { timout = 5, execute = function() end }")
        self.place.task("stray", "return { execute = function()\n  counter = 1\nend }")
        done = self.run_("tasks", "check", status=1)
        self.assertIn("double.lua: ok", done.out)
        self.assertRegex(done.out, r"syntax\.lua: failed\n  syntax\.lua:3: ")
        self.assertRegex(done.out, r"typo\.lua.*\n.*timout.*did you mean 'timeout'")
        self.assertRegex(done.out, r"stray\.lua: failed\n  stray\.lua:2: .*counter")
        files = {item["file"]: item for item in self.run_("tasks", "check", "--json", status=1).json}
        self.assertEqual(files["double.lua"]["outcome"], "loaded")
        self.assertEqual(files["syntax.lua"]["outcome"], "failed")
        self.assertIn("syntax.lua:3", files["syntax.lua"]["error"])

    def test_a_file_that_never_ends_loading_is_stopped(self):
        self.place.task("endless", "while true do end")
        done = self.run_("tasks", "check", status=1)
        self.assertIn("endless.lua", done.out)
        self.assertLess(done.seconds, 20)

    def test_a_file_stuck_in_a_c_function_is_named_and_the_others_are_usable(self):
        self.place.task("double", DOUBLE)
        self.place.task("endless", 'string.find(("a"):rep(60), ("a*"):rep(30) .. "b")')
        done = self.run_("tasks", "check", status=1)
        self.assertIn("endless.lua: stuck in a C function for 2 s while loading", done.out)
        self.assertIn("double.lua: ok", done.out)
        self.assertEqual(self.run_("tasks", "run", "double", "number=4", "factor=2").json["value"], 8)

    def test_another_folder_can_be_named_and_must_be_safe(self):
        other = os.path.join(self.place.root, "other")
        os.mkdir(other, 0o700)
        shutil.copy(self.place.task("double", DOUBLE), other)
        self.assertIn("double.lua: ok", self.run_("tasks", "check", other).out)
        os.chmod(other, 0o777)
        self.assertIn(other, self.run_("tasks", "check", other, status=2).err)
        self.run_("tasks", "check", other + "/absent", status=2)

    def test_what_ships_is_clean(self):
        done = self.run_("tasks", "check", os.path.join(ctutor.ROOT, "tasks.d"), "--json")
        names = {item["name"] for item in done.json}
        self.assertLessEqual({"my_simple_task", "calculate_factorial", "example_failing",
                              "student_testing"}, names)
        self.assertEqual([item["warnings"] for item in done.json if item["warnings"]], [])


class TasksRun(LocalTest):
    def test_the_result_is_on_stdout_and_all_else_on_stderr(self):
        self.place.task("double", DOUBLE)
        done = self.run_("tasks", "run", "double", "number=21")
        self.assertEqual(done.json, {"value": 42, "attempt": 1, "of": 1})
        self.assertIn("info: doubling", done.err)
        self.assertNotIn("\033", done.err)
        self.assertIn("50% stage=half", done.err)

    def test_parameters_pass_the_door_of_submit(self):
        self.place.task("double", DOUBLE)
        self.assertIn("number", self.run_("tasks", "run", "double", status=2).err)
        self.assertIn("factor", self.run_("tasks", "run", "double", "number=1", "factor=9", status=2).err)
        self.assertIn("numer", self.run_("tasks", "run", "double", "numer=1", status=2).err)
        self.run_("tasks", "run", status=2)
        given = self.run_("tasks", "run", "double", "--params", "-", input='{"number": 5, "factor": 3}')
        self.assertEqual(given.json["value"], 15)

    def test_unknown_names_and_broken_files(self):
        self.place.task("double", DOUBLE)
        self.place.task("broken", "return {")
        self.assertIn("did you mean double", self.run_("tasks", "run", "duoble", status=4).err)
        self.assertIn("broken.lua:1", self.run_("tasks", "run", "broken", status=1).err)

    def test_a_failure_is_told_with_kind_and_traceback_and_there_is_no_retry(self):
        self.place.task("fails", """return { retries = 3, execute = function(ctx)
          ctx.info("attempt " .. ctx.attempt)
          error("boom")
        end }""")
        done = self.run_("tasks", "run", "fails", status=1)
        self.assertEqual(done.out, "")
        self.assertRegex(done.err, r"fails: exception: .*boom")
        self.assertIn("fails.lua:3", done.err)
        self.assertEqual(done.err.count("attempt 1"), 1)
        self.assertNotIn("attempt 2", done.err)
        told = self.run_("tasks", "run", "fails", "--json", status=1).json
        self.assertEqual((told["status"], told["error"]["kind"], told["result"]),
                         ("FAILURE", "exception", None))
        self.place.task("explains", 'return { execute = function() return nil, "no", { line = 7 } end }')
        self.assertIn('details: {"line":7}', self.run_("tasks", "run", "explains", status=1).err)

    def test_a_loop_that_never_waits_ends_at_its_timeout(self):
        self.place.task("hot", "return { timeout = 1, execute = function() while true do end end }")
        done = self.run_("tasks", "run", "hot", status=1)
        self.assertIn("timeout", done.err)
        self.assertLess(done.seconds, 15)

    def test_its_folder_and_what_it_started_are_gone_afterwards(self):
        self.place.task("messy", """
            local fs, process = require "ctutor.fs", require "ctutor.process"
            return { execute = function()
              fs.write(fs.tempdir() .. "/a", "x")
              process.run { "sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & setsid env -i sleep 600 >/dev/null 2>&1 &" }
              return fs.tempdir()
            end }""")
        folder = self.run_("tasks", "run", "messy").json
        self.assertFalse(os.path.exists(folder))

    def test_ctrl_c_cancels_and_leaves_nothing(self):
        self.place.task("sleeper", SLEEPER)
        process = self.start_and_read("tasks", "run", "sleeper", until="asleep")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertIn("cancelled", err)

    def test_the_end_of_a_subprocess_is_no_second_ctrl_c(self):
        self.place.task("tidy", """local run = require("ctutor.process").run
        return { execute = function(ctx)
          ctx.info("up")
          for i = 1, 20 do pcall(run, { "sleep", "60" }) end
          return "tidied"
        end }""")
        for _ in range(5):
            process = self.start_and_read("tasks", "run", "tidy", until="up")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            self.assertEqual((process.returncode, out), (130, '"tidied"\n'), err)

    def test_a_second_ctrl_c_ends_also_a_loop_that_never_waits(self):
        self.place.task("hot", """return { execute = function(ctx)
          ctx.info("hot")
          while true do end
        end }""")
        process = self.start_and_read("tasks", "run", "hot", until="hot")
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two signals of one kind that are pending at once count as one
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        self.assertLess(time.monotonic() - began, 5)

    def test_a_terminal_gets_a_bar(self):
        self.place.task("double", DOUBLE)
        master, slave = pty.openpty()
        process = self.place.start("tasks", "run", "double", "number=1", stderr=slave)
        os.close(slave)
        out = process.stdout.read()
        shown = ctutor.read_terminal(master)
        self.assertEqual(process.wait(30), 0)
        self.assertEqual(json.loads(out)["value"], 2)
        self.assertIn(b"50% STARTED", shown)
        self.assertIn(b"doubling", shown)
        self.assertNotIn(b"\033[31m", shown)

    def test_the_shipped_tasks_run_here(self):
        shutil.copytree(os.path.join(ctutor.ROOT, "tasks.d"), self.place.tasks_dir, dirs_exist_ok=True)
        self.assertEqual(self.run_("tasks", "run", "calculate_factorial", "number=25").json["factorial"],
                         "15511210043330985984000000")
        done = self.run_("tasks", "run", "my_simple_task", "message=hi", "count=1").json
        self.assertEqual((done["status"], done["results"]), ("completed", ["hi - iteration 1"]))


class ThisProgram(LocalTest):
    def test_version(self):
        self.assertRegex(self.run_("version").out, r"^ctutor-run \d+\.\d+\.\d+")
        self.assertEqual(self.run_("--version").out, self.run_("version").out)
        self.assertIn("version", self.run_("version", "--json").json)

    def test_help_names_every_command_and_each_has_its_own(self):
        overview = self.run_("help").out
        for name in ("up", "worker start", "submit", "status", "result", "watch", "logs", "list",
                     "cancel", "retry", "delete", "tasks", "tasks check", "tasks run", "queues",
                     "workers", "prune", "migrate", "completion"):
            self.assertIn(name, overview)
            words = name.split()
            page = self.run_("help", *words).out
            self.assertIn("ctutor-run " + name, page)
            self.assertEqual(self.run_(*words, "--help").out, page)
        self.assertNotIn("__runner", overview)

    def test_help_config_masks_secrets_and_says_where_values_come_from(self):
        env = {"REDIS_PASSWORD": "hunter2", "CTUTOR_QUEUES": "a,b"}
        shown = self.run_("help", "config", env=env).out
        self.assertNotIn("hunter2", shown)
        self.assertIn("a,b", shown)
        self.assertIn("environment", shown)
        self.assertIsInstance(self.run_("help", "config", "--json", env=env).json, (dict, list))

    def test_wrong_words_exit_2_and_say_what_was_meant(self):
        self.assertIn("submit", self.run_("sbumit", status=2).err)
        self.assertIn("start", self.run_("worker", status=2).err)
        self.assertIn("--burst", self.run_("worker", "start", "--brust", status=2).err)
        self.run_(status=2)
        told = self.run_("sbumit", "--json", status=2)
        self.assertEqual(told.err.count("\n"), 1)

    def test_a_worker_has_a_name_that_can_be_typed(self):
        for name in ("", "a b", "a\x1b[31m", "x" * 129, "b\u00fcro"):
            self.assertIn("--name", self.run_("worker", "start", "--name=" + name, status=2).err)

    def test_bad_settings_are_named(self):
        done = self.run_("list", status=2, env={"CTUTOR_LEASE": "soon"})
        self.assertIn("CTUTOR_LEASE", done.err)

    def test_without_stores_commands_exit_3_and_say_how_to_get_some(self):
        env = {"DATABASE_URL": "host=%s" % self.place.tmp, "REDIS_URL": "unix://%s/s" % self.place.tmp}
        for words in (("list",), ("submit", "x")):
            done = self.run_(*words, status=3, env=env)
            self.assertIn("ctutor-run up", done.err)

    def test_descriptors_that_were_closed_are_not_taken_for_others(self):
        def run(words, closed):
            return subprocess.run(["sh", "-c", "exec \"$0\" %s %s" % (words, closed), ctutor.PROGRAM],
                                  env=self.place.env, cwd=self.place.work, text=True, capture_output=True)
        self.place.task("double", DOUBLE)
        for closed in (">&-", ">/dev/full"):
            done = run("tasks run double number=1", closed)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "not written: (Bad file|No space)")
        self.assertEqual(run("version", ">&- 2>&- <&-").returncode, 1)
        done = run("tasks run double number=1", "2>&- <&-")
        self.assertEqual((done.returncode, json.loads(done.stdout)["value"]), (0, 2))

    def test_ctrl_c_is_130_everywhere(self):
        for words in (["submit", "x"], ["list"]):
            env = {"DATABASE_URL": "host=%s" % self.place.tmp, "REDIS_URL": "unix://%s/s" % self.place.tmp}
            process = self.place.start(*words, env=env)
            ctutor.wait_until(lambda: ctutor.catches(process.pid, signal.SIGINT), 20, "it hears of Ctrl-C")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(5), 130)

    def test_help_of_a_word_lists_its_verbs(self):
        page = self.run_("help", "worker").out
        for verb in ("start", "status", "reload", "stop"):
            self.assertIn("worker " + verb, page)
        self.assertIn("tasks run", self.run_("help", "tasks").out)
        self.run_("help", "nonsense", status=2)
        self.run_("version", "now", status=2)

    def test_an_error_is_json_too_where_json_was_asked_for(self):
        for words in (["list", "--bogus", "--json"], ["--json", "list", "--bogus"], ["list", "--limit=x", "--json"]):
            told = self.run_(*words, status=2).json
            self.assertEqual(told["code"], "invalid")

    def test_completions_are_accepted_by_their_shells(self):
        for shell in ("bash", "zsh", "fish"):
            text = self.run_("completion", shell).out
            self.assertIn("worker", text)
            if shutil.which(shell):
                done = subprocess.run([shell, "-n"], input=text, text=True, capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.run_("completion", "cobol", status=2)

    def test_bash_completes_commands(self):
        script = self.run_("completion", "bash").out + """
            COMP_WORDS=(ctutor-run wor); COMP_CWORD=1; _ctutor_run; printf '%s ' "${COMPREPLY[@]}"
            COMP_WORDS=(ctutor-run worker start --b); COMP_CWORD=3; _ctutor_run; printf '%s ' "${COMPREPLY[@]}"
        """
        done = subprocess.run(["bash"], input=script, text=True, capture_output=True)
        self.assertIn("worker", done.stdout)
        self.assertIn("--burst", done.stdout)

    def test_fixed_words_are_completed(self):
        script = self.run_("completion", "bash").out + """
            COMP_WORDS=(ctutor-run completion z); COMP_CWORD=2; _ctutor_run; printf '%s ' "${COMPREPLY[@]}"
            COMP_WORDS=(ctutor-run help conf); COMP_CWORD=2; _ctutor_run; printf '%s ' "${COMPREPLY[@]}"
        """
        done = subprocess.run(["bash"], input=script, text=True, capture_output=True)
        self.assertEqual(done.stdout.split(), ["zsh", "config"])

    def test_fish_completes_verbs_once(self):
        script = self.run_("completion", "fish").out
        self.assertIn("-a stop", script)
        for line, words in (("ctutor-run worker ", {"start", "status", "reload", "stop"}),
                            ("ctutor-run completion ", {"bash", "zsh", "fish"}),
                            ("ctutor-run queues pause r", set())):
            if not shutil.which("fish"):
                continue
            done = subprocess.run(["fish", "--no-config"], input=script + "complete -C '%s'\n" % line, text=True,
                                  capture_output=True, cwd=self.place.tasks_dir)
            self.assertEqual({word.split("\t")[0] for word in done.stdout.splitlines()}, words)

    def test_a_reader_that_leaves_is_no_trouble(self):
        done = subprocess.run(["sh", "-c", "\"$0\" help | head -n 1", ctutor.PROGRAM], env=self.place.env,
                              text=True, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
