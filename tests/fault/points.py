"""Every fault point times every action, against the program as it is shipped.

    points.py SESSION [POINT [ACTION]]

A session is an installation, two workers and a stream of tasks; its orders are all that the table
(`ctutor-run help faults`) allows its processes, carried out one after the other as the work passes
the points, while whoever dies is started again. Then the workers are killed, one that is armed
with nothing takes over, and the usual is demanded: every order was carried out, everything accepted
is final, the invariants hold, nothing is left. A POINT alone arms only that.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time

import ctutor
import invariants
from invariants import Broken
from nemesis_clients import new_id

TASKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tasks.d")
LEASE = 3
FULL = bool(os.environ.get("CTUTOR_POINTS_FULL"))  # more allocations that fail, one after the other
DEADLINE = 600 if FULL else 150  # for all orders of a session
MORTAL = ("kill", "segv", "alloc")
ALLOCATIONS = {"claim_send": (1, 2, 4, 7), "start_send": (1, 2, 4, 9), "finish_send": (1, 2, 5),
               "finish_success_send": (1, 2, 5, 11), "generation_load": (1, 30), "reload_checked": (1, 10),
               "checker_load": (1, 2, 20, 200)}
if FULL:
    ALLOCATIONS = {name: range(1, 10 * max(numbers), max(numbers) // 4 or 1) for name, numbers in ALLOCATIONS.items()}

TALKATIVE = """
local effects = require "effects"
local fs = require "ctutor.fs"
local process = require "ctutor.process"
return {
  execute = function(ctx)
    effects.note(ctx, "start")
    assert(fs.tempdir())
    for i = 1, 3 do
      ctx.progress(i * 30)
      print("line " .. i)
      ctx.sleep(0.05)
    end
    assert(process.run { "true" })
    if ctx.attempt == 1 then ctx.snooze(0, "and once more, at once") end
    return effects.done(ctx)
  end,
}
"""

ALONE = """
local effects = require "effects"
return { memory = "256M", execute = function(ctx) effects.work(ctx, 0.1) return effects.done(ctx) end }
"""


def table():
    """What `help faults` says."""
    with ctutor.Folder() as folder:
        return folder.run("help", "faults", "--json").expect(0).json


class Orders:
    """The file that arms processes and in which they tell what they did."""

    def __init__(self, path, lines):
        self.path, self.lines = path, list(lines)
        with open(path, "w") as file:
            file.write("".join(line + "\n" for line in self.lines))
        self.fd = os.open(path, os.O_RDWR)
        self.env = {"CTUTOR_FAULTS_FD": str(self.fd)}

    def told(self):
        with open(self.path) as file:
            return [line.split() for line in file.read().splitlines()[len(self.lines):]]

    def fired(self):
        """(order, point, action, role, pid)"""
        return [(int(words[1]), words[2], words[3], words[4], int(words[5]))
                for words in self.told() if words[0] == "fired"]

    def left(self):
        done = {entry[0] for entry in self.fired()}
        return [line for number, line in enumerate(self.lines) if number not in done]


def orders_of(points, roles, actions, only=()):
    lines = []
    for point in points:
        if only and point["name"] != only[0]:
            continue
        for role in point["processes"]:
            for action in point["actions"]:
                if role not in roles or action not in actions or (only[1:] and action != only[1]):
                    continue
                numbers = ALLOCATIONS.get(point["name"], (1,)) if action == "alloc" else (1,)
                lines += ["%s %s after %d in %s" % (point["name"], action, number, role) for number in numbers]
    return lines


class Session:
    def __init__(self, roles, actions, only=(), among=lambda point: True, runners=1, extra=(), mortal=True):
        """among: which points; extra: orders that make others possible; mortal: somebody may die."""
        self.orders_wanted = [line for line in orders_of(table(), roles, actions, only) if among(line.split()[0])]
        self.extra, self.mortal = list(extra), mortal
        self.runners = runners
        self.draw = random.Random(1)
        self.accepted, self.refused, self.broken = {}, [], []
        self.workers = [None, None]
        self.resume = {}      # pid -> when a stopped process goes on
        self.noticed = 0      # entries of fired() that were looked at
        self.asked = {}       # stimulus -> when it was last given
        self.held = None      # a supervisor that stands still: its process
        self.versions = 0

    # -- life --

    def run(self):
        began = time.monotonic()
        self.place = place = ctutor.Installation(tasks=TASKS)
        with place:
            self.effects = os.path.join(place.root, "effects")
            open(self.effects, "w").close()
            place.task("lib/place", "return %r\n" % self.effects)
            place.task("talkative", TALKATIVE)
            place.task("alone", ALONE)
            place.env.update({"CTUTOR_LEASE": "%ds" % LEASE, "CTUTOR_GRACE": "1s", "CTUTOR_RESULT_TTL": "30d"})
            place.run("migrate").expect(0)
            self.orders = Orders(os.path.join(place.root, "orders"), self.orders_wanted + self.extra)
            place.pass_fds = (self.orders.fd,)
            try:
                self._fire_all()
                self._go_on()
                self._settle()
                self._check()
            except AssertionError as error:
                self.broken.append(Broken("run", "-", str(error)))
            report = self._report(time.monotonic() - began)
        return not self.broken, report

    def _left(self):
        return [line for line in self.orders.left() if line in self.orders_wanted]

    def _fire_all(self):
        end = time.monotonic() + DEADLINE
        while True:
            left = self._left()
            if not left:
                return
            if time.monotonic() > end:
                self.broken.append(Broken("reach", "-", "not carried out: " + "; ".join(left)))
                return
            self._keep_workers()
            self._notice()
            self._stimulate(left)
            time.sleep(0.05)

    def _go_on(self):
        """Those who are armed come to the end of their work, too: by the protocol's own times, that
        is the lease of a claim, a round of the keeper and what a stopped one needs."""
        end = time.monotonic() + 10 + 5 + 3 * LEASE
        while self.place.value("SELECT count(*) FROM active WHERE queue = 'default'") != "0":
            if time.monotonic() > end:
                rows = self.place.psql("SELECT id, name, status, starts, owner FROM active WHERE queue = 'default' LIMIT 5")
                self.broken.append(Broken("I7", "-", "what the armed ones did not end: %s" % rows))
                return
            self._keep_workers()
            self._notice()
            time.sleep(0.1)

        if not self.mortal:  # then nothing was given back either
            rows = self.place.psql("SELECT id, attempt, ended, error FROM attempts WHERE ended IN ('lost', 'released') LIMIT 5")
            self.broken += [Broken("I3", row[0], "nobody died: %s" % (row,)) for row in rows]

    def _keep_workers(self):
        for index, worker in enumerate(self.workers):
            if worker and worker.process.poll() is not None:
                status = worker.process.returncode
                refused = status == 2 and "the checker died" in worker.log()  # at its first load
                if status not in (0, 1, 3, 75, -9) and not refused:
                    self.broken.append(Broken("exit", "-", "a worker ended with %d\n%s" % (status, worker.log()[-2000:])))
                self.workers[index] = worker = None
            if not worker:
                self.workers[index] = self.place.start_worker(
                    processes=self.runners, concurrency=20, ready=False, env=self.orders.env)

    def _notice(self):
        fired = self.orders.fired()
        for _, _, action, _, pid in fired[self.noticed:]:
            if action == "stop":
                self.resume[pid] = time.monotonic() + LEASE + 0.5
        self.noticed = len(fired)
        for pid, due in list(self.resume.items()):
            if time.monotonic() >= due:
                del self.resume[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    # -- what makes the work pass the points --

    def _stimulate(self, left):
        names = {line.split()[0] for line in left}
        if self._is_time("submit", 0.4) and self._active() < 60:
            self._submit()
        if any(name in ("child_reaped", "child_spawn") or name.startswith("declare_dead") for name in names):
            self._every("kill_runner", 1.5)
        if names & {"drain", "worker_gone_send", "grace_over"}:
            self._every("terminate", 2.0)
        if any(name.startswith(("reload", "catalogue", "checker", "generation")) for name in names):
            self._every("reload", 1.0)
        if any(name.startswith("control") for name in names):
            self._every("ask_reload", 1.0)
        if any(name.startswith(("present", "epoch", "push")) for name in names):
            self._every("flush", 3.0)
        if "fence" in names and len(names) <= 3:
            self._hold_worker()

    def _is_time(self, what, seconds):
        if time.monotonic() - self.asked.get(what, 0) < seconds:
            return False
        self.asked[what] = time.monotonic()
        return True

    def _every(self, what, seconds):
        if self._is_time(what, seconds):
            getattr(self, "_" + what)()

    def _active(self):
        return int(self.place.value("SELECT count(*) FROM active"))

    def _submit(self):
        lines = [self._line("talkative"), self._line("plain", seconds=0.05), self._line("flaky", failures=1),
                 self._line("shell"), self._line("alone"), self._line("snoozing", times=1), self._line("plain", seconds=1.5)]
        if len(self.accepted) < 12:  # nobody serves that queue until the end
            lines += [{**self._line("plain", seconds=0), "queue": "parked"} for _ in range(4)]
        done = self.place.run("submit", "--bulk", "-", "--json", input="".join(json.dumps(line) + "\n" for line in lines))
        for text, line in zip(done.lines, lines):
            answer = json.loads(text)
            if "task_id" in answer:
                self.accepted[answer["task_id"]] = line
            else:
                self.refused.append(answer)  # before the first load nobody knows the tasks
                self.asked["submit"] = time.monotonic() + 0.6

    def _line(self, name, **parameters):
        return {"id": new_id(), "task_name": name, "parameters": parameters}

    def _worker(self):
        worker = self.draw.choice(self.workers)
        return worker if worker and worker.process.poll() is None and worker.runners() else None

    def _kill_runner(self):
        worker = self._worker()
        for pid in worker.runners()[:1] if worker else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _terminate(self):
        worker = self._worker()
        if worker and "runners of" in worker.log():
            worker.signal(signal.SIGTERM)

    def _hold_worker(self):
        """Until it is declared dead, or everybody is: its runners see that it stands still, and
        it is told when it goes on. Who keeps is left alone."""
        place = self.place
        if self.held:
            row = place.value("SELECT state FROM workers WHERE supervisor IS NULL AND pid = %d"
                              " ORDER BY started_at DESC" % self.held.pid)
            if row == "alive" and not self._is_time("hold", 15):
                return
            with contextlib.suppress(ProcessLookupError):
                self.held.send_signal(signal.SIGCONT)
            self.held = None
            self.asked["hold"] = time.monotonic()
        elif self._is_time("hold", 3):
            keeper = place.value("SELECT w.pid FROM keeper k JOIN workers w ON w.incarnation = k.holder"
                                 " WHERE w.state = 'alive'")
            others = [worker for worker in self.workers if keeper and worker and str(worker.pid) != keeper
                      and worker.process.poll() is None and "runners of" in worker.log()]
            if len(others) == 1:
                self.held = others[0].process
                self.held.send_signal(signal.SIGSTOP)

    def _reload(self):
        self.versions += 1
        self.place.task("talkative", TALKATIVE + "-- version %d\n" % self.versions)
        worker = self._worker()
        if worker and "runners of" in worker.log():
            worker.signal(signal.SIGHUP)

    def _ask_reload(self):
        self.place.start("worker", "reload")

    def _flush(self):
        self.place.redis("FLUSHALL")

    # -- afterwards --

    def _settle(self):
        """Everybody dies once more; one that nothing is wrong with takes over."""
        if self.held:
            self.held.send_signal(signal.SIGCONT)
        for pid in list(self.resume):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        for worker in self.workers:
            if worker and worker.process.poll() is None:
                worker.signal(signal.SIGKILL)  # one more of the same
                worker.wait()
        for process in self.place.commands:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.place.pass_fds = ()
        self.clean = self.place.start_worker(processes=1, concurrency=50, queues="default,parked")
        self._wait_final()
        # Hints that were claimed by the dead come back when their lease of 10 s is over.
        ctutor.wait_until(lambda: not self.place._hints_left(), 15)

    def _wait_final(self):
        def all_is_final():
            return (self.place.value("SELECT count(*) FROM active") == "0"
                    and self.place.value("SELECT count(*) FROM hooks_owed") == "0")

        try:
            ctutor.wait_until(all_is_final, 45)
        except AssertionError:
            rows = self.place.psql("SELECT id, name, status, starts FROM active LIMIT 5")
            self.broken.append(Broken("I7", "-", "not all is final: %s\n%s" % (rows, self.clean.log()[-1500:])))

    def _check(self):
        place = self.place
        history = invariants.History(place, self.effects)
        found = invariants.check(history, self.accepted)
        self.broken += found[:6]
        for broken in found[:3]:
            if broken.id in history.tasks:
                self.broken.append(Broken("history", broken.id, "\n" + history.of(broken.id)))
        done = place.run("audit")
        if done.status != 0:
            self.broken.append(Broken("audit", "-", done.out + done.err))
        for line in (line for log in history.logs for line in log.splitlines()):
            if "AddressSanitizer" in line or "runtime error" in line:
                self.broken.append(Broken("crash", "-", line))
        if self.clean.stop() != 0:
            self.broken.append(Broken("exit", "-", self.clean.log()[-1500:]))
        place.check_nothing_left()

    def _report(self, seconds):
        fired = self.orders.fired()
        parts = ["%d orders carried out in %.0f s, %d tasks accepted, %d answered otherwise" % (
            len(fired), seconds, len(self.accepted), len(self.refused))]
        if self.broken:
            parts += [" ".join(map(str, entry)) for entry in fired]
            parts += ["BROKEN %s %s: %s" % broken for broken in self.broken]
            parts += ["--- log of %s\n%s" % (worker.log_path, worker.log()[-1500:]) for worker in self.place.workers[-3:]]
        return "\n".join(parts)


# finish_look is only asked after a finish without an answer, hooks_take for marks of the dead.
LOSSES = ("finish_success_done lose after 2 times 100 in runner",)
FEW_LOSSES = ("finish_success_done lose after 2 times 20 in runner",)
DEATHS = ("hook_run kill after 2 times 12 in runner",)


def is_take(point):
    return point.startswith("hooks_take")


SESSIONS = {
    "runner_kill": lambda only: Session({"runner", "isolated"}, MORTAL, only, runners=2, extra=LOSSES + DEATHS),
    "runner_stop": lambda only: Session({"runner", "isolated"}, ("stop",), only, runners=4, extra=LOSSES + DEATHS),
    "runner_fail": lambda only: Session({"runner", "isolated"}, ("error", "lose"), only, lambda point: not is_take(point),
                                        extra=FEW_LOSSES, mortal=False),
    "runner_take": lambda only: Session({"runner"}, ("error", "lose"), only, is_take, extra=DEATHS),
    "supervisor_kill": lambda only: Session({"supervisor", "checker"}, MORTAL, only),
    "supervisor_stop": lambda only: Session({"supervisor"}, ("stop",), only),
    "supervisor_fail": lambda only: Session({"supervisor"}, ("error", "lose"), only),
}


def main():
    good, report = SESSIONS[sys.argv[1]](tuple(sys.argv[2:])).run()
    print(sys.argv[1] + ": " + report)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
