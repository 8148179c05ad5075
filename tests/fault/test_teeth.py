"""Each mistake of mistakes.py is found by an aimed plan, which the right program passes; and what
writes the mistakes says so when the sources have changed under it. `./dev teeth` looks for them at
random."""

import concurrent.futures
import os
import unittest

import mistakes
import teeth

BUILD = os.environ["CTUTOR_BUILD"]


class Teeth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        pool = concurrent.futures.ThreadPoolExecutor(teeth.AT_ONCE)
        cls.addClassCleanup(pool.shutdown, cancel_futures=True)
        cls.right = {plan: pool.submit(teeth.ask, teeth.program_of(BUILD), "--aim", plan, seconds=200)
                     for plan in sorted({mistake.plan for mistake in mistakes.MISTAKES})}
        cls.wrong = {mistake.name: pool.submit(teeth.ask, teeth.program_of(BUILD, mistake.name), "--aim", mistake.plan,
                                               seconds=200)
                     for mistake in mistakes.MISTAKES}

    def check(self, name):
        mistake = mistakes.get(name)
        right, wrong = self.right[mistake.plan].result(), self.wrong[name].result()
        self.assertEqual(right["broken"], [], right["report"])
        seen = teeth.found(mistake, wrong)
        self.assertTrue(seen, "%s is not seen by %s\n%s" % (name, mistake.seen_by, wrong["report"]))
        print("%-20s %4.1f s: %s" % (name, wrong["seconds"], seen[0].splitlines()[0]), flush=True)

    def test_unguarded_finish(self):
        self.check("unguarded_finish")

    def test_early_answer(self):
        self.check("early_answer")

    def test_redis_counter(self):
        self.check("redis_counter")

    def test_rescue_by_absence(self):
        self.check("rescue_by_absence")

    def test_death_by_timestamp(self):
        self.check("death_by_timestamp")

    def test_early_hint(self):
        self.check("early_hint")

    def test_all_are_here(self):
        for mistake in mistakes.MISTAKES:
            self.assertTrue(hasattr(self, "test_" + mistake.name), mistake.name)


class Changes(unittest.TestCase):
    def test_a_source_that_changed_is_named(self):
        change = mistakes.Change("runtime/ledger/finish.c", 2, "a line that is not there", "")
        mistake = mistakes.Mistake("moved", "", "", set(), [change])
        with self.assertRaisesRegex(SystemExit, r"moved: runtime/ledger/finish\.c holds this 0 times, not 2:\na line that"):
            mistakes.changed(mistake, change.file)

    def test_each_changes_what_it_names(self):
        for mistake in mistakes.MISTAKES:
            for file in mistakes.files_of(mistake):
                with open(os.path.join(mistakes.ROOT, file)) as source:
                    self.assertNotEqual(mistakes.changed(mistake, file), source.read())


if __name__ == "__main__":
    unittest.main()
