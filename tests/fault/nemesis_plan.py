"""What the nemesis will do, drawn from a seed before anything runs: the same seed, the same plan.

A fault names its victims by place (worker 0, its runner 1), so that the plan does not depend on
what happened before. One that finds no victim does nothing.
"""

import collections
import random

Fault = collections.namedtuple("Fault", "at verb victim detail seconds")

LEASE = 3.0
# verb -> how often. Of those with two lengths, the long one outlasts the lease.
WEIGHTS = {
    "kill_runner": 14, "stop_runner": 6, "kill_supervisor": 5, "stop_supervisor": 4,
    "kill_group": 4, "stop_group": 4, "terminate": 5, "reload": 7, "kill_client": 6,
    "redis_proxy": 10, "postgres_proxy": 10, "flush": 5, "redis_crash": 4, "postgres_crash": 4,
    "scripts_flush": 2, "partition": 16, "outage": 14, "clock": 8, "redis_clock": 3,
}
MODES = ["delay", "black_hole", "to_server_only", "to_client_only", "freeze", "cut", "cut_after",
         "refuse", "swallow"]
AWAY = ["black_hole", "freeze", "refuse", "to_server_only", "to_client_only"]  # modes in which nobody is answered
RELOADS = ["change", "break", "mend"]
CLOCKS = [0.3, 2.5, 40, 3600, 3 * 86400]  # seconds by which one is set, forward or back


def make(seed, seconds, workers, runners):
    """The faults of so many seconds, in the order of time."""
    draw = random.Random(seed)
    verbs, weights = zip(*WEIGHTS.items())
    plan, at = [], 1.0
    while at < seconds:
        plan.append(_draw_fault(draw, at, draw.choices(verbs, weights)[0], workers, runners))
        at += min(4.0, 0.2 + draw.expovariate(1.0))
        if plan[-1].verb in ("partition", "outage") and draw.random() < 0.7:
            at += plan[-1].seconds  # nothing else comes between
        if draw.random() < 0.04:
            at += 3 * LEASE  # some peace, in which deaths by the lease come to their end
    return plan


def over_tcp(seed, parties):
    """Those whose way to the stores is TCP; the others have unix sockets."""
    draw = random.Random(seed + 2)
    return {party for party in parties if draw.random() < 0.5}


def _draw_fault(draw, at, verb, workers, runners):
    worker, runner = draw.randrange(workers), draw.randrange(runners)
    victim, detail = (worker,), None
    seconds = draw.choice([draw.uniform(0.2, 1.5), draw.uniform(LEASE + 1, LEASE + 4)])
    if verb in ("kill_runner", "stop_runner"):
        victim = (worker, runner)
    elif verb in ("redis_proxy", "postgres_proxy"):
        # everybody, one worker alone (a partition), or the clients
        victim = draw.choice([("all",), (worker,), (worker,), ("clients",)])
        mode = draw.choice(MODES)
        detail = (mode, {"delay": round(draw.uniform(0.02, 0.6), 3),
                         "cut_after": draw.randrange(20, 5000),
                         "swallow": draw.randrange(1, 6)}.get(mode))
    elif verb == "partition":
        # one worker loses both stores until others have taken its tasks; then what it had sent arrives
        seconds = draw.uniform(LEASE + 1.5, LEASE + 6)
    elif verb == "outage":
        # Postgres is away for all, and comes back for one after the other
        victim, seconds = ("all",), draw.uniform(LEASE, LEASE + 2)
        detail = [round(draw.uniform(0, 1.5), 2) for _ in range(workers)] + [0]
    elif verb == "reload":
        detail = draw.choice(RELOADS)
    elif verb in ("clock", "redis_clock"):
        # of the supervisor (0) or a runner
        victim = (worker, draw.randrange(runners + 1)) if verb == "clock" else ()
        detail = draw.choice(CLOCKS) * draw.choice([-1, 1])
    elif verb in ("flush", "scripts_flush", "redis_crash", "postgres_crash", "kill_client"):
        victim = ()
        seconds = {"kill_client": draw.uniform(0, 0.08)}.get(verb, min(seconds, 4.0))
    if verb in ("flush", "scripts_flush", "reload", "kill_runner", "clock", "redis_clock"):
        seconds = 0
    return Fault(round(at, 3), verb, victim, detail, round(seconds, 3))


def text(fault):
    parts = ["%7.2f  %s" % (fault.at, fault.verb)] + [str(name) for name in fault.victim]
    if fault.detail is not None:
        parts.append(str(fault.detail))
    return " ".join(parts) + (" for %.2f s" % fault.seconds if fault.seconds else "")
