"""A million waiting tasks: what they take in Redis, what a claim costs, how fast they come back, in which order."""

import json
import os
import time
import uuid

import ctutor
from proof_case import Proof, percentile

MOST_BYTES = 200_000_000
MOST_CLAIM = 0.001
MOST_BACK = 30
COUNTED = "return { execute = function(ctx) return ctx.attempt end }"
RANKED = "SELECT id FROM active WHERE status <> 1 ORDER BY priority DESC, run_at, id"


def backlog(tasks=1_000_000, taken=20_000):
    """n tasks of mixed priority; noticed when Redis has an epoch again, rerun when all hints are back."""
    with Proof("%d waiting, FLUSHALL" % tasks, tasks={"counted": COUNTED}, options=("shared_buffers=512MB", "max_wal_size=4GB")) as proof:
        place = proof.place
        keeper = place.start_worker(name="keeper", queues="other")
        proof.notes.append("submitted in %.0f s" % fill(proof, tasks))
        used = wait_hints(proof, tasks)
        proof.demand(used < MOST_BYTES * max(tasks, 100_000) / 1_000_000, "Redis takes %d bytes" % used)
        check_order(proof)
        proof.detect, proof.rerun = flush(proof, tasks)
        proof.demand_most(proof.rerun[0], MOST_BACK, "all were pushed again")
        check_order(proof)
        proof.count = tasks
        claims = take(proof, taken)
        proof.demand(percentile(claims, 0.5) < MOST_CLAIM, "a claim takes %.2f ms" % (1000 * percentile(claims, 0.5)))
        proof.notes.append("%.0f MB in Redis, a claim %.2f ms (p99 %.2f, n %d)" % (
            used / 1e6, 1000 * percentile(claims, 0.5), 1000 * percentile(claims, 0.99), len(claims)))
        keeper.stop()
        proof.lost = tasks - int(place.value("SELECT count(*) FROM tasks t WHERE EXISTS (SELECT FROM active a WHERE a.id = t.id)"
                                             " OR EXISTS (SELECT FROM outcomes o WHERE o.id = t.id)"))
        proof.demand(proof.lost == 0, "%d are lost" % proof.lost)
        proof.check_audit()
        return proof


def fill(proof, tasks):
    path = os.path.join(proof.place.work, "bulk")
    with open(path, "w") as file:
        for number in range(tasks):
            file.write(json.dumps({"task_name": "counted", "queue": "default", "priority": number * 7 % 11}) + "\n")
    return proof.place.run("submit", "--bulk", path, seconds=900).expect(0).seconds


def hints(proof):
    return proof.place.redis("ZCARD", "{%s}:q:default" % proof.place.namespace)


def wait_hints(proof, tasks):
    ctutor.wait_until(lambda: hints(proof) == tasks, 120, "%d hints" % tasks)
    info = proof.place.redis("INFO", "memory").decode()
    return int(info.split("used_memory:")[1].split()[0])


def check_order(proof):
    """The hints lie in the order of the ledger's ranks."""
    order = proof.place.redis("ZRANGE", "{%s}:q:default" % proof.place.namespace, 0, -1)
    ranked = [row[0] for row in proof.place.psql(RANKED)]
    proof.demand([str(uuid.UUID(bytes=member)) for member in order] == ranked, "hints do not lie in rank order")


def flush(proof, tasks):
    """([seconds until the epoch is written], [seconds until all is back])"""
    place = proof.place
    began = time.monotonic()
    place.redis("FLUSHALL")
    first = ctutor.wait_until(lambda: hints(proof) and time.monotonic() - began, 30, "the first hint")
    ctutor.wait_until(lambda: hints(proof) == tasks and place.redis("EXISTS", "{%s}:epoch" % place.namespace), 300, "all hints")
    return [first], [time.monotonic() - began]


def take(proof, count):
    """Seconds of each claim in Redis while a worker takes the first of them."""
    place = proof.place
    place.redis("CONFIG", "SET", "slowlog-max-len", 100_000)
    place.redis("CONFIG", "SET", "slowlog-log-slower-than", 0)
    worker = place.start_worker(name="taker")
    ctutor.wait_until(lambda: int(place.value("SELECT count(*) FROM outcomes")) >= count, 120, "%d are done" % count)
    worker.stop()
    place.redis("CONFIG", "SET", "slowlog-log-slower-than", -1)
    check_started(proof)
    return [call[2] / 1e6 for call in place.redis("SLOWLOG", "GET", -1) if is_claim(call[3])]


def is_claim(words):
    """EVALSHA sha 1 {ns} incarnation token max kin queue...; the queues of a worker without others."""
    return words[0].upper() == b"EVALSHA" and words[8:] == [b"high_priority", b"default", b"low_priority"]


def check_started(proof):
    """What has been started is the top of the ranks; what was claimed together may start in any order."""
    done = {row[0] for row in proof.place.psql("SELECT id FROM outcomes UNION SELECT id FROM attempts")}
    top = {row[0] for row in proof.place.psql("SELECT id FROM tasks ORDER BY priority DESC, run_at, id LIMIT %d" % len(done))}
    proof.demand(done == top, "others were started than the first %d" % len(done))


SCENES = {"backlog": backlog}
