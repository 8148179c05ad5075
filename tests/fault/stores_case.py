"""What the tests of stores share: a worker behind proxies, and a task that leaves a trace of each run."""

import contextlib
import os
import re
import signal
import time

import ctutor
import journey
from proxy import StoreProxies

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


@contextlib.contextmanager
def frozen(server):
    """All its processes; the first one first, so that no other is born meanwhile."""
    pids = [server.pid]
    try:
        os.kill(pids[0], signal.SIGSTOP)
        for pid in ctutor.descendants(pids[0]):
            pids.append(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class StoresTest(ctutor.JourneyTest):
    """One worker behind proxies; the clients of a test talk to the stores directly unless it says so."""

    processes = 1
    settings = {}
    proxies = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        way = cls.way()
        cls.log = os.path.join(cls.place.root, "effects")
        cls.place.task("noted", NOTED)
        cls.place.env.update(cls.settings)
        cls.worker = cls.place.start_worker(processes=cls.processes, env=way)
        cls.addClassCleanup(cls._leave)

    @classmethod
    def way(cls):
        """Settings by which the worker reaches the stores."""
        cls.proxies = StoreProxies(cls.place)
        return cls.proxies.env

    @classmethod
    def _leave(cls):
        status = cls.worker.stop()
        if status != 0:
            raise AssertionError("the worker left with %d:\n%s" % (status, cls.worker.log()))

    def setUp(self):
        if self.proxies:
            self.addCleanup(self.proxies.heal)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)
        self.told_before = len(self.worker.log())

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

    def told(self, pattern):
        """How many lines of the worker's log, since the test began."""
        return len(re.findall(pattern, self.worker.log()[self.told_before:]))

    def in_time(self, seconds, most):
        if seconds > most:
            self.fail("%.1f s, not %s s\n%s" % (seconds, most, self.worker.log()[-4000:]))
