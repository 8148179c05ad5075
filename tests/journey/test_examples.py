"""The examples that are tasks do what their READMEs say (the assignments: test_student_testing.py)."""
import os
import shutil
import unittest

from ctutor import ROOT, JourneyTest, wait_until

EXAMPLES = os.path.join(ROOT, "examples")


class Examples(JourneyTest):
    def take(self, name):
        """The task files of an example, as somebody who tries it copies them."""
        shutil.copytree(os.path.join(EXAMPLES, name, "tasks.d"), self.place.tasks_dir, dirs_exist_ok=True)

    def local(self, name, *args, **options):
        return self.place.run("tasks", "run", "--tasks-dir", os.path.join(EXAMPLES, name, "tasks.d"), *args, **options)

    def test_every_example_is_good(self):
        for name in sorted(os.listdir(EXAMPLES)):
            tasks = os.path.join(EXAMPLES, name, "tasks.d")
            if os.path.isdir(tasks):
                self.place.run("tasks", "check", tasks).expect(0)

    def test_hello(self):
        self.assertEqual(self.local("01_hello", "hello", "name=Ada").expect(0).json, {"greeting": "Hello Ada"})
        self.assertIn("name", self.local("01_hello", "hello").expect(2).err)

    def test_progress_and_retry(self):
        self.take("02_progress_and_retry")
        with self.place.worker():
            done = self.place.run("submit", "unsteady", "--wait").expect(0)
            self.assertEqual(done.json, {"attempts": 3, "steps": 4})
            failed = self.place.run("submit", "unsteady", "works_from=9", "--wait", "--json").expect(1).json
            self.assertEqual((failed["status"], failed["attempt"]), ("FAILURE", 4))
            self.assertEqual(failed["error"]["details"], {"step": 2})
        self.assertEqual(self.local("02_progress_and_retry", "unsteady", "works_from=1").expect(0).json["attempts"], 1)

    def test_process_and_files(self):
        done = self.local("03_process_and_files", "line_count", "text=@-", input="b\na\nb\n").expect(0)
        self.assertEqual(done.json, {"lines": [{"line": "b", "count": 2}, {"line": "a", "count": 1}]})

    def test_hooks(self):
        journal = os.path.join(self.place.work, "journal")
        self.take("04_hooks")

        def written():
            with open(journal, encoding="utf-8") as file:
                return file.read().splitlines()

        with self.place.worker():
            done = self.place.run("submit", "order", "goods=tea", "journal=" + journal, "--wait").expect(0)
            self.assertEqual(done.json, {"shipped": "tea"})
            wait_until(lambda: os.path.exists(journal) and len(written()) == 1, 10, "on_success ran")
            self.place.run("submit", "order", "goods=tea", "stock=0", "journal=" + journal, "--wait").expect(1)
            wait_until(lambda: len(written()) == 3, 10, "on_retry and on_failure ran")
        self.assertEqual(sorted(written()), ["order: attempt 1 failed: out of stock: tea",
                                             "order: given up, exception: out of stock: tea", "order: shipped tea"])


if __name__ == "__main__":
    unittest.main()
