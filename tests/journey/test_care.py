"""`audit` and `doctor`: a working system gives no false alarm, and whatever was done to it by hand is told."""
import json
import os
import shutil
import signal
import threading
import time
import unittest
import uuid

from ctutor import Installation, JourneyTest, wait_until

TASKS = {
    "noop": "return { execute = function() return 1 end }",
    "unsteady": """return { retries = { max = 3, backoff = "fixed", base = 0.1 }, execute = function(ctx)
      if ctx.attempt < 3 then error("not yet") end
      return ctx.attempt
    end }""",
    "failing": 'return { execute = function() error("no") end }',
    "snoozing": "return { execute = function(ctx) if ctx.attempt == 1 then ctx.snooze(0.1) end end }",
    "sleeper": 'return { params = { seconds = "number" }, execute = function(ctx, p) ctx.sleep(p.seconds) end }',
}


class CareTest(JourneyTest):
    postgres = ()

    @classmethod
    def setUpClass(cls):
        cls.place = Installation(postgres_options=cls.postgres)
        cls.addClassCleanup(cls.place.close)
        for name, text in TASKS.items():
            cls.place.task(name, text)

    def audit(self, status):
        report = self.place.run("audit", "--json").expect(status).json
        counts = report["counts"]
        going_on = counts["waiting"] + counts["delayed"] + counts["running"]
        lost = sum(item["kind"] == "lost" for item in report["differences"])
        self.assertEqual(counts["submitted"], going_on + sum(counts["final"].values()) + lost, report)
        self.assertEqual(len(report["differences"]), min(report["difference_count"], 1000))
        return report

    def only_difference(self):
        report = self.audit(1)
        self.assertEqual(len(report["differences"]), 1, report)
        return report["differences"][0]


class Audit(CareTest):
    def test_it_is_clean_while_everything_happens(self):
        stopped = threading.Event()

        def submit():
            lines = [{"task_name": name} for name in ("noop", "unsteady", "failing", "snoozing") for _ in range(100)]
            lines += [{"task_name": "noop", "delay": 1}] * 50 + [{"task_name": "noop", "delay": 3600}] * 20
            text = "".join(json.dumps(line) + "\n" for line in lines)
            while not stopped.is_set():
                self.place.run("submit", "--bulk", "-", input=text).expect(0)
                self.place.run("cancel", "--status=PENDING", "--name=unsteady", "--yes")
                self.place.run("retry", "--status=FAILURE", "--name=failing", "--limit=50", "--yes")

        load = threading.Thread(target=submit)
        with self.place.worker(processes=2) as worker:
            load.start()
            try:
                until = time.monotonic() + 15
                rounds = 0
                while time.monotonic() < until:
                    self.audit(0)
                    rounds += 1
                    os.kill(wait_until(worker.runners)[0], signal.SIGKILL)
                self.assertGreater(rounds, 3)
            finally:
                stopped.set()
                load.join()
            self.place.redis("FLUSHALL")
            self.audit(0)
            self.place.run("cancel", "--status=PENDING,RETRY,STARTED", "--yes").expect(0)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 30)
            counts = self.audit(0)["counts"]
            self.assertEqual(counts["submitted"], sum(counts["final"].values()))

    def test_what_was_done_to_the_ledger_is_told_by_id(self):
        with self.place.worker():
            done = self.place.submit("unsteady")
            self.place.run("result", done, "--wait=20s").expect(0)
            waiting = self.place.submit("noop", "--delay", "1h")
            self.audit(0)
            claim = self.place.value("SELECT claim_id FROM outcomes WHERE id = '%s'" % done)
            kept = self.place.value("SELECT row_to_json(a) FROM active a WHERE id = '%s'" % waiting)
            self.place.psql("DELETE FROM active WHERE id = '%s'" % waiting)
            told = self.only_difference()
            self.assertEqual((told["id"], told["kind"]), (waiting, "lost"))
            plain = self.place.run("audit").expect(1)
            for word in (waiting, "lost", told["remedy"], "differences"):
                self.assertIn(word, plain.out)
            self.place.psql("INSERT INTO active SELECT * FROM json_populate_record(NULL::active, '%s')" % kept)
            self.audit(0)
            self.place.psql("UPDATE outcomes SET claim_id = (SELECT claim_id FROM attempts WHERE id = '%s' LIMIT 1) "
                            "WHERE id = '%s'" % (done, done))
            told = self.only_difference()
            self.assertEqual((told["id"], told["kind"]), (done, "claim"))
            self.place.psql("UPDATE outcomes SET claim_id = '%s' WHERE id = '%s'" % (claim, done))
            self.place.psql("UPDATE attempts SET attempt = 9 WHERE id = '%s' AND attempt = 1" % done)
            told = self.only_difference()
            self.assertEqual((told["id"], told["kind"]), (done, "starts"))
            self.place.psql("UPDATE attempts SET attempt = 1 WHERE id = '%s' AND attempt = 9" % done)
            self.place.run("cancel", waiting).expect(0)
            self.audit(0)

    def test_a_hint_of_no_task_is_told(self):
        alien = uuid.UUID("01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34")
        with self.place.worker():
            self.place.redis("ZADD", "{ctutor}:q:unserved", 1, alien.bytes)
            self.place.redis("SADD", "{ctutor}:queues", "unserved")
            told = self.only_difference()
            self.assertEqual((told["id"], told["kind"]), (str(alien), "hint_unknown"))
            self.place.redis("DEL", "{ctutor}:q:unserved")
            self.place.redis("SREM", "{ctutor}:queues", "unserved")
            self.audit(0)

    def test_a_hint_that_vanished_is_put_back_by_the_keeper(self):
        with self.place.worker(processes=1, concurrency=1):
            long = self.place.submit("sleeper", "seconds=60")
            self.place.wait_status(long, "STARTED")
            waiting = self.place.submit("noop")
            wait_until(lambda: self.place.redis("ZCARD", "{ctutor}:q:default") == 1)
            self.place.psql("UPDATE active SET run_at = run_at - interval '1 minute' WHERE id = '%s'" % waiting)
            self.assertEqual(self.place.redis("ZREM", "{ctutor}:q:default", uuid.UUID(waiting).bytes), 1)
            self.audit(0)
            self.assertEqual(self.place.redis("ZCARD", "{ctutor}:q:default"), 1)
            self.place.run("cancel", long, waiting).expect(0)
            self.place.wait_status(long, "REVOKED")

    def test_a_store_that_is_away_is_exit_3(self):
        self.place.run("migrate").expect(0)
        self.audit(0)
        self.place.redis_server.stop()
        self.assertIn("Redis", self.place.run("audit").expect(3).err)
        self.place.redis_server.start()
        self.place.postgres_server.stop()
        self.assertIn("Postgres", self.place.run("audit").expect(3).err)
        self.place.postgres_server.start()
        self.audit(0)
        self.place.run("audit", "more").expect(2)


class Doctor(CareTest):
    postgres = ("fsync=on",)

    def setUp(self):
        self.place.run("migrate").expect(0)
        self.place.redis("CONFIG", "SET", "appendonly", "yes")

    def tearDown(self):
        self.place.redis("CONFIG", "SET", "appendonly", "no")
        super().tearDown()

    def look(self, status, **options):
        """name -> finding of the last line with that name; of guarantees too."""
        report = self.place.run("doctor", "--json", **options).expect(status).json
        self.assertEqual(report["ok"], status == 0)
        for finding in report["checks"] + report["guarantees"]:
            self.assertIn(finding["state"], ("ok", "warn", "fail"))
            if finding["state"] != "ok" and finding["name"] != "schema version":
                self.assertTrue(finding["remedy"] or finding["message"], finding)
        return {finding["name"]: finding for finding in report["checks"] + report["guarantees"]}

    def state(self, found, name):
        return found[name]["state"]

    def test_a_sound_installation_passes_and_nothing_is_left_of_the_trial(self):
        with self.place.worker():
            rows = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM workers WHERE name LIKE 'doctor%')"
            before = self.place.value(rows)
            found = self.look(0)
            self.assertEqual({finding["state"] for finding in found.values()}, {"ok"}, found)
            self.assertIn("ms", found["a task from end to end"]["message"])
            self.assertEqual(self.place.value(rows), before)
            self.assertNotIn(b"doctor", b" ".join(self.place.redis("KEYS", "*")))
            self.assertEqual(self.place.redis("SMEMBERS", "{ctutor}:queues"), [])
        plain = self.place.run("doctor").expect(0)
        self.assertIn("Guarantees", plain.out)
        self.assertRegex(plain.out, r"(?m)^warn workers: none lives\n     -> start one")
        self.assertEqual(plain.err, "")

    def test_a_redis_that_forgets_or_evicts(self):
        self.place.redis("CONFIG", "SET", "appendonly", "no")
        found = self.look(0)
        self.assertEqual(self.state(found, "Redis appendonly"), "warn")
        self.place.redis("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            found = self.look(1)
            self.assertEqual(self.state(found, "Redis maxmemory-policy"), "fail")
            self.assertIn("noeviction", found["Redis maxmemory-policy"]["remedy"])
            self.assertEqual(self.state(found, "a waiting task never falls out of Redis"), "fail")
        finally:
            self.place.redis("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def test_a_redis_user_without_rights(self):
        self.place.redis("ACL", "SETUSER", "weak", "on", ">hush-hush", "~*", "&*", "+@all", "-zadd", "-config")
        try:
            url = "unix://weak:hush-hush@" + self.place.redis_socket
            done = self.place.run("doctor", env={"REDIS_URL": url}).expect(1)
            self.assertRegex(done.out, r"(?m)^fail a task from end to end: .*can't run this command")
            self.assertNotIn("hush", done.out + done.err)
            done = self.place.run("doctor", env={"REDIS_URL": url.replace("hush-hush", "hush")}).expect(3)
            self.assertRegex(done.out, r"(?m)^fail Redis: .*WRONGPASS")
            self.assertNotIn("hush", done.out + done.err)
        finally:
            self.place.redis("ACL", "DELUSER", "weak")

    def test_a_postgres_that_does_not_keep_what_it_took(self):
        self.place.psql("ALTER SYSTEM SET synchronous_commit = off")
        self.place.psql("SELECT pg_reload_conf()")
        try:
            wait_until(lambda: self.place.value("SHOW synchronous_commit") == "off")
            found = self.look(0)
            self.assertEqual(self.state(found, "Postgres synchronous_commit"), "warn")
            self.assertIn("on in our connections", found["Postgres synchronous_commit"]["message"])
        finally:
            self.place.psql("ALTER SYSTEM RESET synchronous_commit")
            self.place.psql("SELECT pg_reload_conf()")

    def test_a_postgres_that_takes_no_writes(self):
        self.place.psql("ALTER DATABASE codeability SET default_transaction_read_only = on", database="postgres")
        try:
            found = self.look(1)
            self.assertEqual(self.state(found, "Postgres role"), "fail")
            self.assertEqual(self.state(found, "a task that is submitted can run"), "fail")
        finally:
            self.place.psql("ALTER DATABASE codeability RESET default_transaction_read_only", database="postgres")

    def test_a_user_without_rights(self):
        self.place.psql("CREATE ROLE visitor LOGIN PASSWORD 'hush-hush'")
        url = "host=%s user=visitor password=hush-hush dbname=codeability" % self.place.postgres_dir
        done = self.place.run("doctor", env={"DATABASE_URL": url}).expect(1)
        self.assertRegex(done.out, r"(?m)^fail schema rights: ")
        self.assertNotIn("hush", done.out + done.err)

    def test_too_few_connections(self):
        self.place.psql("ALTER DATABASE codeability CONNECTION LIMIT 5", database="postgres")
        self.place.psql("CREATE ROLE owner LOGIN; GRANT postgres TO owner", database="postgres")
        try:
            found = self.look(1, env={"CTUTOR_PROCESSES": "16"})
            self.assertIn("34", found["Postgres connections"]["message"])
        finally:
            self.place.psql("ALTER DATABASE codeability CONNECTION LIMIT -1", database="postgres")

    def test_queues_and_workers_that_nobody_sees_to(self):
        with self.place.worker(queues="default", processes=1) as worker:
            waiting = self.place.submit("noop", "--queue", "special")
            found = self.look(0)
            self.assertEqual(self.state(found, "queues"), "warn")
            self.assertIn("special", found["queues"]["message"])
            self.assertEqual(self.state(found, "workers"), "ok")
            self.place.run("cancel", waiting).expect(0)
            os.kill(worker.pid, signal.SIGSTOP)
            found = self.look(0, env={"CTUTOR_LEASE": "10s"})
            os.kill(worker.pid, signal.SIGCONT)
            self.assertIn("no heartbeat moves", found["workers"]["message"])

    def test_files_that_are_not_in_order(self):
        self.place.task("broken", "return {")
        found = self.look(0)
        self.assertIn("broken.lua", found["task files"]["message"])
        os.remove(os.path.join(self.place.tasks_dir, "broken.lua"))
        os.chmod(self.place.tasks_dir, 0o777)
        self.assertEqual(self.state(self.look(1), "task files"), "fail")
        os.chmod(self.place.tasks_dir, 0o700)
        self.assertEqual(self.state(self.look(1, env={"TMPDIR": "/nowhere"}), "temporary files"), "fail")

    def test_a_store_that_is_away_is_exit_3_and_the_other_is_looked_at(self):
        self.place.redis_server.stop(signal.SIGKILL)  # at a SIGTERM it would first finish its file
        done = self.place.run("doctor").expect(3)
        self.assertRegex(done.out, r"(?m)^fail Redis: .*/redis/s")
        self.assertRegex(done.out, r"(?m)^ok   Postgres fsync: on")
        self.place.redis_server.start()
        self.place.postgres_server.stop()
        done = self.place.run("doctor").expect(3)
        self.assertRegex(done.out, r"(?m)^fail Postgres: ")
        self.assertRegex(done.out, r"(?m)^ok   Redis role: master")
        self.place.postgres_server.start()


class Unsafe(CareTest):
    """The servers of tests do without fsync."""

    def test_fsync_off_and_no_schema(self):
        report = self.place.run("doctor", "--json").expect(1).json
        found = {finding["name"]: finding for finding in report["checks"] + report["guarantees"]}
        self.assertEqual(found["Postgres fsync"]["state"], "fail")
        self.assertEqual(found["an accepted task survives a crash of Postgres and its machine"]["state"], "fail")
        self.assertEqual(found["schema"]["state"], "warn")
        self.assertIn("migrate", found["schema"]["remedy"])

    @unittest.skipUnless(shutil.which("bwrap"), "bubblewrap is not installed")
    def test_the_sandbox_is_tried_where_a_task_needs_it(self):
        self.place.task("student_testing", "return { execute = function() end }")
        report = self.place.run("doctor", "--json").expect(1).json
        self.assertIn("sandbox", [finding["name"] for finding in report["checks"]])
        os.remove(os.path.join(self.place.tasks_dir, "student_testing.lua"))


if __name__ == "__main__":
    unittest.main()
