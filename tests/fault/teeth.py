"""Has the nemesis teeth? Each mistake of mistakes.py, built into the real program, must be found.

    teeth.py [NAME] [--build FOLDER] [--minutes M] [--seed N]   by random seeds, as ./dev nemesis does
    teeth.py --aim PLAN | --draw SECONDS --seed N               one program (CTUTOR_RUN), for the others here

The program under test is named by CTUTOR_RUN when Python starts, so each has a process of its own;
that answers with one line of JSON: broken ([invariant, id, text]...), summary, report, seconds.
"""

import argparse
import concurrent.futures
import itertools
import json
import os
import random
import subprocess
import sys
import time

import mistakes

HERE = os.path.dirname(os.path.abspath(__file__))
ROUND_SECONDS = 20  # of faults
AT_ONCE = 2  # rounds: they wait more than they work


def program_of(build, name=None):
    """The mistaken program, or the right one."""
    return os.path.join(build, "teeth", "ctutor-run-" + name) if name else os.path.join(build, "ctutor-run")


def ask(program, *words, seconds):
    """What one process of this file answers about one program."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-B", os.path.abspath(__file__), *map(str, words)], timeout=seconds, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "CTUTOR_RUN": program, "PYTHONPATH": os.path.join(HERE, os.pardir, "support")})
    if done.returncode:
        raise AssertionError("%s with %s:\n%s%s" % (words, program, done.stdout, done.stderr))
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.monotonic() - began}


def found(mistake, answer):
    """What is broken of that by which this mistake is to be seen."""
    return ["%s %s: %s" % tuple(broken) for broken in answer["broken"] if broken[0] in mistake.seen_by]


def answer_for(options):
    import nemesis
    import teeth_plans
    if options.aim:
        broken, summary, report = teeth_plans.run(options.aim)
    else:
        one = nemesis.Round(options.seed, options.draw)
        one.drain_seconds_most = 30
        try:
            one.run()
            broken, summary, report = one.broken, one.summary(), one.report()
        finally:
            one.close()
    print(json.dumps({"broken": broken, "summary": summary, "report": report}))


def search(mistake, build, seed, minutes):
    """Random rounds, AT_ONCE of them, until it is found; True: it was."""
    began, end = time.monotonic(), time.monotonic() + 60 * minutes
    seeds, hits = itertools.count(seed), []

    def rounds():
        while not hits and time.monotonic() < end:
            number = next(seeds)
            answer = ask(program_of(build, mistake.name), "--draw", ROUND_SECONDS, "--seed", number, seconds=600)
            seen = found(mistake, answer)
            if seen:
                hits.append((time.monotonic() - began, number, seen[0].splitlines()[0]))
            else:
                print("%-20s %s" % (mistake.name, answer["summary"]), flush=True)

    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for running in [pool.submit(rounds) for _ in range(AT_ONCE)]:
            running.result()
    if hits:
        print("%-20s found after %3.0f s, seed %d: %s" % (mistake.name, *hits[0]), flush=True)
    else:
        print("%-20s NOT FOUND in %g minutes" % (mistake.name, minutes), flush=True)
    return bool(hits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="of one mistake (default: all)")
    parser.add_argument("--build", default="build/asan", help="where the programs are")
    parser.add_argument("--minutes", type=float, default=2, help="how long to look for each (2)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the first round")
    parser.add_argument("--aim", help=argparse.SUPPRESS)
    parser.add_argument("--draw", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.aim or options.draw:
        answer_for(options)
        return 0
    chosen = [mistakes.get(options.name)] if options.name else mistakes.MISTAKES
    build = os.path.abspath(options.build)
    return 0 if all([search(mistake, build, options.seed, options.minutes) for mistake in chosen]) else 1


if __name__ == "__main__":
    sys.exit(main())
