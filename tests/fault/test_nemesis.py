"""A short form of `./dev nemesis`: two seeds; and that the checks have eyes."""

import unittest
from types import SimpleNamespace

import invariants
import nemesis
import nemesis_plan
from invariants import FAILURE, SUCCESS


class Nemesis(unittest.TestCase):
    def check_round(self, seed):
        holds, summary, report = nemesis.run_round(seed, 12)
        self.assertTrue(holds, summary + "\n" + report)

    def test_first_seed(self):
        self.check_round(7)

    def test_second_seed(self):
        self.check_round(11)

    def test_a_seed_is_a_plan(self):
        self.assertEqual(nemesis_plan.make(5, 60, 2, 2), nemesis_plan.make(5, 60, 2, 2))
        self.assertNotEqual(nemesis_plan.make(5, 60, 2, 2), nemesis_plan.make(6, 60, 2, 2))
        verbs = {fault.verb for seed in range(20) for fault in nemesis_plan.make(seed, 60, 2, 2)}
        self.assertEqual(verbs, set(nemesis_plan.WEIGHTS))
        ways = [nemesis_plan.over_tcp(seed, (0, 1, "clients")) for seed in range(20)]
        self.assertEqual(ways[5], nemesis_plan.over_tcp(5, (0, 1, "clients")))
        self.assertEqual(set.union(*ways), {0, 1, "clients"})
        self.assertEqual(set.intersection(*ways), set())


class Eyes(unittest.TestCase):
    """Histories in which one thing is wrong: the check of that thing says so."""

    def setUp(self):
        task = SimpleNamespace(id="t", name="plain", queue="default", created_at=0.0, retry_max=0, max_losses=3, unique_key="k",
                               parameters="{}", expires_at=None)
        first = SimpleNamespace(id="t", attempt=1, round=1, claim_id="c1", ended="released", started_at=1.0,
                                ended_at=2.0, worker="w", kind=None)
        end = SimpleNamespace(id="t", round=1, attempt=2, claim_id="c2", status=SUCCESS, failures=0, losses=0,
                              started_at=3.0, finished_at=4.0, cancel_at=None, worker="w", kind=None,
                              result='{"attempt": 2}')
        self.history = invariants.History.__new__(invariants.History)
        self.history.__dict__.update(
            tasks={"t": task}, active={}, attempts={"t": [first]}, outcomes={"t": [end]}, workers={}, logs=[],
            silent=set(), lines={"t": [invariants.Line("t", 1, "start", "w", 1.1), invariants.Line("t", 1, "tick", "w", 1.2),
                                       invariants.Line("t", 2, "start", "w", 3.1), invariants.Line("t", 2, "end", "w", 3.9)]})
        self.task, self.first, self.end, self.lines = task, first, end, self.history.lines["t"]

    def seen(self, accepted=("t",), **options):
        return {broken.invariant for broken in invariants.check(self.history, accepted, **options)}

    def test_nothing_is_wrong(self):
        self.assertEqual(self.seen(), set())

    def test_an_accepted_task_is_missing(self):
        self.assertEqual(self.seen(accepted=["t", "u"]), {"I1"})

    def test_an_accepted_task_was_deleted(self):
        finals = {("u", 1): (SUCCESS, "c2", 2, 4.0)}
        self.assertEqual(self.seen(accepted=["t", "u"], finals=finals, forgotten={"u"}), set())

    def test_a_deleted_task_left_rows(self):
        self.history.outcomes["u"] = [self.end]
        self.assertEqual(self.seen(forgotten={"u"}), {"I1"})

    def test_a_paused_queue_started_a_task(self):
        def seen(since, until):
            return [broken.id for broken in invariants.pauses(self.history, [("default", since, until)])]
        self.assertEqual((seen(1.5, 9), seen(2.5, 9), seen(1.5, 2.9)), (["t"], [], []))

    def test_it_is_not_final(self):
        self.history.active["t"] = object()
        self.history.outcomes["t"] = []
        self.assertIn("I2", self.seen())

    def test_a_final_row_changed(self):
        self.assertEqual(self.seen(finals={("t", 1): (FAILURE, "c2", 2, 4.0)}), {"I2"})

    def test_a_start_without_an_end(self):
        self.history.attempts["t"] = []
        self.assertIn("I3", self.seen())

    def test_a_start_with_two_ends(self):
        self.history.attempts["t"] = [self.first, self.first]
        self.assertIn("I3", self.seen())

    def test_a_bystander_is_charged(self):
        self.first.ended, self.end.failures, self.task.retry_max = "failed", 1, 3
        self.assertEqual(self.seen(), {"I3"})

    def test_a_budget_is_overdrawn(self):
        self.task.name, self.end.failures, self.first.ended = "doomed", 3, "failed"
        self.assertIn("I3", self.seen())

    def test_more_losses_than_deaths(self):
        self.first.ended, self.end.losses = "lost", 1
        self.assertEqual(self.seen(deaths=1), set())
        self.assertEqual(self.seen(deaths=0), {"I3"})

    def test_the_result_of_another_start(self):
        self.end.result = '{"attempt": 1}'
        self.assertEqual(self.seen(), {"I4"})

    def test_an_overlap(self):
        self.lines.append(invariants.Line("t", 1, "tick", "w", 3.2))
        self.assertEqual(self.seen(), {"I5"})

    def test_an_overlap_after_a_declared_death(self):
        self.lines.append(invariants.Line("t", 1, "tick", "w", 3.2))
        self.history.workers["i"] = SimpleNamespace(incarnation="i", name="w", state="dead", ended_at=2.0)
        self.history.silent = {"i"}
        self.assertEqual(self.seen(), set())

    def test_a_start_that_ran_twice(self):
        self.lines.append(invariants.Line("t", 2, "start", "w", 3.2))
        self.assertEqual(self.seen(), {"I5"})

    def test_a_run_that_the_ledger_does_not_know(self):
        self.lines.append(invariants.Line("t", 3, "start", "w", 5.0))
        self.assertEqual(self.seen(), {"I5"})

    def test_a_success_that_did_not_end(self):
        self.lines.pop()
        self.assertEqual(self.seen(), {"I5"})

    def deaths(self, silent=("i",), beat=10.0, away=(), ended_at=13.2):
        self.history.workers["i"] = SimpleNamespace(incarnation="i", name="w", state="dead", ended_at=ended_at)
        self.history.silent = set(silent)
        return [broken.invariant for broken in
                invariants.deaths_by_silence(self.history, {"i": ("7", beat)}, away, 3.0)]

    def test_a_death_by_silence(self):
        self.assertEqual(self.deaths(), [])
        self.assertEqual(self.deaths(away=[(1.0, 9.0), (12.0, 12.5), (20.0, float("inf"))]), [])

    def test_a_death_of_one_that_beat(self):
        self.assertEqual(self.deaths(beat=12.9), ["death"])
        self.assertEqual(self.deaths(beat=12.9, silent=()), [])

    def test_a_death_while_postgres_was_away(self):
        self.assertEqual(self.deaths(away=[(10.2, 12.9), (10.0, 12.5)]), ["death"])

    def test_a_unique_key_held_twice(self):
        other = SimpleNamespace(**{**vars(self.task), "id": "u"})
        self.history.tasks["u"] = other
        self.history.attempts["u"] = []
        self.history.outcomes["u"] = [SimpleNamespace(**{**vars(self.end), "id": "u", "attempt": 1, "claim_id": "c3",
                                                         "started_at": 3.5, "result": '{"attempt": 1}'})]
        self.history.lines["u"] = [invariants.Line("u", 1, "end", "w", 3.8)]
        self.assertEqual(self.seen(), {"I9"})


if __name__ == "__main__":
    unittest.main()
