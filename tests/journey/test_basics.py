"""The main job and what its issue names: submit, order, reload, burst, death, timeouts, delays. Black box."""
import glob
import json
import os
import shutil
import signal
import time
import unittest

from ctutor import ROOT, JourneyTest, descriptors, memory, wait_until

SLEEPER = 'return { queue = "default", params = { seconds = "number" }, execute = function(ctx, p) ctx.sleep(p.seconds) return "slept" end }'
NOOP = 'return { queue = "default", execute = function() return "done" end }'


def shipped(place):
    for path in glob.glob(os.path.join(ROOT, "tasks.d", "*.lua")):
        with open(path, encoding="utf-8") as file:
            place.task(os.path.basename(path), file.read())
    shutil.copytree(os.path.join(ROOT, "tasks.d", "lib"), os.path.join(place.tasks_dir, "lib"), dirs_exist_ok=True)


def bulk(place, lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return place.run("submit", "--bulk", "-", input=text, seconds=120).expect(0).lines


class MainJob(JourneyTest):
    def setUp(self):
        shipped(self.place)

    def test_submit_waits_shows_the_result_and_refuses_what_is_wrong(self):
        with self.place.worker():
            done = self.place.run("submit", "my_simple_task", "message=hi", "count:=2", "--wait").expect(0)
            self.assertEqual(done.json["results"], ["hi - iteration 1", "hi - iteration 2"])
            self.assertIn("message", self.place.run("submit", "my_simple_task", "count:=3").expect(2).err)
            self.place.run("submit", "nope").expect(4)
            failed = self.place.run("submit", "example_failing", "--wait", "--json").expect(1).json
            self.assertEqual((failed["status"], failed["attempt"], len(failed["errors"])), ("FAILURE", 3, 3))
            self.assertEqual(failed["error"]["kind"], "exception")
            plain = self.place.run("submit", "example_failing", "error_message=broken pipe", "--wait").expect(1)
            for word in ("exception", "broken pipe", "attempt 3"):
                self.assertIn(word, plain.err)
            self.assertEqual(self.place.run("submit", "calculate_factorial", "number=20", "--wait").json["factorial"],
                             "2432902008176640000")
            self.assertEqual(self.place.run("submit", "example_data_processing", "data_source=x", "speed=1000", "--wait").expect(0).json["status"],
                             "completed")

    def test_a_number_that_no_integer_holds_hides_no_task(self):
        self.place.task("big.lua", 'return { params = { x = "number" }, execute = function(ctx, p) return p.x * 10 end }')
        with self.place.worker():
            done = self.place.run("submit", "big", "x=1e300", "--wait").expect(0)
            self.assertEqual(float(done.out), 1e301)
            ident = self.place.run("list", "--json").json["tasks"][0]["task_id"]
            self.assertIn(ident, self.place.run("list").expect(0).out)
            self.assertIn("big", self.place.run("status", ident).expect(0).out)
            self.assertIn("SUCCESS", self.place.run("watch", ident, "--json").expect(0).out)

    def test_fields_of_taskinfo_are_those_of_the_contract(self):
        with self.place.worker():
            task = self.place.submit("my_simple_task", "message=hi", "--tag", "a", "--priority", "7", "--queue", "default")
            info = self.place.wait_status(task, "SUCCESS")
        self.assertEqual(list(info), (
            "task_id task_name status queue priority parameters tags attempt failures max_attempts progress created_at run_at "
            "started_at finished_at duration timeout expires_at unique_key cancel_requested_at worker task_version parent_id "
            "created_by error result_available").split())
        self.assertEqual((info["priority"], info["tags"], info["attempt"]), (7, ["a"], 1))
        self.assertRegex(info["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(info["progress"]["percentage"], 100)

    def test_status_codes_of_waiting_and_operating(self):
        with self.place.worker():
            task = self.place.submit("example_long_running", "duration:=60")
            self.place.wait_status(task, "STARTED")
            self.place.run("result", task).expect(5)
            self.place.run("result", task, "--wait=1s").expect(124)
            self.place.run("retry", task).expect(6)
            self.assertIn("cancelling", self.place.run("cancel", task, "--json").expect(0).out)
            self.place.wait_status(task, "REVOKED")
            self.place.run("cancel", task).expect(6)
            self.place.run("delete", task).expect(0)
            self.place.run("status", task).expect(4)
            waiting = self.place.submit("my_simple_task", "message=x", "--delay", "1h")
            self.assertIn('"cancelled"', self.place.run("cancel", waiting, "--json").expect(0).out)
            self.assertEqual(self.place.wait_status(waiting, "REVOKED")["error"]["kind"], "cancelled")

    def test_ctrl_c_ends_the_wait_and_not_the_task(self):
        with self.place.worker():
            waiting = self.place.start("submit", "my_simple_task", "message=on", "count:=3", "--wait")
            task = waiting.stderr.readline().strip()
            waiting.send_signal(signal.SIGINT)
            self.assertEqual(waiting.wait(10), 130)
            self.place.wait_status(task, "SUCCESS")


class Order(JourneyTest):
    def setUp(self):
        self.place.task("noop", NOOP)
        with self.place.worker():
            pass

    def starts(self, tasks):
        return [row[0] for row in self.place.psql("SELECT id FROM outcomes ORDER BY started_at, id") if row[0] in tasks]

    def test_higher_priority_first_then_fifo_and_high_priority_overtakes(self):
        low = bulk(self.place, [{"task_name": "noop", "priority": 1, "queue": "default"}] * 50)
        high = bulk(self.place, [{"task_name": "noop", "priority": 9, "queue": "default"}] * 50)
        first = self.place.submit("noop", "--queue", "high_priority")
        with self.place.worker(burst=True, concurrency=1, ready=False) as worker:
            worker.wait()
        self.assertEqual(self.starts(low + high + [first]), [first] + high + low)

    def test_burst_runs_what_is_due_and_nothing_else(self):
        tasks = bulk(self.place, [{"task_name": "noop"}] * 1000)
        delayed = self.place.submit("noop", "--delay", "1h")
        with self.place.worker(burst=True, processes=2, ready=False) as worker:
            self.assertEqual(worker.wait(), 0)
        done = {row[0] for row in self.place.psql("SELECT id FROM outcomes WHERE status = 3")}
        self.assertLessEqual(set(tasks), done)
        self.assertNotIn(delayed, done)
        self.place.run("cancel", delayed).expect(0)

    def test_a_delayed_task_starts_at_its_time(self):
        with self.place.worker():
            for delay in ("300ms", "1s"):
                task = self.place.submit("noop", "--delay", delay)
                info = self.place.wait_status(task, "SUCCESS")
                late = float(self.place.value("SELECT extract(epoch from started_at - run_at) FROM outcomes WHERE id = '%s'" % task))
                self.assertGreaterEqual(late, 0)
                self.assertLess(late, 0.6, info)

    def test_a_paused_queue_starts_nothing(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            task = self.place.submit("noop")
            other = self.place.run("submit", "noop", "--queue", "low_priority", "--wait").expect(0)
            self.assertEqual(other.json, "done")
            self.assertEqual(self.place.run("status", task, "--json").json["status"], "PENDING")
            self.place.run("queues", "resume", "default").expect(0)
            self.place.wait_status(task, "SUCCESS")

    def test_unique_keys_hold_until_final(self):
        first = self.place.submit("noop", "--unique", "k", "--delay", "1h")
        self.assertEqual(self.place.submit("noop", "--unique", "k"), first)
        self.place.run("cancel", first).expect(0)
        second = self.place.submit("noop", "--unique", "k", "--delay", "1h")
        self.assertNotEqual(second, first)
        self.place.run("cancel", second).expect(0)


class Reload(JourneyTest):
    def serve(self, worker, generation):
        wait_until(lambda: "generation %d serves" % generation in worker.log(), 20, "generation %d" % generation)

    def test_new_code_comes_in_under_a_second_and_old_runs_end_on_theirs(self):
        old = 'return { queue = "default", execute = function(ctx) ctx.sleep(%s) return "%s" end }'
        self.place.task("versioned", old % ("6", "one"))
        with self.place.worker() as worker:
            runners = worker.runners()
            tasks = bulk(self.place, [{"task_name": "versioned"}] * 100)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active WHERE status = 1") == "100", 20)
            for generation, words in enumerate((("0", "two"), ("0", "three"), ("0", "four")), 2):
                self.place.task("versioned", old % words)
                began = time.monotonic()
                worker.signal(signal.SIGHUP)
                self.serve(worker, generation)
                self.assertLess(time.monotonic() - began, 3)
            self.assertEqual(self.place.run("submit", "versioned", "--wait").json, "four")
            for task in tasks:
                self.assertEqual(self.place.run("result", task, "--wait=30s").expect(0).json, "one")
            self.assertEqual(worker.runners(), runners)
            self.assertEqual(self.place.value("SELECT count(DISTINCT version) FROM outcomes WHERE id = ANY('{%s}')" % ",".join(tasks)), "1")

    def test_a_syntax_error_is_named_and_the_old_version_serves(self):
        self.place.task("fragile", 'return { execute = function() return "good" end }')
        with self.place.worker() as worker:
            self.place.task("fragile", "return {\n  execute = function( return 1 end\n}")
            self.assertIn("fragile.lua:2", self.place.run("worker", "reload").expect(1).out)
            self.assertEqual(self.place.run("submit", "fragile", "--wait").expect(0).json, "good")
            self.assertIn("fragile.lua:2", self.place.run("tasks", "--json").expect(0).out)
            self.place.task("fragile", 'return { execute = function() return "better" end }')
            self.place.run("worker", "reload").expect(0)
            self.assertEqual(self.place.run("submit", "fragile", "--wait").expect(0).json, "better")
            self.assertTrue(worker.runners())

    def test_a_hot_loop_of_an_old_generation_is_stopped_at_its_timeout(self):
        self.place.task("hot", 'return { timeout = 4, execute = function(ctx) ctx.sleep(2) while true do end end }')
        with self.place.worker() as worker:
            task = self.place.submit("hot")
            self.place.wait_status(task, "STARTED")
            self.place.task("hot", 'return { execute = function() return "cold" end }')
            worker.signal(signal.SIGHUP)
            self.serve(worker, 2)
            self.assertEqual(self.place.wait_status(task, "FAILURE", seconds=20)["error"]["kind"], "timeout")
            self.assertEqual(self.place.run("submit", "hot", "--wait").json, "cold")

    def test_reloads_leave_memory_and_descriptors_where_they_were(self):
        count = int(os.environ.get("CTUTOR_TEST_RELOADS", "150"))
        text = 'return { execute = function() return %d end }'
        self.place.task("many", text % 0)
        with self.place.worker() as worker:
            pids = [worker.pid] + worker.runners()

            def reload(n):
                self.place.task("many", text % n)
                worker.signal(signal.SIGHUP)
                self.serve(worker, n + 1)

            for n in range(1, 31):
                reload(n)
            before = [(len(descriptors(pid)), memory(pid)) for pid in pids]
            for n in range(31, count + 1):
                reload(n)
            for pid, (files, used) in zip(pids, before):
                self.assertLessEqual(len(descriptors(pid)), files + 2)
                # AddressSanitizer keeps freed memory for a while; without it nothing grows.
                self.assertLess(memory(pid) - used, 64 << 20)


class Deaths(JourneyTest):
    def test_a_terminal_that_is_closed_drains_the_worker(self):
        path = os.path.join(self.place.root, "terminal.log")

        def told(words):
            with open(path, errors="replace") as file:
                return words in file.read()

        with open(path, "wb") as log:
            shell, hang_up = self.place.start_on_terminal("worker", "start", "--processes=1", log=log)
        wait_until(lambda: told("generation 1 serves"), 60)
        hang_up()
        wait_until(lambda: told("has left"), 30)
        self.assertFalse(told("reloading"))
        shell.wait(30)

    def setUp(self):
        self.place.task("sleeper", SLEEPER)

    def test_a_killed_runner_loses_nothing_and_charges_no_bystander(self):
        with self.place.worker(processes=2) as worker:
            tasks = bulk(self.place, [{"task_name": "sleeper", "parameters": {"seconds": 3}}] * 200)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active WHERE status = 1") == "200", 20)
            os.kill(worker.runners()[0], signal.SIGKILL)
            for task in tasks:
                self.place.run("result", task, "--wait=60s").expect(0)
            mine = "id = ANY('{%s}')" % ",".join(tasks)
            self.assertEqual(self.place.value("SELECT count(*) FROM outcomes WHERE losses + failures > 0 AND " + mine), "0")
            self.assertGreater(int(self.place.value("SELECT count(*) FROM attempts WHERE ended = 'released' AND " + mine)), 0)
            wait_until(lambda: len(worker.runners()) == 2, 10)

    def test_a_killed_worker_is_taken_over_within_lease_and_seven_seconds(self):
        env = {"CTUTOR_LEASE": "5s"}
        doomed = self.place.start_worker(name="doomed", env=env)
        task = self.place.submit("sleeper", "seconds=2")
        self.place.wait_status(task, "STARTED")
        with self.place.worker(name="heir", env=env):
            mine = self.place.submit("sleeper", "seconds=20")
            began = time.monotonic()
            doomed.kill_group()
            info = self.place.wait_status(task, "SUCCESS", seconds=60)
            self.assertLess(time.monotonic() - began, 5 + 7 + 2 + 3)
            self.assertEqual((info["worker"], info["attempt"], info["failures"]), ("heir", 2, 0))
            living = self.place.wait_status(mine, "SUCCESS", seconds=60)
            self.assertLessEqual(living["attempt"], 2)

    def test_a_culprit_is_charged_until_its_losses_are_used_up(self):
        self.place.task("hog", 'return { timeout = "1m", max_losses = 1, execute = function() while true do end end }')
        with self.place.worker() as worker:
            self.place.run("submit", "sleeper", "seconds=0", "--wait").expect(0)
            task = self.place.submit("hog")
            self.place.wait_status(task, "STARTED")
            time.sleep(0.3)  # the loop has begun some time after the start was written; nothing tells
            os.kill(worker.runners()[0], signal.SIGKILL)
            self.assertEqual(self.place.wait_status(task, "FAILURE", seconds=20)["error"]["kind"], "worker_lost")

    def test_sigterm_drains_and_gives_back_unspent(self):
        worker = self.place.start_worker(grace="1s")
        short, long = self.place.submit("sleeper", "seconds=0.5"), self.place.submit("sleeper", "seconds=30")
        self.place.wait_status(long, "STARTED")
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.place.run("result", short).expect(0).json, "slept")
        info = self.place.run("status", long, "--json").json
        self.assertEqual((info["status"], info["failures"]), ("PENDING", 0))
        self.place.run("cancel", long).expect(0)


class Timeouts(JourneyTest):
    def test_an_endless_loop_among_sleepers_ends_alone(self):
        self.place.task("endless", "return { timeout = 2, execute = function() while true do end end }")
        self.place.task("stubborn", "return { timeout = 2, execute = function() while true do pcall(function() while true do end end) end end }")
        self.place.task("sleeper", SLEEPER)
        with self.place.worker(concurrency=2000) as worker:
            runners = worker.runners()
            sleepers = bulk(self.place, [{"task_name": "sleeper", "parameters": {"seconds": 8}}] * 1000)
            for name in ("endless", "stubborn"):
                task = self.place.submit(name)
                info = self.place.wait_status(task, "FAILURE", seconds=20)
                self.assertEqual(info["error"]["kind"], "timeout")
                self.assertLess(info["duration"], 2 + 3)
            for task in sleepers[::50]:
                self.place.run("result", task, "--wait=60s").expect(0)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 30)
            self.assertEqual(self.place.value("SELECT count(*) FROM outcomes WHERE status = 3 AND attempt = 1"), "1000")
            self.assertEqual(worker.runners(), runners)

    def test_a_c_function_that_does_not_return_is_ended_with_its_runner(self):
        self.place.task("backtrack", 'return { timeout = 2, execute = function() return ("a"):rep(40):find(("a?"):rep(40) .. ("a"):rep(40) .. "b") end }')
        self.place.task("sleeper", SLEEPER)
        with self.place.worker() as worker:
            neighbour = self.place.submit("sleeper", "seconds=6")
            task = self.place.submit("backtrack")
            self.assertEqual(self.place.wait_status(task, "FAILURE", seconds=20)["error"]["kind"], "timeout")
            info = self.place.wait_status(neighbour, "SUCCESS", seconds=30)
            self.assertEqual((info["failures"], info["attempt"]), (0, 2))
            self.assertTrue(worker.runners())

    def test_a_killed_run_takes_its_subprocesses_along(self):
        self.place.task("spawner", '''local process = require "ctutor.process"
            return { timeout = 2, execute = function() process.run{ "sh", "-c", "setsid sh -c 'sleep 271 & sleep 271' & sleep 271" } end }''')
        with self.place.worker():
            task = self.place.submit("spawner")
            self.assertEqual(self.place.wait_status(task, "FAILURE", seconds=20)["error"]["kind"], "timeout")


class Stores(JourneyTest):
    def test_submits_without_redis_are_accepted_and_run_later(self):
        self.place.task("noop", NOOP)
        with self.place.worker():
            self.place.redis_server.stop()
            done = self.place.run("submit", "noop").expect(0)
            self.assertIn("Redis", done.err)
            self.place.redis_server.start()
            self.place.wait_status(done.out.strip(), "SUCCESS", seconds=30)

    def test_postgres_away_is_exit_3(self):
        self.place.task("noop", NOOP)
        with self.place.worker():
            pass
        self.place.postgres_server.stop()
        try:
            self.place.run("submit", "noop").expect(3)
        finally:
            self.place.postgres_server.start()


if __name__ == "__main__":
    unittest.main()
