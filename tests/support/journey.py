"""What the journey tests share: a class with one worker for all its tests, and words of the contract.

Whatever a test does, after it the worker must hold as many descriptors as before, and Redis,
Postgres and the machine nothing of its tasks (JourneyTest).
"""

import os
import signal
import time

import ctutor
import rest

TASK_INFO = [
    "task_id", "task_name", "status", "queue", "priority", "parameters", "tags", "attempt",
    "failures", "max_attempts", "progress", "created_at", "run_at", "started_at", "finished_at",
    "duration", "timeout", "expires_at", "unique_key", "cancel_requested_at", "worker",
    "task_version", "parent_id", "created_by", "error", "result_available",
]
TASK_RESULT = TASK_INFO + ["result", "errors"]
ERROR = ["kind", "message", "traceback", "attempt", "at"]
ABSENT_ID = "01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34"
# ASan holds freed memory back for a while: that would look like growth.
NO_QUARANTINE = ":".join(filter(None, [
    os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"]))
SHIPPED = os.path.join(ctutor.ROOT, "tasks.d")
# What strays: its own session, its parent gone, at the end its environment too.
STRAYS = """
local process = require "ctutor.process"
return {
  timeout = 120, max_losses = 10,
  execute = function(ctx)
    if ctx.attempt > 1 then return ctx.attempt end
    return process.run { "sh", "-c", [[
      (setsid sh -c 'sleep 4171 & sleep 4172') &
      setsid sh -c 'setsid sleep 4173 &'
      echo data > kept-in-the-directory
      sleep 4174]] }
  end,
}
"""


class ServedTest(ctutor.JourneyTest):
    """files: name -> Lua; flags and settings: of the worker that serves all tests of the class."""

    files = {}
    flags = {}
    settings = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name, text in cls.files.items():
            cls.place.task(name, text)
        cls.place.env.update(cls.settings)
        cls.worker = cls.place.start_worker(**cls.flags)
        cls.held = steady_descriptors(cls.worker)

    @classmethod
    def tearDownClass(cls):
        status = cls.worker.stop()
        if status != 0:
            raise AssertionError("the worker left with %d:\n%s" % (status, cls.worker.log()))

    def tearDown(self):
        super().tearDown()
        ctutor.wait_until(
            lambda: count_descriptors(self.worker) <= self.held, 10,
            "the worker holds %d descriptors, not %d" % (count_descriptors(self.worker), self.held))

    def run_(self, *args, status=0, **options):
        return self.place.run(*args, **options).expect(status)

    def info(self, task_id):
        return self.run_("status", task_id, "--json").json

    def result(self, task_id, *args, status=0):
        """A TaskResult, waited for."""
        return self.run_("result", task_id, "--wait=60s", "--json", *args, status=status).json

    def wait_started(self, *ids):
        for task_id in ids:
            self.place.wait_status(task_id, "STARTED")

    def interrupt(self, process):
        """Ctrl-C, and what the command said: (status, out, err)."""
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err


class ApiTest(ServedTest):
    """A `serve` beside the worker: api. It must leave with 0, and no sanitizer may have spoken."""

    serve_settings = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = rest.Serve(cls.place, env=cls.serve_settings)

    @classmethod
    def tearDownClass(cls):
        cls.api.stop_well()
        super().tearDownClass()

    def submit(self, name, parameters=None, **fields):
        done = self.api.post("/api/tasks/submit", {"task_name": name, "parameters": parameters or {}, **fields})
        return done.expect(200).json["task_id"]

    def finish(self, task_id, seconds=60):
        """Its TaskResult."""
        return self.api.get("/api/tasks/%s/result?timeout=60" % task_id, seconds=seconds).expect(200).json


class OverApi:
    """Before a ServedTest: its commands run again, from a machine that reaches the REST API and no
    store. stores: what the environment was, for programs that stand beside the stores."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = cls.place.run("token", "create", "client", "--scope=admin").expect().out.strip()
        cls.api = rest.Serve(cls.place)
        cls.stores = {name: cls.place.env.pop(name) for name in ("REDIS_URL", "DATABASE_URL")}
        cls.place.env.update({"CTUTOR_API_URL": "http://127.0.0.1:%d" % cls.api.port, "CTUTOR_TOKEN": cls.token})

    @classmethod
    def tearDownClass(cls):
        cls.api.stop_well()
        super().tearDownClass()
        if cls.token in cls.api.log():
            raise AssertionError("serve logs the token:\n" + cls.api.log())


def count_descriptors(worker):
    """Of supervisor and runners together: which runner did the work does not matter."""
    return sum(len(ctutor.descriptors(pid)) for pid in [worker.pid] + worker.runners())


def steady_descriptors(worker):
    """Once all connections are there: the number has not changed for half a second."""
    seen = [0, time.monotonic()]

    def is_steady():
        now = count_descriptors(worker)
        if now != seen[0]:
            seen[:] = now, time.monotonic()
        return time.monotonic() - seen[1] > 0.5

    ctutor.wait_until(is_steady, 10)
    return seen[0]


def stamps(path):
    """The lines that tasks appended to a file, oldest first."""
    try:
        with open(path) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def strays():
    """Living processes of STRAYS."""
    return [pid for pid in ctutor.descendants(os.getpid())
            if ctutor.command_line(pid).startswith("sleep 417") and ctutor.is_alive(pid)]
