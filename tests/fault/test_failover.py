"""Another server takes over, or one has no room left: running tasks go on, completions wait, nothing that was
accepted is missing, and everything resumes by itself within 5 s of the remedy."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import unittest

import ctutor
from ctutor import wait_until
from stores_case import AFTER_RETURN, StoresTest

LARGE = """
return {
  queue = "default", params = { ballast = { type = "string", default = "" } },
  execute = function(ctx)
    ctx.sleep(2)
    local parts = {}
    for n = 1, 50000 do parts[n] = ("%08x"):format(math.random(0, 2 ^ 31)) end
    return table.concat(parts)
  end,
}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class FailoverTest(StoresTest):
    def goes_on(self, *ids, seconds=AFTER_RETURN):
        """From now on: what waits and what is new is done in time; nothing ran twice."""
        began = time.monotonic()
        self.result(self.submit())
        for task_id in ids:
            self.assertEqual(self.result(task_id)["attempt"], 1)
            self.assertEqual(self.lines_of(task_id), ["start 1", "end 1"])
        self.in_time(time.monotonic() - began, seconds)


class Sentinel(FailoverTest):
    """A master, its replica, and three Sentinels of which two must agree."""

    @classmethod
    def way(cls):
        cls.ports = [free_port() for _ in range(2)]
        cls.sentinels = [free_port() for _ in range(3)]
        cls.servers = {port: cls._start_redis(port, replica_of) for port, replica_of in zip(cls.ports, (None, cls.ports[0]))}
        for port in cls.sentinels:
            cls._start_sentinel(port)
        wait_until(lambda: all(cls._known(port) == (1, 2) for port in cls.sentinels), 20, "all know each other")
        url = "redis+sentinel://%s/mine/0" % ",".join("127.0.0.1:%d" % port for port in cls.sentinels)
        cls.place.env["REDIS_URL"] = url
        return {}

    @classmethod
    def _start_redis(cls, port, replica_of):
        directory = cls.place._folder("redis-%d" % port)
        argv = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--repl-diskless-sync-delay", 0]
        argv += ["--replicaof", "127.0.0.1", replica_of] if replica_of else []
        return cls.place.serve([str(word) for word in argv], directory, lambda: cls.place._redis_answers(port))

    @classmethod
    def _start_sentinel(cls, port):
        directory = cls.place._folder("sentinel-%d" % port)
        path = os.path.join(directory, "conf")
        with open(path, "w") as file:
            file.write("port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor mine 127.0.0.1 %d 2\n" % (port, directory, cls.ports[0])
                       + "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 3000\n")
        return cls.place.serve(["redis-server", path, "--sentinel"], directory, lambda: cls.place._redis_answers(port))

    @classmethod
    def _known(cls, port):
        """How many replicas and how many other Sentinels it knows."""
        flat = cls.place.redis("SENTINEL", "MASTER", "mine", port=port)
        facts = dict(zip(flat[::2], flat[1::2]))
        return int(facts[b"num-slaves"]), int(facts[b"num-other-sentinels"])

    def master(self):
        return int(self.place.redis("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mine", port=self.sentinels[0])[1])

    def is_promoted(self, port):
        with contextlib.suppress(OSError, ctutor.RedisError):
            return self.master() == port and self.place.redis("ROLE", port=port)[0] == b"master"
        return False

    def test_the_master_is_killed_and_later_the_other_one_is_relieved(self):
        old, new = self.ports
        self.settle()
        running = self.submit("seconds=3")
        self.place.wait_status(running, "STARTED")
        self.servers[old].stop(signal.SIGKILL)
        waiting = [self.submit() for _ in range(3)]
        wait_until(lambda: self.is_promoted(new), 20, "the replica is promoted")
        self.goes_on(running, *waiting)

        self.servers[old].start()
        wait_until(lambda: self._known(self.sentinels[0]) == (1, 2) and self.place.redis("ROLE", port=old)[0] == b"slave"
                   and self.place.redis("ROLE", port=old)[3] == b"connected", 20, "the old one is a replica")
        running = self.submit("seconds=3")
        self.place.wait_status(running, "STARTED")
        wait_until(self._relieve, 20, "a failover is begun")  # not while the last one counts as under way
        wait_until(lambda: self.is_promoted(old), 20, "the first one is master again")
        # Sentinels leave the relieved one a master for 8 s more: until then workers may ask it, and clients
        # the new one. What has no hint where it is asked for is found by the keeper's next round.
        self.goes_on(running, seconds=AFTER_RETURN + 3)

    def _relieve(self):
        try:
            return self.place.redis("SENTINEL", "FAILOVER", "mine", port=self.sentinels[0]) == b"OK"
        except ctutor.RedisError:
            return False


class Standby(FailoverTest):
    """Postgres and a standby that follows it, both in the URI."""

    @classmethod
    def way(cls):
        place = cls.place
        cls.standby_dir, user = place.postgres_folder("standby")
        data = os.path.join(cls.standby_dir, "data")
        copied = subprocess.run(
            [ctutor.postgres_program("pg_basebackup"), "-h", place.postgres_dir, "-U", "postgres", "-D", data, "-R", "-c", "fast", "-N"],
            cwd=cls.standby_dir, preexec_fn=ctutor._before_exec(user), capture_output=True, text=True)
        if copied.returncode:
            raise AssertionError(copied.stderr)
        argv = [data if word == os.path.join(place.postgres_dir, "data") else cls.standby_dir if word == place.postgres_dir else word
                for word in place.postgres_server.argv]
        cls.standby = cls.place.serve(argv, cls.standby_dir, cls._is_ready, user, signal.SIGINT)
        # What is accepted is on both.
        place.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        place.psql("SELECT pg_reload_conf()")
        wait_until(lambda: place.value("SELECT sync_state FROM pg_stat_replication") == "sync", 20, "the standby follows")
        place.env["DATABASE_URL"] = "host=%s,%s user=postgres dbname=codeability" % (place.postgres_dir, cls.standby_dir)
        return {}

    @classmethod
    def _is_ready(cls):
        return subprocess.run([ctutor.postgres_program("pg_isready"), "-q", "-h", cls.standby_dir]).returncode == 0

    def test_the_standby_is_promoted(self):
        self.settle()
        running = self.submit("seconds=3")
        waiting = [self.submit("--delay=%ss" % seconds) for seconds in (1, 2)]
        self.place.wait_status(running, "STARTED")
        self.place.postgres_server.stop(signal.SIGQUIT)
        refused = self.place.run("submit", "noted", "log=" + self.log)
        self.assertEqual((refused.status, refused.out), (3, ""))
        time.sleep(1)
        self.place.postgres_dir, self.place.postgres_server = self.standby_dir, self.standby
        self.place.psql("SELECT pg_promote()", database="postgres")
        self.goes_on(running, *waiting)


class Full(FailoverTest):
    """Postgres' tables lie on a file system of their own, which is filled; only its processes see it."""

    @classmethod
    def way(cls):
        place = cls.place
        small, server = os.path.join(place.postgres_dir, "small"), place.postgres_server
        place.psql("CHECKPOINT")
        server.stop()
        os.mkdir(small)
        uid, gid = map(str, (server.user.pw_uid, server.user.pw_gid) if server.user else (os.geteuid(), os.getegid()))
        server.argv = ["unshare", "--user", "--map-user=" + uid, "--map-group=" + gid, "--keep-caps", "--mount", "sh", "-c",
                       'mount -t tmpfs -o size=48m,mode=700 tmpfs "$0" && exec setpriv --pdeathsig KILL "$@"', small, *server.argv]
        server.start()
        place.psql("CREATE TABLESPACE small LOCATION '%s'" % small, database="postgres")
        place.psql("ALTER DATABASE codeability SET TABLESPACE small", database="postgres")
        cls.filler = "/proc/%d/root%s/filler" % (server.pid, small)
        place.task("large", LARGE)
        return {}

    @contextlib.contextmanager
    def full(self):
        subprocess.run(["dd", "if=/dev/zero", "of=" + self.filler, "bs=4k"], stderr=subprocess.DEVNULL,
                       preexec_fn=ctutor._before_exec(self.place.postgres_server.user))
        try:
            yield
        finally:
            os.unlink(self.filler)

    def test_of_postgres(self):
        self.settle()
        running, large = self.submit("seconds=2"), self.place.submit("large")
        for task_id in (running, large):
            self.place.wait_status(task_id, "STARTED")
        with self.full():
            wait_until(lambda: "end 1" in self.lines_of(running), 10)
            wait_until(lambda: "No space left" in self.place.postgres_server.tail(), 10, "a completion is refused")
            refused = self.place.run("submit", "large", "ballast=@-", input=os.urandom(100000).hex())
            self.assertEqual((refused.status, refused.out), (3, ""))
            time.sleep(1)
            self.assertEqual(self.place.run("status", large, "--json").json["status"], "STARTED")
            self.assertEqual(self.told("the end of . tasks is refused and tried again: .*No space left.*disk"), 1)
        self.goes_on(running)
        self.assertEqual((self.result(large)["attempt"], self.result(large)["failures"]), (1, 0))
        self.assertEqual(self.told("the end of . tasks goes on"), 1)


if __name__ == "__main__":
    unittest.main()
