"""What the nemesis acts upon: two stores behind proxies, workers, and the faults themselves.

Each worker and the clients have proxies of their own, so that one worker can be cut off while the
others live. Everything here runs in the main thread: a process is killed when the thread that
started it ends.
"""

import contextlib
import math
import os
import shutil
import signal
import time

import ctutor
from clocks import Clocks
from nemesis_plan import AWAY
from proxy import TO_CLIENT, TO_SERVER, StoreProxies

TASKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tasks.d")
CHANGED = "plain.lua"  # the file that reloads change
ALLOWED_ENDS = {0, 3, 75, -signal.SIGKILL}  # of a supervisor: left, stores away at its start, fenced, killed


class World:
    def __init__(self, workers=2, runners=2, lease="3s", tcp=()):
        """tcp: who reaches the stores by TCP, of the workers' numbers and "clients"."""
        self.place = ctutor.Installation(tasks=TASKS)
        self.runners, self.lease = runners, lease
        self.log_path = os.path.join(self.place.root, "effects")
        open(self.log_path, "w").close()
        self.place.task("lib/place", "return %r\n" % self.log_path)
        self.parties = list(range(workers)) + ["clients"]
        self.proxies = {party: StoreProxies(self.place, "proxy-%s" % party, party in tcp) for party in self.parties}
        self.clocks = Clocks(self.place)
        self.clocks.use("redis", self.place.redis_server)
        self.place.env.update(self.env_of("clients"))
        self.workers = [None] * workers
        self.down_until = [0.0] * workers
        self.ended = []            # (seconds, worker, status) of supervisors
        self.happened = []         # texts, in the order of time
        self.undo = []             # [due, text, function]
        self.postgres_away = []    # [from, until] in seconds since the epoch: no worker was answered
        self.modes = {}            # proxy -> the fault that holds it
        self.versions = 0
        self.began = self.calm_since = time.monotonic()

    def env_of(self, party):
        return {**self.proxies[party].env, "CTUTOR_LEASE": self.lease, "CTUTOR_GRACE": "3s", "CTUTOR_LOG": os.environ.get("CTUTOR_LOG", "info")}

    def close(self):
        self.place.close()

    # -- time --

    def now(self):
        return time.monotonic() - self.began

    def note(self, text):
        self.happened.append("%7.2f  %s" % (self.now(), text))
        self.calm_since = time.monotonic()

    def calm_for(self):
        """Seconds since anything was wrong or was put right."""
        return 0 if self.undo else time.monotonic() - self.calm_since

    # -- workers --

    def keep_workers(self):
        """What a service manager does: whoever has ended and should run is started again."""
        for index, worker in enumerate(self.workers):
            if worker and worker.process.poll() is not None:
                self.ended.append((self.now(), index, worker.process.returncode))
                self.note("worker %d ended with %d" % (index, worker.process.returncode))
                self.workers[index] = worker = None
                self.down_until[index] = max(self.down_until[index], time.monotonic() + 0.3)
            if not worker and time.monotonic() >= self.down_until[index]:
                self.workers[index] = self.place.start_worker(
                    processes=self.runners, concurrency=100, ready=False,
                    env={**self.env_of(index), **self.clocks.env(index)})
                self.note("worker %d starts, pid %d" % (index, self.workers[index].pid))

    def _signal(self, pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _stop(self, pids, seconds, text):
        self._signal(pids, signal.SIGSTOP)
        self._later(seconds, text, lambda: self._signal(pids, signal.SIGCONT))

    def group(self, index):
        worker = self.workers[index]
        return [worker.pid] + worker.runners() if worker else []

    # -- faults --

    def do(self, fault, text):
        self.note(text.strip())
        getattr(self, "_do_" + fault.verb)(fault)

    def _later(self, seconds, text, function):
        self.undo.append([time.monotonic() + seconds, text, function])

    def turn(self, at_once=False):
        """Puts right what is due, and keeps the workers up."""
        for entry in sorted(self.undo, key=lambda entry: entry[0]):
            if at_once or entry[0] <= time.monotonic():
                entry[2]()
                self.undo.remove(entry)
                self.note("end of " + entry[1])
        self.keep_workers()

    def heal(self):
        self.turn(at_once=True)
        for proxies in self.proxies.values():
            proxies.heal()
        self.note_postgres_back()
        for index in range(len(self.workers)):
            self.down_until[index] = 0
        self._write_changed("mend")
        for index in range(len(self.workers)):
            self._signal(self.group(index)[:1], signal.SIGHUP)
        self.note("all is healed")

    def _do_kill_runner(self, fault):
        runners = self.group(fault.victim[0])[1:]
        self._signal(runners[fault.victim[1]:][:1], signal.SIGKILL)

    def _do_stop_runner(self, fault):
        runners = self.group(fault.victim[0])[1:]
        self._stop(runners[fault.victim[1]:][:1], fault.seconds, "stop_runner")

    def _do_kill_supervisor(self, fault):
        self.down_until[fault.victim[0]] = time.monotonic() + fault.seconds
        self._signal(self.group(fault.victim[0])[:1], signal.SIGKILL)

    def _do_stop_supervisor(self, fault):
        self._stop(self.group(fault.victim[0])[:1], fault.seconds, "stop_supervisor")

    def _do_kill_group(self, fault):
        self.down_until[fault.victim[0]] = time.monotonic() + fault.seconds
        pids = self.group(fault.victim[0])
        self._signal(pids, signal.SIGSTOP)
        self._signal(pids, signal.SIGKILL)

    def _do_stop_group(self, fault):
        self._stop(self.group(fault.victim[0]), fault.seconds, "stop_group")

    def _do_terminate(self, fault):
        self._signal(self.group(fault.victim[0])[:1], signal.SIGTERM)

    def _do_reload(self, fault):
        self._write_changed(fault.detail)
        self._signal(self.group(fault.victim[0])[:1], signal.SIGHUP)

    def _write_changed(self, how):
        self.versions += 1
        path = os.path.join(self.place.tasks_dir, CHANGED)
        shutil.copyfile(os.path.join(TASKS, CHANGED), path + ".new")
        with open(path + ".new", "a") as file:
            file.write({"change": "-- version %d\n" % self.versions, "mend": "",
                        "break": "version %d" % self.versions}[how])
        os.rename(path + ".new", path)

    def _do_kill_client(self, fault):
        self.kill_client(fault.seconds)

    kill_client = None  # given by whoever submits

    def _do_redis_proxy(self, fault):
        self._set_proxies("redis", fault)

    def _do_postgres_proxy(self, fault):
        self._set_proxies("postgres", fault)

    def _set_proxies(self, store, fault):
        parties = self.parties if fault.victim == ("all",) else fault.victim
        proxies = [getattr(self.proxies[party], store) for party in parties]
        self._set_modes(fault, proxies, *fault.detail)
        if store == "postgres" and fault.victim == ("all",) and fault.detail[0] in AWAY:
            self.note_postgres_away()
        self._heal_later(fault, fault.seconds, proxies)

    def _do_partition(self, fault):
        stores = self.proxies[fault.victim[0]]
        self._set_modes(fault, [stores.redis, stores.postgres], "freeze")
        self._heal_later(fault, fault.seconds, [stores.redis, stores.postgres])

    def _do_outage(self, fault):
        self._set_modes(fault, [self.proxies[party].postgres for party in self.parties], "freeze")
        self.note_postgres_away()
        for party, later in zip(self.parties, fault.detail):
            self._heal_later(fault, fault.seconds + later, [self.proxies[party].postgres])

    def _set_modes(self, fault, proxies, mode, detail=None):
        self.note_postgres_back()  # where this one takes the place of another
        for proxy in proxies:
            self.modes[proxy] = fault
            set_mode(proxy, mode, detail)

    def _heal_later(self, fault, seconds, proxies):
        def heal():
            self.note_postgres_back()
            for proxy in proxies:
                if self.modes.get(proxy) is fault:
                    proxy.heal()

        self._later(seconds, fault.verb, heal)

    def note_postgres_away(self):
        self.postgres_away.append([time.time(), math.inf])

    def note_postgres_back(self):
        for span in self.postgres_away:
            span[1] = min(span[1], time.time())

    def _do_flush(self, _fault):
        self._redis("FLUSHALL")

    def _do_scripts_flush(self, _fault):
        self._redis("SCRIPT", "FLUSH")

    def _redis(self, *words):
        with contextlib.suppress(OSError, ctutor.RedisError):
            self.place.redis(*words)

    def _do_clock(self, fault):
        index, number = fault.victim
        for pid in self.group(index)[number:][:1]:
            self.clocks.step(index, fault.detail, pid)

    def _do_redis_clock(self, fault):
        self.clocks.step("redis", fault.detail)

    def _do_redis_crash(self, fault):
        self._crash(self.place.redis_server, signal.SIGKILL, fault)

    def _do_postgres_crash(self, fault):
        self._crash(self.place.postgres_server, signal.SIGQUIT, fault)

    def _crash(self, server, number, fault):
        def start():
            server.start()
            if server is self.place.postgres_server:
                self.note_postgres_back()

        if server.process:
            if server is self.place.postgres_server:
                self.note_postgres_away()
            server.stop(number)
            self._later(fault.seconds, fault.verb, start)


def set_mode(proxy, mode, detail):
    if mode == "delay":
        proxy.delay(detail)
    elif mode == "cut_after":
        proxy.cut_after(detail)
    elif mode == "swallow":
        proxy.swallow(count=detail)
    elif mode == "to_server_only":
        proxy.one_way(TO_SERVER)
    elif mode == "to_client_only":
        proxy.one_way(TO_CLIENT)
    else:
        getattr(proxy, mode)()  # black_hole freeze cut refuse
