"""Hot reload: what comes in, what goes on serving, what the old code still finishes, and that nothing piles up."""

import os
import signal
import time
import unittest

import journey
from ctutor import JourneyTest, children, command_line, descriptors, memory, wait_until

RELOADS = int(os.environ.get("CTUTOR_TEST_RELOADS", "200"))
REFUSED = "what served before goes on"


STUCK = 'string.find(("a"):rep(60), ("a*"):rep(30) .. "b")\n'  # years in one C function


def answers(value):
    return "return { execute = function() return %s end }" % value


# Waits for the file to appear, so that a reload surely falls into its run.
SLEEPER = """
local fs = require "ctutor.fs"
return {
  timeout = 60, params = { gate = "string" },
  execute = function(ctx, params)
    while not fs.exists(params.gate) do ctx.sleep(0.1) end
    return %d
  end,
}
"""


def reloads_done(worker):
    return worker.log().count(" serves\n") + worker.log().count(REFUSED)


def hang_up(worker):
    """SIGHUP, until the reload is done."""
    before = reloads_done(worker)
    worker.signal(signal.SIGHUP)
    wait_until(lambda: reloads_done(worker) > before, 30, "the reload is done")


class ReloadTest(JourneyTest):
    def setUp(self):
        for name in os.listdir(self.place.tasks_dir):
            if name.endswith(".lua"):
                os.unlink(os.path.join(self.place.tasks_dir, name))
        self.place.task("steady", answers('"steady"'))

    def result(self, *words):
        return self.place.run("submit", *words, "--wait").expect(0).json

    def reload_outcomes(self, status):
        """`worker reload`, which must leave with this status: {file: [outcome, error]}"""
        done = self.place.run("worker", "reload", "--json").expect(status)
        (answer,) = done.json
        return {file["file"]: [file["outcome"], file["error"]] for file in answer["answer"]["files"]}

    def test_a_new_file_is_usable_within_a_second(self):
        with self.place.worker(processes=2) as worker:
            runners = worker.runners()
            self.assertEqual(self.place.run("submit", "fresh").status, 4)
            self.place.task("fresh", answers(7))
            began = time.monotonic()
            worker.signal(signal.SIGHUP)
            wait_until(lambda: self.place.run("submit", "fresh", "--wait").status == 0, 10)
            self.assertLess(time.monotonic() - began, 3)
            self.assertEqual(worker.runners(), runners, "no runner was restarted")
            self.assertEqual(len(runners), 2)

    def test_a_broken_file_keeps_its_old_version(self):
        self.place.task("shaky", answers(1))
        with self.place.worker() as worker:
            self.place.task("shaky", "return {\n  execute = function()\n    return = 2\n  end }")
            done = self.place.run("worker", "reload").expect(1)
            self.assertRegex(done.out, r"shaky\.lua:3: ")
            self.assertIn("shaky.lua:3: ", worker.log())
            self.assertEqual(self.result("shaky"), 1)
            listed = self.place.run("tasks").expect(0)
            self.assertIn("shaky.lua:3: ", listed.out + listed.err)
            (entry,) = [one for one in self.place.run("tasks", "--json").json
                        if one["name"] == "shaky"]
            self.assertIn("shaky.lua:3: ", entry["error"])
            self.assertEqual(len(entry["workers"]), 1, "the old version is carried")
            self.place.task("shaky", answers(3))
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.result("shaky"), 3)
            self.assertNotIn("shaky.lua:3", self.place.run("tasks", "--json").out)

    def test_a_runner_that_cannot_build_the_code_is_asked_again(self):
        path = os.path.join(self.place.work, "orders")
        with open(path, "w") as file:  # the second build, and the fourth to the sixth
            file.write("generation_load error after 2\ngeneration_load error after 3 times 3\n")
        descriptor = os.open(path, os.O_RDWR)
        self.addCleanup(os.close, descriptor)
        self.addCleanup(setattr, self.place, "pass_fds", ())
        self.place.pass_fds = (descriptor,)
        with self.place.worker(env={"CTUTOR_FAULTS_FD": str(descriptor)}) as worker:
            self.place.task("steady", answers(1))
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.result("steady"), 1)
            self.place.task("steady", answers(2))
            self.assertIn("keeps its old code", self.place.run("worker", "reload").expect(1).out)
            self.assertEqual(self.result("steady"), 1)
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.result("steady"), 2)
            self.assertEqual(len(worker.runners()), 1)

    def test_runs_finish_on_the_code_they_began_with(self):
        gate = os.path.join(self.place.work, "gate")
        for rounds in (1, 3):
            with self.subTest(reloads=rounds):
                self.place.task("sleeper", SLEEPER % 1)
                with self.place.worker(processes=2) as worker:
                    lines = "".join('{"task_name":"sleeper","parameters":{"gate":"%s"}}\n' % gate
                                    for _ in range(100))
                    old = self.place.run("submit", "--bulk", "-", input=lines).expect(0).lines
                    self.wait_running(100)
                    for version in range(2, 2 + rounds):
                        self.place.task("sleeper", SLEEPER % version)
                        hang_up(worker)
                    new = self.place.run("submit", "--bulk", "-", input=lines).expect(0).lines
                    self.wait_running(200)
                    open(gate, "w").close()
                    self.check_versions(old, new, rounds + 1)
                os.unlink(gate)

    def wait_running(self, count):
        wait_until(lambda: self.place.value("SELECT count(*) FROM active WHERE status = 1")
                   == str(count), 60, "%d tasks run" % count)

    def check_versions(self, old, new, newest):
        wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 60)
        rows = {}
        for task_id, status, result, version, attempt in self.place.psql(
                "SELECT task_id, status, result, task_version, attempt FROM task_info "
                "WHERE task_name = 'sleeper'"):
            rows[task_id] = (status, result, version, attempt)
        first, last = {rows[one] for one in old}, {rows[one] for one in new}
        self.assertEqual([(row[0], row[1], row[3]) for row in first], [("SUCCESS", "1", "1")])
        self.assertEqual([(row[0], row[1], row[3]) for row in last],
                         [("SUCCESS", str(newest), "1")])
        self.assertNotEqual({row[2] for row in first}, {row[2] for row in last})

    def test_a_hot_loop_of_an_old_generation_is_stopped(self):
        self.place.task("loop", """
            return { timeout = 4, execute = function(ctx)
              ctx.sleep(2)
              while true do end
            end }""")
        with self.place.worker() as worker:
            runners = worker.runners()
            looping = self.place.submit("loop")
            self.place.wait_status(looping, "STARTED")
            for value in (1, 2):
                self.place.task("loop", answers(value))
                hang_up(worker)
            info = self.place.wait_status(looping, "FAILURE", seconds=20)
            self.assertEqual(info["error"]["kind"], "timeout")
            self.assertLess(info["duration"], 6)
            self.assertEqual(worker.runners(), runners, "the process went on")
            self.assertEqual(self.result("loop"), 2)

    def test_a_removed_file_ends_its_task(self):
        path = self.place.task("brief", answers(1))
        with self.place.worker() as worker:
            self.assertEqual(self.result("brief"), 1)
            os.unlink(path)
            self.assertEqual(self.reload_outcomes(0)["brief.lua"], ["removed", None])
            self.assertEqual(self.place.run("submit", "brief").status, 4)
            self.assertEqual(self.result("steady"), "steady")
            self.assertEqual(len(worker.runners()), 1)

    def test_a_changed_lib_changes_who_uses_it(self):
        self.place.task("lib/words.lua", 'return { hello = "old" }')
        self.place.task("user", 'local words = require "words"\n'
                                'return { execute = function() return words.hello end }')
        with self.place.worker():
            before = self.versions()
            self.assertEqual(self.result("user"), "old")
            self.place.task("lib/words.lua", 'return { hello = "new" }')
            outcomes = self.reload_outcomes(0)
            self.assertEqual(outcomes["user.lua"], ["loaded", None])
            self.assertEqual(outcomes["steady.lua"], ["unchanged", None])
            after = self.versions()
            self.assertNotEqual(before["user"], after["user"])
            self.assertEqual(before["steady"], after["steady"])
            self.assertEqual(self.result("user"), "new")

    def versions(self):
        return {one["name"]: one["version"] for one in self.place.run("tasks", "--json").json}

    def test_two_files_of_one_name_are_both_refused(self):
        self.place.task("twin", answers(1))
        with self.place.worker():
            other = self.place.task("brother", 'return { name = "twin", execute = function() return 2 end }')
            outcomes = self.reload_outcomes(1)
            self.assertEqual(outcomes["twin.lua"][0], "kept")
            self.assertEqual(outcomes["brother.lua"][0], "failed")
            self.assertIn("twin", outcomes["brother.lua"][1])
            self.assertEqual(self.result("twin"), 1)
            os.unlink(other)
            self.assertEqual(self.reload_outcomes(0)["twin.lua"], ["unchanged", None])

    def test_what_others_may_write_is_refused(self):
        path = self.place.task("open", answers(1))
        with self.place.worker() as worker:
            os.chmod(path, 0o664)
            outcome, error = self.reload_outcomes(1)["open.lua"]
            self.assertEqual(outcome, "kept")
            self.assertIn("writ", error)
            os.chmod(path, 0o644)
            for mode in (0o770, 0o707):
                os.chmod(self.place.tasks_dir, mode)
                self.place.task("late", answers(1))
                done = self.place.run("worker", "reload").expect(1)
                self.assertIn("writ", done.out + done.err)
                self.assertEqual(self.place.run("submit", "late").status, 4)
            os.chmod(self.place.tasks_dir, 0o700)
            self.assertIn(REFUSED, worker.log())
            self.assertEqual(self.result("open"), 1)

    def test_an_endless_top_level_is_an_error_of_its_file(self):
        with self.place.worker():
            self.place.task("endless", "while true do end")
            began = time.monotonic()
            outcome, error = self.reload_outcomes(1)["endless.lua"]
            self.assertLess(time.monotonic() - began, 6)
            self.assertEqual(outcome, "failed")
            self.assertRegex(error, "2 ?s")
            self.assertEqual(self.result("steady"), "steady")

    def test_files_stuck_in_a_c_function_fail_alone(self):
        with self.place.worker():
            self.place.task("middle", answers(1))
            self.assertEqual(self.reload_outcomes(0)["middle.lua"], ["loaded", None])
            for name in ("first", "middle"):
                self.place.task(name, STUCK + answers(2))
            self.place.task("last", answers(3))
            began = time.monotonic()
            outcomes = self.reload_outcomes(1)
            self.assertLess(time.monotonic() - began, 12)
            for name, outcome in ("first", "failed"), ("middle", "kept"):
                error = "%s.lua: stuck in a C function for 2 s while loading" % name
                self.assertEqual(outcomes[name + ".lua"], [outcome, error])
            self.assertEqual((self.result("steady"), self.result("middle"), self.result("last")), ("steady", 1, 3))

    def test_a_file_stuck_in_a_c_function_does_not_keep_a_worker_from_starting(self):
        self.place.task("endless", STUCK + answers(1))
        with self.place.worker() as worker:
            self.assertEqual(self.result("steady"), "steady")
            self.assertIn("endless.lua: stuck in a C function", worker.log())

    def test_a_runner_that_computes_holds_nobody_up(self):
        self.place.task("hot", "return { timeout = 60, execute = function() while true do end end }")
        env = {"CTUTOR_LEASE": "5s"}  # a cancel without Redis comes with the heartbeat
        with self.place.worker(processes=2, env=env) as worker:
            hot = self.place.submit("hot")
            self.place.wait_status(hot, "STARTED")
            self.place.task("new", answers(7))
            began = time.monotonic()
            worker.signal(signal.SIGHUP)
            wait_until(lambda: self.place.run("submit", "new", "--wait").status == 0, 10)
            self.assertLess(time.monotonic() - began, 4)
            self.place.task("newer", answers(8))
            self.assertEqual(self.reload_outcomes(0)["newer.lua"], ["loaded", None])
            self.place.run("cancel", hot).expect(0)
            self.place.wait_status(hot, "REVOKED")
            self.place.run("worker", "reload").expect(0)
            for _ in range(4):  # the one that was busy has caught up
                self.assertEqual(self.result("newer"), 8)
            self.assertNotIn("not answered in time", worker.log(), "its own turn was too long")

    def test_reloads_asked_for_during_a_reload_are_all_answered(self):
        with self.place.worker():
            asked = [self.place.start("worker", "reload", "--json") for _ in range(6)]
            self.place.task("asked", answers(7))
            asked += [self.place.start("worker", "reload", "--json")]
            for one in asked:
                out, err = one.communicate(timeout=30)
                self.assertEqual(one.returncode, 0, out + err)
            self.assertEqual(self.result("asked"), 7)

    def test_a_hang_up_during_a_reload_is_not_forgotten(self):
        with self.place.worker() as worker:
            self.place.task("slow", "local e = os.clock() + 1 while os.clock() < e do end " + answers(1))
            worker.signal(signal.SIGHUP)
            checker = wait_until(lambda: self.checkers(worker), 10)
            self.place.task("again", answers(7))
            worker.signal(signal.SIGHUP)
            wait_until(lambda: self.place.run("submit", "again", "--wait").status == 0, 15)
            self.assertNotEqual(self.checkers(worker), checker)

    def checkers(self, worker):
        return [pid for pid in children(worker.pid) if "__checker" in command_line(pid)]

    def test_a_checker_that_dies_changes_nothing(self):
        with self.place.worker() as worker:
            self.place.task("slow", "local e = os.clock() + 1.5 while os.clock() < e do end " + answers(1))
            asked = self.place.start("worker", "reload")
            (checker,) = wait_until(lambda: self.checkers(worker), 10)
            os.kill(checker, signal.SIGKILL)
            out, err = asked.communicate(timeout=30)
            self.assertEqual(asked.returncode, 1)
            self.assertIn("signal 9", out + err)
            self.assertEqual(self.result("steady"), "steady")
            self.place.task("slow", answers(1))
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.result("slow"), 1)

    def test_a_reload_asked_of_a_worker_that_is_told_to_leave_is_answered(self):
        gate = os.path.join(self.place.work, "leaving")
        self.place.task("sleeper", SLEEPER % 1)
        worker = self.place.start_worker()
        run = self.place.submit("sleeper", "gate=" + gate)
        self.place.wait_status(run, "STARTED")
        self.place.task("slow", "local e = os.clock() + 1 while os.clock() < e do end " + answers(1))
        first = self.place.start("worker", "reload")
        wait_until(lambda: self.checkers(worker), 10)
        second = self.place.start("worker", "reload")
        wait_until(lambda: worker.log().count("asked to reload") == 2, 10)
        worker.signal(signal.SIGTERM)
        self.assertIn(first.wait(30), (0, 1))  # on a busy machine slow.lua takes too long
        out, err = second.communicate(timeout=30)
        self.assertEqual(second.returncode, 1)
        self.assertIn("this worker is leaving", out + err)
        open(gate, "w").close()
        self.assertEqual(worker.wait(), 0, worker.log())

    def test_a_worker_that_leaves_during_a_reload_leaves_in_order(self):
        """A heartbeat and the end of the checker fall due while what its runner left is removed."""
        worker = self.place.start_worker(env={"CTUTOR_LEASE": "3s"})
        runner = wait_until(lambda: self.place.value(
            "SELECT incarnation FROM workers WHERE state = 'alive' AND supervisor IS NOT NULL"), 10)
        left = os.path.join(self.place.tmp, "ctutor-run-%d" % os.geteuid(), runner)
        for number in range(30_000):
            os.close(os.open(os.path.join(left, str(number)), os.O_CREAT | os.O_WRONLY))
        self.place.task("slow", "local e = os.clock() + 0.1 while os.clock() < e do end " + answers(1))
        worker.signal(signal.SIGHUP)
        wait_until(lambda: self.checkers(worker), 10)
        self.assertEqual(worker.stop(), 0, worker.log())
        self.assertIn("has left", worker.log())

    def test_a_folder_that_is_gone_changes_nothing(self):
        with self.place.worker():
            os.rename(self.place.tasks_dir, self.place.tasks_dir + ".away")
            try:
                done = self.place.run("worker", "reload").expect(1)
                self.assertIn("tasks.d", done.out + done.err)
                self.assertEqual(self.result("steady"), "steady")
            finally:
                os.rename(self.place.tasks_dir + ".away", self.place.tasks_dir)
            self.place.run("worker", "reload").expect(0)

    def test_many_reloads_leave_memory_and_descriptors_alone(self):
        with self.place.worker(processes=2, env={"ASAN_OPTIONS": journey.NO_QUARANTINE}) as worker:
            for number in range(RELOADS // 4):
                self.change_and_reload(worker, number)
            processes = [worker.pid] + worker.runners()
            before = [(memory(pid), descriptors(pid)) for pid in processes]
            for number in range(RELOADS):
                self.change_and_reload(worker, number)
            self.assertEqual([worker.pid] + worker.runners(), processes)
            for pid, (bytes_before, open_before) in zip(processes, before):
                self.assertEqual(descriptors(pid), open_before)
                grown = memory(pid) - bytes_before
                self.assertLess(grown, 3 << 20, "process %d grew" % pid)
            self.assertEqual(self.result("steady"), RELOADS - 1)

    def change_and_reload(self, worker, number):
        self.place.task("steady", answers(number))
        hang_up(worker)


if __name__ == "__main__":
    unittest.main()
