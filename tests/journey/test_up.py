"""`ctutor-run up`: private servers and a worker for one folder, in the foreground."""

import contextlib
import glob
import json
import os
import re
import pwd
import shutil
import signal
import stat
import tempfile
import unittest
import urllib.request

import ctutor

TASKS = """return { params = { text = "string" }, execute = function(ctx, params)
  return { text = params.text }
end }"""
SLEEPER = """local process = require "ctutor.process"
return { execute = function() process.run { "sleep", "600" } end }"""
IS_ROOT = os.geteuid() == 0


class Checkout:
    """A folder with tasks.d, and the `up` that runs in it."""

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, "tasks.d"), mode=0o755)
        self.write("echo", TASKS)
        self.write("sleeper", SLEEPER)
        self.place = ctutor.Folder()
        self.log_path = os.path.join(self.place.root, "up.log")
        self.process = None

    def write(self, name, text):
        path = os.path.join(self.path, "tasks.d", name + ".lua")
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o644)

    def start(self, ready=True, env=None):
        with open(self.log_path, "wb") as log:
            self.process = self.place.start("up", "--port=0", cwd=self.path, env=env, stdout=log, stderr=log)
        if ready:
            self.wait_for("generation 1 serves")
        return self

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_for(self, words):
        def look():
            if self.process.poll() is not None:
                raise AssertionError("up ended with %d\n%s" % (self.process.returncode, self.log()))
            return words in self.log()

        try:
            ctutor.wait_until(look, 90, words)
        except AssertionError as late:
            raise AssertionError("%s\n%s" % (late, self.log()))

    def run(self, *args, status=0, below="", **options):
        return self.place.run(*args, cwd=os.path.join(self.path, below), **options).expect(status)

    def echo(self, text):
        return self.run("submit", "echo", "text=" + text, "--wait").json["text"]

    def ready(self):
        """What the REST API says of itself."""
        self.wait_for("serving http://")
        port = re.search(r"serving http://127.0.0.1:(\d+)", self.log())[1]
        with urllib.request.urlopen("http://127.0.0.1:%s/readyz" % port, timeout=30) as answer:
            return json.load(answer)["status"]

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(60)

    def file(self, name):
        return os.path.join(self.path, ".ctutor", name)

    def told(self):
        with open(self.file("run.json")) as file:
            return json.load(file)

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop(signal.SIGTERM)
        self.place.close()
        with contextlib.suppress(OSError, ValueError):
            if not self.told()["base"].startswith(self.path):
                shutil.rmtree(self.told()["base"])


class UpTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="ctu-", dir="/tmp")
        os.chmod(self.root, 0o755)
        self.addCleanup(shutil.rmtree, self.root, True)

    def checkout(self, name="shop"):
        checkout = Checkout(os.path.join(self.root, name))
        self.addCleanup(checkout.close)
        return checkout

    def check_all_gone(self, seconds=20):
        """Whatever `up` started would be a child of this process by now."""
        try:
            ctutor.wait_until(lambda: not ctutor.descendants(os.getpid()), seconds)
        except AssertionError:
            self.fail("left: %s" % [ctutor.command_line(pid) for pid in ctutor.descendants(os.getpid())])
        ctutor.reap_orphans()

    def check_it_works(self, checkout):
        self.assertEqual(checkout.start().echo("one"), "one")
        self.assertEqual(checkout.ready(), "ready")
        self.assertEqual(checkout.stop(), 0)
        self.check_all_gone()

    def check_it_comes_back(self, checkout):
        self.assertEqual(checkout.start().echo("one"), "one")
        task = checkout.run("list", "--json").json["tasks"][0]["task_id"]
        self.assertEqual(checkout.stop(), 0)
        self.check_all_gone()
        checkout.start()
        self.assertEqual(checkout.run("result", task).json, {"text": "one"})
        self.assertEqual(checkout.echo("two"), "two")
        self.assertEqual(checkout.stop(signal.SIGTERM), 0)
        self.check_all_gone()

    # -- from start to end --

    def test_a_second_terminal_finds_it_and_the_old_data_come_back(self):
        checkout = self.checkout()
        os.mkdir(os.path.join(checkout.path, "deep"))
        self.check_it_comes_back(checkout)
        checkout.start()
        self.assertEqual(checkout.run("list", "--json", below="deep").json["total"], 2)
        for words in ("Redis", "Postgres", "worker", "submit", "Ctrl-C"):
            self.assertIn(words, checkout.log())
        self.assertEqual(checkout.stop(), 0)
        self.check_all_gone()
        self.assertIn("ctutor-run up", checkout.run("list", status=3).err)

    def test_redis_keeps_what_it_is_given(self):
        checkout = self.checkout().start()
        checkout.run("queues", "pause", "default")
        checkout.run("submit", "echo", "text=x")
        checkout.stop()
        self.assertTrue(glob.glob(os.path.join(checkout.told()["base"], "redis", "append*", "*.aof")))
        checkout.start()
        self.assertEqual(checkout.run("queues", "--json").json["queues"][0]["name"], "default")
        checkout.run("queues", "resume", "default")
        ctutor.wait_until(lambda: checkout.run("list", "--status", "SUCCESS", "--json").json["total"] == 1)

    def test_two_checkouts_do_not_meet(self):
        one, two = self.checkout("one").start(), self.checkout("two").start()
        self.assertEqual((one.echo("1"), two.echo("2"), two.echo("22")), ("1", "2", "22"))
        self.assertEqual(one.run("list", "--json").json["total"], 1)
        self.assertEqual(two.run("list", "--json").json["total"], 2)
        self.assertEqual(one.stop(), 0)
        self.assertEqual(two.echo("222"), "222")

    def test_configured_stores_are_used_instead(self):
        with ctutor.Installation() as stores:
            checkout = self.checkout()
            env = {name: stores.env[name] for name in ("REDIS_URL", "DATABASE_URL")}
            checkout.start(env=env)
            self.assertEqual(stores.value("SELECT count(*) FROM workers WHERE supervisor IS NULL"), "1")
            self.assertFalse(os.path.exists(checkout.file("run.json")))
            self.assertEqual(checkout.stop(), 0)

    def test_a_terminal_that_is_closed_ends_it(self):
        checkout = self.checkout()
        with open(checkout.log_path, "wb") as log:
            checkout.process, hang_up = checkout.place.start_on_terminal("up", "--port=0", log=log, cwd=checkout.path)
        checkout.wait_for("generation 1 serves")
        hang_up()
        checkout.process.wait(60)
        self.check_all_gone()
        self.assertIn("everything is stopped", checkout.log())
        self.assertNotIn("generation 2", checkout.log())

    # -- awkward places --

    @unittest.skipUnless(IS_ROOT, "only root's servers run as somebody else")
    def test_from_a_home_that_the_servers_may_not_enter(self):
        home = os.path.join(self.root, "home")
        os.mkdir(home, 0o700)
        checkout = self.checkout("home/shop")
        self.check_it_comes_back(checkout)
        base = checkout.told()["base"]
        self.assertFalse(base.startswith(self.root))
        self.assertEqual(os.stat(base).st_uid, os.geteuid())
        self.assertFalse(os.stat(base).st_mode & 0o022)
        self.assertTrue(glob.glob(base + "/postgres/PG_VERSION"))

    def test_from_a_path_that_is_too_long_for_a_socket(self):
        checkout = self.checkout("/".join(["a" * 60] * 3))
        self.check_it_works(checkout)
        self.assertNotIn("a" * 60, checkout.told()["base"])

    def test_from_a_path_with_letters_that_settings_give_a_meaning(self):
        self.check_it_works(self.checkout("my shop, 50%41 'off' \"x\" #1"))

    @unittest.skipUnless(IS_ROOT, "needs a second user")
    def test_as_an_ordinary_user(self):
        user = pwd.getpwnam("nobody")
        checkout = self.checkout()
        for folder in (checkout.path, checkout.place.work, checkout.place.tmp):
            os.chown(folder, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        program = os.path.join(checkout.path, "ctutor-run")
        shutil.copy(ctutor.PROGRAM, program)
        os.chmod(program, 0o755)
        env = dict(checkout.place.env)
        with open(checkout.log_path, "wb") as log:
            checkout.process = checkout.place.start(
                "up", "--port=0", cwd=checkout.path, executable=program, stdout=log, stderr=log, **as_user)
        checkout.wait_for("generation 1 serves")
        done = checkout.place.start("submit", "echo", "text=me", "--wait", cwd=checkout.path, env=env,
                                    executable=program, **as_user)
        self.assertEqual(json.loads(done.communicate(timeout=60)[0]), {"text": "me"})
        self.assertEqual(os.stat(checkout.file("postgres")).st_uid, user.pw_uid)
        self.assertEqual(checkout.stop(), 0)
        self.check_all_gone()

    @unittest.skipUnless(IS_ROOT, "needs a second user")
    def test_a_folder_of_somebody_else_is_refused(self):
        checkout = self.checkout()
        os.mkdir(checkout.file(""), 0o755)
        os.chown(checkout.file(""), 65534, 65534)
        self.assertIn(".ctutor", checkout.run("up", "--port=0", status=2).err)

    # -- ends that nobody planned --

    def test_nothing_survives_a_kill_and_the_next_one_goes_on(self):
        checkout = self.checkout().start()
        task = checkout.run("submit", "sleeper").out.strip()
        ctutor.wait_until(lambda: any(ctutor.command_line(pid) == "sleep 600"
                                      for pid in ctutor.descendants(checkout.process.pid)), 30)
        checkout.process.kill()
        checkout.process.wait()
        self.check_all_gone()
        checkout.write("sleeper", "return { execute = function() return 'second try' end }")
        checkout.start()
        done = checkout.run("result", task, "--wait", "60s")
        self.assertEqual(done.json, "second try")

    def test_a_kill_of_everything_while_the_cluster_is_made_does_no_harm(self):
        checkout = self.checkout().start(ready=False)
        control = checkout.file("postgres/global/pg_control")
        ctutor.wait_until(lambda: os.path.exists(control), 60)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in ctutor.descendants(os.getpid()):
                os.kill(pid, number)
        checkout.process.wait()
        self.check_all_gone()
        self.assertTrue(os.path.exists(checkout.file("postgres/PG_VERSION")))
        self.assertEqual(checkout.start().echo("x"), "x")

    def test_ctrl_c_during_the_start_ends_it(self):
        checkout = self.checkout().start(ready=False)
        ctutor.wait_until(lambda: any("initdb" in ctutor.command_line(pid)
                                      for pid in ctutor.descendants(checkout.process.pid)), 60)
        self.assertEqual(checkout.stop(), 130)
        self.check_all_gone()
        self.assertEqual(checkout.start().echo("x"), "x")

    def test_a_server_that_dies_ends_all_and_is_named(self):
        checkout = self.checkout().start()
        redis = [pid for pid in ctutor.children(checkout.process.pid)
                 if "redis" in ctutor.command_line(pid)]
        os.kill(redis[0], signal.SIGKILL)
        self.assertNotEqual(checkout.process.wait(90), 0)
        self.assertIn("Redis", checkout.log())
        self.check_all_gone()

    def test_a_worker_that_is_stopped_ends_all_in_peace(self):
        checkout = self.checkout().start()
        checkout.run("worker", "stop")
        self.assertEqual(checkout.process.wait(60), 0)
        self.assertIn("the worker was stopped", checkout.log())
        self.check_all_gone()

    def test_a_worker_that_cannot_start_ends_all_with_its_status(self):
        checkout = self.checkout()
        shutil.rmtree(os.path.join(checkout.path, "tasks.d"))
        checkout.start(ready=False)
        self.assertEqual(checkout.process.wait(90), 2)
        self.assertIn("tasks.d", checkout.log())
        self.check_all_gone()


class WhileItRuns(unittest.TestCase):
    """One `up` for all of these."""

    @classmethod
    def setUpClass(cls):
        root = tempfile.mkdtemp(prefix="ctu-", dir="/tmp")
        os.chmod(root, 0o755)
        cls.addClassCleanup(shutil.rmtree, root, True)
        cls.up = Checkout(os.path.join(root, "shop"))
        cls.addClassCleanup(cls.up.close)
        cls.up.start()

    def test_a_second_one_in_the_same_folder_is_refused_and_harms_nothing(self):
        checkout = self.up
        before = sorted(ctutor.descendants(checkout.process.pid))
        again = checkout.run("up", "--port=0", status=6)
        self.assertIn(checkout.file("").rstrip("/"), again.err)
        self.assertEqual(checkout.echo("still here"), "still here")
        self.assertLessEqual(set(before), set(ctutor.descendants(checkout.process.pid)))

    def test_passwords_are_asked_for_and_seen_nowhere(self):
        checkout = self.up
        told = checkout.told()
        secrets = []
        for kind in ("redis", "postgres"):
            path = checkout.file(told[kind + "_password_file"])
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            with open(path) as file:
                secrets.append(file.read().strip())
            self.assertGreater(len(secrets[-1]), 30)
        self.assertNotEqual(*secrets)
        self.assertEqual(stat.S_IMODE(os.stat(checkout.file("run.json")).st_mode), 0o600)
        for pid in ctutor.descendants(os.getpid()):
            for part in ("cmdline", "environ"):
                with contextlib.suppress(OSError), open("/proc/%d/%s" % (pid, part), "rb") as file:
                    text = file.read()
                    for secret in secrets:
                        self.assertNotIn(secret.encode(), text, ctutor.command_line(pid))
        for secret in secrets:
            self.assertNotIn(secret, checkout.log())
            self.assertNotIn(secret, checkout.run("help", "config").out)
        without = {"REDIS_URL": told["redis"], "DATABASE_URL": told["postgres"]}
        self.assertIn("password", checkout.run("list", status=3, env=without).err)
        for folder in ("redis", "postgres", "run"):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(told["base"], folder)).st_mode), 0o700)

    def test_the_only_port_is_that_of_the_api(self):
        opened, ports = set(), []
        for pid in ctutor.descendants(os.getpid()):
            for entry in glob.glob("/proc/%d/fd/*" % pid):
                with contextlib.suppress(OSError):
                    opened.add(os.readlink(entry))
        for table in ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6"):
            with contextlib.suppress(FileNotFoundError), open(table) as file:
                for line in file.readlines()[1:]:
                    if "socket:[%s]" % line.split()[9] in opened:
                        ports.append(line.split()[1])
        own = re.search(r"serving http://127.0.0.1:(\d+)", self.up.log())[1]
        self.assertEqual(ports, ["0100007F:%04X" % int(own)])

    def test_hang_up_reloads_the_tasks(self):
        checkout = self.up
        checkout.write("fresh", "return { execute = function() return 1 end }")
        checkout.process.send_signal(signal.SIGHUP)
        checkout.wait_for("generation 2 serves")
        self.assertEqual(checkout.run("submit", "fresh", "--wait").json, 1)


if __name__ == "__main__":
    unittest.main()
