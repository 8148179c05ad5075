"""Sudden deaths: of a runner, of a supervisor, of a whole worker. What ran is run again, by one at a time, and nobody else pays."""

import collections
import glob
import os
import signal
import time
import unittest

from ctutor import JourneyTest, children, command_line, is_alive, wait_until

LEASE = 5
TAKEN_OVER = LEASE + 7  # lease, sweep, and the way to the next worker

TASKS = {
    # Writes down when it started and ended; ends when its gate exists.
    "gated": """
        local fs, time = require "ctutor.fs", require "ctutor.time"
        return { timeout = "2m", params = { journal = "string", gate = "string" },
          execute = function(ctx, params)
            local function note(what)
              fs.append(params.journal, ("%s %d %s %.6f %s\\n"):format(
                ctx.id, ctx.attempt, what, time.now(), ctx.worker))
            end
            fs.tempdir()
            note("start")
            while not fs.exists(params.gate) do ctx.sleep(0.2) end
            note("end")
            return ctx.attempt
          end }""",
    "hot": "return { timeout = 60, max_losses = 2, execute = function() while true do end end }",
    # One child that waits, one that forked twice and left the session, with its environment kept.
    "parent": """
        local process = require "ctutor.process"
        return { timeout = "2m", params = { seconds = "string" },
          execute = function(ctx, params)
            process.run{ "sh", "-c", "setsid sh -c 'sleep $1 & sleep $1 &' x $1; exec sleep $1",
                         "x", params.seconds, timeout = 100 }
          end }""",
    "answer": "return { execute = function(ctx) return ctx.attempt end }",
}

Note = collections.namedtuple("Note", "attempt what at worker")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DeathTest(JourneyTest):
    def setUp(self):
        self.place.env["CTUTOR_LEASE"] = "%ds" % LEASE
        for name, text in TASKS.items():
            self.place.task(name, text)
        self.journal = os.path.join(self.place.work, "journal-" + self._testMethodName)
        self.gate = os.path.join(self.place.work, "gate-" + self._testMethodName)
        self.addCleanup(self.end_workers)

    def end_workers(self):
        """Those that a failed test did not stop."""
        for worker in self.place.workers:
            if worker.process.poll() is None:
                worker.kill_group()

    def tearDown(self):
        self.end_workers() if self._outcome and not self._outcome.success else None
        super().tearDown()

    # ---- helpers ----

    def submit_gated(self, count):
        line = '{"task_name":"gated","parameters":{"journal":"%s","gate":"%s"}}\n'
        return self.place.run("submit", "--bulk", "-",
                              input=line % (self.journal, self.gate) * count).expect(0).lines

    def notes(self):
        """{id: [Note]} in the order of writing."""
        found = collections.defaultdict(list)
        if os.path.exists(self.journal):
            with open(self.journal) as file:
                for line in file:
                    task_id, attempt, what, at, worker = line.split()
                    found[task_id].append(Note(int(attempt), what, float(at), worker))
        return found

    def wait_started(self, ids, seconds=30):
        wait_until(lambda: all(self.notes().get(one) for one in ids), seconds, "all started")

    def wait_restarted(self, ids, seconds):
        wait_until(lambda: all(self.notes()[one][-1].attempt == 2 for one in ids), seconds,
                   "all started again")

    def open_gate(self):
        open(self.gate, "w").close()

    def of_runner(self, pid):
        return [row[0] for row in self.place.psql(
            "SELECT a.id FROM active a JOIN workers w ON w.incarnation = a.owner "
            "WHERE w.pid = %d AND a.status = 1" % pid)]

    def of_worker(self, name):
        return [row[0] for row in self.place.psql(
            "SELECT a.id FROM active a JOIN workers w ON w.incarnation = a.owner "
            "WHERE w.name = '%s' AND a.status = 1" % name)]

    def check_all_ended_once(self, ids, died_at, victims):
        """One outcome each; attempts without gaps; the dead one's run over before the next began."""
        wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 60, "all ended")
        rows = {row[0]: row[1:] for row in self.place.psql(
            "SELECT i.task_id, i.status, i.attempt, i.failures, o.losses, count(*) OVER (PARTITION BY i.task_id) "
            "FROM task_info i JOIN outcomes o ON o.id = i.task_id WHERE i.task_name = 'gated'")}
        notes, lost = self.notes(), collections.Counter(row[0] for row in self.place.psql(
            "SELECT id FROM attempts WHERE ended = 'lost'"))
        for one in ids:
            starts = "2" if one in victims else "1"
            self.assertEqual(rows[one], ("SUCCESS", starts, "0", "0", "1"), one)
            self.assertEqual(lost[one], int(starts) - 1)
            seen = [(note.attempt, note.what) for note in notes[one]]
            if one in victims:
                self.assertEqual(seen, [(1, "start"), (2, "start"), (2, "end")])
                self.assertGreater(notes[one][1].at, died_at)
            else:
                self.assertEqual(seen, [(1, "start"), (1, "end")])

    # ---- a runner ----

    def test_a_killed_runner_costs_no_bystander_anything(self):
        with self.place.worker(processes=2) as worker:
            ids = self.submit_gated(400)
            self.wait_started(ids)
            victim, other = worker.runners()
            victims = self.of_runner(victim)
            self.assertGreater(len(victims), 20)
            died_at = time.time()
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: len(worker.runners()) == 2 and victim not in worker.runners(), 3,
                       "the runner is replaced")
            self.wait_restarted(victims, 10)
            self.assertIn(other, worker.runners())
            self.open_gate()
            self.check_all_ended_once(ids, died_at, set(victims))

    def test_a_culprit_is_charged_and_ends_as_worker_lost(self):
        with self.place.worker(processes=1) as worker:
            (bystander,) = self.submit_gated(1)
            self.wait_started([bystander])
            hot = self.place.submit("hot")
            kills = 0
            while self.place.run("status", hot, "--json").json["status"] != "FAILURE":
                self.assertLess(kills, 2, "it ends with its second loss")
                self.place.wait_status(hot, "STARTED")
                (runner,) = wait_until(worker.runners)
                used = cpu_seconds(runner)
                wait_until(lambda: cpu_seconds(runner) > used + 0.3, what="it loops")
                os.kill(runner, signal.SIGKILL)
                kills += 1
                wait_until(lambda: worker.runners() not in ([], [runner]), what="replaced")
                wait_until(lambda: self.place.value(
                    "SELECT count(*) FROM attempts WHERE id = '%s' AND ended = 'lost'" % hot)
                    == str(kills) or self.final(hot), what="the loss is written")
            self.assertEqual(kills, 2)
            info = self.place.run("status", hot, "--json").json
            self.assertEqual((info["error"]["kind"], info["attempt"]), ("worker_lost", 2))
            self.assertEqual(self.place.value("SELECT losses FROM outcomes WHERE id = '%s'" % hot), "2")
            self.open_gate()
            info = self.place.wait_status(bystander, "SUCCESS")
            self.assertEqual(info["failures"], 0)
            self.assertEqual(self.place.value(
                "SELECT losses FROM outcomes WHERE id = '%s'" % bystander), "0")

    def final(self, task_id):
        return self.place.value("SELECT count(*) FROM outcomes WHERE id = '%s'" % task_id) == "1"

    def test_a_stopped_runner_writes_one_result(self):
        with self.place.worker(processes=2) as worker:
            ids = self.submit_gated(40)
            self.wait_started(ids)
            runner = worker.runners()[0]
            mine = self.of_runner(runner)
            self.assertTrue(mine)
            os.kill(runner, signal.SIGSTOP)
            self.open_gate()
            time.sleep(LEASE + 2)
            os.kill(runner, signal.SIGCONT)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 60)
            self.check_one_outcome_each(ids)

    def check_one_outcome_each(self, ids):
        rows = self.place.psql("SELECT id, count(*), min(status) FROM outcomes GROUP BY id")
        counts = {row[0]: row[1:] for row in rows}
        success = {counts[one] for one in ids}
        self.assertEqual(len(success), 1, success)
        self.assertEqual(success.pop()[0], "1")
        infos = {self.place.value("SELECT status FROM task_info WHERE task_id = '%s'" % one)
                 for one in ids[:5]}
        self.assertEqual(infos, {"SUCCESS"})

    # ---- a supervisor, a worker ----

    def test_another_worker_takes_over_from_a_killed_one(self):
        self.take_over(lambda worker: worker.kill_group())

    def test_another_worker_takes_over_when_only_the_supervisor_is_killed(self):
        self.take_over(lambda worker: os.kill(worker.pid, signal.SIGKILL))

    @unittest.skipUnless(os.environ.get("CTUTOR_TEST_SLOW"), "half a minute: the default lease")
    def test_another_worker_takes_over_after_the_default_lease(self):
        self.place.env["CTUTOR_LEASE"] = "15s"
        self.take_over(lambda worker: worker.kill_group(), 15 + 7)

    def take_over(self, kill, within=TAKEN_OVER):
        with self.place.worker(processes=2, name="heir"):
            doomed = self.place.start_worker(processes=2, name="doomed")
            ids = self.submit_gated(100)
            self.wait_started(ids)
            victims = self.of_worker("doomed")
            self.assertGreater(len(victims), 5)
            self.assertLess(len(victims), 95)
            runners, died_at = doomed.runners(), time.time()
            kill(doomed)
            doomed.process.wait(10)
            wait_until(lambda: not any(is_alive(pid) for pid in runners), 5, "runners are gone")
            self.wait_restarted(victims, within)
            self.assertLess(max(self.notes()[one][1].at for one in victims) - died_at, within)
            self.open_gate()
            self.check_all_ended_once(ids, died_at, set(victims))

    def test_a_stopped_supervisor_gives_up_its_tasks(self):
        with self.place.worker(processes=1, name="heir"):
            frozen = self.place.start_worker(processes=1, name="frozen")
            ids = self.submit_gated(40)
            self.wait_started(ids)
            victims = self.of_worker("frozen")
            self.assertTrue(victims)
            stopped_at, runners = time.time(), frozen.runners()
            frozen.signal(signal.SIGSTOP)
            wait_until(lambda: not any(is_alive(pid) for pid in runners), LEASE,
                       "its runners fenced themselves within the lease")
            self.wait_restarted(victims, TAKEN_OVER)
            frozen.signal(signal.SIGCONT)
            self.assertNotEqual(frozen.wait(20), 0, "it was declared dead and leaves")
            self.open_gate()
            self.check_all_ended_once(ids, stopped_at, set(victims))

    def test_the_next_worker_of_the_machine_takes_over_at_once(self):
        self.place.env["CTUTOR_LEASE"] = "60s"
        doomed = self.place.start_worker(processes=2)
        ids = self.submit_gated(40)
        self.wait_started(ids)
        died_at = time.time()
        doomed.kill_group()
        with self.place.worker(processes=2):
            self.wait_restarted(ids, 10)
            self.open_gate()
            self.check_all_ended_once(ids, died_at, set(ids))

    # ---- what tasks started ----

    def test_subprocesses_die_with_their_run(self):
        ends = {
            "runner": lambda worker: os.kill(worker.runners()[0], signal.SIGKILL),
            "supervisor": lambda worker: os.kill(worker.pid, signal.SIGKILL),
            "worker": lambda worker: worker.kill_group(),
        }
        for number, (who, kill) in enumerate(ends.items()):
            with self.subTest(killed=who):
                seconds = "9%05d.%d" % (os.getpid() % 100000, number)
                worker = self.place.start_worker(processes=1)
                parent = self.place.submit("parent", "seconds=" + seconds)
                first = wait_until(lambda: self.sleepers(seconds, 3), what="three sleep")
                kill(worker)
                if who != "runner":
                    worker.process.wait(10)
                    worker = self.place.start_worker(processes=1)
                wait_until(lambda: not any(is_alive(pid) for pid in first), 5, "all are gone")
                self.place.run("cancel", parent).expect(0)
                self.place.wait_status(parent, "REVOKED")
                wait_until(lambda: not self.sleepers(seconds, 1), 5, "none of the second run lives")
                self.assertEqual(worker.stop(), 0)
                self.place.check_nothing_left()

    def sleepers(self, seconds, at_least):
        found = []
        for entry in glob.glob("/proc/[0-9]*"):
            pid = int(entry[6:])
            if command_line(pid) == "sleep " + seconds and is_alive(pid):
                found.append(pid)
        return found if len(found) >= at_least else []


if __name__ == "__main__":
    unittest.main()
