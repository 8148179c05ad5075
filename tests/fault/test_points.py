"""Every fault point times every action: points.py and points_cli.py, side by side; and what a task
comes to that ends its own process."""

import os
import re
import subprocess
import sys
import unittest

import ctutor
import points
from points import Orders

HERE = os.path.dirname(os.path.abspath(__file__))
SESSIONS = {name: ["points.py", name] for name in points.SESSIONS}
SESSIONS["cli"] = ["points_cli.py"]


class Points(unittest.TestCase):
    """A session ends with 0 only if each of its orders was carried out."""

    @classmethod
    def setUpClass(cls):
        cls.running = {name: subprocess.Popen([sys.executable, "-B", os.path.join(HERE, argv[0]), *argv[1:]],
                                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                       for name, argv in SESSIONS.items()}

    @classmethod
    def tearDownClass(cls):
        for process in cls.running.values():
            if process.poll() is None:
                process.kill()
                process.communicate()

    def check(self, name):
        out, _ = self.running[name].communicate()
        self.assertEqual(self.running[name].returncode, 0, out)

    def test_every_point_belongs_to_a_session(self):
        wanted = {(point["name"], role, action) for point in points.table()
                  for role in point["processes"] for action in point["actions"]}
        met = set()
        for role in ("runner", "isolated", "supervisor", "checker", "cli"):
            for line in points.orders_of(points.table(), {role}, points.MORTAL + ("stop", "error", "lose")):
                words = line.split()
                met.add((words[0], words[-1], words[1]))
        self.assertEqual(met, wanted)

    def test_every_race_of_a_point_is_in_the_docs(self):
        with open(os.path.join(ctutor.ROOT, "docs", "reliability.md")) as file:
            rows = set(re.findall(r"^\| (\d+) \|", file.read(), re.M))
        for point in points.table():
            self.assertLessEqual(set(point["races"].split()), rows, point["name"])

    def test_every_point_is_in_the_code(self):
        text = ""
        for folder in ("runtime", "bindings"):
            for path, _, names in os.walk(os.path.join(ctutor.ROOT, folder)):
                for name in names:
                    if name.endswith(".c") and name != "fault_points.c":
                        with open(os.path.join(path, name)) as file:
                            text += file.read()
        places = set(re.findall(r'fault_here(?:_for)?\("(\w+)"', text))
        named = {point["name"] for point in points.table()}
        self.assertEqual(places - named, set())
        for name in named - places:
            verb = name.rpartition("_")[0]
            self.assertRegex(text, r'(?:\.name = |\{\s*|broker_send\(broker, )"%s"' % verb.replace("_", "[ _]"))


for session in SESSIONS:
    setattr(Points, "test_" + session, lambda self, name=session: self.check(name))


class Culprit(unittest.TestCase):
    def test_a_task_that_ends_its_process_three_times_is_lost_and_nobody_else_is_charged(self):
        with ctutor.Installation() as place:
            place.task("calm", "return { execute = function(ctx) ctx.sleep(0.2) return ctx.attempt end }")
            place.task("deadly", "return { execute = function(ctx) ctx.sleep(0.05) end }")
            orders = Orders(os.path.join(place.root, "orders"), ["run_resume segv times 3 for deadly"])
            place.pass_fds = (orders.fd,)
            with place.worker(processes=2, concurrency=20, env=orders.env):
                place.run("queues", "pause", "default").expect(0)
                lines = "".join('{"task_name": "calm"}\n' for _ in range(99))
                calm = place.run("submit", "--bulk", "-", input=lines).expect(0).lines
                deadly = place.submit("deadly")
                place.run("queues", "resume", "default").expect(0)
                info = place.wait_status(deadly, "FAILURE", "SUCCESS", seconds=60)
                ctutor.wait_until(lambda: place.value("SELECT count(*) FROM active") == "0", 30)
            self.assertEqual(len(orders.fired()), 3)
            self.assertEqual((info["status"], info["error"]["kind"]), ("FAILURE", "worker_lost"))
            rows = place.psql("SELECT id, status, failures, losses FROM outcomes WHERE id <> '%s'" % deadly)
            self.assertEqual({row[0] for row in rows}, set(calm))
            self.assertEqual({row[1:] for row in rows}, {("3", "0", "0")})
            place.pass_fds = ()
            place.check_nothing_left()


class Arming(unittest.TestCase):
    def test_an_order_for_no_point_is_refused(self):
        with ctutor.Folder() as place:
            for line in ("nowhere kill", "insert_send lose", "insert_send"):
                orders = Orders(os.path.join(place.root, "orders"), [line])
                place.pass_fds = (orders.fd,)
                done = place.run("version", env=orders.env).expect(2)
                self.assertIn(line, done.err)
                os.close(orders.fd)

    def test_what_a_task_starts_has_neither_the_descriptor_nor_the_variable(self):
        with ctutor.Installation() as place:
            place.task("look", """
                local process = require "ctutor.process"
                return { execute = function()
                    return process.run { "sh", "-c", "ls -l /proc/self/fd; env" }.stdout end }""")
            orders = Orders(os.path.join(place.root, "orders"), ["run_resume kill for nobody"])
            place.pass_fds = (orders.fd,)
            with place.worker(env=orders.env):
                seen = place.run("submit", "look", "--wait").expect(0).out
            self.assertNotIn("orders", seen)
            self.assertNotIn("FAULTS", seen)
            self.assertIn(["reached", "run_resume", "runner"], orders.told())


if __name__ == "__main__":
    unittest.main()
