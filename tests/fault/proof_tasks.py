"""Tasks that compute for ever, that end their process, and that leave subprocesses behind."""

import os
import signal
import time

import ctutor
from journey import STRAYS, strays
from points import Orders
from proof_case import Proof

GONE = 5  # seconds in which a subprocess is gone after its run
LOOPS = {
    "plain": "while true do end",
    "in pcall": "while true do pcall(function() while true do end end) end",
    "compiled": "local x = 0 local function step(i) x = x + i %% 7 return x end for i = 1, 1e6 do step(i) end while true do step(1) end",
}
LOOP = "return { timeout = 2, execute = function() %s end }"
# -- %d makes it another version: one that blocked runs isolated
BACKTRACK = """
local process = require "ctutor.process"
return { timeout = 2, execute = function(ctx)
  string.find(("a"):rep(40), ("a*"):rep(20) .. "b") -- %d
end }
"""
DEADLY = "return { execute = function(ctx) ctx.sleep(0.05) end }"
# Its subprocesses go with whatever ends it; started again it ends at once.
ENDS = {"cancel": "--timeout=60s", "timeout": "--timeout=2s", "runner": "--timeout=60s", "supervisor": "--timeout=60s"}


def computing(times=3):
    return [computing_so(word, body, times) for word, body in LOOPS.items()]


def computing_so(word, body, times):
    """From the start of the task to its end, beside a thousand that sleep in the same runner."""
    with Proof("task: computes for ever, %s" % word, tasks={"hot": LOOP % body.replace("%%", "%")}) as proof:
        worker = proof.place.start_worker(concurrency=1500)
        runners = worker.runners()
        asleep = 4 * times
        proof.nap(1000, asleep)
        for _ in range(times):
            result = proof.place.run("submit", "hot", "--wait", "--json").expect(1).json
            proof.demand((result["error"]["kind"], result["attempt"]) == ("timeout", 1), "ended as %s" % result["error"])
            proof.detect.append(result["duration"])
            proof.count += 1
        proof.demand(worker.runners() == runners, "the runner was replaced")
        proof.finish(worker)
        proof.demand_most(max(proof.detect), 2.3, "it ended")
        disturbed = proof.place.value("SELECT count(*) FROM task_info WHERE task_name = 'nap' AND (attempt > 1"
                                      " OR status <> 'SUCCESS' OR duration > %d)" % (asleep + 1))
        proof.demand(disturbed == "0", "%s of a thousand sleepers noticed" % disturbed)
        proof.notes.append("timeout 2 s; 1000 sleepers in the same process: undisturbed")
        return proof


def backtracking(times=5):
    """From its start to the end of its runner, and to the next start of its neighbours."""
    with Proof("task: string.find that backtracks", tasks={"backtrack": BACKTRACK % 0}) as proof:
        worker = proof.place.start_worker()
        for number in range(times):
            proof.place.task("backtrack", BACKTRACK % number)
            proof.place.run("worker", "reload").expect(0)
            proof.nap(100, 6)
            (runner,) = worker.runners()
            result = proof.place.run("submit", "backtrack", "--wait", "--json").expect(1).json
            proof.demand(result["error"]["kind"] == "timeout", "ended as %s" % result["error"])
            proof.harmed[runner] = proof.started_at(result["task_id"])
            ctutor.wait_until(lambda: worker.runners() not in ([], [runner]), 10, "another runner")
            heirs = worker.runners()
            task_id = proof.place.submit("backtrack")
            ctutor.wait_until(lambda: len(worker.isolated()) == 1, 10, "the next run has a process of its own")
            proof.place.run("result", task_id, "--wait=30s").expect(1)
            proof.demand(worker.runners() == heirs, "the next run hurt a runner")
            proof.wait_final()
            proof.count += 1
        proof.finish(worker)
        proof.demand_most(max(proof.detect), 4, "its runner had ended")
        proof.notes.append("timeout 2 s; the next run isolated")
        return proof


def segfault(times=5):
    """From the resume that ends the process; 99 neighbours; the culprit is started three times."""
    with Proof("task: ends its runner by SIGSEGV, 3 times", tasks={"deadly": DEADLY}) as proof:
        for number in range(times):
            orders = Orders(os.path.join(proof.place.root, "orders-%d" % number), ["run_resume segv times 3 for deadly"])
            proof.place.pass_fds = (orders.fd,)
            worker = proof.place.start_worker(processes=2, concurrency=100, env=orders.env)
            proof.nap(99, 2)
            info = proof.place.run("submit", "deadly", "--wait", "--json", seconds=60).expect(1).json
            proof.demand((info["error"]["kind"], info["attempt"]) == ("worker_lost", 3), "ended as %s" % info["error"])
            proof.demand(len(orders.fired()) == 3, "%d times" % len(orders.fired()))
            begun = proof.place.psql("SELECT attempt, extract(epoch FROM started_at) FROM attempts WHERE id = '%s'"
                                     " UNION ALL SELECT attempt, extract(epoch FROM started_at) FROM outcomes"
                                     " WHERE id = '%s' ORDER BY 1" % (info["task_id"], info["task_id"]))
            for (_, at), fired in zip(begun, orders.fired()):
                proof.harmed[fired[4]] = float(at)
            proof.count += 3
            proof.wait_final()
            worker.stop()
            proof.place.pass_fds = ()
            os.close(orders.fd)
        proof.finish()
        return proof


def subprocesses(times=4):
    return [subprocesses_of(way, times) for way in ENDS]


def subprocesses_of(way, times):
    """From what ends the run until all it started is gone: forked twice, in sessions of their own."""
    with Proof("subprocesses: gone after %s" % way, tasks={"strays": STRAYS}) as proof:
        worker = proof.place.start_worker()
        for _ in range(times):
            task_id = proof.place.submit("strays", ENDS[way])
            ctutor.wait_until(lambda: len(strays()) == 4, 20, "four subprocesses")
            began = end_it(proof, way, worker, task_id)
            ctutor.wait_until(lambda: not strays(), 20, "they are gone")
            proof.detect.append(time.time() - began)
            if way == "supervisor":
                worker.wait()
                worker = proof.place.start_worker()
            ctutor.reap_orphans()
            proof.wait_final()
            proof.count += 1
        proof.finish(worker)
        proof.demand_most(max(proof.detect), GONE, "they were gone")
        return proof


def end_it(proof, way, worker, task_id):
    """When it began to end."""
    if way == "timeout":
        return proof.started_at(task_id) + 2
    began = time.time()
    if way == "cancel":
        proof.place.run("cancel", task_id).expect(0)
    else:
        os.kill(worker.pid if way == "supervisor" else worker.runners()[0], signal.SIGKILL)
    return began


SCENES = {"computing": computing, "backtracking": backtracking, "segfault": segfault, "subprocesses": subprocesses}
