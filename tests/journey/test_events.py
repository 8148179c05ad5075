"""Server-Sent Events: one task's, all tasks', from the first and after a reconnect."""

import json
import os
import signal
import socket
import threading
import time
import unittest

import ctutor
import journey
import rest
import sse

STEPS = """
local fs = require "ctutor.fs"
return {
  params = { key = "string", lines = { type = "integer", default = 3 } },
  execute = function(ctx, params)
    ctx.info("begun")
    while not fs.exists(params.key) do ctx.sleep(0.02) end
    for i = 1, params.lines do ctx.log("info", "line " .. i) end
    ctx.progress(50, { done = 1, of = "two\\nlines" })
    ctx.warn("<b>\\r\\nend</b>")
    return "good"
  end,
}
"""
AGAIN = """
local fs = require "ctutor.fs"
return {
  retries = { max = 1, backoff = "fixed", base = 0, jitter = false },
  execute = function(ctx)
    ctx.info("try " .. ctx.attempt)
    if ctx.attempt == 1 then error("once") end
  end,
}
"""
FAIL = 'return { execute = function(ctx) ctx.fatal("no luck") end }'
LOUD = """
return {
  params = { lines = "integer", size = "integer" },
  execute = function(ctx, params)
    for i = 1, params.lines do
      ctx.info(string.format("%06d", i) .. string.rep("x", params.size))
      if i % 50 == 0 then ctx.sleep(0.001) end
    end
  end,
}
"""


class EventsTest(journey.ApiTest):
    files = {"steps": STEPS, "again": AGAIN, "fail": FAIL, "loud": LOUD}

    def steps(self, **parameters):
        """(id, what lets it go on)"""
        key = "%s/key-%s-%d" % (self.place.work, self.id().rpartition(".")[2], len(os.listdir(self.place.work)))
        task_id = self.submit("steps", {"key": key, **parameters})

        def go_on():
            with open(key, "w"):
                pass
        return task_id, go_on

    def follow(self, task_id, last_id=None, api=None, path="/api/tasks/%s/events"):
        stream = sse.Stream(api or self.api, path % task_id, last_id)
        self.addCleanup(stream.close)
        self.assertEqual(stream.status, 200, stream.response)
        return stream

    def follow_all(self, last_id=None, api=None):
        return self.follow(None, last_id, api, "/api/events%.0s")

    # ---- one task ----

    def test_live_from_the_state_at_connect_to_the_final_event(self):
        task_id, go_on = self.steps()
        self.wait_started(task_id)
        stream = self.follow(task_id)
        begin = stream.until(lambda e: e.kind == "log")
        self.assertEqual(sse.statuses(begin), [("STARTED", 1)])
        go_on()
        rest_ = stream.rest()
        events = begin + rest_
        self.assertEqual(sse.statuses(events), [("STARTED", 1), ("SUCCESS", 1)])
        self.assertEqual(sse.texts(events), ["begun", "line 1", "line 2", "line 3", "<b>\r\nend</b>"])
        progress = [e.data for e in events if e.kind == "progress"]
        self.assertEqual([(p["percentage"], p["metadata"]) for p in progress], [(50, {"done": 1, "of": "two\nlines"})])
        self.assertEqual(events[-1].kind, "status")
        self.assertEqual(stream.retry, 1000)
        self.assertEqual(len({e.data["id"] for e in events}), 1)
        self.assertEqual(stream.response.headers["Content-Type"], "text/event-stream")
        self.assertEqual(stream.response.headers["Cache-Control"], "no-store")

    def test_the_same_json_as_watch_prints(self):
        task_id, go_on = self.steps()
        go_on()
        self.finish(task_id)
        watched = [json.loads(line) for line in self.run_("watch", task_id, "--json").out.splitlines()]
        told = [e.data for e in self.follow(task_id).rest()]
        key = lambda e: (e["event"], json.dumps(e, sort_keys=True))
        self.assertEqual(sorted(told, key=key), sorted(watched, key=key))
        self.assertEqual([list(e) for e in sorted(told, key=key)], [list(e) for e in sorted(watched, key=key)])

    def test_from_every_id_on_comes_exactly_the_rest(self):
        task_id = self.submit("again")
        self.finish(task_id)
        whole = self.follow(task_id, "0.4.0").rest()
        self.assertEqual(sse.statuses(whole), [("STARTED", 1), ("RETRY", 1), ("STARTED", 2), ("SUCCESS", 2)])
        self.assertEqual([e.kind for e in whole], ["status", "log", "status", "status", "log", "status"])
        for i, event in enumerate(whole[:-1]):
            self.assertEqual(self.follow(task_id, event.id).rest(), whole[i + 1:])
        by_query = self.follow(task_id, path="/api/tasks/%s/events?last_event_id=" + whole[1].id).rest()
        self.assertEqual(by_query, whole[2:])
        again = sse.Stream(self.api, "/api/tasks/%s/events" % task_id, whole[-1].id)
        self.assertEqual(again.status, 204)

    def test_what_was_missed_while_away(self):
        task_id, go_on = self.steps()
        self.wait_started(task_id)
        stream = self.follow(task_id)
        last = stream.until(lambda e: e.kind == "log")[-1]
        stream.close()
        go_on()
        self.finish(task_id)
        events = self.follow(task_id, last.id).rest()
        self.assertEqual(sse.texts(events), ["line 1", "line 2", "line 3", "<b>\r\nend</b>"])
        self.assertEqual(sse.statuses(events), [("SUCCESS", 1)])

    def test_an_operators_retry_goes_on_behind_the_end(self):
        task_id = self.submit("fail")
        self.finish(task_id)
        first = self.follow(task_id).rest()
        self.assertEqual(sse.statuses(first), [("FAILURE", 1)])
        self.api.post("/api/tasks/%s/retry" % task_id).expect(200)
        events = self.follow(task_id, first[-1].id).rest()
        self.assertEqual(sse.statuses(events), [("PENDING", 1), ("STARTED", 2), ("FAILURE", 2)])

    def test_what_no_worker_ends_is_told_at_once(self):
        task_id = self.submit("again", delay=3600)
        stream = self.follow(task_id)
        self.assertEqual(sse.statuses([stream.next()]), [("PENDING", 0)])
        since = time.monotonic()
        self.run_("cancel", task_id)
        self.assertEqual(sse.statuses(stream.rest()), [("REVOKED", 0)])
        self.assertLess(time.monotonic() - since, 5)

    def test_no_progress_before_the_start_it_belongs_to(self):
        task_id = self.submit("again", delay=3600)
        stream, all_ = self.follow(task_id), self.follow_all()
        stream.next()
        progress = {"id": task_id, "event": "progress", "percentage": 50, "metadata": None}
        self.place.redis("PUBLISH", "{%s}:events" % self.place.namespace, json.dumps(progress, separators=(",", ":")))
        all_.until(lambda e: e.data == progress)
        self.run_("cancel", task_id)
        self.assertEqual([(e.kind, e.data.get("status")) for e in stream.rest()], [("status", "REVOKED")])

    def test_logs_alone(self):
        task_id, go_on = self.steps(lines=500)
        self.wait_started(task_id)
        stream = self.follow(task_id, path="/api/tasks/%s/logs?follow=true")
        go_on()
        events = stream.rest()
        self.assertEqual({e.kind for e in events}, {"log"})
        expected = ["begun", *("line %d" % i for i in range(1, 501)), "<b>\r\nend</b>"]
        self.assertEqual(sse.texts(events), expected)
        self.assertEqual(sse.texts(self.follow(task_id, path="/api/tasks/%s/logs?follow=true").rest()), expected)
        rest_ = self.follow(task_id, events[299].id, path="/api/tasks/%s/logs?follow=true").rest()
        self.assertEqual(sse.texts(rest_), expected[300:])
        seq = self.api.get("/api/tasks/%s/logs?limit=100" % task_id).expect(200).json["logs"][-1]["seq"]
        behind = self.follow(task_id, path="/api/tasks/%%s/logs?follow=true&after=%d" % seq).rest()
        self.assertEqual(sse.texts(behind), expected[100:])

    def test_megabytes_of_log_come_whole_to_who_reads_slowly(self):
        task_id = self.submit("loud", {"lines": 240, "size": 4000})
        self.finish(task_id)
        stream = self.follow(task_id)
        events = []
        while (event := stream.next()) is not None:
            events.append(event)
            if len(events) % 40 == 0:
                time.sleep(0.05)
        self.assertEqual([t[:6] for t in sse.texts(events)], ["%06d" % i for i in range(1, 241)])
        self.assertEqual(sse.statuses(events), [("SUCCESS", 1)])

    def test_refused(self):
        unknown = "019a0000-0000-7000-8000-000000000000"
        self.api.get("/api/tasks/%s/events" % unknown).expect(404)
        self.api.get("/api/tasks/%s/logs?follow=true" % unknown).expect(404)
        task_id = self.submit("fail")
        for wrong in ("x", "1.2", "1.2.3.4", "1.2.3x", "+1.2.3", "99999999999.0.0"):
            done = self.api.get("/api/tasks/%s/events" % task_id, headers={"Last-Event-ID": wrong}).expect(422)
            self.assertEqual(done.json["errors"][0]["field"], "last_event_id")
        self.api.get("/api/tasks/%s/logs?follow=perhaps" % task_id).expect(422)
        self.api.get("/api/events", headers={"Last-Event-ID": "x"}).expect(422)
        self.api.get("/api/events?x=1").expect(422)
        self.assertEqual(self.api.request("HEAD", "/api/events").expect(200).body, b"")

    # ---- all tasks ----

    def test_all_live(self):
        with self.follow_all() as stream:
            ids = [self.submit("again") for _ in range(5)]
            left = set(ids)

            def over(event):
                if event.kind == "status" and event.data["status"] == "SUCCESS":
                    left.discard(event.data["id"])
                return not left
            events = stream.until(over)
        for task_id in ids:
            told = sse.statuses(events, task_id)
            self.assertEqual([s for s in told if s != ("PENDING", 0)],
                             [("STARTED", 1), ("RETRY", 1), ("STARTED", 2), ("SUCCESS", 2)])
            self.assertEqual(len([e for e in events if e.kind == "log" and e.data["id"] == task_id]), 2)
        numbers = [int(e.id) for e in events]
        self.assertEqual(numbers, sorted(set(numbers)))

    def test_all_after_a_reconnect_nothing_is_lost_and_nothing_comes_twice(self):
        stream = self.follow_all()
        first = self.submit("again")
        before = stream.until(lambda e: e.data["id"] == first and e.data.get("status") == "SUCCESS")
        stream.close()
        with self.follow_all() as other:
            second = self.submit("again")
            other.until(lambda e: e.data["id"] == second and e.data.get("status") == "SUCCESS")
        stream = self.follow_all(before[-1].id)
        third = self.submit("again")
        after = stream.until(lambda e: e.data["id"] == third and e.data.get("status") == "SUCCESS")
        self.assertEqual(sse.statuses(after, first), [])
        for task_id in (second, third):
            self.assertEqual([s for s in sse.statuses(after, task_id) if s != ("PENDING", 0)],
                             [("STARTED", 1), ("RETRY", 1), ("STARTED", 2), ("SUCCESS", 2)])
        self.assertEqual({e.data["id"] for e in after if e.kind == "log"}, {third})  # log lines are not repeated

    def test_all_after_more_than_a_client_may_be_told_says_so(self):
        stream = self.follow_all()
        task_id = self.submit("again")
        last = stream.until(lambda e: e.data["id"] == task_id and e.data.get("status") == "SUCCESS")[-1]
        stream.close()
        self.api.post("/api/tasks/submit/bulk", [{"task_name": "again", "delay": 3600, "tags": ["many"]}] * 1001).expect(200)
        self.assertEqual(self.api.post("/api/tasks/cancel", {"filter": {"tag": "many"}}).expect(200).json["done"], 1001)
        with self.follow_all(last.id) as stream:
            events = [stream.next() for _ in range(1000)]
            self.assertEqual({e.data["status"] for e in events}, {"REVOKED"})
            self.assertEqual(stream.comments, ["what came before is left out"])

    def test_all_that_no_worker_ends_is_told(self):
        with self.follow_all() as stream:
            task_id = self.submit("again", delay=3600)
            self.run_("cancel", task_id)
            stream.until(lambda e: e.data["id"] == task_id and e.data.get("status") == "REVOKED")
            self.run_("retry", task_id)
            stream.until(lambda e: e.data["id"] == task_id and e.data.get("status") == "SUCCESS")

    def test_without_redis_the_ledger_tells(self):
        with self.follow_all() as stream:
            task_id, go_on = self.steps()
            self.wait_started(task_id)
            one = self.follow(task_id)
            one.until(lambda e: e.kind == "log")
            self.place.redis_server.stop()
            try:
                go_on()
                events = one.rest()
                self.assertEqual(sse.texts(events)[-1], "<b>\r\nend</b>")
                self.assertEqual(sse.statuses(events), [("SUCCESS", 1)])
                stream.until(lambda e: e.data["id"] == task_id and e.data.get("status") == "SUCCESS")
            finally:
                self.place.redis_server.start()
            later = self.submit("again")
            events = stream.until(lambda e: e.data["id"] == later and e.data.get("status") == "SUCCESS")
            self.assertEqual(sse.statuses(events, task_id), [])

    def test_who_does_not_read_is_dropped(self):
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((self.api.host, self.api.port))
        self.addCleanup(slow.close)
        slow.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with self.follow_all() as stream:
            before = ctutor.descriptors(self.api.pid)
            for _ in range(40):  # in all more than the buffers of a socket hold, each less than what a reader may lag
                task_id = self.submit("loud", {"lines": 50, "size": 4000})
                stream.until(lambda e: e.data["id"] == task_id and e.data.get("status") == "SUCCESS")
            ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) < len(before), 10, "the slow one is gone")

    def test_who_hears_nothing_is_kept_awake(self):
        task_id = self.submit("again", delay=3600)
        with self.follow(task_id) as stream:
            self.assertEqual(sse.statuses([stream.next()]), [("PENDING", 0)])
            since = time.monotonic()
            while (line := stream.response.readline()) == b"\n":
                pass
            self.assertEqual(line, b":\n")
            self.assertLess(time.monotonic() - since, 16)
        self.run_("cancel", task_id)

    # ---- clients and servers that leave ----

    def test_clients_that_go_leave_nothing_behind(self):
        task_id, go_on = self.steps()
        self.wait_started(task_id)
        before = len(ctutor.descriptors(self.api.pid))
        streams = [self.follow(task_id) if i % 2 else self.follow_all() for i in range(40)]
        for stream in streams[::2]:
            stream.socket.shutdown(socket.SHUT_RDWR)
        for stream in streams:
            stream.close()
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) <= before, 10, "all descriptors are back")
        go_on()
        self.finish(task_id)

    def test_a_leaving_server_ends_its_streams_and_the_next_goes_on(self):
        other = rest.Serve(self.place)
        task_id, go_on = self.steps()
        self.wait_started(task_id)
        one, every = self.follow(task_id, api=other), self.follow_all(api=other)
        last = one.until(lambda e: e.kind == "log")[-1]
        since = time.monotonic()
        other.process.send_signal(signal.SIGTERM)
        self.assertEqual(one.rest(), [])
        self.assertIsNotNone(every.rest())
        self.assertEqual(other.process.wait(20), 0)
        self.assertLess(time.monotonic() - since, 5)
        go_on()
        self.assertEqual(sse.statuses(self.follow(task_id, last.id).rest()), [("SUCCESS", 1)])

    def test_however_often_it_is_told_to_leave_it_leaves_well(self):
        other = rest.Serve(self.place)
        while other.process.poll() is None:
            other.process.send_signal(signal.SIGTERM)
        self.assertEqual(other.process.returncode, 0, other.log())


if __name__ == "__main__":
    unittest.main()
