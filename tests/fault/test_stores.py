"""Each way in which a store can be away, aimed at the moment where it hurts; everything resumes by
itself, nothing runs twice."""

import contextlib
import os
import signal
import time
import unittest

import ctutor
import journey
from ctutor import wait_until
from nemesis_clients import new_id
from proxy import StoreProxies

RESTARTS = int(os.environ.get("CTUTOR_RESTARTS", "4"))  # of Redis under an idle and a busy worker
AFTER_RETURN = 5  # seconds in which everything goes on once a store is back
NOTED = """
local fs = require "ctutor.fs"
return {
  queue = "default", retries = { max = 1, backoff = "fixed", base = 0.1, jitter = false },
  params = { log = "string", seconds = { type = "number", default = 0 }, fails = { type = "boolean", default = false } },
  execute = function(ctx, params)
    assert(fs.append(params.log, "start " .. ctx.id .. " " .. ctx.attempt .. "\\n"))
    ctx.sleep(params.seconds)
    if params.fails and ctx.attempt == 1 then error("once", 0) end
    assert(fs.append(params.log, "end " .. ctx.id .. " " .. ctx.attempt .. "\\n"))
    return ctx.attempt
  end,
}
"""
HOOKED = """
local fs = require "ctutor.fs"
local function note(ctx, word) assert(fs.append(ctx.params.log, word .. " " .. ctx.id .. " " .. ctx.attempt .. "\\n")) end
return {
  queue = "default", params = { log = "string" },
  execute = function(ctx) note(ctx, "run") end,
  on_success = function(ctx) note(ctx, "hook") end,
}
"""


class StoresTest(ctutor.JourneyTest):
    """One worker behind proxies; the clients of a test talk to the stores directly unless it says so."""

    processes = 1
    settings = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.proxies = StoreProxies(cls.place)
        cls.log = os.path.join(cls.place.root, "effects")
        cls.place.task("noted", NOTED)
        cls.place.env.update(cls.settings)
        cls.worker = cls.place.start_worker(processes=cls.processes, env=cls.proxies.env)
        cls.addClassCleanup(cls._leave)

    @classmethod
    def _leave(cls):
        status = cls.worker.stop()
        if status != 0:
            raise AssertionError("the worker left with %d:\n%s" % (status, cls.worker.log()))

    def setUp(self):
        self.addCleanup(self.proxies.heal)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)

    def submit(self, *args, **options):
        return self.place.submit("noted", "log=" + self.log, *args, **options)

    def result(self, task_id, seconds=30):
        return self.place.run("result", task_id, "--wait=%ss" % seconds, "--json").expect(0).json

    def seconds_until_done(self, task_id):
        began = time.monotonic()
        self.result(task_id, 60)
        return time.monotonic() - began

    def settle(self):
        """A task goes through: everybody is connected."""
        self.result(self.submit())

    def lines_of(self, task_id):
        return [line.replace(task_id + " ", "") for line in journey.stamps(self.log) if task_id in line]

    def in_time(self, seconds, most):
        if seconds > most:
            self.fail("%.1f s, not %s s\n%s" % (seconds, most, self.worker.log()[-4000:]))


class LostReplies(StoresTest):
    """It was done, and who had asked for it never heard."""

    def swallowed(self, statement, *args):
        proxy = self.proxies.postgres
        before = proxy.swallowed
        proxy.swallow(b"\0" + statement + b"\0")
        task_id = self.submit(*args)
        result = self.result(task_id)
        self.assertEqual(proxy.swallowed, before + 1)
        return task_id, result

    def test_of_a_start(self):
        for _ in range(3):
            task_id, result = self.swallowed(b"start")
            self.assertEqual((result["attempt"], result["result"]), (1, 1))
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])

    def test_of_a_finish(self):
        for _ in range(3):
            task_id, result = self.swallowed(b"finish_success")
            self.assertEqual((result["status"], result["attempt"], result["failures"]), ("SUCCESS", 1, 0))
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])

    def test_of_a_failed_attempt(self):
        for _ in range(3):
            task_id, result = self.swallowed(b"finish", "fails:=true")
            self.assertEqual((result["status"], result["attempt"], result["failures"]), ("SUCCESS", 2, 1))
            self.assertEqual(self.lines_of(task_id), ["start 1", "start 2", "end 2"])

    def test_of_an_insert(self):
        self.settle()
        count = int(self.place.value("SELECT count(*) FROM tasks"))
        proxy, task_id = self.proxies.postgres, new_id()
        proxy.swallow(b"\0insert\0")
        done = self.place.run("submit", "noted", "log=" + self.log, "--id", task_id, "--json",
                              env=self.proxies.env).expect(0)
        self.assertFalse(proxy.is_swallowing)
        self.assertEqual((done.json["task_id"], done.json["status"]), (task_id, "submitted"))
        self.result(task_id)
        self.assertEqual(self.place.value("SELECT count(*) FROM tasks"), str(count + 1))
        self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])

    def test_of_an_insert_until_the_client_gives_up_and_comes_again(self):
        proxies = StoreProxies(self.place, "proxy-client")
        task_id = new_id()
        words = ["submit", "noted", "log=" + self.log, "--id", task_id, "--json"]
        proxies.postgres.swallow(b"\0insert\0", 1000)
        self.place.run(*words, env=proxies.env).expect(3)
        proxies.heal()
        again = self.place.run(*words, env=proxies.env).expect(0)
        self.assertEqual(again.json["task_id"], task_id)
        self.assertEqual(self.result(task_id)["attempt"], 1)
        self.assertEqual(self.place.value("SELECT count(*) FROM tasks WHERE id = '%s'" % task_id), "1")
        self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])


class LostRepliesOfHooks(StoresTest):
    """A hook is owed until the ledger has heard that it ran."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place.task("hooked", HOOKED)
        cls.place.run("worker", "reload", "--all").expect(0)

    def hooked(self):
        return self.place.submit("hooked", "log=" + self.log)

    def wait_lines(self, task_id, lines):
        wait_until(lambda: self.lines_of(task_id) == lines, 15, "%s, not %s" % (self.lines_of(task_id), lines))
        wait_until(lambda: self.place.value("SELECT count(*) FROM hooks_owed") == "0", 15, "no hook is owed")

    def test_of_the_finish_that_owes_it(self):
        self.proxies.postgres.swallow(b"\0finish_success\0")
        task_id = self.hooked()
        self.wait_lines(task_id, ["run 1", "hook 1"])
        self.assertFalse(self.proxies.postgres.is_swallowing)

    def test_of_the_word_that_it_ran(self):
        self.proxies.postgres.swallow(b"\0hook_done\0")
        task_id = self.hooked()
        self.wait_lines(task_id, ["run 1", "hook 1"])
        self.assertFalse(self.proxies.postgres.is_swallowing)

    def test_of_taking_over_what_nobody_does(self):
        task_id = self.hooked()
        self.wait_lines(task_id, ["run 1", "hook 1"])
        self.proxies.postgres.swallow(b"\0hooks_take\0")
        self.place.psql("INSERT INTO hooks_owed (id, round, attempt, event, name)"
                        " VALUES ('%s', 1, 1, 'success', 'hooked')" % task_id)
        self.wait_lines(task_id, ["run 1", "hook 1", "hook 1"])
        self.assertFalse(self.proxies.postgres.is_swallowing)


class Silence(StoresTest):
    """Connections that stand and carry nothing."""

    def test_a_half_open_connection_to_redis_is_found(self):
        self.settle()
        self.proxies.redis.black_hole()
        self.proxies.redis.heal()
        self.in_time(self.seconds_until_done(self.submit()), 10 + 1)

    def test_a_half_open_connection_to_postgres_is_found(self):
        self.settle()
        self.proxies.postgres.black_hole()
        self.proxies.postgres.heal()
        self.in_time(self.seconds_until_done(self.submit()), 10 + 2)

    def test_a_black_hole_for_redis_defers_submits_and_no_more(self):
        self.settle()
        running = self.submit("seconds=2")
        self.place.wait_status(running, "STARTED")
        self.proxies.redis.black_hole()
        ids = []
        for _ in range(3):
            done = self.place.run("submit", "noted", "log=" + self.log, "--json", env=self.proxies.env).expect(0)
            self.assertEqual(done.json["dispatch"], "deferred")
            self.in_time(done.seconds, 3)
            ids.append(done.json["task_id"])
        self.assertEqual(self.result(running)["attempt"], 1)
        time.sleep(9)  # until the connection was given up and new ones fell into the hole too
        self.proxies.heal()
        began = time.monotonic()
        for task_id in ids:
            self.result(task_id)
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_a_black_hole_for_postgres_kills_nobody(self):
        self.settle()
        running = self.submit("seconds=3")
        self.place.wait_status(running, "STARTED")
        self.proxies.postgres.black_hole()
        time.sleep(12)
        self.assertIn("end 1", self.lines_of(running))
        self.proxies.heal()
        began = time.monotonic()
        self.assertEqual(self.result(running)["attempt"], 1)
        self.result(self.submit())
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_one_direction_only(self):
        self.settle()
        for direction in ("to_server", "to_client"):
            for proxy in (self.proxies.redis, self.proxies.postgres):
                proxy.one_way(direction)
                task_id = self.submit()
                time.sleep(1)
                proxy.heal()
                self.in_time(self.seconds_until_done(task_id), 12)
                self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])


class Restarts(StoresTest):
    def restart_redis(self):
        self.place.redis_server.stop(signal.SIGKILL)
        self.place.redis_server.start()

    def test_of_redis_under_an_idle_worker(self):
        for _ in range(RESTARTS):
            self.restart_redis()
            self.in_time(self.seconds_until_done(self.submit()), AFTER_RETURN)

    def test_of_redis_under_a_busy_worker(self):
        running = [self.submit("seconds=60") for _ in range(20)]
        for task_id in running:
            self.place.wait_status(task_id, "STARTED")
        for _ in range(RESTARTS):
            waiting = [self.submit() for _ in range(3)]
            self.restart_redis()
            began = time.monotonic()
            for task_id in waiting + [self.submit()]:
                self.result(task_id)
            self.in_time(time.monotonic() - began, AFTER_RETURN)
        self.place.run("cancel", *running).expect(0)
        for task_id in running:
            self.assertEqual(self.place.wait_status(task_id, "REVOKED")["attempt"], 1)

    def test_of_postgres_while_tasks_run(self):
        for number in (signal.SIGQUIT, signal.SIGINT):
            ids = [self.submit("seconds=%s" % seconds) for seconds in (0.5, 1, 3)]
            for task_id in ids:
                self.place.wait_status(task_id, "STARTED")
            self.place.postgres_server.stop(number)
            time.sleep(1)
            self.place.postgres_server.start()
            self.in_time(self.seconds_until_done(self.submit()), AFTER_RETURN)
            for task_id in ids:
                self.assertEqual(self.result(task_id)["attempt"], 1)
                self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])


class Frozen(StoresTest):
    settings = {"CTUTOR_LEASE": "3s"}
    processes = 2

    def test_postgres_longer_than_the_lease(self):
        ids = [self.submit("seconds=%s" % seconds) for seconds in (1, 30)]
        for task_id in ids:
            self.place.wait_status(task_id, "STARTED")
        before = self.place.psql("SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1")
        for seconds in (5, 13):  # within the deadline of a statement, and beyond
            everybody = [self.place.postgres_server.pid]
            everybody += ctutor.descendants(self.place.postgres_server.pid)
            for pid in everybody:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)
            self.in_time(self.seconds_until_done(self.submit()), AFTER_RETURN)
            time.sleep(4)  # the lease, had anybody counted it
            self.assertEqual(self.place.psql("SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1"),
                             before)
        self.assertEqual(self.result(ids[0])["attempt"], 1)
        self.place.run("cancel", ids[1]).expect(0)
        self.assertEqual(self.place.wait_status(ids[1], "REVOKED")["attempt"], 1)


class Refusals(StoresTest):
    """A store that answers, and says no."""

    def test_scripts_flushed(self):
        self.settle()
        for _ in range(3):
            self.place.redis("SCRIPT", "FLUSH")
            self.in_time(self.seconds_until_done(self.submit()), 2)

    def test_wrong_types_planted(self):
        self.settle()
        for name in ("q:default", "claimed", "lease", "starts", "queues", "paused", "runners", "epoch"):
            with self.subTest(key=name):
                key = "{%s}:%s" % (self.place.namespace, name)
                self.place.redis("DEL", key)
                self.place.redis(*(["RPUSH", key, "x"] if name != "epoch" else ["SADD", key, "x"]))
                task_id = self.submit()
                time.sleep(1)
                self.place.redis("DEL", key)
                self.in_time(self.seconds_until_done(task_id), AFTER_RETURN + 2)
                self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])

    def test_redis_out_of_memory_and_back(self):
        self.settle()
        running = self.submit("seconds=2")
        self.place.wait_status(running, "STARTED")
        self.place.redis("CONFIG", "SET", "maxmemory", "1mb")
        ids = [self.submit() for _ in range(3)]
        self.assertEqual(self.result(running)["attempt"], 1)
        time.sleep(1)
        self.place.redis("CONFIG", "SET", "maxmemory", "0")
        began = time.monotonic()
        for task_id in ids:
            self.result(task_id)
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_postgres_read_only_and_back(self):
        self.settle()
        running, waiting = self.submit("seconds=1"), self.submit("--delay=1s")
        self.place.wait_status(running, "STARTED")
        self._make_read_only("on")
        self.addCleanup(self._make_read_only, "off")
        refused = self.place.run("submit", "noted", "log=" + self.log)
        self.assertEqual((refused.status, refused.out), (3, ""))
        wait_until(lambda: "end 1" in self.lines_of(running), 10)
        time.sleep(2)
        self.assertEqual(self.lines_of(waiting), [])
        self._make_read_only("off")
        began = time.monotonic()
        for task_id in (running, waiting, self.submit()):
            self.assertEqual(self.result(task_id)["attempt"], 1)
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def _make_read_only(self, word):
        self.place.psql("ALTER SYSTEM SET default_transaction_read_only = %s" % word)
        self.place.psql("SELECT pg_reload_conf()")
        wait_until(lambda: self.place.value("SHOW default_transaction_read_only") == word, 5)


if __name__ == "__main__":
    unittest.main()
