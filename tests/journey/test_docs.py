"""What the documents show works: task files are checked and run, command lines are executed."""
import glob
import os
import re
import shlex
import shutil
import unittest

from ctutor import ROOT, JourneyTest


def fenced(page, language):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return re.findall(r"```%s\n(.*?)```" % language, file.read(), re.S)


class Docs(JourneyTest):
    def setUp(self):
        for path in glob.glob(os.path.join(ROOT, "tasks.d", "*.lua")):
            with open(path, encoding="utf-8") as file:
                self.place.task(os.path.basename(path), file.read())
        shutil.copytree(os.path.join(ROOT, "tasks.d", "lib"), os.path.join(self.place.tasks_dir, "lib"), dirs_exist_ok=True)

    def test_task_files_that_are_shown_are_right(self):
        shown = [text for page in ("README.md", "docs/tasks.md") for text in fenced(page, "lua")]
        self.assertGreaterEqual(len(shown), 3)
        for i, text in enumerate(shown):
            if "return {" not in text:
                text = "return { execute = function()\n" + text + "\nend }"
            self.place.task("shown%d" % i, re.sub(r"(?m)^  name .*$", "", text))
        self.place.run("tasks", "check").expect(0)
        self.assertEqual(self.place.run("tasks", "run", "shown0", "name=Ada").expect(0).json, {"greeting": "Hello Ada"})
        for i in range(len(shown)):
            os.remove(os.path.join(self.place.tasks_dir, "shown%d.lua" % i))

    def test_command_lines_that_are_shown_work(self):
        lines = [line for block in fenced("docs/cli.md", "") for line in block.splitlines() if line.startswith("ctutor-run ")]
        self.assertGreaterEqual(len(lines), 4)
        with self.place.worker():
            for line in lines:
                self.place.run(*shlex.split(line)[1:]).expect(0)
            for row in self.place.run("list", "--status", "PENDING", "--json").json["tasks"]:
                self.place.run("cancel", row["task_id"]).expect(0)

    def test_every_command_of_the_table_is_one_of_the_program(self):
        with open(os.path.join(ROOT, "docs", "cli.md"), encoding="utf-8") as file:
            rows = re.findall(r"^\| `([a-z]+)", file.read(), re.M)
        self.assertGreater(len(rows), 10)
        for name in rows:
            self.assertNotIn("no command", self.place.run(name, "--help").err)


if __name__ == "__main__":
    unittest.main()
