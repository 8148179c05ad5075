"""What the documents show works: task files are checked and run, command lines are executed."""
import glob
import os
import re
import shlex
import shutil
import subprocess
import unittest

from ctutor import PROGRAM, ROOT, JourneyTest, postgres_program, wait_until


def fenced(page, language):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return re.findall(r"```%s\n(.*?)```" % language, file.read(), re.S)


def marked(page):
    """The commands of each block behind <!-- run -->, as (line, exit status); in a console block
    those behind a $. SQL is for marked_sql."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        found = re.findall(r"<!-- run -->\n+```(\w*)\n(.*?)```", file.read(), re.S)
    for language, text in found:
        if language == "sql":
            continue
        lines = text.replace("\\\n", " ").splitlines()
        if language != "sh":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        yield [(line.replace("build/ctutor-run", "ctutor-run"),
                int((re.findall(r"# exit (\d+)", line) or [0])[0])) for line in lines if line.strip()]


def marked_sql(page):
    """Each block of SQL behind <!-- run -->, as (text, the SQLSTATEs that it says it ends in)."""
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        found = re.findall(r"<!-- run -->\n+```sql\n(.*?)```", file.read(), re.S)
    return [(text, re.findall(r"-- error (\w{5})", text)) for text in found]


def as_script(block):
    """One shell for the block, which stops at the first line with another exit status."""
    return "".join("%s\nstatus=$?\n[ $status -eq %d ] || { echo exit $status: %s >&2; exit 1; }\n"
                   % (line, status, shlex.quote(line)) for line, status in block)


class Docs(JourneyTest):
    def setUp(self):
        for path in glob.glob(os.path.join(ROOT, "tasks.d", "*.lua")):
            with open(path, encoding="utf-8") as file:
                self.place.task(os.path.basename(path), file.read())
        shutil.copytree(os.path.join(ROOT, "tasks.d", "lib"), os.path.join(self.place.tasks_dir, "lib"), dirs_exist_ok=True)

    def test_task_files_that_are_shown_are_right(self):
        shown = [text for page in ("README.md", "docs/tasks.md") for text in fenced(page, "lua")]
        self.assertGreaterEqual(len(shown), 3)
        pieces = [i for i, text in enumerate(shown) if "return {" not in text]
        for i, text in enumerate(shown):
            if i in pieces:
                text = "return { execute = function(ctx)\n" + text + "\nend }"
            self.place.task("shown%d" % i, re.sub(r"(?m)^  name .*$", "", text))
        self.place.run("tasks", "check").expect(0)
        self.assertEqual(self.place.run("tasks", "run", "shown0", "name=Ada").expect(0).json, {"greeting": "Hello Ada"})
        for i in pieces:  # their asserts hold
            with self.subTest(shown[i]):
                self.place.run("tasks", "run", "shown%d" % i).expect(0)
        for i in range(len(shown)):
            os.remove(os.path.join(self.place.tasks_dir, "shown%d.lua" % i))

    def test_examples_that_are_marked_to_run_do_what_they_say(self):
        blocks = [block for page in ("README.md", "docs/cli.md", "docs/sql.md") for block in marked(page)]
        self.assertGreater(sum(len(block) for block in blocks), 30)
        self.place.psql("CREATE ROLE shop LOGIN")
        folder = os.path.join(self.place.root, "bin")
        os.mkdir(folder)
        os.symlink(os.path.abspath(PROGRAM), os.path.join(folder, "ctutor-run"))
        env = {**self.place.env, "PATH": folder + ":" + self.place.env["PATH"]}
        with self.place.worker():
            for block in blocks:
                done = subprocess.run(["sh", "-c", as_script(block)], cwd=self.place.work, env=env, text=True,
                                      stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
            self.run_sql("docs/sql.md")
            self.place.run("cancel", "--status=PENDING,STARTED,RETRY", "--yes").expect(0)
            wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 20)

    def run_sql(self, page):
        blocks = marked_sql(page)
        self.assertEqual(len(blocks), 3)
        for text, states in blocks:
            done = subprocess.run([postgres_program("psql"), "-X", "-v", "VERBOSITY=verbose", "-h", self.place.postgres_dir, "-U", "shop", "-d", "codeability"],
                                  env={"PATH": os.environ["PATH"]}, input=text, capture_output=True, text=True, timeout=60)
            self.assertEqual(re.findall(r"ERROR:  (\w{5})", done.stderr), states, done.stderr)

    def test_every_command_of_the_table_is_one_of_the_program(self):
        with open(os.path.join(ROOT, "docs", "cli.md"), encoding="utf-8") as file:
            rows = re.findall(r"^\| `([a-z]+)", file.read(), re.M)
        self.assertGreater(len(rows), 10)
        for name in rows:
            self.assertNotIn("no command", self.place.run(name, "--help").err)


if __name__ == "__main__":
    unittest.main()
