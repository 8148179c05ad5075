"""Many clients wait at once, each for nothing: neither a thread nor a turn nor much memory.

CTUTOR_WAITING sets how many (10,000 is what a process must hold). Memory counts with CTUTOR_RUN of a release build."""

import os
import resource
import select
import socket
import time
import unittest

import ctutor
import journey

CLIENTS = int(os.environ.get("CTUTOR_WAITING", "500"))
HOLD = """
local fs = require "ctutor.fs"
return {
  params = { key = "string", size = { type = "integer", default = 0 } },
  execute = function(ctx, params)
    while not fs.exists(params.key) do ctx.sleep(0.02) end
    return params.size > 0 and ("x"):rep(params.size) or "released"
  end,
}
"""


class Crowd:
    """Requests, one a connection; `answers` has the bytes of each that has come so far."""

    def __init__(self, api, paths):
        self.poll, self.sockets, self.answers = select.epoll(), {}, {}
        for path in paths:
            link = socket.create_connection((api.host, api.port), 30)
            link.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode())
            link.setblocking(False)
            self.sockets[link.fileno()] = link
            self.answers[link.fileno()] = b""
            self.poll.register(link, select.EPOLLIN)

    def read(self, is_done, seconds):
        """Until all answers are done; the seconds that took."""
        begin, left = time.monotonic(), {fd for fd, text in self.answers.items() if not is_done(text)}
        while left:
            if time.monotonic() > begin + seconds:
                raise AssertionError("%d of %d have no answer after %d s" % (len(left), len(self.answers), seconds))
            for fd, _ in self.poll.poll(1):
                data = self.sockets[fd].recv(1 << 16)
                self.answers[fd] += data
                if is_done(self.answers[fd]):
                    left.discard(fd)
                elif not data:
                    raise AssertionError("closed: %s" % self.answers[fd][-500:])
        return time.monotonic() - begin

    def close(self):
        self.poll.close()
        for link in self.sockets.values():
            link.close()


class WaitingTest(journey.ApiTest):
    files = {"hold": HOLD}

    @classmethod
    def setUpClass(cls):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        super().setUpClass()

    def setUp(self):
        self.descriptors = len(ctutor.descriptors(self.api.pid))
        self.memory = ctutor.memory(self.api.pid)

    def crowd(self, paths):
        crowd = Crowd(self.api, paths)
        self.addCleanup(crowd.close)
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) >= self.descriptors + len(paths), 60)
        return crowd

    def check_memory(self, crowd, most=8192):
        """At rest, with all of them waiting."""
        self.api.get("/healthz").expect(200)
        each = (ctutor.memory(self.api.pid) - self.memory) / len(crowd.sockets)
        print("%s: %d clients, %.1f KiB each, %d MiB in all" % (
            self.id().rpartition(".")[2], len(crowd.sockets), each / 1024, ctutor.memory(self.api.pid) >> 20))
        if "asan" not in ctutor.PROGRAM and len(crowd.sockets) >= 5000:  # few: what all share counts too much
            self.assertLess(each, most)

    def check_gone(self, crowd):
        crowd.close()
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) <= self.descriptors, 20, "descriptors are back")

    def hold(self, **parameters):
        key = "%s/key-%s" % (self.place.work, self.id().rpartition(".")[2])
        task_id = self.api.post("/api/tasks/submit", {"task_name": "hold", "parameters": {"key": key, **parameters}}).json["task_id"]
        self.wait_started(task_id)

        def go_on():
            with open(key, "w"):
                pass
        return task_id, go_on

    def test_for_one_task(self):
        task_id, go_on = self.hold()
        crowd = self.crowd(["/api/tasks/%s/result?timeout=300" % task_id] * CLIENTS)
        self.check_memory(crowd)
        go_on()
        took = crowd.read(lambda text: text.endswith(b"}"), 20)
        print("all answered within %.2f s" % took)
        self.assertTrue(all(b'"result":"released"' in text for text in crowd.answers.values()))
        self.check_gone(crowd)

    def test_a_large_result_is_there_once(self):
        size, waiters = 4 << 20, 64
        task_id, go_on = self.hold(size=size)
        crowd = self.crowd(["/api/tasks/%s/result?timeout=300" % task_id] * waiters)
        go_on()
        ctutor.wait_until(lambda: len(crowd.poll.poll(0)) == waiters, 20, "all answers have begun")
        grown = ctutor.memory(self.api.pid) - self.memory
        crowd.read(lambda text: text.endswith(b'"errors":[]}'), 60)
        self.assertEqual({len(text) for text in crowd.answers.values()}, {len(next(iter(crowd.answers.values())))})
        self.assertGreater(len(next(iter(crowd.answers.values()))), size)
        self.assertLess(grown, waiters * size / 4)
        self.check_gone(crowd)

    def test_each_for_its_own(self):
        task = {"task_name": "hold", "parameters": {"key": "-"}, "delay": 3600}
        ids = [t["task_id"] for t in self.api.post("/api/tasks/submit/bulk", [task] * CLIENTS).expect(200).json]
        crowd = self.crowd(["/api/tasks/%s/result?timeout=300" % i for i in ids])
        self.check_memory(crowd)
        since = time.monotonic()
        self.place.psql("SELECT count(*) FROM ctutor.cancel_tasks(ARRAY(SELECT id FROM ctutor.active))")
        print("cancelled in %.2f s" % (time.monotonic() - since))
        took = crowd.read(lambda text: text.endswith(b"}"), 20)
        print("all answered within %.2f s" % took)
        self.assertTrue(all(b'"REVOKED"' in text for text in crowd.answers.values()))
        self.check_gone(crowd)

    def test_streams(self):
        task_id, go_on = self.hold()
        crowd = self.crowd(["/api/tasks/%s/events" % task_id] * CLIENTS)
        crowd.read(lambda text: b'"STARTED"' in text, 20)
        self.check_memory(crowd)
        go_on()
        took = crowd.read(lambda text: b'"SUCCESS"' in text, 20)
        print("all told within %.2f s" % took)
        self.check_gone(crowd)


if __name__ == "__main__":
    unittest.main()
