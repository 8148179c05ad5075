"""student_testing: the shipped assignments, what hostile submissions end as, what wrong sources are told.

Most of it through `tasks run`, which needs no servers; at the end through a worker. After every test
no process and no directory of a submission is left.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import unittest

import ctutor

SHIPPED = os.path.join(ctutor.ROOT, "tasks.d")
EXAMPLES = os.path.join(ctutor.ROOT, "examples")
C, PYTHON = os.path.join(EXAMPLES, "05_grading_c"), os.path.join(EXAMPLES, "06_grading_python")
STAGES = [
    ("10%", "fetching the submission"), ("20%", "fetching the tests"), ("40%", "building"),
    ("50%", "testing"), ("80%", "scoring"), ("100%", "done"),
]
ONE_CASE = "language: python\ncases:\n  - { stdout: hi }\n"
# Prints hi if it holds no capability, no root uid, and can make no user namespace to get one.
POWERLESS = """
import os, subprocess
status = open('/proc/self/status').read()
caps = [line for line in status.splitlines() if line.startswith('Cap') and int(line.split()[1], 16)]
made = subprocess.run(['unshare', '--user', 'true'], stderr=subprocess.DEVNULL).returncode == 0
print('hi' if not caps and not made and 0 not in os.getresuid() and 'NoNewPrivs:\\t1' in status else status)
"""
STRANGER = 54321  # a uid that nobody has
SHORT = "time_limit:=0.3"


def limits_for(submission):
    """Who ends by itself gets the time for it, however busy the machine is."""
    return [SHORT] if os.path.basename(submission) in ("endless_loop", "fork_bomb", "endless_output") else []


class GradingTest(unittest.TestCase):
    def setUp(self):
        self.place = ctutor.Folder(tasks=SHIPPED)
        self.addCleanup(self.place.close)
        self.addCleanup(subprocess.run, ["rm", "-rf", self.place.work])  # deeper than shutil can

    def tearDown(self):
        self.assertEqual(os.listdir(self.place.tmp), [])
        ctutor.wait_until(lambda: not ctutor.descendants(os.getpid()), 10, "no process is left")

    def grade(self, submission, tests, *args, **options):
        """The result; it must hold together."""
        done = self.place.run("tasks", "run", "student_testing", "repository=" + submission,
                              "tests=" + tests, *args, **options).expect(0)
        result = done.json
        self.assertEqual(set(result), {"score", "passed", "total", "percentage", "cases"})
        self.assertEqual(result["total"], len(result["cases"]))
        self.assertEqual(result["passed"], sum(case["passed"] for case in result["cases"]))
        for case in result["cases"]:
            self.assertEqual(set(case), {"name", "passed", "message", "duration"})
        result["stderr"] = done.err
        return result

    def refuse(self, submission, tests, *args):
        """What the task says when it cannot grade: an error, not a result."""
        done = self.place.run("tasks", "run", "student_testing", "repository=" + submission,
                              "tests=" + tests, *args).expect(1)
        self.assertEqual(done.out, "")
        return done.err

    def folder(self, name, **files):
        """A folder with these files, `_` in a name standing for a dot: main_py=..."""
        path = os.path.join(self.place.work, name)
        os.makedirs(path)
        for file, text in files.items():
            with open(os.path.join(path, file.replace("_", ".")), "w") as out:
                out.write(text)
        return path

    def python(self, text, tests=ONE_CASE, *args, **options):
        """The only case of a small submission."""
        name = "case%d" % len(os.listdir(self.place.work))
        submission = self.folder(name, main_py=text)
        return self.grade(submission, self.folder(name + "-tests", test_yaml=tests), *args, **options)["cases"][0]


class ShippedAssignments(GradingTest):
    def test_good_in_c(self):
        result = self.grade(C + "/good", C + "/tests")
        self.assertEqual((result["percentage"], result["score"], result["passed"]), (100, 6, 4))
        told = [line for line in result["stderr"].splitlines() if "stage=" in line]
        for percent, stage in STAGES:
            self.assertIn("%s stage=%s" % (percent, stage), told)

    def test_wrong_in_c_is_taught(self):
        result = self.grade(C + "/wrong", C + "/tests")
        self.assertEqual((result["percentage"], result["score"], result["passed"]), (16.7, 1, 1))
        _, negative, nothing, large = result["cases"]
        self.assertEqual(negative["message"].splitlines()[0], 'line 3: expected "maximum -2", got "maximum 0"')
        self.assertIn("hint: what does your maximum start from", negative["message"])
        self.assertIn("exit status 0 instead of 3", nothing["message"])
        self.assertIn('expected "sum 4000000000" somewhere, got "count 2\\nsum -294967296', large["message"])

    def test_what_does_not_compile(self):
        result = self.grade(C + "/broken", C + "/tests")
        self.assertEqual((result["percentage"], result["total"]), (0, 4))
        for case in result["cases"]:
            self.assertIn("build failed: ./main.c", case["message"])
            self.assertIn("expected ‘;’ before", case["message"])

    def test_good_in_python(self):
        result = self.grade(PYTHON + "/good", PYTHON + "/tests", "language=python")
        self.assertEqual((result["percentage"], result["passed"]), (100, 4))
        self.assertEqual([case["name"] for case in result["cases"]],
                         ["01_words", "02_capitals", "03_nothing", "04_limit"])

    def test_wrong_in_python_is_taught(self):
        result = self.grade(PYTHON + "/wrong", PYTHON + "/tests", "language=python")
        self.assertEqual((result["percentage"], result["passed"]), (50, 2))
        self.assertIn('line 1: expected "two 3", got "TWO 1"\nhint: a word is the same', result["cases"][1]["message"])
        self.assertIn('line 2: expected nothing, got "a 1"', result["cases"][3]["message"])


class Hostile(GradingTest):
    """Each submission loses its point, with the right words, soon."""

    def check(self, submission, words, *args, seconds=10):
        began = time.monotonic()
        result = self.grade(submission, os.path.join(self.place.work, "one-case"), *limits_for(submission), *args)
        self.assertEqual((result["percentage"], result["total"]), (0, 1), result)
        self.assertIn(words, result["cases"][0]["message"])
        self.assertLess(time.monotonic() - began, seconds)
        self.assertEqual(os.listdir(self.place.tmp), [])
        ctutor.wait_until(lambda: not ctutor.descendants(os.getpid()), 5, "no process is left")

    def test_in_c(self):
        expected = {
            "daemon": "exit status 9", "deep_tree": "5000 deep", "endless_loop": "stopped after 0.3 s",
            "endless_output": "wrote more than 65536 bytes", "fork_bomb": "stopped after 0.3 s",
            "hostile_build": "build failed", "huge_file": "SIGXFSZ", "memory_hog": "no memory after",
            "spy": ": found nothing",
        }
        self.assertEqual(set(os.listdir(C + "/hostile")), set(expected))
        self.folder("one-case", test_yaml=ONE_CASE)
        for name, words in expected.items():
            with self.subTest(name):
                self.check(C + "/hostile/" + name, words, "language=c")

    def test_in_python(self):
        expected = {
            "bad_bytes": "\\xFF\\x00\\xED\\xA0\\x80\\x1B[2J", "deep_tree": "5000 deep",
            "endless_loop": "stopped after 0.3 s", "endless_output": "wrote more than 65536 bytes",
            "fork_bomb": "stopped after 0.3 s", "huge_file": "File too large",
            "memory_hog": "MemoryError", "spy": ": found nothing",
        }
        self.assertEqual(set(os.listdir(PYTHON + "/hostile")), set(expected))
        self.folder("one-case", test_yaml=ONE_CASE)
        for name, words in expected.items():
            with self.subTest(name):
                limit = "memory_limit=" + ("64M" if name == "memory_hog" else "256M")
                self.check(PYTHON + "/hostile/" + name, words, limit)

    def test_no_capability_and_no_namespace_can_be_had(self):
        case = self.python(POWERLESS)
        self.assertTrue(case["passed"], case["message"])

    def test_servers_of_the_machine_are_out_of_reach(self):
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:
            name = "\0" + os.path.basename(self.place.root)
            abstract.bind(name)
            abstract.listen()
            text = ("import socket\nfor family, address in ((2, ('127.0.0.1', %d)), (1, %r)):\n"
                    "    try:\n        socket.socket(family).connect(address)\n        print('reached', address)\n"
                    "    except OSError:\n        pass\nprint('hi')" % (tcp.getsockname()[1], name))
            case = self.python(text)
        self.assertTrue(case["passed"], case["message"])

    def test_files_that_are_not_what_they_seem(self):
        submission = self.folder("links")
        os.symlink("/etc/hostname", os.path.join(submission, "main.py"))
        os.mkfifo(os.path.join(submission, "pipe"))
        result = self.grade(submission, self.folder("tests", test_yaml=ONE_CASE))
        self.assertIn("there is no main.py in the submission", result["cases"][0]["message"])

    def test_a_tree_deeper_than_any_path(self):
        submission = self.folder("deep", main_py="print('hi')")
        here = os.getcwd()
        os.chdir(submission)
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        result = self.grade(submission, self.folder("tests", test_yaml=ONE_CASE))
        self.assertEqual(result["total"], 1)  # passed or not: it came to an end

    def test_more_bytes_than_allowed(self):
        submission = self.folder("big", main_py="print('hi')")
        with open(submission + "/hole", "w") as file:
            file.truncate(1 << 40)
        self.assertIn("it is larger than 64M", self.refuse(submission, self.folder("tests", test_yaml=ONE_CASE)))

    def test_ctrl_c_ends_all_of_it(self):
        submission = self.folder("loop", main_py="while True: pass")
        process = self.place.start("tasks", "run", "student_testing", "repository=" + submission,
                                   "tests=" + self.folder("tests", test_yaml=ONE_CASE), "time_limit:=60")
        ctutor.wait_until(lambda: any("main.py" in ctutor.command_line(pid) and "py_compile" not in ctutor.command_line(pid)
                                      for pid in ctutor.descendants(process.pid)), 20, "the submission runs")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        self.assertEqual(process.returncode, 130)


class Limits(GradingTest):
    def test_the_tests_may_only_be_tighter(self):
        slow = "import time\ntime.sleep(30)\n"
        tests = "language: python\nlimits: { time: %s }\ncases: [{ stdout: hi }]\n"
        self.assertIn("after 0.2 s", self.python(slow, tests % "0.2")["message"])
        self.assertIn("after 0.3 s", self.python(slow, tests % "20", SHORT)["message"])

    def test_output(self):
        case = self.python("print('x' * 3000)", "language: python\nlimits: { output: 2K }\ncases: [{}]\n")
        self.assertEqual(case["message"], "wrote more than 2048 bytes")

    def test_memory(self):
        text = "bytearray(100 << 20)\nprint('hi')"
        self.assertIn("MemoryError", self.python(text, ONE_CASE, "memory_limit=80M")["message"])
        self.assertTrue(self.python(text, ONE_CASE, "memory_limit=200M")["passed"])

    def test_signals_are_told(self):
        case = self.python("import os\nos.kill(os.getpid(), 11)")
        self.assertEqual(case["message"], "ended by a segmentation fault (SIGSEGV)")


class Tests(GradingTest):
    """The format of tests."""

    def test_ways_to_compare(self):
        tests = ("language: python\ncases:\n"
                 "  - { name: exact, compare: exact, stdout: 'a \\nb' }\n"
                 "  - { name: trimmed, stdout: \"a\\nb\" }\n"
                 "  - { name: contains, compare: contains, stdout: b, points: 0.5 }\n"
                 "  - { name: anything }\n"
                 "  - { name: status, exit: 1 }\n"
                 "  - { name: args, args: ['-n', '2'], stdin: in, stdout: \"a\\nb\\n-n2in\" }\n")
        submission = self.folder("s", main_py="import sys\nprint('a ')\nprint('b')\nprint(''.join(sys.argv[1:]) + sys.stdin.read())")
        result = self.grade(submission, self.folder("tests", test_yaml=tests))
        passed = {case["name"] for case in result["cases"] if case["passed"]}
        self.assertEqual(passed, {"trimmed", "contains", "anything", "args"})
        self.assertEqual((result["score"], result["percentage"]), (3.5, 63.6))

    def test_own_build_and_run_and_files(self):
        tests = self.folder("tests", test_yaml="language: c\nbuild: [make, -s, tested]\nrun: [./tested, hi]\ncases: [{ stdout: hi 42 }]\n")
        os.mkdir(tests + "/files")
        with open(tests + "/files/Makefile", "w") as file:
            file.write("tested: answer.c driver.c\n\tgcc -o $@ $^\n")
        with open(tests + "/files/driver.c", "w") as file:
            file.write('#include <stdio.h>\nint answer(void);\nint main(int n, char **a) { (void)n; printf("%s %d\\n", a[1], answer()); }\n')
        submission = self.folder("s", answer_c="int answer(void) { return 42; }\n", Makefile="tested:\n\techo cheated; false\n")
        self.assertEqual(self.grade(submission, tests)["percentage"], 100)

    def test_mistakes_in_test_yaml_are_named(self):
        submission = self.folder("s", main_py="print('hi')")
        mistakes = {
            "cases: [": "test.yaml:",
            "- a": "test.yaml: '1' is not known here",
            "hello": "test.yaml must be a mapping",
            "language: python": "test.yaml: cases must be a list with at least one case",
            "cases: []": "test.yaml: cases must be a list with at least one case",
            "language: cobol\ncases: [{}]": "the language 'cobol' is not known (c, cpp, python are)",
            "cases: [{}]": "give the language (c, cpp, python) in test.yaml or as a parameter",
            "case: [{}]": "test.yaml: 'case' is not known here",
            "language: python\ncases: [{ name: a, sdtout: x }]": "test.yaml: case 1 (a): 'sdtout' is not known here",
            "language: python\ncases: [{}, { args: [1] }]": "test.yaml: case 2: args must be a list of texts without NUL (quote numbers)",
            "language: python\ncases: [{ args: [\"a\\0b\"] }]": "test.yaml: case 1: args must be a list of texts without NUL",
            "language: python\ncases: [{ stdout: 3 }]": "test.yaml: case 1: stdout must be a text (quote numbers)",
            "language: python\ncases: [{ points: -1 }]": "points must be a number of 0 or more",
            "language: python\ncases: [{ compare: fuzzy }]": "compare must be exact, trimmed or contains",
            "language: python\ncases: [{ exit: 300 }]": "exit must be a number from 0 to 255",
            "language: python\nlimits: { memory: 3X }\ncases: [{}]": "test.yaml: limits: memory must be a size such as 64M",
            "language: python\nrun: []\ncases: [{}]": "build and run name a program",
        }
        for number, (text, words) in enumerate(mistakes.items()):
            with self.subTest(text):
                said = self.refuse(submission, self.folder("t%d" % number, test_yaml=text))
                self.assertIn("tests: ", said)
                self.assertIn(words, said)

    def test_no_tests(self):
        submission = self.folder("s", main_py="print('hi')")
        empty = self.folder("empty")
        self.assertIn("tests: there is neither a test.yaml nor a file NAME.out", self.refuse(submission, empty, "language=python"))
        self.assertIn("tests: give the language", self.refuse(submission, PYTHON + "/tests"))

    def test_missing_files(self):
        empty = self.folder("empty")
        self.assertIn("there is no main.py in the submission", self.grade(empty, PYTHON + "/tests", "language=python")["cases"][0]["message"])
        self.assertIn("there is no *.c file in the submission", self.grade(empty, C + "/tests")["cases"][0]["message"])


class Sources(GradingTest):
    def git(self, *args):
        env = {"PATH": os.environ["PATH"], "HOME": self.place.work, "GIT_CONFIG_NOSYSTEM": "1",
               "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
        return subprocess.run(["git", "-C", self.repository, *args], env=env, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, text):
        with open(self.repository + "/main.py", "w") as file:
            file.write(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        return self.git("rev-parse", "HEAD")

    def setUp(self):
        super().setUp()
        self.repository = self.folder("repository")
        self.git("init", "-q", "-b", "main")
        self.tests = self.folder("one-case", test_yaml=ONE_CASE)

    def test_a_commit_a_tag_a_branch_or_the_newest(self):
        first = self.commit("print('ho')")
        self.git("tag", "handed-in")
        self.git("checkout", "-q", "-b", "work/ada")
        self.commit("print('hi')")
        self.git("checkout", "-q", "main")
        self.commit("print('he')")
        got = {}
        for commit in (first, first[:10], "handed-in", "work/ada", None):
            args = ["commit=" + commit] if commit else []
            got[commit] = self.grade(self.repository, self.tests, *args)["cases"][0]["message"]
        self.assertEqual(got.pop("work/ada"), "ok")
        self.assertEqual(got.pop(None), 'expected "hi", got "he"')
        self.assertEqual(set(got.values()), {'expected "hi", got "ho"'})

    def test_a_url_and_a_bare_repository_and_tests_in_git(self):
        self.commit("print('hi')")
        with open(self.repository + "/test.yaml", "w") as file:
            file.write(ONE_CASE)
        self.commit("print('hi') # again")
        bare = os.path.join(self.place.work, "bare.git")
        subprocess.run(["git", "clone", "-q", "--bare", self.repository, bare], check=True)
        for source in ("file://" + self.repository, bare):
            self.assertEqual(self.grade(source, source)["percentage"], 100)

    def test_what_is_not_there(self):
        first = self.commit("print('hi')")
        gone = "f" * 40
        nowhere = os.path.join(self.place.work, "nowhere")
        self.assertIn("submission: no commit %s in %s" % (gone, self.repository), self.refuse(self.repository, self.tests, "commit=" + gone))
        self.assertIn("submission: there is nothing at " + nowhere, self.refuse(nowhere, self.tests))
        self.assertIn("tests: there is nothing at " + nowhere, self.refuse(self.repository, nowhere))
        self.assertIn("submission: cannot clone file://" + nowhere, self.refuse("file://" + nowhere, self.tests))
        self.assertIn("is not a git repository, so it has no commit " + first, self.refuse(C + "/good", self.tests, "commit=" + first))
        shutil.rmtree(self.repository)
        os.mkdir(self.repository)
        self.git("init", "-q")
        self.assertIn("has no commits", self.refuse(self.repository, self.tests))
        said = self.refuse("nobody@127.0.0.1:x.git", self.tests)  # the cause, not the advice after it
        self.assertRegex(said, "cannot clone nobody@127.0.0.1:x.git: .*ssh")
        self.assertNotIn("and the repository exists", said)

    def test_what_is_no_source(self):
        self.commit("print('hi')")
        touched = os.path.join(self.place.work, "touched")
        for source in ("good", "../x", "--upload-pack=touch " + touched, "ext::touch " + touched):
            self.assertIn("is neither an absolute path nor a URL", self.refuse(source, self.tests))
        self.assertIn("cannot clone", self.refuse("ext://sh -c touch% " + touched, self.tests))
        for commit in ("--output=" + touched, "HEAD^{/x}", "a b", "HEAD@{1}"):
            self.assertIn("is not the name of a commit", self.refuse(self.repository, self.tests, "commit=" + commit))
        self.assertFalse(os.path.exists(touched))

    def test_a_partial_clone_fetches_nothing(self):
        """What it lacks would come from where its own settings say, by the program that they name."""
        touched = os.path.join(self.place.work, "touched")
        self.commit("print('hi')")
        blob = self.git("rev-parse", "HEAD:main.py")
        os.remove(os.path.join(self.repository, ".git/objects", blob[:2], blob[2:]))
        for key, value in (("core.repositoryformatversion", "1"), ("extensions.partialClone", "origin"),
                           ("remote.origin.promisor", "true"), ("remote.origin.url", self.place.work + "/x"),
                           ("remote.origin.uploadpack", "touch %s; false" % touched)):
            self.git("config", key, value)
        for source in (self.repository, "file://" + self.repository):
            self.assertRegex(self.refuse(source, self.tests), "submission: cannot (take|clone)")
        self.assertFalse(os.path.exists(touched))

    def test_a_password_in_a_url_is_not_told(self):
        said = self.refuse("http://ada:hunter2@127.0.0.1:1/x.git", self.tests)
        self.assertIn("cannot clone http://127.0.0.1:1/x.git", said)
        self.assertNotIn("hunter2", said)

    def test_hooks_and_filters_of_a_repository_do_nothing(self):
        touched = os.path.join(self.place.work, "touched")
        self.commit("print('hi')")
        for name in ("post-checkout", "post-index-change", "pre-upload"):
            with open(self.repository + "/.git/hooks/" + name, "w") as file:
                file.write("#!/bin/sh\ntouch %s\n" % touched)
            os.chmod(self.repository + "/.git/hooks/" + name, 0o755)
        for key, value in (("core.fsmonitor", "touch " + touched), ("uploadpack.packObjectsHook", "touch " + touched),
                           ("tar.tar.command", "touch " + touched), ("filter.x.smudge", "touch " + touched)):
            self.git("config", key, value)
        with open(self.repository + "/.gitattributes", "w") as file:
            file.write("* filter=x\n")
        self.assertEqual(self.grade(self.repository, self.tests)["percentage"], 100)
        self.assertFalse(os.path.exists(touched))


class Machines(GradingTest):
    @unittest.skipIf(os.geteuid() != 0, "is an unprivileged user anyway")
    def test_a_worker_that_is_not_root(self):
        home = os.path.join(self.place.root, "home")
        shutil.copytree(C + "/hostile", home)
        for name in ("good", "tests"):
            shutil.copytree(os.path.join(C, name), os.path.join(home, name))
        shutil.copytree(SHIPPED, home + "/tasks.d")
        for name, text in (("powerless", POWERLESS), ("test", None)):
            os.mkdir(os.path.join(home, name))
            with open(os.path.join(home, name, "main.py" if text else "test.yaml"), "w") as file:
                file.write(text or ONE_CASE)
        subprocess.run(["chown", "-R", "%d:%d" % (STRANGER, STRANGER), home, self.place.tmp], check=True)
        self.assertEqual(self.grade_as_stranger(home, "good", home + "/tests")["percentage"], 100)
        self.assertEqual(self.grade_as_stranger(home, "powerless", home + "/test")["percentage"], 100)
        for name, words in (("spy", ": found nothing"), ("fork_bomb", "stopped after"), ("deep_tree", "5000 deep")):
            result = self.grade_as_stranger(home, name, home + "/test", "language=c")
            self.assertEqual(result["percentage"], 0)
            self.assertIn(words, result["cases"][0]["message"])

    def grade_as_stranger(self, home, name, tests, *args):
        done = subprocess.run(
            ["setpriv", "--reuid=%d" % STRANGER, "--regid=%d" % STRANGER, "--clear-groups", ctutor.PROGRAM, "tasks", "run",
             "student_testing", "repository=%s/%s" % (home, name), "tests=" + tests, *limits_for(name), *args],
            cwd=home, env={**self.place.env, "HOME": home}, capture_output=True, text=True, timeout=60)
        return ctutor.Done([name], done.returncode, done.stdout, done.stderr, 0).expect(0).json

    def test_where_the_kernel_gives_no_second_uid_nothing_runs(self):
        """As in a container whose user namespace holds one user: refused, before anything is fetched."""
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", ctutor.PROGRAM, "tasks", "run", "student_testing",
             "repository=" + C + "/good", "tests=" + C + "/tests"],
            cwd=self.place.work, env=self.place.env, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("this machine cannot run submissions safely: ", done.stderr)
        self.assertNotIn("fetching", done.stderr)


class ThroughAWorker(ctutor.JourneyTest):
    tasks = SHIPPED

    def test_good_hostile_and_wrong_sources_in_the_testing_queue(self):
        with self.place.worker(queues="testing"):
            common = ["student_testing", "tests=" + C + "/tests"]
            ids = {name: self.place.submit(*common, *limits_for(name), "repository=%s/%s" % (C, name))
                   for name in ("good", "wrong", "hostile/fork_bomb", "hostile/deep_tree", "hostile/endless_output")}
            ids["bytes"] = self.place.submit("student_testing", "language=python", "tests=" + PYTHON + "/tests",
                                             "repository=" + PYTHON + "/hostile/bad_bytes")
            bad = self.place.submit(*common, "repository=/nowhere")
            percentages = {name: self.place.run("result", task_id, "--wait=60s").expect(0).json["percentage"]
                           for name, task_id in ids.items()}
            self.assertEqual(percentages, {"good": 100, "wrong": 16.7, "hostile/fork_bomb": 0, "hostile/deep_tree": 0,
                                           "hostile/endless_output": 0, "bytes": 0})
            info = self.place.run("status", ids["good"], "--json").expect(0).json
            self.assertEqual((info["queue"], info["status"], info["attempt"], info["max_attempts"]), ("testing", "SUCCESS", 1, 1))
            self.assertEqual(info["progress"]["percentage"], 100)
            failed = self.place.run("result", bad, "--wait=60s", "--json").expect(1).json
            self.assertEqual((failed["status"], failed["attempt"]), ("FAILURE", 1))
            self.assertEqual(failed["error"]["message"], "submission: there is nothing at /nowhere")
            self.place.check_nothing_left()

    def test_cancel_while_it_loops(self):
        with self.place.worker(queues="testing") as worker:
            task_id = self.place.submit("student_testing", "time_limit:=60", "tests=" + C + "/tests",
                                        "repository=" + C + "/hostile/endless_loop")
            ctutor.wait_until(lambda: any(ctutor.command_line(pid) == "./program" for pid in ctutor.descendants(worker.pid)),
                              20, "the submission runs")
            self.place.run("cancel", task_id).expect(0)
            self.place.wait_status(task_id, "REVOKED")
            ctutor.wait_until(lambda: not any("bwrap" in ctutor.command_line(pid) for pid in ctutor.descendants(worker.pid)),
                              10, "the sandbox is gone")


if __name__ == "__main__":
    unittest.main()
