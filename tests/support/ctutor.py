"""A private installation of ctutor-run for tests that look at it from outside.

    with Installation() as place:
        place.task("hello", 'return { execute = function() return "hi" end }')
        with place.worker(processes=1):
            done = place.run("submit", "hello", "--wait")
        assert done.json == "hi"
        place.check_nothing_left()

Every installation has its own folder, Redis and Postgres (unix sockets only), settings and working
directory, so tests may run side by side. All that it starts carries a death signal and is ended by
its pid. This process is a child subreaper: whatever a worker left behind becomes a child of ours
and is found by check_nothing_left, whatever it did to its environment or session.
"""

import contextlib
import csv
import ctypes
import fcntl
import glob
import io
import json
import os
import pty
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("CTUTOR_RUN", os.path.join(ROOT, "build", "ctutor-run"))

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def wait_until(condition, seconds=20, what=None):
    """The first true value of condition(), asked every 20 ms; AssertionError when it never comes."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen within %s s: %s" % (seconds, what or condition))
        time.sleep(0.02)


# ---- processes ------------------------------------------------------------------------------


def _stat(pid):
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()


def is_alive(pid):
    """Running, that is: not gone and not a zombie."""
    try:
        return _stat(pid)[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


_started = set()  # by this module, so that their own Popen must wait for them


def reap_orphans():
    """Waits for what came to us dead: a zombie would look alive to those that ask for its number.
    A test that starts processes past this module waits for them before it calls this."""
    for entry in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(entry[6:])
            fields = _stat(pid)
            if int(fields[1]) == os.getpid() and fields[0] == "Z" and pid not in _started:
                os.waitpid(pid, os.WNOHANG)


def children(pid):
    """Living children of a process, zombies left out."""
    found = []
    for entry in glob.glob("/proc/[0-9]*"):
        with contextlib.suppress(OSError):
            other = int(entry[6:])
            fields = _stat(other)
            if int(fields[1]) == pid and fields[0] not in "ZX":
                found.append(other)
    return sorted(found)


def descendants(pid):
    found = children(pid)
    for child in list(found):
        found += descendants(child)
    return found


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descriptors(pid):
    """What the open descriptors of a process refer to, sorted; numbers of sockets left out."""
    found = []
    for entry in glob.glob("/proc/%d/fd/*" % pid):
        with contextlib.suppress(OSError):
            found.append(os.readlink(entry).partition("[")[0])
    return sorted(found)


def catches(pid, number):
    """Whether a handler for the signal is set."""
    with open("/proc/%d/status" % pid) as file:
        caught = next(line for line in file if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def processor_seconds(pid):
    """Of its threads, so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Resident bytes."""
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _before_exec(user=None, death_signal=signal.SIGKILL):
    def prepare():
        if user:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)

    return prepare


def postgres_program(name):
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name)) or [shutil.which(name)]
    if not found[-1]:
        raise FileNotFoundError("no %s: is Postgres installed?" % name)
    return found[-1]


class Server:
    """One server process, started again after a kill with the same command line."""

    def __init__(self, argv, directory, user, stop_signal, answers):
        self.argv, self.directory, self.user = argv, directory, user
        self.stop_signal, self.answers = stop_signal, answers
        self.env = {"LC_ALL": "C", "PATH": os.environ["PATH"]}
        self.process = None

    @property
    def pid(self):
        return self.process.pid if self.process else 0

    def start(self):
        self.log = os.path.join(self.directory, "log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.env, start_new_session=True, preexec_fn=_before_exec(self.user))
        _started.add(self.process.pid)
        try:
            wait_until(self._is_up, 60, self.argv[0] + " answers")
        except AssertionError as late:
            with open(self.log, errors="replace") as log:
                raise AssertionError("%s\n%s" % (late, log.read()))

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("%s ended with %d" % (self.argv[0], self.process.returncode))
        return self.answers()

    def signal(self, number):
        self.process.send_signal(number)

    def tail(self):
        """The end of what it has written."""
        with open(self.log, errors="replace") as log:
            return log.read()[-100000:]

    def stop(self, number=None):
        if not self.process:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number or self.stop_signal)
        self.process.wait()
        self.process = None


# ---- answers --------------------------------------------------------------------------------


class Done:
    """A command that ended: status, out, err, and json: what stdout holds."""

    def __init__(self, argv, status, out, err, seconds):
        self.argv, self.status, self.out, self.err, self.seconds = argv, status, out, err, seconds

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()

    def expect(self, status=0):
        if self.status != status:
            raise AssertionError(
                "%s\nexit %d, expected %d\n--- stdout\n%s--- stderr\n%s"
                % (" ".join(self.argv), self.status, status, self.out, self.err))
        return self


class Worker:
    """A `worker start` that runs. pid is the supervisor's; log() what it has written so far."""

    def __init__(self, process, log_path):
        self.process, self.log_path, self.pid = process, log_path, process.pid

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def runners(self):
        return [pid for pid in children(self.pid) if "__runner" in command_line(pid)]

    def isolated(self):
        return [pid for pid in children(self.pid) if "__isolated" in command_line(pid)]

    def wait_ready(self, seconds=60):
        """Its tasks are in the catalogue and a runner serves them."""
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("the worker ended:\n" + self.log())
            return "generation 1 serves" in self.log()

        try:
            wait_until(ready, seconds, "the worker serves")
        except AssertionError as late:
            raise AssertionError("%s\n%s" % (late, self.log()))
        return self

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=60):
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("the worker does not end:\n" + self.log())

    def stop(self, seconds=60):
        """SIGTERM, and its exit status; also of one that has ended."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill_group(self):
        """SIGKILL to supervisor and runners in one stroke, as when a machine loses power."""
        for number in signal.SIGSTOP, signal.SIGKILL:
            for pid in [self.pid] + self.runners() + self.isolated():
                os.kill(pid, number)
        self.process.wait()


class RedisError(Exception):
    pass


# ---- the installation -----------------------------------------------------------------------


class Folder:
    """A working directory with tasks.d, settings and the program: no stores. tasks: a folder whose
    files are copied into its tasks.d."""

    def __init__(self, tasks=None):
        self.root = tempfile.mkdtemp(prefix="ctj-", dir="/tmp")
        os.chmod(self.root, 0o711)
        self.work = self._folder("work")
        self.tmp = self._folder("tmp")
        self.tasks_dir = self._folder("work/tasks.d")
        self.commands = []
        self.pass_fds = ()  # to all that is started
        self.stack = contextlib.ExitStack()
        self.stack.callback(shutil.rmtree, self.root, True)
        if tasks:
            shutil.copytree(tasks, self.tasks_dir, dirs_exist_ok=True)
        self.env = {"PATH": os.environ["PATH"], "HOME": self.work, "TMPDIR": self.tmp,
                    "LC_ALL": "C.UTF-8"}
        for name in os.environ:
            if name.endswith("SAN_OPTIONS"):
                self.env[name] = os.environ[name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.commands:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        self.commands = []
        self.stack.close()

    def _folder(self, name):
        path = os.path.join(self.root, name)
        os.mkdir(path, 0o700)
        return path

    def _env(self, changes):
        env = {**self.env, **(changes or {})}
        return {name: value for name, value in env.items() if value is not None}

    def task(self, name, text):
        """Writes tasks.d/NAME.lua; its path."""
        path = os.path.join(self.tasks_dir, name if name.endswith(".lua") else name + ".lua")
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with open(path + ".new", "w") as file:
            file.write(text)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
        return path

    def run(self, *args, input=None, seconds=60, cwd=None, env=None):
        """A command, until it ends. env: changes; None as a value takes a variable away."""
        argv = [PROGRAM, *map(str, args)]
        began = time.monotonic()
        try:
            done = subprocess.run(
                argv, cwd=cwd or self.work, env=self._env(env), timeout=seconds,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                preexec_fn=_before_exec(), pass_fds=self.pass_fds,
                **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}))
        except subprocess.TimeoutExpired as late:
            raise AssertionError("%s does not end\n%s\n%s" % (" ".join(argv), late.stdout, late.stderr))
        return Done(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def start(self, *args, cwd=None, env=None, **options):
        """A command that goes on: Popen with pipes; ended with the installation at the latest."""
        process = subprocess.Popen(
            [PROGRAM, *map(str, args)], cwd=cwd or self.work, env=self._env(env),
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               "text": True, "start_new_session": True, "preexec_fn": _before_exec(),
               "pass_fds": self.pass_fds, **options})
        self.commands.append(process)
        _started.add(process.pid)
        return process

    def start_on_terminal(self, *args, log, cwd=None):
        """A command that goes on as a job of a shell on a terminal of its own, its output in a file:
        the shell (Popen), and what closes the terminal, as when its window is closed."""
        ours, theirs = pty.openpty()

        def prepare():
            _before_exec()()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        shell = subprocess.Popen(
            ["sh", "-c", '"$@"; exit $?', "sh", PROGRAM, *map(str, args)], cwd=cwd or self.work,
            env=self.env, stdin=theirs, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=prepare)
        os.close(theirs)
        self.commands.append(shell)
        _started.add(shell.pid)
        return shell, lambda: os.close(ours)


def read_terminal(master):
    """All that is written to the other side until that is closed; closes ours."""
    shown = b""
    while True:
        try:
            more = os.read(master, 4096)
        except OSError:  # the other side is closed
            break
        if not more:
            break
        shown += more
    os.close(master)
    return shown


class Installation(Folder):
    """A folder with Redis, Postgres and workers: see above."""

    def __init__(self, tasks=None, postgres_options=()):
        super().__init__(tasks)
        self.namespace = "ctutor"
        self.workers = []
        self.servers = []  # all that were started
        try:
            self._start_redis()
            self._start_postgres(postgres_options)
        except BaseException:
            self.close()
            raise
        self.env.update({
            "REDIS_URL": "unix://" + self.redis_socket,
            "DATABASE_URL": "host=%s user=postgres dbname=codeability" % self.postgres_dir,
            "CTUTOR_LOG": "info",
        })

    def close(self):
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
        self.workers = []
        super().close()

    # -- stores --

    def serve(self, argv, directory, answers, user=None, stop_signal=signal.SIGTERM):
        """A server that runs until the installation is closed."""
        server = Server(argv, directory, user, stop_signal, answers)
        self.servers.append(server)
        self.stack.callback(server.stop)
        server.start()
        return server

    def _start_redis(self):
        directory = self._folder("redis")
        self.redis_socket = os.path.join(directory, "s")
        argv = ["redis-server", "--port", "0", "--unixsocket", self.redis_socket,
                "--dir", directory, "--save", "", "--appendonly", "no",
                "--maxmemory-policy", "noeviction"]
        self.redis_server = self.serve(argv, directory, self._redis_answers)

    def _redis_answers(self, port=None):
        try:
            return self.redis("PING", port=port) == b"PONG"
        except (OSError, RedisError):
            return False

    def postgres_folder(self, name):
        """A folder of the user that Postgres runs as, and that user (None: ours)."""
        path = self._folder(name)
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
        return path, user

    def _start_postgres(self, options):
        self.postgres_dir, user = self.postgres_folder("pg")
        data = os.path.join(self.postgres_dir, "data")
        made = subprocess.run(
            [postgres_program("initdb"), "-D", data, "-U", "postgres", "--auth-local=trust",
             "--encoding=UTF8", "--locale=C", "--no-sync"],
            cwd=self.postgres_dir, env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=_before_exec(user))
        if made.returncode:
            raise AssertionError(made.stdout)
        argv = [postgres_program("postgres"), "-D", data, "-k", self.postgres_dir]
        for option in ("listen_addresses=", "fsync=off", "max_connections=200", *options):
            argv += ["-c", option]
        self.postgres_server = self.serve(argv, self.postgres_dir, self._postgres_answers, user, signal.SIGINT)
        self.psql("CREATE DATABASE codeability", database="postgres")

    def _postgres_answers(self):
        try:
            return self.psql("SELECT 1", database="postgres") == [("1",)]
        except AssertionError:
            return False

    def psql(self, sql, database="codeability"):
        """Rows as tuples of text (NULL: ""); the schema is in the search path."""
        done = subprocess.run(
            [postgres_program("psql"), "-X", "-q", "-t", "--csv", "-v", "ON_ERROR_STOP=1",
             "-h", self.postgres_dir, "-U", "postgres", "-d", database, "-c", sql],
            env={"PGOPTIONS": "-c search_path=%s" % self.namespace, "PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise AssertionError(sql + "\n" + done.stderr)
        return [tuple(row) or ("",) for row in csv.reader(io.StringIO(done.stdout))]

    @contextlib.contextmanager
    def session(self, database="codeability"):
        """One connection for a block: say(sql) returns when it is done; what is open ends with the block."""
        process = subprocess.Popen(
            [postgres_program("psql"), "-X", "-q", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.postgres_dir,
             "-U", "postgres", "-d", database],
            env={"PGOPTIONS": "-c search_path=%s" % self.namespace, "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _started.add(process.pid)

        def say(sql):
            process.stdin.write(sql + "\n\\echo said\n")
            process.stdin.flush()
            for line in process.stdout:
                if line == "said\n":
                    return
            raise AssertionError(sql)

        try:
            yield say
        finally:
            process.communicate("")

    def value(self, sql):
        """The one value of a query, as text."""
        rows = self.psql(sql)
        return rows[0][0] if rows else None

    def redis(self, *words, port=None):
        """One raw command, to another server of this machine if port is given; answers as bytes, int,
        None, list; RedisError."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        with socket.socket(socket.AF_INET if port else socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(("127.0.0.1", port) if port else self.redis_socket)
            link.sendall(b"*%d\r\n" % len(parts)
                         + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            with link.makefile("rb") as reader:
                return self._redis_reply(reader)

    def _redis_reply(self, reader):
        line = reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            return reader.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._redis_reply(reader) for _ in range(int(rest))]
        raise RedisError("no answer")

    # -- the program --

    def submit(self, *args, **options):
        """The id of a new task."""
        return self.run("submit", *args, **options).expect(0).out.strip()

    def wait_status(self, task_id, *statuses, seconds=30):
        """Until the task has one of the statuses; its TaskInfo."""
        def look():
            info = self.run("status", task_id, "--json").expect(0).json
            return info if info["status"] in statuses else None

        return wait_until(look, seconds, "%s is %s" % (task_id, "/".join(statuses)))

    def start_worker(self, *args, env=None, ready=True, **options):
        """worker start with options as flags (processes=2, burst=True): a Worker."""
        argv = [PROGRAM, "worker", "start", *map(str, args)]
        for name, value in {"processes": 1, **options}.items():
            argv.append("--" + name.replace("_", "-") + ("" if value is True else "=%s" % value))
        path = os.path.join(self.root, "worker-%d.log" % len(self.workers))
        with open(path, "wb") as log:
            process = subprocess.Popen(
                argv, cwd=self.work, env=self._env(env), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, preexec_fn=_before_exec(),
                pass_fds=self.pass_fds)
        worker = Worker(process, path)
        self.workers.append(worker)
        _started.add(process.pid)
        return worker.wait_ready() if ready else worker

    @contextlib.contextmanager
    def worker(self, *args, **options):
        """A worker for a block: drained at its end, and it must leave with status 0."""
        worker = self.start_worker(*args, **options)
        try:
            yield worker
        except BaseException as error:
            worker.process.kill()
            worker.process.wait()
            error.add_note("--- log of the worker\n" + worker.log())
            raise
        status = worker.stop()
        if status != 0:
            raise AssertionError("the worker left with %d:\n%s" % (status, worker.log()))

    # -- afterwards --

    def leftovers(self):
        """What is there that should not be, as texts. Living workers and commands are no leftovers."""
        return (self._processes_left() + self._rows_left() + self._hints_left()
                + self._folders_left())

    def check_nothing_left(self, seconds=10):
        left = []
        reap_orphans()

        def clean():
            left[:] = self.leftovers()
            return not left

        try:
            wait_until(clean, seconds)
        except AssertionError:
            raise AssertionError("left behind:\n  " + "\n  ".join(left))

    def _processes_left(self):
        own = {server.pid for server in self.servers}
        own |= {process.pid for process in self.commands if process.poll() is None}
        own |= {worker.pid for worker in self.workers if worker.process.poll() is None}
        known = set(own)
        for pid in own - {0}:
            known |= set(descendants(pid))
        left = []
        for pid in descendants(os.getpid()):
            if pid not in known and is_alive(pid):
                left.append("process %d: %s" % (pid, command_line(pid)))
        return left

    def _rows_left(self):
        if not self.value("SELECT to_regclass('%s.active')" % self.namespace):
            return []
        left = ["active: %s %s %s" % row for row in self.psql("SELECT id, name, status FROM active")]
        left += ["hooks_owed: %s %s" % row for row in self.psql("SELECT id, event FROM hooks_owed")]
        living = {str(worker.pid) for worker in self.workers if worker.process.poll() is None}
        for pid, name in self.psql("SELECT pid, name FROM workers WHERE state = 'alive' "
                                   "AND supervisor IS NULL"):
            if pid not in living:
                left.append("workers: %s (%s) counts as alive" % (name, pid))
        return left

    def _hints_left(self):
        left = []
        for key in self.redis("KEYS", "{%s}:*" % self.namespace):
            word = key.split(b":")[1]
            if word in (b"q", b"claimed", b"lease", b"starts"):
                left.append("Redis: " + key.decode(errors="replace"))
        return left

    def _folders_left(self):
        base = os.path.join(self.tmp, "ctutor-run-%d" % os.geteuid())
        alive = any(worker.process.poll() is None for worker in self.workers)
        folders = glob.glob(base + "/*/*" if alive else base + "/*")
        return ["folder " + path for path in folders]


class JourneyTest(unittest.TestCase):
    """One installation for all tests of a class (tasks: a folder to copy); nothing may be left after each."""

    tasks = None

    @classmethod
    def setUpClass(cls):
        cls.place = Installation(tasks=cls.tasks)
        cls.addClassCleanup(cls.place.close)

    def tearDown(self):
        self.place.check_nothing_left()
