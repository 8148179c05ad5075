"""`serve` for tests, and requests to it.

    api = rest.Serve(place)                       # of a ctutor.Installation
    done = api.post("/api/tasks/submit", {"task_name": "hello"})
    assert done.status == 200 and done.json["status"] == "submitted"
    api.stop_well()
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess

import ctutor


class Answer:
    def __init__(self, response, body=None):
        self.status, self.headers = response.status, response.headers
        self.body = response.read() if body is None else body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def expect(self, status):
        if self.status != status:
            raise AssertionError("status %d, not %d: %s" % (self.status, status, self.text[:2000]))
        return self


@contextlib.contextmanager
def serve(place, *args, **options):
    """One for a while; it must leave well."""
    api = Serve(place, *args, **options)
    yield api
    status = api.stop()
    if status != 0:
        raise AssertionError("serve left with %d:\n%s" % (status, api.log()))


class Serve:
    """A `serve` on a free port of the loopback, ended with its place. descriptors: as many as it may have."""

    def __init__(self, place, *args, env=None, listen="127.0.0.1:0", ready=True, descriptors=None):
        self.place = place
        self.log_path = os.path.join(place.root, "serve-%d.log" % len(place.commands))
        limited = ["prlimit", "--nofile=%d" % descriptors] if descriptors else []
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*limited, ctutor.PROGRAM, "serve", "--listen", listen, *args], cwd=place.work,
                env=place._env(env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=ctutor._before_exec(), pass_fds=place.pass_fds)
        ctutor._started.add(self.process.pid)
        place.commands.append(self.process)
        self.pid, self.port, self.host = self.process.pid, 0, "127.0.0.1"
        if ready:
            ctutor.wait_until(self._is_ready, 60, "serve listens")

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("serve ended:\n" + self.log())
        found = re.search(r"serving http://\S+:(\d+)", self.log())
        if found:
            self.port = int(found[1])
        return bool(found)

    def stop(self, number=signal.SIGTERM, seconds=30):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("serve does not end:\n" + self.log())

    def stop_well(self):
        status, log = self.stop(), self.log()
        if status != 0 or "ERROR" in log:
            raise AssertionError("serve left with %d:\n%s" % (status, log))

    def connect(self, seconds=60):
        """A connection that lives on between requests."""
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)

    def socket(self, seconds=30):
        return socket.create_connection((self.host, self.port), seconds)

    def request(self, method, path, body=None, headers=None, seconds=60):
        """body: JSON to be, or bytes."""
        connection = self.connect(seconds)
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def look(self, method, path, body=None, headers=None):
        """The beginning of an answer that has no end."""
        connection = self.connect()
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        connection.close()
        response.close()
        return Answer(response, b"")

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)
