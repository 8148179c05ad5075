"""The proof: each fault of docs/reliability.md at full scale, and a table of what came of it.

    proof.py [NAME ...] [--list]

One line a fault: how often it was done; seconds until it was noticed (the ledger or a log says so)
and until what it hit ran again, p50 and p99; then what must be zero, and what `audit` says. Ends
with 1 when anything does not hold, with what and why below the table.
"""

import argparse
import os
import sys
import time

import proof_backlog
import proof_crowd
import proof_tasks
import proof_workers
from proof_case import HEAD

SCENES = {**proof_crowd.SCENES, **proof_workers.SCENES, **proof_tasks.SCENES, **proof_backlog.SCENES}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of faults (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args()
    if options.list:
        print("\n".join(SCENES))
        return 0
    unknown = [name for name in options.names if name not in SCENES]
    if unknown:
        parser.error("no fault %s; there are: %s" % (unknown[0], " ".join(SCENES)))
    broken = []
    print("%s, %d cores, %s\n%s" % (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), os.cpu_count(),
                                    " ".join(os.uname()[i] for i in (0, 2, 4)), HEAD), flush=True)
    for name in options.names or SCENES:
        began = time.monotonic()
        try:
            proofs = SCENES[name]()
        except AssertionError as error:
            broken.append("%s: %s" % (name, error))
            print("%-46s does not come to its end" % name, flush=True)
            continue
        for proof in proofs if isinstance(proofs, list) else [proofs]:
            print(proof.row(), flush=True)
            broken += ["%s: %s" % (proof.fault, text) for text in proof.broken]
        print("  (%s: %.0f s)" % (name, time.monotonic() - began), file=sys.stderr, flush=True)
    for text in broken[:20]:
        print("\n" + text)
    if broken:
        print("\n%d things do not hold" % len(broken))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
