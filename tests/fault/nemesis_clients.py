"""The clients of a nemesis run: a steady stream of submissions of all sorts, and operators who
cancel and retry. They know what they were told, and repeat with the same id what they were not."""

import concurrent.futures
import json
import os
import random
import threading
import time
import uuid

from invariants import Broken

UNTOLD = {"unavailable", "store", "timeout"}


def new_id():
    """A UUIDv7."""
    raw = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def draw_submission(draw):
    """One line for `submit --bulk`."""
    kind = draw.choices(
        ["plain", "long", "flaky", "doomed", "snoozing", "shell", "unique", "delayed", "ranked",
         "expiring", "spinning", "deaf"],
        [30, 8, 10, 4, 6, 6, 8, 8, 10, 3, 0.8, 0.3])[0]
    line = {"id": new_id(), "task_name": kind, "parameters": {}}
    if kind in ("plain", "long", "unique", "delayed", "ranked", "expiring"):
        line["task_name"] = "plain"
        line["parameters"] = {"seconds": round(draw.uniform(*{
            "plain": (0, 0.3), "long": (0.5, 4), "unique": (0, 1)}.get(kind, (0, 0.1))), 3)}
    if kind == "unique":
        line["unique_key"] = "key-%d" % draw.randrange(6)
    elif kind == "delayed":
        line["delay"] = round(draw.uniform(0.1, 4), 3)
    elif kind == "ranked":
        line["priority"] = draw.randrange(11)
    elif kind == "expiring":
        line["expires"] = 2
    elif kind == "flaky":
        line["parameters"] = {"failures": draw.randrange(4)}
    elif kind == "snoozing":
        line["parameters"] = {"times": draw.randrange(3)}
    return line


class Clients:
    """submit() and operate() run in threads of their own until stop()."""

    def __init__(self, world, seed, every=0.4, lines=12):
        self.world, self.place = world, world.place
        self.draw, self.every, self.lines = random.Random(seed + 1), every, lines
        self.lock = threading.Lock()
        self.accepted, self.recent, self.again = {}, [], []
        self.cancelled, self.retried, self.broken = set(), set(), []
        self.over = threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(6)
        self.pending = []
        self.threads = [threading.Thread(target=self._stream, daemon=True),
                        threading.Thread(target=self._operate, daemon=True)]
        world.kill_client = self.kill_one

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """No more of it; what is unanswered is asked again until it is answered."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        for pending in self.pending:
            pending.result()
        deadline = time.monotonic() + 40
        while self.again and time.monotonic() < deadline:
            lines, self.again = self.again, []
            self._submit(lines)
        self.pool.shutdown()
        if self.again:
            self.broken.append(Broken("I7", self.again[0]["id"], "submits are not answered after all is well"))

    def _stream(self):
        while not self.over.wait(self.every):
            self.pending = [pending for pending in self.pending if not pending.done()]
            if len(self.pending) >= 6:
                continue
            with self.lock:
                lines, self.again = self.again[:40], self.again[40:]
            lines = lines + [draw_submission(self.draw) for _ in range(self.lines)]
            self.pending.append(self.pool.submit(self._submit, lines))

    def _submit(self, lines):
        try:
            done = self.place.run("submit", "--bulk", "-", "--json", seconds=90,
                                  input="".join(json.dumps(line) + "\n" for line in lines))
        except AssertionError as late:
            self.broken.append(Broken("I7", "-", "a submit does not end: %s" % late))
            return
        if done.status not in (0, 2, 3):
            self.broken.append(Broken("I1", "-", "submit exits %d: %s" % (done.status, done.err)))
        answers = [json.loads(text) for text in done.lines]
        self._told(lines, answers)

    def _told(self, lines, answers):
        with self.lock:
            for number, line in enumerate(lines):
                answer = answers[number] if number < len(answers) else {"code": "unavailable"}
                if "task_id" in answer:
                    self.accepted[answer["task_id"]] = line
                    self.recent = self.recent[-200:] + [answer["task_id"]]
                    if answer["task_id"] != line["id"] and "unique_key" not in line:
                        self.broken.append(Broken("I1", line["id"], "accepted as another: %s" % answer))
                elif answer["code"] in UNTOLD:
                    self.again.append(line)
                else:
                    self.broken.append(Broken("I1", line["id"], "refused: %s" % answer))

    def kill_one(self, seconds):
        """A submit that is killed on its way; called by the main thread."""
        lines = [draw_submission(self.draw) for _ in range(self.lines)]
        process = self.place.start("submit", "--bulk", "-", "--json", stdin=-1)
        try:
            process.stdin.write("".join(json.dumps(line) + "\n" for line in lines))
            process.stdin.close()
        except BrokenPipeError:
            pass
        process.stdin = None
        time.sleep(seconds)
        process.kill()
        out, _ = process.communicate()
        whole = out[:out.rfind("\n") + 1].splitlines()
        self._told(lines, [json.loads(text) for text in whole])

    def _operate(self):
        draw = random.Random(self.draw.random())
        while not self.over.wait(draw.uniform(0.2, 0.8)):
            try:
                if draw.random() < 0.7:
                    self._cancel(draw)
                else:
                    self._retry(draw)
            except AssertionError as late:
                self.broken.append(Broken("I7", "-", "an operator's command: %s" % late))

    def _cancel(self, draw):
        with self.lock:
            if not self.recent:
                return
            task_id = draw.choice(self.recent)
        self.cancelled.add(task_id)
        done = self.place.run("cancel", task_id, "--json", seconds=90)
        if done.status not in (0, 3, 6):
            self.broken.append(Broken("I1", task_id, "cancel exits %d: %s" % (done.status, done.err)))

    def _retry(self, draw):
        try:
            rows = self.place.psql(
                "SELECT o.id FROM outcomes o WHERE o.status IN (4, 5) AND o.round < 3"
                " AND NOT EXISTS (SELECT FROM active a WHERE a.id = o.id) ORDER BY 1 DESC LIMIT 30")
        except AssertionError:
            return  # Postgres is away
        if rows:
            task_id = draw.choice(rows)[0]
            self.retried.add(task_id)
            done = self.place.run("retry", task_id, seconds=90)
            if done.status not in (0, 3, 6):
                self.broken.append(Broken("I1", task_id, "retry exits %d: %s" % (done.status, done.err)))
