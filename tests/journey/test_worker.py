"""A worker's life: what it refuses to start with, bursts, draining, stopping from elsewhere."""

import fcntl
import os
import pty
import shutil
import signal
import termios
import threading
import time
import unittest
import unittest.mock

import ctutor
import journey
from ctutor import JourneyTest, memory, wait_until

TASKS = {
    "quick": 'return { params = { n = "integer" }, execute = function(ctx, params) return params.n end }',
    "shaky": 'return { retries = { max = 2, base = "1h", cap = "1h", jitter = false },'
             ' execute = function() error("not today") end }',
    "dozer": 'return { execute = function(ctx) ctx.snooze(3600, "later") end }',
    "nap": 'return { timeout = 60, params = { seconds = "number" },'
           ' execute = function(ctx, params) ctx.sleep(params.seconds) return ctx.attempt end }',
    "talker": 'return { timeout = 60, params = { seconds = "number" }, execute = function(ctx, params)'
              ' ctx.sleep(params.seconds) for i = 1, 20 do ctx.info("line " .. i) end return ctx.attempt end }',
    "chatty": 'return { timeout = 3, execute = function() while true do print(("x"):rep(100)) end end }',
    "hoarder": 'return { timeout = 60, params = { megabytes = "integer" }, execute = function(ctx, params)'
               ' local kept = {} for i = 1, params.megabytes do kept[i] = ("x"):rep(2 ^ 20 - i) end'
               ' ctx.sleep(params.megabytes > 0 and 4 or 0) return ctx.attempt end }',
}


def catches(pid, number):
    """Has the process a handler for this signal?"""
    with open("/proc/%d/status" % pid) as file:
        mask = next(line for line in file if line.startswith("SigCgt:"))
    return int(mask.split()[1], 16) >> (number - 1) & 1


class WorkerTest(JourneyTest):
    program = ctutor.PROGRAM

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, text in TASKS.items():
            cls.place.task(name, text)
        with cls.place.worker():
            pass  # the catalogue has them from now on

    # ---- bursts ----

    def test_a_burst_runs_what_is_due_and_leaves_the_rest(self):
        delayed = self.place.submit("quick", "n=1", "--delay=1h")
        lines = "".join('{"task_name":"quick","parameters":{"n":%d}}\n' % n for n in range(1000))
        ids = self.place.run("submit", "--bulk", "-", input=lines).expect(0).lines
        shaky, dozer = self.place.submit("shaky"), self.place.submit("dozer")
        self.burst(processes=2)
        rows = self.place.psql("SELECT task_id, result, attempt FROM task_info WHERE status = 'SUCCESS' "
                               "AND task_id = ANY ('{%s}')" % ",".join(ids))
        self.assertEqual(sorted(rows), sorted((one, str(n), "1") for n, one in enumerate(ids)))
        expected = [("dozer", "PENDING", "1"), ("quick", "PENDING", "0"), ("shaky", "RETRY", "1")]
        self.assertEqual(self.waiting(), expected)
        began = time.monotonic()
        self.burst(processes=1)
        self.assertLess(time.monotonic() - began, 15, "nothing is due")
        self.assertEqual(self.waiting(), expected, "delayed, retrying and snoozed are not touched")
        self.place.run("cancel", delayed, shaky, dozer).expect(0)

    def burst(self, **options):
        worker = self.place.start_worker(burst=True, ready=False, **options)
        self.assertEqual(worker.wait(60), 0, worker.log())

    def waiting(self):
        return self.place.psql("SELECT task_name, status, attempt FROM task_info WHERE status IN "
                               "('PENDING', 'STARTED', 'RETRY') ORDER BY task_name")

    def test_a_burst_with_nothing_to_do_leaves_soon(self):
        began = time.monotonic()
        self.burst()
        self.assertLess(time.monotonic() - began, 15)

    def test_a_burst_waits_for_what_began_after_a_runner_had_nothing_left(self):
        first = self.place.submit("nap", "seconds=5")
        worker = self.place.start_worker(burst=True, ready=False, processes=2, concurrency=1,
                                         grace="1s")
        self.place.wait_status(first, "STARTED")
        wait_until(lambda: "generation 1 serves" in worker.log())
        time.sleep(1.2)  # by now the other runner has said that nothing is left
        second = self.place.submit("nap", "seconds=7")
        self.place.wait_status(second, "STARTED")
        self.assertEqual(worker.wait(), 0, worker.log())
        for task_id in (first, second):
            self.assertEqual(self.place.run("result", task_id).expect(0).json, 1)

    def test_a_burst_without_any_task_leaves_too(self):
        empty = os.path.join(self.place.root, "empty.d")
        os.mkdir(empty, 0o700)
        worker = self.place.start_worker("--tasks-dir", empty, burst=True, ready=False)
        self.assertEqual(worker.wait(15), 0)

    def test_a_burst_leaves_paused_queues_and_unknown_tasks_alone(self):
        path = self.place.task("passing", "return { execute = function() end }")
        self.burst()
        self.place.run("queues", "pause", "low_priority").expect(0)
        paused = [self.place.submit("quick", "n=1", "--queue=low_priority") for _ in range(3)]
        unknown = self.place.submit("passing")
        os.unlink(path)
        self.burst()
        self.assertEqual(self.waiting(), [("passing", "PENDING", "0")] + [("quick", "PENDING", "0")] * 3)
        self.place.run("cancel", unknown, *paused).expect(0)
        self.place.run("queues", "resume", "low_priority").expect(0)

    def test_a_burst_beside_a_living_worker_leaves_too(self):
        with self.place.worker(queues="elsewhere"):
            task_id = self.place.submit("quick", "n=4")
            self.burst()
            self.assertEqual(self.place.run("result", task_id).expect(0).json, 4)

    # ---- the beginning ----

    def test_signals_are_heard_before_it_serves(self):
        self.place.postgres_server.signal(signal.SIGSTOP)
        try:
            worker = self.place.start_worker(ready=False)
            hasty = self.place.start_worker(ready=False)
            for one in (worker, hasty):
                wait_until(lambda: catches(one.pid, signal.SIGTERM))
                one.signal(signal.SIGHUP)
                one.signal(signal.SIGTERM)
            time.sleep(0.2)  # a second signal of one number that waits would be lost
            hasty.signal(signal.SIGTERM)
            self.assertEqual(hasty.wait(3), 128 + signal.SIGTERM)
        finally:
            self.place.postgres_server.signal(signal.SIGCONT)
        self.assertEqual(worker.wait(20), 0, worker.log())
        self.assertNotIn("generation 1", worker.log())

    def test_a_program_that_is_replaced_on_disk_goes_on_as_it_is(self):
        copy = os.path.join(self.place.work, "ctutor-run")
        shutil.copy2(ctutor.PROGRAM, copy)
        with unittest.mock.patch("ctutor.PROGRAM", copy), self.place.worker() as worker:
            os.unlink(copy)
            with open(copy, "w") as file:
                file.write("#!/bin/sh\nexit 1\n")
            os.chmod(copy, 0o755)
            os.kill(worker.runners()[0], signal.SIGKILL)
            with unittest.mock.patch("ctutor.PROGRAM", self.program):
                self.place.task("late", "return { execute = function() return 5 end }")
                self.place.run("worker", "reload").expect(0)
                self.assertEqual(self.place.run("submit", "late", "--wait=20s").expect(0).json, 5)

    def test_a_runner_that_cannot_be_started_is_tried_again(self):
        with self.place.worker() as worker:
            base = os.path.join(self.place.tmp, "ctutor-run-%d" % os.geteuid())
            os.rename(base, base + ".away")
            open(base, "w").close()
            os.kill(worker.runners()[0], signal.SIGKILL)
            wait_until(lambda: "cannot start a runner" in worker.log())
            os.unlink(base)
            os.rename(base + ".away", base)
            self.assertEqual(self.place.run("submit", "quick", "n=6", "--wait=20s").expect(0).json, 6)

    # ---- the end ----

    def test_draining_lets_running_tasks_end(self):
        worker = self.place.start_worker(grace="20s")
        nap = self.place.submit("nap", "seconds=2")
        self.place.wait_status(nap, "STARTED")
        worker.signal(signal.SIGTERM)
        wait_until(lambda: "draining" in worker.log())
        late = self.place.submit("quick", "n=5")
        self.assertEqual(worker.wait(), 0, worker.log())
        self.assertEqual(self.place.run("result", nap).expect(0).json, 1)
        self.assertEqual(self.place.run("result", late).status, 5, "no new work while draining")
        self.burst()
        self.assertEqual(self.place.run("result", late).expect(0).json, 5)

    def test_what_ends_with_log_lines_while_draining_has_ended(self):
        worker = self.place.start_worker(grace="20s")
        talker = self.place.submit("talker", "seconds=2")
        self.place.wait_status(talker, "STARTED")
        worker.signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), 0, worker.log())
        self.assertEqual(self.place.run("result", talker).expect(0).json, 1)
        self.assertEqual(len(self.place.run("logs", talker, "--json").json["logs"]), 20)

    def test_however_often_it_is_told_to_leave_it_leaves_well(self):
        worker = self.place.start_worker()
        while worker.process.poll() is None:
            worker.signal(signal.SIGTERM)
        self.assertEqual(worker.process.returncode, 0, worker.log()[-2000:])

    def test_what_does_not_end_is_given_back_unspent(self):
        for signals, grace in ((1, "1s"), (2, "60s")):
            with self.subTest(signals=signals):
                worker = self.place.start_worker(grace=grace)
                nap = self.place.submit("nap", "seconds=30", "--timeout=2m")
                self.place.wait_status(nap, "STARTED")
                began = time.monotonic()
                for number in range(signals):
                    worker.signal(signal.SIGTERM)
                    wait_until(lambda: "draining" in worker.log())
                self.assertEqual(worker.wait(), 0, worker.log())
                self.assertLess(time.monotonic() - began, 10)
                self.assertEqual(self.place.psql(
                    "SELECT attempt, ended FROM attempts WHERE id = '%s'" % nap), [("1", "released")])
                self.assertEqual(self.place.psql(
                    "SELECT status, starts, failures, losses, unwitnessed FROM active "
                    "WHERE id = '%s'" % nap), [("0", "1", "0", "0", "0")])
                with self.place.worker(grace="1s"):
                    info = self.place.wait_status(nap, "STARTED")
                    self.assertEqual((info["attempt"], info["failures"]), (2, 0))
                    self.place.run("cancel", nap).expect(0)
                    self.place.wait_status(nap, "REVOKED")

    def on_a_terminal(self, ignored=()):
        """A worker with a terminal of its own: process, the terminal's other end, what it has said."""
        master, slave = pty.openpty()

        def own_terminal():
            for number in ignored:
                signal.signal(number, signal.SIG_IGN)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        path = os.path.join(self.place.root, "terminal.log")
        with open(path, "wb") as log:
            process = self.place.start("worker", "start", "--processes=1", stdin=slave, stdout=log,
                                       stderr=log, preexec_fn=own_terminal)
        os.close(slave)

        def said(words):
            with open(path) as file:
                return words in file.read()

        wait_until(lambda: said("generation 1 serves"), 60)
        return process, master, said

    def test_a_lost_terminal_drains(self):
        process, master, said = self.on_a_terminal()
        os.kill(process.pid, signal.SIGHUP)
        wait_until(lambda: said("SIGHUP: reloading"))
        os.close(master)
        self.assertEqual(process.wait(30), 0)
        self.assertTrue(said("draining"))

    def test_under_nohup_it_outlasts_its_terminal(self):
        process, master, said = self.on_a_terminal(ignored=[signal.SIGHUP])
        os.close(master)
        wait_until(lambda: said("SIGHUP: reloading"))
        self.assertEqual(self.place.run("submit", "quick", "n=2", "--wait").expect(0).json, 2)
        os.kill(process.pid, signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)

    # ---- names, and from another process ----

    def test_a_name_is_used_once(self):
        with self.place.worker(name="anna"):
            second = self.place.start_worker(name="anna", ready=False)
            self.assertEqual(second.wait(), 2)
            self.assertIn("anna", second.log())
            self.assertEqual(self.place.run("worker", "status", "anna").status, 0)
        with self.place.worker(name="anna"):
            self.assertEqual(self.place.run("submit", "quick", "n=3", "--wait").expect(0).json, 3)

    def test_a_dead_worker_frees_its_name(self):
        worker = self.place.start_worker(name="bertha")
        worker.kill_group()
        with self.place.worker(name="bertha"):
            pass

    def register(self, name, boot_id="another boot", host="elsewhere"):
        """A living worker of another machine, as far as the ledger knows."""
        return self.place.value(
            "INSERT INTO workers (incarnation, name, host, boot_id, pid, pid_start, queues, slots) "
            "VALUES (gen_random_uuid(), '%s', '%s', '%s', 999999, 1, '{}', 1) RETURNING incarnation"
            % (name, host, boot_id))

    def state(self, incarnation):
        return self.place.value("SELECT state FROM workers WHERE incarnation = '%s'" % incarnation)

    def test_a_worker_that_died_on_another_machine_frees_its_name_after_the_lease(self):
        other = self.register("clara")
        with self.place.worker(name="clara", env={"CTUTOR_LEASE": "3s"}):
            self.assertEqual(self.state(other), "dead")

    def test_a_worker_that_lives_on_another_machine_keeps_its_name(self):
        other, ended = self.register("dora"), threading.Event()

        def beat():
            while not ended.wait(0.3):
                self.place.psql("UPDATE workers SET heartbeat = heartbeat + 1 "
                                "WHERE incarnation = '%s'" % other)

        beats = threading.Thread(target=beat)
        beats.start()
        try:
            second = self.place.start_worker(name="dora", ready=False, env={"CTUTOR_LEASE": "3s"})
            self.assertEqual(second.wait(30), 2)
            self.assertIn("dora", second.log())
            self.assertEqual(self.state(other), "alive")
        finally:
            ended.set()
            beats.join()
            self.place.psql("DELETE FROM workers WHERE incarnation = '%s'" % other)

    def test_what_a_pid_of_another_container_means_is_not_guessed(self):
        """Containers may share host name and boot id."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        other = self.register("ella", boot + "/1", os.uname().nodename)
        try:
            with self.place.worker():
                self.assertEqual(self.state(other), "alive")
        finally:
            self.place.psql("DELETE FROM workers WHERE incarnation = '%s'" % other)

    # ---- memory ----

    def test_a_task_that_prints_without_a_pause_does_not_take_the_memory(self):
        with self.place.worker(env={"ASAN_OPTIONS": journey.NO_QUARANTINE}) as worker:
            (runner,) = worker.runners()
            before = memory(runner)
            task_id = self.place.submit("chatty")
            self.place.wait_status(task_id, "STARTED")
            most = before
            while self.place.run("status", task_id, "--json").json["status"] == "STARTED":
                most = max(most, memory(runner))
            self.assertLess(most - before, 200 << 20)
            self.place.wait_status(task_id, "FAILURE")
            said = self.place.value("SELECT text FROM logs WHERE id = '%s' AND level = 'warn'" % task_id)
            self.assertRegex(said, r"^\d+ lines left out")

    def test_a_runner_that_has_grown_too_large_drains_and_is_replaced(self):
        limit = 400  # MiB
        with self.place.worker(env={"CTUTOR_MEMORY": "%dM" % limit}) as worker:
            (first,) = worker.runners()
            large = self.place.submit("hoarder", "megabytes=%d" % (limit * 9 // 10))
            wait_until(lambda: "draining, to be replaced" in worker.log(), 30)
            self.assertEqual(self.place.run("result", large, "--wait=30s").expect(0).json, 1)
            self.assertEqual(self.place.run("submit", "hoarder", "megabytes=0", "--wait=30s").expect(0).json, 1)
            (second,) = worker.runners()
            self.assertNotEqual(first, second)

    def test_status_and_stop(self):
        self.assertEqual(self.place.run("worker", "status").status, 1)
        self.assertEqual(self.place.run("worker", "stop").status, 4)
        one, two = self.place.start_worker(name="one"), self.place.start_worker(name="two")
        shown = self.place.run("worker", "status", "--json").expect(0).json
        self.assertEqual([entry["name"] for entry in shown["workers"]], ["one", "two"])
        self.place.run("worker", "stop", "two").expect(0)
        self.assertEqual(two.wait(), 0)
        self.assertIsNone(one.process.poll(), "the other one stays")
        self.place.run("worker", "stop").expect(0)
        self.assertEqual(one.wait(), 0)
        self.assertEqual(self.place.run("worker", "status").status, 1)

    # ---- refusals ----

    def refusal(self, *words, env=None):
        """What a worker says that must not start: exit 2, within seconds."""
        done = self.place.run("worker", "start", "--processes=1", *words, env=env).expect(2)
        self.assertEqual(done.out, "")
        return done.err

    def test_wrong_settings_are_named(self):
        absent = os.path.join(self.place.work, "absent.d")
        self.assertIn(absent, self.refusal("--tasks-dir", absent))
        self.assertIn("queue", self.refusal("--queues", "fine,Not Fine"))
        self.assertIn("CTUTOR_CONCURRENCY", self.refusal(env={"CTUTOR_CONCURRENCY": "many"}))
        self.refusal("--processes=0")
        self.refusal("--grace=soon")
        self.refusal("--nonsense")
        self.assertIn("CTUTOR_LEASE", self.refusal(env={"CTUTOR_LEASE": "1s"}))
        self.assertIn("not_there", self.refusal(env={"TMPDIR": "/not_there"}))

    def test_without_postgres_it_leaves_with_3(self):
        self.place.postgres_server.stop(signal.SIGQUIT)
        try:
            done = self.place.run("worker", "start", "--processes=1").expect(3)
            self.assertIn("Postgres", done.err)
        finally:
            self.place.postgres_server.start()

    def test_without_redis_it_starts_and_serves_when_it_comes(self):
        self.place.redis_server.stop(signal.SIGKILL)
        try:
            worker = self.place.start_worker()
            task_id = self.place.submit("quick", "n=8")
        finally:
            self.place.redis_server.start()
        self.assertEqual(self.place.run("result", task_id, "--wait=20s").expect(0).json, 8)
        self.assertEqual(worker.stop(), 0)

    def test_a_redis_that_evicts_is_refused(self):
        self.place.redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            self.assertIn("allkeys-lru", self.refusal())
        finally:
            self.place.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def test_a_redis_that_comes_back_and_evicts_is_refused(self):
        """As after a failover to a server of other settings: what runs may end first."""
        worker = self.place.start_worker()
        task_id = self.place.submit("nap", "seconds=3")
        self.place.wait_status(task_id, "STARTED")
        argv = self.place.redis_server.argv
        self.place.redis_server.stop(signal.SIGKILL)
        self.place.redis_server.argv = argv[:-1] + ["allkeys-lru"]
        try:
            self.place.redis_server.start()
            self.assertEqual(worker.wait(20), 2)
        finally:
            self.place.redis_server.argv = argv
            self.place.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")
        self.assertIn("allkeys-lru", worker.log())
        self.assertEqual(self.place.run("result", task_id).expect(0).json, 1)

    def test_another_schema_is_refused(self):
        version = int(self.place.value("SELECT max(version) FROM schema_version"))
        newer = ("INSERT INTO schema_version (version) VALUES (%d)" % (version + 1), "DELETE FROM schema_version WHERE version = %d" % (version + 1))
        older = ("DELETE FROM schema_version WHERE version = %d" % version, "INSERT INTO schema_version (version) VALUES (%d)" % version)
        for (change, undo), advice in ((newer, "newer"), (older, "ctutor-run migrate")):
            self.place.psql(change)
            try:
                self.assertIn(advice, self.refusal())
            finally:
                self.place.psql(undo)

    def test_a_directory_others_may_write_is_refused(self):
        os.chmod(self.place.tasks_dir, 0o777)
        try:
            self.assertIn("tasks.d", self.refusal())
        finally:
            os.chmod(self.place.tasks_dir, 0o700)


if __name__ == "__main__":
    unittest.main()
