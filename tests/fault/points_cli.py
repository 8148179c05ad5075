"""The fault points of commands: each point times each action, one command at a time.

    points_cli.py [POINT [ACTION]]

A command that is killed, stopped, failed or out of memory anywhere leaves a state from which the
same command, given again, comes to the same end; and it says what happened by its exit status.
"""

import json
import os
import signal
import sys
import time

import ctutor
from nemesis_clients import new_id
from points import FULL, Orders, table

TASK = 'return { params = { seconds = "number" }, execute = function(ctx, p) ctx.sleep(p.seconds) return ctx.attempt end }'
ALLOCATIONS_MOST = 400  # of one submit
SOME = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)


class Commands:
    def __init__(self, place):
        self.place = place
        self.count = 0
        self.fired = []
        self.broken = []
        self.begun = []  # scenes that wait for their second half

    def run(self, only=()):
        for point in table():
            if "cli" not in point["processes"] or (only and point["name"] != only[0]):
                continue
            for action in point["actions"]:
                if not only[1:] or action == only[1]:
                    self._try_all(point["name"], action)
        for name, scene in self.begun:
            self._go_on(name, scene)

    def _try_all(self, point, action):
        verb = point.rpartition("_")[0]
        if action == "alloc":
            self._run_out_of_memory(point)
            return
        scenes = {"cancel": [self.cancel_waiting, self.cancel_running], "forget": [self.cancel_due],
                  "retry": [self.retry], "push": [self.submit, self.retry], "delete": [self.delete]}
        for scene in scenes.get(verb, [self.submit]):
            entry = ("%s %s, %s" % (point, action, scene.__name__), scene("%s %s" % (point, action)))
            if self._go_on(*entry):
                self.begun.append(entry)

    def _go_on(self, name, scene):
        """To its yield, or to its end: whatever comes of itself has its time while others are begun."""
        try:
            return next(scene, None)
        except AssertionError as error:
            self.broken.append("%s: %s" % (name, error))
            return None

    # -- one command --

    def armed(self, order, *args, input=None):
        """Runs a command with one order; its exit status, output, and whether the order was carried
        out. A stopped one goes on after a while."""
        self.count += 1
        orders = Orders(os.path.join(self.place.root, "orders-%d" % self.count), [order])
        self.place.pass_fds = (orders.fd,)
        process = self.place.start(*args, env=orders.env, stdin=-1)
        self.place.pass_fds = ()
        os.close(orders.fd)
        process.stdin.write(input or "")
        process.stdin.close()
        process.stdin = None
        if order.split()[1] == "stop":
            ctutor.wait_until(lambda: orders.fired() or process.poll() is not None)
            time.sleep(0.2)
            process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=40)
        fired = orders.fired()
        self.fired += [tuple(entry[1:3]) for entry in fired]
        return process.returncode, out, err, bool(fired)

    def expect(self, order, status, fired, err, allowed):
        action = order.split()[1]
        if not fired:
            raise AssertionError("was not reached: %s" % err)
        allowed = {"kill": (-signal.SIGKILL,), "stop": (0,)}.get(action, allowed)
        if status not in allowed:
            raise AssertionError("exit %d: %s" % (status, err))
        if status == 3 and not err.strip():
            raise AssertionError("exit 3 without a word")

    def line(self, task_id, seconds=0, **more):
        return json.dumps({"id": task_id, "task_name": "calm", "parameters": {"seconds": seconds}, **more}) + "\n"

    def given(self, seconds=0, **more):
        """A task that is there, whatever is tested."""
        task_id = new_id()
        self.place.run("submit", "--bulk", "-", input=self.line(task_id, seconds, **more)).expect(0)
        return task_id

    def final(self, task_id, status):
        """Waits for its end; the attempt that ended it."""
        def look():
            time.sleep(0.1)
            return self.place.psql("SELECT status_word(status), attempt FROM outcomes WHERE id = '%s'"
                                   " AND NOT EXISTS (SELECT FROM active a WHERE a.id = outcomes.id)"
                                   " ORDER BY round DESC LIMIT 1" % task_id)

        word, attempt = ctutor.wait_until(look, 25, "%s is final" % task_id)[0]
        if word != status:
            raise AssertionError("%s is %s, not %s" % (task_id, word, status))
        return int(attempt)

    # -- scenes --

    def submit(self, order):
        task_id = new_id()
        text = self.line(task_id)
        status, out, err, fired = self.armed(order, "submit", "--bulk", "-", "--json", input=text)
        self.expect(order, status, fired, err, (0, 3))
        known = self.place.run("status", task_id).status == 0
        if status == 0 and (task_id not in out or not known):
            raise AssertionError("accepted, but %s" % out)
        if order.startswith("insert_send") and status != 0 and known:
            raise AssertionError("it was never sent")
        if order.startswith(("insert_done", "push")) and not known:
            raise AssertionError("what had committed is gone")
        again = self.place.run("submit", "--bulk", "-", "--json", input=text).expect(0)
        if json.loads(again.out)["task_id"] != task_id:
            raise AssertionError("again: %s" % again.out)
        yield True
        if self.final(task_id, "SUCCESS") != 1:
            raise AssertionError("it ran more than once")

    def cancel_waiting(self, order):
        self.place.run("queues", "pause", "default").expect(0)  # a delayed one has no hint to forget
        try:
            scene = self._cancel(order, self.given())
            next(scene)
        finally:
            self.place.run("queues", "resume", "default").expect(0)
        yield True
        yield from scene

    def cancel_due(self, order):
        """Its hint lies in Redis, for nobody may claim it yet."""
        self.place.run("queues", "pause", "low_priority").expect(0)
        yield from self._cancel(order, self.given(queue="low_priority"))
        self.place.run("queues", "resume", "low_priority").expect(0)

    def cancel_running(self, order):
        task_id = self.given(seconds=30)
        self.place.wait_status(task_id, "STARTED")
        return self._cancel(order, task_id)

    def _cancel(self, order, task_id):
        status, _, err, fired = self.armed(order, "cancel", task_id)
        self.expect(order, status, fired, err, (0, 3))
        if order.startswith("cancel_send"):
            self.place.run("cancel", task_id)
        yield True
        self.final(task_id, "REVOKED")  # of itself, once it is written

    def retry(self, order):
        task_id = self.given(delay=3600)
        self.place.run("cancel", task_id).expect(0)
        status, _, err, fired = self.armed(order, "retry", task_id)
        self.expect(order, status, fired, err, (0, 3))
        if order.startswith("retry_send") and status != 0:
            self.place.run("retry", task_id).expect(0)
        yield True
        if self.final(task_id, "SUCCESS") != 1:
            raise AssertionError("it ran more than once")

    def delete(self, order):
        task_id = self.given()
        self.final(task_id, "SUCCESS")
        status, _, err, fired = self.armed(order, "delete", task_id)
        self.expect(order, status, fired, err, (0, 3, 4))
        if self.place.run("delete", task_id).status not in (0, 4):
            raise AssertionError("it cannot be deleted again")
        if self.place.run("status", task_id).status != 4:
            raise AssertionError("it is still there")
        yield True

    def _ends(self, task_id):
        self.final(task_id, "SUCCESS")
        yield True

    def _run_out_of_memory(self, point):
        """The k-th allocation behind the point fails, until there is none left that may."""
        numbers = range(1, ALLOCATIONS_MOST) if FULL else SOME
        for number in numbers:
            task_id = new_id()
            status, _, err, _ = self.armed("%s alloc after %d" % (point, number), "submit", "--bulk", "-",
                                           input=self.line(task_id))
            if status == 0:
                break
            if status != 1 or err.strip() != "ctutor-run: out of memory":
                self.broken.append("%s alloc %d: exit %d: %s" % (point, number, status, err))
            self.place.run("submit", "--bulk", "-", input=self.line(task_id)).expect(0)
            self.begun.append(("%s alloc %d" % (point, number), self._ends(task_id)))
        else:
            self.broken.append("%s: allocations do not end" % point)


def main():
    with ctutor.Installation() as place:
        place.task("calm", TASK)
        with place.worker():
            commands = Commands(place)
            commands.run(tuple(sys.argv[1:]))
            ctutor.wait_until(lambda: place.value("SELECT count(*) FROM active") == "0")
            audit = place.run("audit")
            if audit.status != 0:
                commands.broken.append(audit.out)
        place.check_nothing_left()
    print("cli: %d commands, %d orders carried out" % (commands.count, len(commands.fired)))
    for broken in commands.broken:
        print("BROKEN", broken)
    return 1 if commands.broken else 0


if __name__ == "__main__":
    sys.exit(main())
