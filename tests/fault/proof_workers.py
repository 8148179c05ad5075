"""Workers that die, stand still or are told to leave, and a Postgres that is frozen."""

import os
import random
import signal
import time

import ctutor
from proof_case import Proof
from stores_case import AFTER_RETURN, frozen

KEEPER = "SELECT w.pid FROM keeper k JOIN workers w ON w.incarnation = k.holder"
ALIVE = "SELECT incarnation FROM workers WHERE state = 'alive' ORDER BY 1"
TAKEOVER = 5  # seconds: of a keeper, and of tasks after the lease


def runner_stopped(times=5):
    """It stands still past its lease, goes on, and ends itself; n: runners, times: from the moment it goes on."""
    with Proof("runner: SIGSTOP past its lease, resumed", lease=3) as proof:
        worker = proof.place.start_worker(name="still")
        for _ in range(times):
            proof.nap(20, 2)
            (runner,) = worker.runners()
            os.kill(runner, signal.SIGSTOP)
            time.sleep(proof.lease + 1.5)
            proof.harmed[runner] = time.time()
            os.kill(runner, signal.SIGCONT)
            proof.wait_final()
            proof.count += 1
        ctutor.wait_until(lambda: fenced_of(proof, "still") == times, 5, "all are counted")
        proof.notes.append("fenced: %d in `workers --json`" % fenced_of(proof, "still"))
        proof.finish(worker)
        return proof


def fenced_of(proof, name):
    return next(row["fenced"] for row in proof.place.run("workers", "--json").json["workers"] if row["name"] == name)


def worker_stopped(times=4):
    """All of its processes, until another has finished their tasks; then they go on. From the stop on."""
    with Proof("worker: SIGSTOP, resumed when others finished", lease=5) as proof:
        keeper = proof.place.start_worker(queues="none")
        for _ in range(times):
            still = proof.place.start_worker()
            proof.nap(40, 3)
            pids = [still.pid] + still.runners()
            proof.harmed.update({pid: time.time() for pid in pids})
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            heir = proof.place.start_worker()
            proof.wait_final()
            heir.stop()
            for pid in reversed(pids):
                os.kill(pid, signal.SIGCONT)
            proof.demand(still.wait(20) == 75, "it left with %d" % still.process.returncode)
            proof.demand("fencing myself" in still.log(), "it did not fence itself\n" + still.log())
            proof.count += 1
        proof.finish(keeper)
        check_takeover(proof)
        return proof


def worker_killed(workers=4, times=2):
    """Whole workers at once, while a keeper lives elsewhere."""
    with Proof("worker: kill -9 of all its processes") as proof:
        heir = proof.place.start_worker(name="heir", processes=2, concurrency=2000)
        for number in range(times):
            doomed = [proof.place.start_worker(name="doomed-%d-%d" % (number, place)) for place in range(workers)]
            proof.nap(200, 8)
            for worker in doomed:
                kill_all(proof, worker)
            proof.wait_final()
            proof.count += workers
        proof.finish(heir)
        check_takeover(proof)
        return proof


def kill_all(proof, worker):
    proof.harmed.update({pid: time.time() for pid in worker.runners()})
    worker.kill_group()


def check_takeover(proof):
    proof.demand_most(max(proof.rerun), proof.lease + TAKEOVER, "the last task of a dead worker ran again")
    proof.demand(min(proof.detect) > proof.lease * 0.75, "declared dead after %.2f s already" % min(proof.detect))


def keeper_killed():
    """Its worker dies; noticed when another leads, its tasks run again once that one has counted the lease."""
    return keeper_lost("keeper: kill -9 of its worker", kill_all, lambda worker: None)


def keeper_stopped():
    """Its supervisor stands still, for less than the lease: nothing but another keeper comes of it."""
    def stop(_, worker):
        worker.signal(signal.SIGSTOP)

    proof = keeper_lost("keeper: SIGSTOP of its supervisor", stop, lambda worker: worker.signal(signal.SIGCONT))
    proof.demand(not proof.rerun, "tasks were given back")
    return proof


def keeper_lost(fault, harm, heal, times=5):
    with Proof(fault) as proof:
        workers, led = [proof.place.start_worker() for _ in range(2)], []
        for _ in range(times):
            keeper = ctutor.wait_until(lambda: proof.place.value(KEEPER), 20)
            victim = next(worker for worker in workers if str(worker.pid) == keeper)
            proof.nap(40, 4)
            began = time.monotonic()
            harm(proof, victim)
            ctutor.wait_until(lambda: proof.place.value(KEEPER) not in (None, keeper), 30, "another keeper")
            led.append(time.monotonic() - began)
            heal(victim)
            proof.wait_final()
            if victim.process.poll() is not None:
                workers = [worker for worker in workers if worker is not victim] + [proof.place.start_worker()]
            proof.count += 1
        proof.finish(*workers)
        proof.detect = led
        proof.demand_most(max(led), TAKEOVER, "another kept")
        return proof


def terminated(times=5):
    """SIGTERM under load; noticed when it has left, what it gave back runs in the next worker."""
    grace = 3
    with Proof("worker: SIGTERM under load, grace 3 s", env={"CTUTOR_GRACE": "%ds" % grace}) as proof:
        draw = random.Random(3)
        for _ in range(times):
            worker = proof.place.start_worker(processes=2)
            proof.submit(proof.naps(3000, lambda: draw.uniform(2, 6)))
            proof.wait_value("SELECT count(*) FROM active WHERE status = 1", 2000)
            began = time.monotonic()
            status = worker.stop()
            proof.detect.append(time.monotonic() - began)
            proof.demand(status == 0, "it left with %d" % status)
            spent = proof.place.psql("SELECT status, failures + losses + unwitnessed, count(*) FROM active GROUP BY 1, 2")
            proof.demand([row[:2] for row in spent] == [("0", "0")], "it left behind: %s" % spent)
            proof.count += 1
            heir = proof.place.start_worker(processes=2, concurrency=2000)
            proof.wait_final()
            heir.stop()
        proof.finish()
        proof.demand_most(max(proof.detect), grace + 2, "it had left")
        return proof


def postgres_frozen(seconds=120):
    """Longer than any lease; times from its return on."""
    with Proof("Postgres: all processes frozen for %d s" % seconds) as proof:
        workers = [proof.place.start_worker(processes=2) for _ in range(2)]
        proof.nap(100, seconds / 2)
        long = proof.nap(100, seconds + 40)
        before = proof.place.psql(ALIVE)
        with frozen(proof.place.postgres_server):
            time.sleep(seconds)
        proof.rerun.append(proof.seconds_to_start())
        time.sleep(proof.lease + 8)
        proof.demand(proof.place.psql(ALIVE) == before, "not all are alive that were")
        proof.count = 1
        proof.finish(*workers)
        again = proof.place.value("SELECT count(*) FROM outcomes WHERE attempt > 1")
        proof.demand(again == "0", "%s tasks were started again" % again)
        proof.demand_most(max(proof.rerun), AFTER_RETURN, "the next task began")
        proof.notes.append("%d running tasks went on, nobody was declared dead" % (100 + len(long)))
        return proof


def redis_restarted(times=20):
    return [redis_restarted_under("idle", times, 0), redis_restarted_under("busy", times, 500)]


def redis_restarted_under(word, times, load):
    """From its return to the next start."""
    with Proof("Redis: restarted under a worker, %s" % word) as proof:
        worker = proof.place.start_worker(processes=2)
        running = proof.nap(load, 600) if load else []
        for _ in range(times):
            proof.place.redis_server.stop(signal.SIGKILL)
            proof.place.redis_server.start()
            proof.rerun.append(proof.seconds_to_start())
            proof.count += 1
        proof.demand_most(max(proof.rerun), AFTER_RETURN, "the next submit began")
        if running:
            again = proof.place.value("SELECT count(*) FROM active WHERE starts <> 1")
            proof.demand(again == "0", "%s running tasks began anew" % again)
            proof.place.run("cancel", *running).expect(0)
            proof.cancelled = set(running)
        proof.finish(worker)
        return proof


SCENES = {"runner-stopped": runner_stopped, "worker-stopped": worker_stopped, "worker-killed": worker_killed,
          "keeper-killed": keeper_killed, "keeper-stopped": keeper_stopped, "worker-terminated": terminated,
          "postgres-frozen": postgres_frozen, "redis-restarted": redis_restarted}
