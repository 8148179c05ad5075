"""Which task starts next: priorities, order of submission, queues, delays, expiry, pauses."""

import json
import time
import unittest

import ctutor
import journey

STAMP = """
local fs = require "ctutor.fs"
return {
  params = { n = { type = "integer", default = 0 }, log = { type = "string", optional = true } },
  execute = function(ctx, params)
    if params.log then assert(fs.append(params.log, params.n .. "\\n")) end
    return params.n
  end,
}
"""
HOLD = """
local fs = require "ctutor.fs"
return {
  params = { key = "string" },
  execute = function(ctx, params) while not fs.exists(params.key) do ctx.sleep(0.02) end end,
}
"""


class OrderTest(ctutor.JourneyTest):
    def setUp(self):
        self.place.task("stamp", STAMP)
        self.place.task("hold", HOLD)
        self.log = self.place.work + "/log-" + self.id().rpartition(".")[2]
        self.place.run("migrate").expect(0)

    def load_catalogue(self):
        """A worker that only makes the tasks known: it serves a queue that nobody uses."""
        with self.place.worker(queues="nobody"):
            pass

    def submit_many(self, numbers, *, name="stamp", **fields):
        lines = [json.dumps({"task_name": name, "parameters": {"n": n, "log": self.log}, **fields})
                 for n in numbers]
        return self.place.run("submit", "--bulk=-", input="\n".join(lines)).expect(0).lines

    def run_burst(self, **flags):
        worker = self.place.start_worker(ready=False, burst=True, concurrency=1, **flags)
        self.assertEqual(worker.wait(60), 0, worker.log())

    def started_order(self, ids):
        """By the moment of their start, from outside the tasks."""
        rows = self.place.psql("SELECT task_id FROM task_info WHERE status = 'SUCCESS' "
                               "ORDER BY started_at, task_id")
        wanted = set(ids)
        return [row[0] for row in rows if row[0] in wanted]


class Waiting(OrderTest):
    """Everything waits before a worker with one slot begins."""

    def test_higher_priorities_start_first_and_each_group_in_order_of_submission(self):
        self.load_catalogue()
        low = self.submit_many(range(50), queue="default", priority=1)
        high = self.submit_many(range(100, 150), queue="default", priority=9)
        urgent = self.submit_many([999], queue="high_priority", priority=0)
        self.run_burst()
        self.assertEqual(journey.stamps(self.log),
                         ["999"] + [str(n) for n in [*range(100, 150), *range(50)]])
        self.assertEqual(self.started_order(low + high + urgent), urgent + high + low)

    def test_single_submits_start_in_their_order(self):
        self.load_catalogue()
        for n in range(6):
            self.place.submit("stamp", "n:=%d" % n, "log=" + self.log, "--queue=default")
        self.run_burst()
        self.assertEqual(journey.stamps(self.log), ["0", "1", "2", "3", "4", "5"])

    def test_bulk_lines_start_in_their_order(self):
        self.load_catalogue()
        self.submit_many(range(300), queue="default")
        self.run_burst()
        self.assertEqual(journey.stamps(self.log), [str(n) for n in range(300)])

    def test_every_priority_is_a_rank_of_its_own(self):
        self.load_catalogue()
        order = [3, 10, 0, 7, 5, 1, 9, 2, 8, 4, 6]
        for priority in order:
            self.submit_many([priority], queue="default", priority=priority)
        self.run_burst()
        self.assertEqual(journey.stamps(self.log), [str(n) for n in range(10, -1, -1)])

    def test_the_first_queue_of_the_list_that_is_not_empty_goes_first(self):
        self.load_catalogue()
        for n, queue in enumerate(("c", "a", "b", "a", "c")):
            self.submit_many([n], queue=queue, priority=n)
        self.run_burst(queues="b,c,a")
        self.assertEqual(journey.stamps(self.log), ["2", "4", "0", "3", "1"])

    def test_the_queue_follows_from_the_priority_where_none_is_said(self):
        self.load_catalogue()
        queues = {}
        for priority in (0, 2, 3, 6, 7, 10):
            task_id = self.place.submit("stamp", "--priority=%d" % priority)
            queues[priority] = self.place.run("status", task_id, "--json").json["queue"]
        self.assertEqual(queues, {0: "low_priority", 2: "low_priority", 3: "default", 6: "high_priority",
                                  7: "high_priority", 10: "high_priority"})
        self.run_burst()

    def test_a_queue_that_the_worker_does_not_serve_stays(self):
        self.load_catalogue()
        done = self.place.run("submit", "stamp", "--queue=elsewhere").expect(0)
        self.assertIn("elsewhere", done.err)
        task_id = done.out.strip()
        self.run_burst()
        self.assertEqual(self.place.run("status", task_id, "--json").json["status"], "PENDING")
        self.run_burst(queues="elsewhere")
        self.assertEqual(self.place.run("result", task_id).expect(0).json, 0)

    def test_a_burst_leaves_delayed_tasks_alone(self):
        self.load_catalogue()
        now, later = self.place.submit("stamp"), self.place.submit("stamp", "--delay=1h")
        self.run_burst()
        self.assertEqual(self.place.run("result", now).status, 0)
        self.assertEqual(self.place.run("status", later, "--json").json["status"], "PENDING")
        self.place.run("cancel", later).expect(0)

    def test_a_task_that_is_too_late_is_revoked_as_expired(self):
        self.load_catalogue()
        late = self.place.submit("stamp", "n:=1", "log=" + self.log, "--expires=500ms")
        delayed = self.place.submit("stamp", "n:=2", "log=" + self.log, "--delay=300ms",
                                    "--expires=600ms")
        early = self.place.submit("stamp", "n:=3", "log=" + self.log, "--expires=1h")
        time.sleep(0.7)
        with self.place.worker():
            for task_id in (late, delayed):
                result = self.place.wait_status(task_id, "REVOKED", seconds=15)
                self.assertEqual(result["error"]["kind"], "expired")
                self.assertIn("expired", self.place.run("result", task_id).expect(1).err)
            self.assertEqual(self.place.run("result", early, "--wait=10s").expect(0).json, 3)
        self.assertEqual(journey.stamps(self.log), ["3"])


class Served(OrderTest):
    """With a worker that runs."""

    def lateness(self, task_id):
        """Seconds from run_at to the start."""
        return float(self.place.value("SELECT extract(epoch FROM started_at - run_at) FROM task_info "
                                      "WHERE task_id = '%s'" % task_id))

    def test_a_higher_priority_overtakes_while_the_slot_is_taken(self):
        key = self.log + ".key"
        with self.place.worker(concurrency=1):
            held = self.place.submit("hold", "key=" + key, "--queue=low_priority")
            self.place.wait_status(held, "STARTED")
            self.submit_many(range(10), queue="default", priority=1)
            self.submit_many(range(100, 110), queue="default", priority=9)
            self.submit_many([999], queue="high_priority", priority=0)
            open(key, "w").close()
            ctutor.wait_until(lambda: len(journey.stamps(self.log)) == 21, 20)
        self.assertEqual(journey.stamps(self.log),
                         ["999"] + [str(n) for n in [*range(100, 110), *range(10)]])

    def test_a_delayed_task_starts_at_its_time_and_not_before(self):
        with self.place.worker():
            ids = [self.place.submit("stamp", "--delay=%dms" % delay)
                   for delay in (2500, 700, 1300, 1900)]
            begun = time.time()
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begun + 3))
            ids.append(self.place.submit("stamp", "--at", at))
            self.assertEqual(self.place.run("status", ids[-1], "--json").json["run_at"][:19], at[:19])
            for task_id in ids:
                self.place.run("result", task_id, "--wait=20s").expect(0)
            late = [self.lateness(task_id) for task_id in ids]
        self.assertTrue(all(0 <= seconds < 0.6 for seconds in late), late)

    def test_a_local_time_is_understood_and_said(self):
        with self.place.worker():
            env = {"TZ": "Asia/Tokyo"}
            done = self.place.run("submit", "stamp", "--at=2030-01-02 08:00", env=env).expect(0)
            self.assertIn("2030-01-01T23:00:00", done.err)
            info = self.place.run("status", done.out.strip(), "--json").json
            self.assertEqual(info["run_at"], "2030-01-01T23:00:00.000Z")
            self.place.run("cancel", done.out.strip()).expect(0)

    def test_a_paused_queue_starts_nothing_until_it_is_resumed_also_after_a_restart(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            ids = self.submit_many(range(5), queue="default")
            other = self.place.submit("stamp", "--queue=low_priority")
            self.place.run("result", other, "--wait=10s").expect(0)
        with self.place.worker():
            other = self.place.submit("stamp", "--queue=low_priority")
            self.place.run("result", other, "--wait=10s").expect(0)
            time.sleep(1.5)
            self.assertEqual(journey.stamps(self.log), [])
            queue = self.queue("default")
            self.assertEqual((queue["paused"], queue["waiting"], queue["running"]), (True, 5, 0))
            self.place.run("queues", "resume", "default").expect(0)
            began = time.monotonic()
            for task_id in ids:
                self.place.run("result", task_id, "--wait=10s").expect(0)
            self.assertLess(time.monotonic() - began, 5)
            self.assertFalse(self.queue("default")["paused"])
        self.assertEqual(sorted(journey.stamps(self.log)), ["0", "1", "2", "3", "4"])

    def test_a_pause_outlasts_the_loss_of_redis(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            self.place.redis("FLUSHALL")
            task_id = self.place.submit("stamp", "n:=7", "log=" + self.log, "--queue=default")
            time.sleep(6.5)  # longer than a round of the keeper
            self.assertEqual(self.place.run("status", task_id, "--json").json["attempt"], 0)
            self.place.run("queues", "resume", "default").expect(0)
            self.place.run("result", task_id, "--wait=10s").expect(0)

    def test_nobody_takes_what_is_paused_while_redis_is_filled_again(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            ids = self.submit_many(range(5), queue="default")
            for _ in range(3):
                self.place.redis("FLUSHALL")
                ctutor.wait_until(lambda: self.place.redis("EXISTS", "{ctutor}:epoch"), 10)
                self.assertEqual(self.place.redis("ZCARD", "{ctutor}:q:default"), 5)
                self.assertEqual(self.place.redis("SMEMBERS", "{ctutor}:paused"), [b"default"])
            self.place.run("cancel", *ids).expect(0)

    def test_nothing_comes_back_to_redis_before_what_is_paused(self):
        with self.place.worker():
            self.place.run("queues", "pause", "default").expect(0)
            ids = self.submit_many(range(5), queue="default")
            with self.place.session() as say:
                say("BEGIN; LOCK TABLE queues;")  # who is paused cannot be read; what waits can
                self.place.redis("FLUSHALL")
                time.sleep(4)  # the keeper looks every second
                self.assertEqual(self.place.redis("EXISTS", "{ctutor}:q:default", "{ctutor}:claimed", "{ctutor}:epoch"), 0)
                say("COMMIT;")
            ctutor.wait_until(lambda: self.place.redis("EXISTS", "{ctutor}:epoch"), 10)
            self.assertEqual(self.place.redis("ZCARD", "{ctutor}:q:default"), 5)
            self.assertEqual(self.place.redis("SMEMBERS", "{ctutor}:paused"), [b"default"])
            self.place.run("cancel", *ids).expect(0)

    def test_hints_that_redis_lost_come_back(self):
        with self.place.worker(concurrency=1):
            key = self.log + ".key"
            held = self.place.submit("hold", "key=" + key, "--queue=high_priority")
            self.place.wait_status(held, "STARTED")
            ids = self.submit_many(range(5), queue="default")
            self.place.redis("FLUSHALL")
            open(key, "w").close()
            began = time.monotonic()
            for task_id in ids:
                self.place.run("result", task_id, "--wait=20s").expect(0)
            self.assertLess(time.monotonic() - began, 10)
        self.assertEqual(journey.stamps(self.log), ["0", "1", "2", "3", "4"])

    def queue(self, name):
        queues = self.place.run("queues", "--json").expect(0).json["queues"]
        return next(queue for queue in queues if queue["name"] == name)


if __name__ == "__main__":
    unittest.main()
