"""Short forms of `./dev proof`, of what no other test does."""

import unittest

import proof_backlog
import proof_crowd


class ShortProof(unittest.TestCase):
    def check(self, proof):
        self.assertFalse(proof.broken, "\n".join([proof.row()] + proof.broken[:5]))

    def test_a_crowd_whose_runners_are_killed(self):
        # A runner under the sanitizers needs longer than 200 ms until it has tasks again.
        proof = proof_crowd.crowd("a runner killed every 600 ms", tasks=300, seconds=4, every=0.6)
        self.check(proof)
        self.assertGreater(len(proof.rerun), 0)

    def test_many_waiting_tasks_are_small_in_order_and_come_back(self):
        proof = proof_backlog.backlog(tasks=10_000, taken=1_000)
        self.check(proof)
        self.assertLess(proof.rerun[0], 5)


if __name__ == "__main__":
    unittest.main()
