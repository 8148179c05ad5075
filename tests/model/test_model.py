"""The protocol as a SPIN model: it holds, and each mistake planted in it is found.

Small bounds by default; `./dev model` (or --full) runs the full ones. What a run leaves is in
build/model/NAME; a failure names the assertion and where its way is written down. docs/model.md"""
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "task.pml")
BUILD = os.path.join(os.environ.get("CTUTOR_BUILD", os.path.abspath(os.path.join(HERE, "..", "..", "build"))), "model")
FULL = "--full" in sys.argv or os.environ.get("CTUTOR_MODEL") == "full"
MEGABYTES = 2500
SECONDS = 600 if FULL else 100

NOTHING = {"CRASHES": 0, "SUSPENDS": 0, "LOST": 0, "WIPES": 0, "CANCELS": 0, "GIVEN_BACK": 0, "PAUSES": 0, "ROUNDS": 1, "PUSHERS": 1}

# What may happen, and how often: name -> bounds.
SAFE_SMALL = {
    "crash": {"CRASHES": 1},
    "suspension and cancel": {"SUSPENDS": 1, "CANCELS": 1},
    "lost answer, wipe, cancel": {"LOST": 1, "WIPES": 1, "CANCELS": 1},
}
LIVE_SMALL = {"lost answer and wipe": {"LOST": 1, "WIPES": 1}}
SAFE_FULL = SAFE_SMALL | {
    "crash, suspension, cancel": {"CRASHES": 1, "SUSPENDS": 1, "CANCELS": 1},
    "two crashes": {"CRASHES": 2},
    "two suspensions": {"SUSPENDS": 2},
    "crash, lost answer, wipe": {"CRASHES": 1, "LOST": 1, "WIPES": 1},
    "crash, cancel, operator retry": {"CRASHES": 1, "CANCELS": 1, "ROUNDS": 2},
    "suspension, lost answer, wipe, cancel": {"SUSPENDS": 1, "LOST": 1, "WIPES": 1, "CANCELS": 1},
    "suspension, release, operator retry": {"SUSPENDS": 1, "GIVEN_BACK": 1, "ROUNDS": 2},
    "lost answer and all that operators do": {"LOST": 1, "WIPES": 1, "CANCELS": 1, "ROUNDS": 2, "PAUSES": 1},
    "two lost answers": {"LOST": 2, "WIPES": 1, "CANCELS": 1, "GIVEN_BACK": 1},
    "two pushers": {"PUSHERS": 2, "WIPES": 1, "GIVEN_BACK": 1, "CANCELS": 1, "ROUNDS": 2},
}
LIVE_FULL = LIVE_SMALL | {
    "crash": {"CRASHES": 1},
    "suspension": {"SUSPENDS": 1},
    "cancel, operator retry, pause": {"CANCELS": 1, "ROUNDS": 2, "PAUSES": 1},
    "release and wipe": {"GIVEN_BACK": 1, "WIPES": 1},
}
# mistake (what is defined): bounds that suffice, what it breaks. The words are in the comment of the assertion.
MISTAKES = {
    "NO_CLAIM_GUARD": ({"SUSPENDS": 1}, "I4"),
    "ANSWER_BEFORE_COMMIT": ({}, "I1"),
    "REDIS_COUNTER_FENCE": ({"SUSPENDS": 1, "WIPES": 1}, "I4"),
    "RESCUE_BY_ABSENCE": ({}, "I5"),
    "DEATH_BY_TIMESTAMP": ({"SUSPENDS": 1}, "heartbeat moved"),
    "HINT_BEFORE_INSERT": ({}, "I8"),
    "NO_OWNER_TEST NO_SWEEP": ({"CRASHES": 1}, "stuck"),
    "NO_SWEEP": ({"CRASHES": 1}, "stuck"),
    "FINISH_WITHOUT_LOOK": ({"LOST": 1}, "fenced"),
    "RELEASE_IGNORES_CANCEL": ({"SUSPENDS": 1, "CANCELS": 1}, "rule 9"),
    "NEW_CLAIM_ON_REPEAT": ({"LOST": 1}, "stuck"),
    "LATE_AFTER_ANSWER": ({"LOST": 1, "PAUSES": 1}, "stuck"),
}


class Run:
    """One check: spin makes a C program of the model, gcc compiles it, it visits every state."""

    def __init__(self, name, bounds, defines=(), live=False, shortest=False):
        self.folder = os.path.join(BUILD, re.sub(r"\W+", "-", name))
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        self.defines = [f"-D{key}={value}" for key, value in (NOTHING | bounds).items()] + [f"-D{define}" for define in defines]
        began = time.monotonic()
        self.call(["spin", "-a", *self.defines, SOURCE])
        kind = ["-DNFAIR=3"] if live else ["-DSAFETY", "-DNOCLAIM"] + (["-DBFS"] if shortest else [])
        optimise = "-O1" if FULL and not shortest else "-O0"  # what is small is checked sooner than it is optimised
        self.call(["gcc", optimise, "-w", "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}", *kind, "-o", "pan", "pan.c"])
        arguments = ["-a", "-f"] if live else ["-E"]
        if not shortest:
            arguments.append("-m100000")
        self.output = self.call(["nice", "./pan", *arguments])
        with open(os.path.join(self.folder, "pan.out"), "w", encoding="utf-8") as file:
            file.write(self.output)
        self.seconds = time.monotonic() - began
        found = re.search(r"errors: (\d+)", self.output)
        states = re.search(r"([\d.e+]+) states, stored", self.output)
        self.errors = int(found.group(1)) if found else None
        self.states = int(float(states.group(1))) if states else 0
        self.is_complete = found is not None and "Search not completed" not in self.output and "max search depth too small" not in self.output
        self.why = self.explain() if self.errors else ""
        if FULL:
            print(f"{name}: {self.states} states, {self.seconds:.0f} s", flush=True)

    def call(self, command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode != 0 and command[0] != "nice":
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def explain(self):
        """The line of the assertion that failed, with its comment, and the way there."""
        replay = ["spin", "-t", "-k", "task.pml.trail", "-p", *self.defines, SOURCE]
        steps = subprocess.run(replay, cwd=self.folder, capture_output=True, text=True, timeout=SECONDS).stdout
        with open(os.path.join(self.folder, "steps.txt"), "w", encoding="utf-8") as file:
            file.write(steps)
        at = re.findall(r"task\.pml:(\d+), Error: assertion violated", steps)
        with open(SOURCE, encoding="utf-8") as file:
            what = file.read().splitlines()[int(at[-1]) - 1].strip() if at else "an acceptance cycle: the task never ends"
        what = re.sub(r"\s+", " ", what)
        where = f"task.pml:{at[-1]}: " if at else ""
        return f"{where}{what}\n  the way there: {self.folder}/steps.txt\n  the trail: cd {self.folder} && {' '.join(replay)}"


class Model(unittest.TestCase):
    def holds(self, name, bounds, live):
        run = Run(("ends " if live else "holds ") + name, bounds, live=live)
        self.assertTrue(run.is_complete, f"{name}: the search did not complete\n{run.output}")
        self.assertEqual(run.errors, 0, f"{name}: the protocol does not hold\n{run.why}")
        self.assertGreater(run.states, 1000, name)

    def test_the_invariants_hold(self):
        for name, bounds in (SAFE_FULL if FULL else SAFE_SMALL).items():
            with self.subTest(name):
                self.holds(name, bounds, live=False)

    def test_an_accepted_task_ends(self):
        for name, bounds in (LIVE_FULL if FULL else LIVE_SMALL).items():
            with self.subTest(name):
                self.holds(name, bounds, live=True)

    def test_every_planted_mistake_is_found(self):
        for mistake, (bounds, breaks) in MISTAKES.items():
            with self.subTest(mistake):
                run = Run(mistake, bounds, mistake.split(), shortest=True)
                self.assertTrue(run.errors, f"{mistake} is planted and nothing fails\n{run.output}")
                self.assertIn(breaks, run.why, mistake)
                if FULL:
                    print(f"  {run.why.splitlines()[0]}")


if __name__ == "__main__":
    unittest.main(argv=[argument for argument in sys.argv if argument != "--full"])
