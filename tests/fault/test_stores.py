"""Each way in which a store can be away, aimed at the moment where it hurts; everything resumes by
itself, nothing runs twice."""

import os
import resource
import signal
import time
import unittest

from ctutor import RedisError, wait_until
from nemesis_clients import new_id
from proxy import StoreProxies
from stores_case import AFTER_RETURN, StoresTest

RESTARTS = int(os.environ.get("CTUTOR_RESTARTS", "4"))  # of Redis under an idle and a busy worker
HOOKED = """
local fs = require "ctutor.fs"
local function note(ctx, word) assert(fs.append(ctx.params.log, word .. " " .. ctx.id .. " " .. ctx.attempt .. "\\n")) end
return {
  queue = "default", params = { log = "string" },
  execute = function(ctx) note(ctx, "run") end,
  on_success = function(ctx) note(ctx, "hook") end,
}
"""


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
            ids = [self.submit("seconds=%s" % seconds) for seconds in (1, 2, 4)]
            for task_id in ids:
                self.place.wait_status(task_id, "STARTED", "SUCCESS")
            self.place.postgres_server.stop(number)
            time.sleep(1)
            self.place.postgres_server.start()
            self.in_time(self.seconds_until_done(self.submit()), AFTER_RETURN)
            for task_id in ids:
                self.assertEqual(self.result(task_id)["attempt"], 1)
                self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])
            for user in ("starts", "supervisor", "keeper"):
                wait_until(lambda: self.told("Postgres is reachable again .ctutor-run %s" % user), 10, user)
                self.assertEqual(self.told("; trying again .ctutor-run %s" % user), 1)
            self.told_before = len(self.worker.log())


class Refusals(StoresTest):
    """A store that answers, and says no."""

    def test_redis_read_only_and_back(self):
        self.settle()
        self.place.redis("REPLICAOF", "127.0.0.1", "1")
        task_id = self.submit()
        time.sleep(4)
        self.place.redis("REPLICAOF", "NO", "ONE")
        self.in_time(self.seconds_until_done(task_id), AFTER_RETURN)
        lost = self.told(r"Redis \(.*READONLY.*trying again")
        self.assertIn(lost, (1, 2), "one line a connection that writes")
        wait_until(lambda: self.told(r"Redis \(.*is reachable again") >= lost, 10)

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

    def test_redis_that_cannot_save_and_back(self):
        """It refuses all writes as long as its snapshots fail."""
        server = self.place.redis_server
        server.stop()
        server.argv += ["--save", "3600 1", "--logfile", "/dev/null"]  # only the snapshot is a file
        server.start()
        self.settle()
        running = self.submit("seconds=2")
        self.place.wait_status(running, "STARTED")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        self._snapshot("err")
        with self.assertRaisesRegex(RedisError, "MISCONF"):
            self.place.redis("SET", "x", "y")
        ids = [self.submit() for _ in range(3)]
        self.assertEqual(self.result(running)["attempt"], 1)
        time.sleep(1)
        for task_id in ids:
            self.assertEqual(self.lines_of(task_id), [])
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._snapshot("ok")
        began = time.monotonic()
        ids.append(self.submit())
        wait_until(lambda: all("end 1" in self.lines_of(task_id) for task_id in ids), 20)
        self.in_time(time.monotonic() - began, AFTER_RETURN)
        for task_id in ids:
            self.result(task_id)
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])

    def _snapshot(self, status):
        self.place.redis("BGSAVE")
        wait_until(lambda: b"rdb_bgsave_in_progress:0\r\nrdb_last_save_time" in self.place.redis("INFO", "persistence")
                   and b"rdb_last_bgsave_status:%s" % status.encode() in self.place.redis("INFO", "persistence"), 10, status)

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
        self.assertEqual(self.told("trying again .ctutor-run starts"), 1, "told with every try")
        self._make_read_only("off")
        began = time.monotonic()
        for task_id in (running, waiting, self.submit()):
            self.assertEqual(self.result(task_id)["attempt"], 1)
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])
        self.in_time(time.monotonic() - began, AFTER_RETURN)

    def test_a_row_is_locked_while_its_worker_leaves(self):
        """Heartbeats come behind the sign-off then, and find nobody."""
        for _ in range(3):
            worker = self.place.start_worker(env={"CTUTOR_LEASE": "3s"})
            with self.place.session() as say:
                say("BEGIN; SELECT FROM workers WHERE pid = %d FOR UPDATE;" % worker.pid)
                worker.signal(signal.SIGTERM)
                wait_until(lambda: not worker.runners(), 10)
                time.sleep(0.8)  # a heartbeat is due every 0.6 s
            self.assertEqual(worker.wait(), 0, worker.log())

    def _make_read_only(self, word):
        self.place.psql("ALTER SYSTEM SET default_transaction_read_only = %s" % word)
        self.place.psql("SELECT pg_reload_conf()")
        wait_until(lambda: self.place.value("SHOW default_transaction_read_only") == word, 5)


if __name__ == "__main__":
    unittest.main()
