"""A reader of Server-Sent Events, for tests.

    with sse.Stream(api, "/api/tasks/%s/events" % task_id) as stream:
        event = stream.next()                     # Event: kind, id, data
        rest = stream.rest()                      # until the server ends it
"""

import collections
import http.client
import json
import time

Event = collections.namedtuple("Event", "kind id data")


class Stream:
    def __init__(self, api, path, last_id=None, seconds=30):
        self.connection = http.client.HTTPConnection(api.host, api.port, timeout=seconds)
        headers = {"Last-Event-ID": last_id} if last_id is not None else {}
        self.connection.request("GET", path, headers=headers)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.status = self.response.status
        self.comments = []
        self.retry = None  # what the server said last: milliseconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.response.close()
        self.connection.close()

    def next(self):
        """The next event; None: the stream has ended."""
        fields = {}
        while True:
            line = self.response.readline()
            if not line:
                return None
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(": ")
                assert name not in fields, "%s twice in one event" % name
                fields[name] = value
            elif fields.keys() == {"retry"}:
                self.retry, fields = int(fields["retry"]), {}
            elif fields:
                return Event(fields["event"], fields["id"], json.loads(fields["data"]))

    def until(self, wanted, seconds=30):
        """Events up to the first for which wanted(event)."""
        events, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            event = self.next()
            assert event, "the stream ended behind %s" % events[-3:]
            events.append(event)
            if wanted(event):
                return events
        raise AssertionError("not within %d s; last: %s" % (seconds, events[-3:]))

    def rest(self):
        events = []
        while (event := self.next()) is not None:
            events.append(event)
        return events


def statuses(events, task_id=None):
    """[(status, attempt)]"""
    return [(e.data["status"], e.data["attempt"]) for e in events
            if e.kind == "status" and task_id in (None, e.data["id"])]


def texts(events):
    return [e.data["text"] for e in events if e.kind == "log"]
