"""The clients of a nemesis run: a steady stream of submissions of all sorts, and operators who cancel,
retry, delete and prune, pause and resume. They know what they were told, and repeat with the same id
what they were not."""

import concurrent.futures
import json
import math
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
        [30, 12, 10, 4, 6, 6, 8, 8, 10, 3, 0.8, 0.3])[0]
    line = {"id": new_id(), "task_name": kind, "parameters": {}}
    if kind in ("plain", "long", "unique", "delayed", "ranked", "expiring"):
        line["task_name"] = "plain"
        line["parameters"] = {"seconds": round(draw.uniform(*{
            "plain": (0, 0.3), "long": (0.5, 7), "unique": (0, 1)}.get(kind, (0, 0.1))), 3)}
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
        self.forgotten, self.deleted = set(), set()  # asked to be deleted; told that they are
        self.pauses, self.paused = [], {}  # (queue, from, until), in seconds since the epoch; queue -> from
        self.pruned_until = 0  # what became final before may be gone
        self.prunes = seed % 3 == 0
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
        actions, weights = zip((self._cancel, 56), (self._retry, 22), (self._delete, 10), (self._pause, 8),
                               (self._prune, 4 if self.prunes else 0))
        while not self.over.wait(draw.uniform(0.2, 0.8)):
            self._resume(lambda queue: draw.random() < 0.3)
            draw.choices(actions, weights)[0](draw)
        end = time.monotonic() + 60
        while self.paused and time.monotonic() < end:
            self._resume(lambda queue: True)
        if self.paused:
            self.broken.append(Broken("I7", "-", "cannot be resumed: %s" % self.paused))

    def _command(self, *words, allowed=(0, 3, 6)):
        """Whether the operator was told that it is done."""
        try:
            done = self.place.run(*words, seconds=90)
        except AssertionError as late:
            self.broken.append(Broken("I7", "-", "an operator's command: %s" % late))
            return False
        if done.status not in allowed:
            self.broken.append(Broken("I1", words[1], "%s exits %d: %s" % (words[0], done.status, done.err)))
        return done.status == 0

    def _cancel(self, draw):
        with self.lock:
            recent = [task_id for task_id in self.recent if task_id not in self.forgotten]
        if recent:
            task_id = draw.choice(recent)
            self.cancelled.add(task_id)
            self._command("cancel", task_id, "--json")

    def _final(self, draw, condition):
        """The id of a task that is final, or None."""
        try:
            rows = self.place.psql(
                "SELECT o.id FROM outcomes o WHERE " + condition +
                " AND NOT EXISTS (SELECT FROM active a WHERE a.id = o.id) ORDER BY 1 DESC LIMIT 30")
        except AssertionError:
            return None  # Postgres is away
        return draw.choice(rows)[0] if rows else None

    def _retry(self, draw):
        task_id = self._final(draw, "o.status IN (4, 5) AND o.round < 3")
        if task_id:
            self.retried.add(task_id)
            self._command("retry", task_id)

    def _delete(self, draw):
        """Of what nobody submits again because he was not told."""
        task_id = self._final(draw, "true")
        if task_id in self.accepted:
            self.forgotten.add(task_id)
            if self._command("delete", task_id, allowed=(0, 3, 4)):
                self.deleted.add(task_id)

    def _prune(self, _draw):
        age = 20
        self.pruned_until = time.time() + 90 - age  # whenever it takes effect
        self._command("prune", "--older-than", "%ds" % age, allowed=(0, 3))
        self.pruned_until = time.time() - age

    def _pause(self, draw):
        queue = draw.choice(["default", "high_priority", "low_priority"])
        if self._command("queues", "pause", queue, allowed=(0, 3)):
            self.paused[queue] = time.time()
        else:
            self.paused.setdefault(queue, math.inf)  # who knows

    def _resume(self, which):
        for queue in [queue for queue in self.paused if which(queue)]:
            until = time.time()
            if self._command("queues", "resume", queue, allowed=(0, 3)):
                self.pauses.append((queue, self.paused.pop(queue), until))
