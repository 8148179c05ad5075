"""Ten thousand tasks while a runner is killed every 200 ms; and the same while a store loses its data or dies."""

import contextlib
import os
import random
import signal
import threading
import time

import ctutor
from proof_case import Proof, logged_after

STORES_DIE = 5  # times


class Killer(threading.Thread):
    """Kills a random runner of the workers every so often, and notes when."""

    def __init__(self, workers, harmed, every):
        super().__init__(daemon=True)
        self.workers, self.harmed, self.every = workers, harmed, every
        self.over, self.draw = threading.Event(), random.Random(1)

    def run(self):
        due = time.monotonic() + self.every
        while not self.over.wait(due - time.monotonic()):
            due += self.every
            runners = [pid for worker in self.workers for pid in worker.runners()]
            if runners:
                pid = self.draw.choice(runners)
                with contextlib.suppress(ProcessLookupError):
                    self.harmed[pid] = time.time()
                    os.kill(pid, signal.SIGKILL)

    def stop(self):
        self.over.set()
        self.join()


class Stream(threading.Thread):
    """Submits lines in parts, whatever the stores do."""

    def __init__(self, proof, lines, parts, every):
        super().__init__(daemon=True)
        self.proof, self.every = proof, every
        size = -(-len(lines) // parts)
        self.parts = [lines[at:at + size] for at in range(0, len(lines), size)]

    def run(self):
        for part in self.parts:
            self.proof.submit(part)
            time.sleep(self.every)


def crowd(fault, harm=None, tasks=10_000, seconds=30, every=0.2):
    """harm(proof, workers, seconds) breaks something else meanwhile; the figures are then of that. It gives pairs:
    from when to count, and when starts were possible again."""
    with Proof(fault) as proof:
        workers = [proof.place.start_worker(processes=2, concurrency=100) for _ in range(2)]
        draw = random.Random(2)
        lines = proof.naps(tasks, lambda: draw.uniform(0.1, 1))
        kills = {}
        proof.submit(lines[:tasks // 2])
        stream = Stream(proof, lines[tasks // 2:], 20, seconds / 22)
        killer = Killer(workers, kills, every)
        stream.start()
        killer.start()
        if harm:
            moments = harm(proof, workers, seconds)
        else:
            time.sleep(seconds)
            proof.harmed = kills
        killer.stop()
        stream.join()
        healed = time.time()
        proof.finish(*workers)
        proof.notes.append("%d tasks, %d runners killed, all final %.1f s later" % (
            len(proof.clients.accepted), len(kills), max(0.0, last_end(proof) - healed)))
        proof.demand(len(proof.clients.accepted) == tasks, "%d accepted" % len(proof.clients.accepted))
        proof.count = len(kills)
        if harm:
            proof.count = len(moments)
            proof.rerun = [proof.first_start_after(well) + well - since for since, well in moments]
        return proof


def last_end(proof):
    return float(proof.place.value("SELECT extract(epoch FROM max(finished_at)) FROM outcomes"))


def flush(proof, workers, seconds):
    """FLUSHALL; detected when the keeper has written its epoch, that is all hints, again."""
    moments, every = [], seconds / 6
    for _ in range(int(seconds / every) - 1):
        time.sleep(every)
        began = time.time()
        proof.place.redis("FLUSHALL")
        ctutor.wait_until(lambda: proof.place.redis("EXISTS", "{%s}:epoch" % proof.place.namespace), 30, "an epoch")
        well = time.time()
        proof.detect.append(well - began)
        moments.append((began, well))
    return moments


def restart_redis(proof, workers, seconds):
    return restart(proof, workers, seconds, proof.place.redis_server, signal.SIGKILL, r" Redis .*trying again")


def restart_postgres(proof, workers, seconds):
    return restart(proof, workers, seconds, proof.place.postgres_server, signal.SIGQUIT, r" heartbeat: ")


def restart(proof, workers, seconds, server, number, pattern):
    """Killed, away for a second, started again; counted from its return."""
    moments = []
    for _ in range(STORES_DIE):
        time.sleep(max(0.5, seconds / STORES_DIE - 2))
        died = time.time()
        server.stop(number)
        time.sleep(1)
        server.start()
        moments.append((time.time(),) * 2)
        seen = [logged_after(worker, pattern, died) for worker in workers]
        proof.detect += [at for at in seen if at is not None]
    return moments


def runner_killed():
    return crowd("a runner killed every 200 ms")


def redis_flushed():
    return crowd("Redis: FLUSHALL every 5 s", flush)


def redis_killed():
    return crowd("Redis: killed, no AOF", restart_redis)


def postgres_stopped():
    return crowd("Postgres: immediate stop", restart_postgres)


SCENES = {"runner-killed": runner_killed, "redis-flushed": redis_flushed, "redis-killed": redis_killed,
          "postgres-stopped": postgres_stopped}
