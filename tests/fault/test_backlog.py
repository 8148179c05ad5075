"""A short form of the proof of a million waiting tasks."""

import unittest

import proof_backlog


class Backlog(unittest.TestCase):
    def test_many_waiting_tasks_are_small_in_order_and_come_back(self):
        proof = proof_backlog.backlog(tasks=20_000, taken=3_000)
        self.assertFalse(proof.broken, "\n".join([proof.row()] + proof.broken[:5]))
        self.assertLess(proof.rerun[0], 3)


if __name__ == "__main__":
    unittest.main()
