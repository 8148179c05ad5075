"""The SQL door: the same verdicts as the command line, everything in the caller's transaction, nothing open to others."""
import json
import os
import re
import subprocess
import time
import unittest

from ctutor import JourneyTest, postgres_program, wait_until
from journey import TASK_INFO, ServedTest

LOCAL = {"PATH": os.environ["PATH"], "PGCLIENTENCODING": "UTF8"}
ERROR = re.compile(r"ERROR:  (\w{5}): (.*)")


class Session:
    """What one psql said: rows, and of its errors state, message and the lines of DETAIL."""

    def __init__(self, place, *statements, role="postgres"):
        argv = [postgres_program("psql"), "-X", "-q", "-t", "-A", "-v", "VERBOSITY=verbose", "-h", place.postgres_dir, "-U", role,
                "-d", "codeability"]
        done = subprocess.run(argv, env=LOCAL, input="".join(text + ";\n" for text in statements), capture_output=True, text=True, timeout=60)
        self.rows = done.stdout.split("\n")[:-1]
        self.err = done.stderr
        self.states = [state for state, _ in ERROR.findall(done.stderr)]
        detail = re.search(r"DETAIL:  (.*?)\n(?:HINT|CONTEXT|LOCATION):", done.stderr, re.S)
        self.detail = detail[1].splitlines() if detail else []


def literal(value):
    return "'%s'" % json.dumps(value, ensure_ascii=False).replace("'", "''")


# A schema as Lua, and parameters; what is wrong with them is for both doors to say.
DEEP = {"a": 1}
for _ in range(70):
    DEEP = {"a": DEEP}
CASES = [
    ('{}', {}, {"x": 1}, {"x": None}),
    ('{ m = "string" }', {"m": "x"}, {}, {"m": None}, {"m": 1}, {"n": "x"}, {"m": "x", "o": {"secret": [1]}}, {"m": {"a": 1}}, {"m": []}),
    ('{ message = "string", count = "integer", mess = "number", ab = "string" }', {"mesage": 1, "cuont": 2, "con": 3, "mes": 4, "messages": 5, "": 6, "abc": 7, "a": 8, "ba": 9, "xcountx": 1,
                                                                               "tnuoc": 1}),
    ('{ o = { properties = { alpha = {}, alpine = {} }, additionalProperties = false } }', {"o": {"alphe": 1, "alp": 1, "zeta": 1, "alphine": 1}}),
    ('{ m = { type = "string", optional = true } }', {}, {"m": None}, {"m": "x"}, {"m": True}),
    ('{ m = { type = { "string", "null" } } }', {"m": None}, {"m": ""}, {"m": 5}),
    ('{ m = { enum = { json.null, 1 } } }' .replace("json.null, ", ""), {"m": 1}, {"m": 1.0}, {"m": "1"}, {"m": None}),
    ('{ m = { type = { "boolean", "array", "integer" } } }', {"m": True}, {"m": []}, {"m": 3}, {"m": 3.0}, {"m": 3.5}, {"m": "3"}, {"m": {}}),
    ('{ n = "number", i = "integer" }', {"n": 1.5, "i": 2}, {"n": "1", "i": "2"}, {"n": 1, "i": 1.5}, {"n": 1, "i": 9007199254740992},
     {"n": 1, "i": 9007199254740993}, {"n": -9007199254740993, "i": 1}, {"n": 0.1, "i": -0.0}),
    ('{ n = { type = "number", minimum = 1, maximum = 10, exclusiveMinimum = 0.5, exclusiveMaximum = 10.5 } }', {"n": 1}, {"n": 10}, {"n": 0},
     {"n": 0.5}, {"n": 10.5}, {"n": 11}, {"n": 10.0}),
    ('{ n = { type = "number", multipleOf = 0.1 }, w = { multipleOf = 3, optional = true } }', {"n": 0.3}, {"n": 0.30000000000000004}, {"n": 0.35},
     {"n": 1, "w": 9}, {"n": 1, "w": 10}, {"n": 1, "w": "x"}, {"n": 1, "w": 9.5}, {"n": 1, "w": -9}, {"n": 1, "w": 0}),
    ('{ s = { type = "string", minLength = 1, maxLength = 3 } }', {"s": "äöü"}, {"s": ""}, {"s": "äöüß"}, {"s": "a\nb"}, {"s": "x" * 100}, {"s": "a\n\"b"}),
    ('{ s = { minLength = 2 } }', {"s": "a"}, {"s": 1}, {"s": "ab"}),
    ('{ e = { enum = { "a", "b", 3 } } }', {"e": "a"}, {"e": 3}, {"e": "c"}, {"e": ["a"]}),
    ('{ e = { enum = { "%s", "%s", "%s", "%s", "z" } } }' % ("a" * 50, "b" * 70, "c" * 50, "d" * 50), {"e": "z"}, {"e": "y"}),
    ('{ e = { const = { a = 1 } } }', {"e": {"a": 1}}, {"e": {"a": 1.0}}, {"e": {"a": 2}}, {"e": {"a": 1, "b": 1}}, {"e": 1}),
    ('{ a = { type = "array", minItems = 1, maxItems = 3, items = "integer" } }', {"a": [1]}, {"a": []}, {"a": [1, 2, 3, 4]}, {"a": [1, "x", 2.5]}, {"a": {}}),
    ('{ a = { items = { items = { type = "string", maxLength = 1 } } } }', {"a": [["x"], ["yy", 1]]}, {"a": 1}, {"a": [1, []]}),
    ('{ o = { properties = { a = "string", b = { items = "integer" } }, required = { "a" }, additionalProperties = false } }', {"o": {"a": "x"}},
     {"o": {}}, {"o": {"a": None}}, {"o": {"a": "x", "c": 1}}, {"o": {"a": "x", "b": [1, "2"]}}, {"o": 5}),
    ('{ o = { additionalProperties = { type = "integer", minimum = 0 } } }', {"o": {"x": 1, "y": 2}}, {"o": {"x": -1, "y z": "a"}}),
    ('{ k = { type = "string", secret = true, maxLength = 3 }, o = { optional = true, properties = { p = { type = "integer", secret = true } } } }',
     {"k": "abc"}, {"k": "hunter2"}, {"k": 12345}, {"k": "a", "o": {"p": "hunter2"}}, {"k": "a", "o": 5}),
    ('{ k = { type = "object", secret = true, properties = { a = "integer" }, additionalProperties = false } }', {"k": {"a": 1}}, {"k": {"hunter2": 1}},
     {"k": {"a": "hunter2"}}),
    ('{ k = { type = "object", secret = true, additionalProperties = "integer" } }', {"k": {"hunter2": "hunter2"}}),
    ('{ d = { format = "date" } }', {"d": "2024-02-29"}, {"d": "2023-02-29"}, {"d": "2000-02-29"}, {"d": "1900-02-29"}, {"d": "2024-13-01"}, {"d": "2024-04-31"},
     {"d": "0000-01-01"}, {"d": "2024-1-1"}, {"d": "2024-01-01\n"}, {"d": 5}, {"d": ""}, {"d": "2024-01-00"}, {"d": "2024-12-31"}),
    ('{ d = { format = "date-time" } }', {"d": "2026-11-24T08:00:00Z"}, {"d": "2026-11-24t23:59:60.5z"}, {"d": "2026-11-24T08:00:00+01:30"}, {"d": "2026-11-24T08:00:00"},
     {"d": "2026-11-24 08:00:00Z"}, {"d": "2026-11-24T24:00:00Z"}, {"d": "2026-11-24T08:00:00.Z"}, {"d": "2026-11-31T08:00:00Z"}, {"d": "2026-11-24T08:00:00+24:00"}),
    ('{ d = { format = "email" } }', {"d": "a@b.c"}, {"d": "ä@ö.de"}, {"d": "@b.c"}, {"d": "a@"}, {"d": "a@b@c"}, {"d": "a b@c"}, {"d": ".a@b.c"}, {"d": "a.@b.c"},
     {"d": "a..b@c.d"}, {"d": "a@-b.c"}, {"d": "a@b.c."}, {"d": "a@b_c"}, {"d": "a" * 65 + "@b.c"}, {"d": "a" * 64 + "@b.c"}, {"d": "a\\b@c"}, {"d": "a@b..c"}),
    ('{ d = { format = "uri" } }', {"d": "https://example.org/"}, {"d": "a:b"}, {"d": "1a:b"}, {"d": "a:"}, {"d": "ab"}, {"d": "a:b c"}, {"d": "a:<b>"}, {"d": "a:ä"},
     {"d": "a_b:c"}, {"d": "a:b^c"}, {"d": "a:\\b"}, {"d": "x+y-z.1:q"}, {"d": "a:b\n"}),
    ('{ d = { format = "uuid" } }', {"d": "0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5f"}, {"d": "0192D3C8-7E2A-7C4E-9D55-0A1B2C3D4E5F"}, {"d": "0192d3c87e2a7c4e9d550a1b2c3d4e5f"},
     {"d": "0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5g"}, {"d": "{0192d3c8-7e2a-7c4e-9d55-0a1b2c3d4e5f}"}),
    ('{ d = { format = "ipv4" } }', {"d": "1.2.3.4"}, {"d": "255.255.255.255"}, {"d": "256.1.1.1"}, {"d": "1.2.3"}, {"d": "01.2.3.4"}, {"d": "1.2.3.4 "}, {"d": "0.0.0.0"}),
    ('{ d = { format = "ipv6" } }', {"d": "::"}, {"d": "::1"}, {"d": "1:2:3:4:5:6:7:8"}, {"d": "1:2:3:4:5:6:7::"}, {"d": "::2:3:4:5:6:7:8"}, {"d": "1:2:3:4::5:6:7:8"},
     {"d": "1:2:3:4:5:6:7"}, {"d": "::1.2.3.4"}, {"d": "1:2:3:4:5:6:1.2.3.4"}, {"d": "1:2:3:4:5:6:7:1.2.3.4"}, {"d": "1.2.3.4"}, {"d": "::1::"}, {"d": ":::"}, {"d": "12345::"},
     {"d": "::1.2.3"}, {"d": "fe80::1%eth0"}, {"d": "FE80::a"}, {"d": ":1:2:3:4:5:6:7:8"}, {"d": "1:"}, {"d": "1::2:3:"}, {"d": "::01.2.3.4"}, {"d": "::ffff:1.2.3.4"}),
    ('{ x = "string" }', {"x": "y" * 1100000}, {"x": "y" * 1000000}, DEEP, {"x": "z\t\x7f"}),
    ('{ x = { optional = true } }', {"x": DEEP}, {"x": [[9007199254740993]]}, {"x": [[[]]]}, {"x": {}}),
]
# Each against each text: both must see the same.
PATTERNS = [
    "^[a-z]{2,5}$", "b", "^(a|bc)*$", r"^\d+$", r"\s", r"^\S*$", r"^\w+\s\w+$", "^.$", "^..$", r"^[^\s]+$", r"[\s,]", r"^[\w.-]+@", r"^a\.b$", r"^\[x\]$", r"^[\]\^\-\\[]$",
    r"^\u00e4$", "^[ä-ü]$", "^$", "a|", "^(?:ab)?c+$", r"^x{3}$", r"^[a-f0-9]{8}(-[a-f0-9]{4}){3}$", r"\\", r"^[\\]$", r"^a{0,2}b*$", r"^\x41", r"^[^a]$", "^(a(b(c|d)))$",
    r"^\$\{", "a$", "(^a)|(b$)", r"[+*?{}|()$.]", r"^\n", r"^[^\n]*$", r"^}]$", "^a.{20,200}b?$", r"^\W$", r"^\D\d$",
]
TEXTS = ["", "a", "b", "ab", "abc", "abd", "bcbc", "abcdef", "a b", "a\tb", "12", "a1", "ä", "ö", "\u2003", "\u00a0", "\ufeff", "\u0085", "\u200b", "\u180e", "\n", "a\n", "a\nb", "a.b", "a-b",
         "[x]", "]", "^", "-", "\\", "[", "xxx", "0123abcd-0123-0123-0123", "A", "${", "a" + "x" * 30, "a,b", "x@y", "𝒳", "aab", "(", "}]", "ccc", "abc ", "\r", "\u2028", "É", "x" * 300]


class Verdicts(JourneyTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for i, case in enumerate(CASES):
            cls.place.task("c%d" % i, "return { params = %s, execute = function() end }" % case[0])
        for i, pattern in enumerate(PATTERNS):
            cls.place.task("p%d" % i, "return { params = { x = { pattern = [==[%s]==] } }, execute = function() end }" % pattern)
        cls.place.task("large", 'return { params = { x = { pattern = "^a{300}$" } }, execute = function() end }')
        with cls.place.worker():
            pass

    def tearDown(self):
        self.place.run("cancel", "--status=PENDING", "--yes").expect(0)
        super().tearDown()

    def ask(self, cases):
        """Of each (task, parameters) the sorted faults that both doors find."""
        lines = "".join(json.dumps({"task_name": task, "parameters": params, "delay": 9999}) + "\n" for task, params in cases)
        told = self.place.run("submit", "--bulk", "-", input=lines)
        line = dict(re.findall(r"^(?:ctutor-run: )?line (\d+): (.*)$", told.err, re.M))
        by_cli = [self.faults(line.get(str(i + 1), "").removeprefix(task + ": ")) for i, (task, _) in enumerate(cases)]
        calls = "".join("SELECT pg_temp.try('%s', %s);\n" % (task, literal(params)) for task, params in cases)
        path = os.path.join(self.place.root, "calls.sql")
        with open(path, "w") as file:
            file.write("""
                CREATE FUNCTION pg_temp.try(task text, p jsonb) RETURNS json LANGUAGE plpgsql AS $$
                DECLARE lines text; state text; message text; BEGIN
                  PERFORM ctutor.submit(task, p, delay => '2 h'); RETURN '""';
                EXCEPTION WHEN OTHERS THEN
                  GET STACKED DIAGNOSTICS lines = PG_EXCEPTION_DETAIL, state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
                  RETURN to_json(CASE state WHEN '22023' THEN lines ELSE state || ' ' || message END); END $$;\n""" + calls)
        done = Session(self.place, "\\i " + path)
        self.assertEqual(done.err, "")
        return by_cli, [self.faults(json.loads(row), "\n") for row in done.rows if row]

    def faults(self, text, between="; (?!did you)"):
        return sorted(re.split(between, text)) if text else []

    def test_parameters_are_judged_as_by_the_command_line(self):
        cases = [("c%d" % i, params) for i, case in enumerate(CASES) for params in case[1:]]
        refused = 0
        for case, cli, sql in zip(cases, *self.ask(cases)):
            with self.subTest(case[0] + str(case[1])[:200]):
                refused += bool(cli)
                if any("nested deeper" in line or "beyond 2^53" in line for line in sql):
                    self.assertTrue(cli)  # which says first what the schema refuses
                    self.assertEqual(len(sql), 1)
                    continue
                if any("take 1100" in line for line in cli):
                    self.assertRegex(sql[0], r"parameters: take 11000\d\d bytes, the limit is 1048576 \(CTUTOR_MAX_PARAMS\)")
                    continue
                self.assertEqual(*([re.sub("([:,]) ", r"\1", line) for line in lines] for lines in (sql, cli)))  # jsonb shows these blanks
                self.assertNotIn("hunter2", "".join(sql))
        self.assertGreater(refused, 100)

    def test_patterns_match_as_by_the_command_line(self):
        cases = [("p%d" % i, {"x": text}) for i in range(len(PATTERNS)) for text in TEXTS]
        refused, differ = 0, []
        for case, cli, sql in zip(cases, *self.ask(cases)):
            refused += bool(cli)
            if bool(sql) != bool(cli):
                differ.append((PATTERNS[int(case[0][1:])], case[1], cli, sql))
        self.assertEqual(differ, [])
        self.assertTrue(500 < refused < len(cases) - 200, refused)

    def test_a_pattern_that_postgres_cannot_match_is_told_so(self):
        done = Session(self.place, "SELECT ctutor.submit('large', '{\"x\": \"a\"}')")
        self.assertEqual(done.states, ["0A000"])
        self.assertIn("^a{300}$", done.err)


FILES = {
    "greet": 'return { params = { name = "string", count = { type = "integer", default = 2, minimum = 1 } }, tags = { "own" },\n'
             '  retries = { max = 3, backoff = "linear", base = 2, cap = 9, jitter = true }, timeout = "90s",\n'
             '  execute = function(_, p) return p end }',
    "secret": 'return { params = { key = { type = "string", secret = true }, open = "string" }, execute = function(_, p) return #p.key end }',
    "wait": 'return { queue = "default", execute = function(ctx) ctx.sleep(60) end }',
}
ANN = '{"name": "Ann"}'
WEEK_AGO = "lpad(to_hex((extract(epoch FROM now() - interval '%s') * 1000)::bigint), 12, '0')"


class Door(ServedTest):
    files = FILES

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place.psql("CREATE ROLE app LOGIN; CREATE ROLE \"Odd \"\"name\" LOGIN; CREATE ROLE viewer LOGIN; CREATE ROLE nobody LOGIN;"
                       "GRANT CREATE ON SCHEMA public TO app")
        for door, role in (("submit", "app"), ("submit", 'Odd "name'), ("read", "viewer"), ("submit", "app")):
            cls.place.run("migrate", "--grant", door, role).expect(0)

    def tearDown(self):
        self.cancel_all()
        super().tearDown()

    def sql(self, *statements, role="app", states=()):
        done = Session(self.place, *statements, role=role)
        self.assertEqual(done.states, list(states), done.err)
        return done

    def submit(self, call, **options):
        return self.sql("SELECT ctutor.submit(%s)" % call, **options).rows[0]

    def cancel_all(self):
        self.place.psql("SELECT count(*) FROM cancel_tasks(ARRAY(SELECT id FROM active))")

    def late(self, task, since="run_at"):
        return float(self.place.value("SELECT extract(epoch FROM started_at - %s) FROM task_info WHERE task_id = '%s'" % (since, task)))

    # ---- what a submission is ----

    def test_it_runs_soon_after_its_commit(self):
        late = []
        for _ in range(20):
            task = self.submit("'greet', '%s'" % ANN)
            self.assertEqual(self.result(task)["result"], {"name": "Ann", "count": 2})
            late.append(self.late(task))
        self.assertLess(sorted(late)[10], 0.05, late)

    def test_what_it_does_not_say_the_task_says(self):
        self.assertEqual(self.submit("'greet', '%s', delay => '1 h'" % ANN), self.place.value("SELECT task_id FROM task_info WHERE status = 'PENDING'"))
        by_cli = self.place.submit("greet", "name=Ann", "--delay", "1h")
        shared = "name, queue, priority, parameters, tags, timeout_us, retry_max, retry_backoff, retry_base_us, retry_cap_us, retry_jitter, max_losses, schema_hash"
        rows = self.place.psql("SELECT %s, run_at - created_at > interval '1 h' - interval '1 s' FROM tasks WHERE id IN (SELECT id FROM active)" % shared)
        self.assertEqual(len(rows), 2)
        self.assertEqual(rows[0], rows[1])
        self.assertEqual(self.place.value("SELECT created_by FROM tasks WHERE id <> '%s' ORDER BY id DESC" % by_cli), "sql:app")

    def test_what_it_says_counts(self):
        task = self.submit("'greet', '%s', priority => 9, run_at => now() + interval '1 day', timeout => '5 min', retries => 7, expires => '2 days',"
                           "unique_key => 'k', tags => '{a,\"b c\"}'" % ANN)
        info = self.info(task)
        self.assertEqual((info["queue"], info["priority"], info["timeout"], info["max_attempts"], info["unique_key"], info["tags"], info["created_by"]),
                         ("high_priority", 9, 300, 8, "k", ["a", "b c"], "sql:app"))
        self.assertEqual(self.place.value("SELECT expires_at - run_at BETWEEN interval '1 day' AND interval '1 day 1 s' FROM task_info WHERE task_id = '%s'" % task), "t")
        low, named = self.submit("'greet', '%s', priority => 1, delay => '1 h'" % ANN), self.submit("'greet', '%s', 'gpu', 10, '1 h'" % ANN)
        self.assertEqual([self.info(task)["queue"] for task in (low, named)], ["low_priority", "gpu"])

    def test_delayed_tasks_start_in_time(self):
        task = self.submit("'greet', '%s', delay => '300 ms'" % ANN)
        self.result(task)
        late = self.late(task)
        self.assertTrue(0 <= late < 0.6, late)
        past = self.submit("'greet', '%s', run_at => '2020-01-01'" % ANN)
        self.assertEqual(self.result(past)["status"], "SUCCESS")

    def test_every_wrong_field_has_its_line(self):
        done = self.sql("SELECT ctutor.submit('greet', '{\"count\": 0}', 'Q!', 11, '-1 s', now(), '0', -1, '0 s', '', '01932c07-4a80-4c3e-9f5d-2b8a6e1f0c34', '{\"\"}')",
                        states=["22023"])
        self.assertEqual([line.split(":")[0] for line in done.detail],
                         ["name", "count", "delay", "id", "priority", "queue", "run_at", "retries", "timeout", "unique_key", "tags"])
        for call, line in (("expires => '1 h', delay => '1 h'", "expires: must lie after"), ("expires => '0'", "expires: must lie after"), ("delay => '11 years'", "delay: must lie"),
                           ("id => (%s || '70008000000000000000')::uuid" % (WEEK_AGO % "8 days"), "id: carries a time"), ("id => (%s || '70008000000000000000')::uuid" % (WEEK_AGO % "-25 h"), "id: carries a time"),
                           ("run_at => 'infinity'", "run_at: must be"), ("tags => array_fill('x'::text, '{33}')", "tags: must be"), ("timeout => '11 years'", "timeout: must lie")):
            self.assertRegex("\n".join(self.sql("SELECT ctutor.submit('greet', '%s', %s)" % (ANN, call), states=["22023"]).detail), "^%s[^\n]*$" % line)
        self.assertIn("there is no task 'gret': did you mean greet?", self.sql("SELECT ctutor.submit('gret')", states=["42704"]).err)
        self.sql("SELECT ctutor.submit(NULL)", "SELECT ctutor.submit('x')", states=["42704", "42704"])
        self.sql("SELECT ctutor.submit('greet', '{\"name\": \"\\u0000\"}')", states=["22P05"])
        self.assertEqual(self.sql("SELECT ctutor.submit('greet', '[]')", states=["22023"]).detail, ["parameters: must be a JSON object"])

    def test_a_full_queue_is_refused(self):
        self.place.psql("INSERT INTO queues (name, is_full) VALUES ('crowd', true)")
        self.sql("SELECT ctutor.submit('greet', '%s', 'crowd')" % ANN, states=["53400"])

    # ---- once only ----

    def test_an_id_or_a_key_is_taken_once(self):
        task = self.submit("'greet', '%s', delay => '1 h', unique_key => 'one'" % ANN)
        own = ", id => '%s', delay => '1 h'" % task
        self.assertEqual(self.submit("'greet', '{\"name\":\"Ann\"}'" + own), task)
        self.assertIn(task, self.sql("SELECT ctutor.submit('greet', '{\"name\": \"Bob\"}'%s)" % own, states=["23505"]).err)
        self.sql("SELECT ctutor.submit('wait'%s)" % own, states=["23505"])
        self.assertEqual(self.submit("'greet', '{\"name\": \"Bob\"}', unique_key => 'one'"), task)
        self.assertEqual(self.place.run("submit", "greet", "name=Bob", "--unique", "one").expect(0).out.strip(), task)
        self.assertNotEqual(self.submit("'secret', '{\"key\": \"a\", \"open\": \"b\"}', unique_key => 'one'"), task)
        self.assertEqual(self.place.value("SELECT parameters->>'name' FROM task_info WHERE task_id = '%s'" % task), "Ann")
        self.cancel_all()
        self.assertNotEqual(self.submit("'greet', '%s', unique_key => 'one'" % ANN), task)
        self.assertEqual(self.submit("'greet', '%s', id => '%s'" % (ANN, task)), task)  # also when it has ended
        self.wait_empty()

    def wait_empty(self):
        wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 20)

    def test_who_cannot_see_the_holder_of_a_key_may_try_again(self):
        statements = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1 FROM pg_class LIMIT 1",
                      "\\! psql -X -q -h '%s' -U app -d codeability -c \"SELECT ctutor.submit('greet', '{\\\"name\\\": \\\"a\\\"}', delay => '1 h', unique_key => 'rr')\" > /dev/null\n"
                      "SELECT ctutor.submit('greet', '%s', unique_key => 'rr')" % (self.place.postgres_dir, ANN), "ROLLBACK")
        self.sql(*statements, states=["40001"])

    # ---- in the caller's transaction ----

    def test_what_is_rolled_back_never_was(self):
        done = self.sql("BEGIN", "SELECT ctutor.submit('greet', '%s')" % ANN, "ROLLBACK",
                        "BEGIN", "SELECT ctutor.submit('greet', '{\"name\": \"kept\"}')", "SAVEPOINT a", "SELECT ctutor.submit('greet', '%s')" % ANN, "ROLLBACK TO a",
                        "SELECT ctutor.submit('greet', '{}')", "ROLLBACK TO a", "SELECT ctutor.submit('greet', '{\"name\": \"too\"}')", "COMMIT", states=["22023"])
        gone, kept, undone, too = [row for row in done.rows if row]
        self.assertEqual([self.result(task)["result"]["name"] for task in (kept, too)], ["kept", "too"])
        for task in (gone, undone):
            self.place.run("status", task).expect(4)

    def test_it_waits_for_the_commit(self):
        done = self.sql("BEGIN", "SELECT ctutor.submit('greet', '%s')" % ANN, "SELECT pg_sleep(1)", "SELECT clock_timestamp()", "COMMIT")
        task, _, committed = done.rows
        self.result(task)
        late = self.late(task, "timestamptz '%s'" % committed)
        self.assertTrue(0 <= late < 0.5, late)  # though it is due at a moment that the keeper has passed

    def test_ten_thousand_in_one_transaction(self):
        start = time.monotonic()
        many = "SELECT count(ctutor.submit('greet', jsonb_build_object('name', 'n' || i), 'nowhere')) FROM generate_series(1, 10000) i"
        done = self.sql("LISTEN ctutor_submitted", "BEGIN", many, "COMMIT", "SELECT 1")
        self.assertLess(time.monotonic() - start, 20)
        self.assertEqual([row for row in done.rows if "notification" not in row], ["10000", "1"])
        self.assertEqual(sum("notification" in row for row in done.rows), 1)
        wait_until(lambda: self.place.redis("ZCARD", "{ctutor}:q:nowhere") == 10000, 20)
        in_order = self.place.value("SELECT bool_and(right(parameters->>'name', -1)::int = n) FROM (SELECT parameters, row_number() OVER (ORDER BY id) AS n FROM tasks WHERE queue = 'nowhere') t")
        self.assertEqual(in_order, "t")
        self.cancel_all()
        self.place.redis("DEL", "{ctutor}:q:nowhere")

    def test_a_keeper_that_lost_its_connection_hears_again(self):
        connected = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ctutor-run keeper'"
        for _ in range(3):  # what it did not hear meanwhile the round of five seconds would find, at last
            before = wait_until(lambda: self.place.value(connected))
            self.place.psql("SELECT pg_terminate_backend(%s)" % before)
            task = self.submit("'greet', '%s'" % ANN)
            self.result(task)
            self.assertLess(self.late(task), 2)
            wait_until(lambda: self.place.value(connected) not in (None, before))

    def test_the_limit_is_that_of_the_keeper(self):
        self.assertEqual(self.place.value("SELECT max_params FROM keeper"), "1048576")

    # ---- cancel ----

    def test_cancel_tells_what_it_met(self):
        waiting = self.submit("'greet', '%s', delay => '1 h'" % ANN)
        self.assertEqual(self.sql("SELECT ctutor.cancel('%s')" % waiting, "SELECT ctutor.cancel('%s')" % waiting).rows, ["cancelled", "refused"])
        self.assertEqual(self.info(waiting)["status"], "REVOKED")
        running = self.submit("'wait'")
        self.wait_started(running)
        self.sql("BEGIN", "SELECT ctutor.cancel('%s')" % running, "ROLLBACK")
        self.assertEqual(self.info(running)["cancel_requested_at"], None)
        self.assertEqual(self.sql("SELECT ctutor.cancel('%s')" % running).rows, ["cancelling"])
        self.assertEqual(self.place.wait_status(running, "REVOKED")["status"], "REVOKED")
        self.sql("SELECT ctutor.cancel('01932c07-4a80-7c3e-9f5d-2b8a6e1f0c34')", states=["42704"])

    # ---- who may ----

    def test_the_view_has_the_columns_of_the_contract(self):
        columns = self.place.psql("SELECT attname FROM pg_attribute WHERE attrelid = 'task_info'::regclass AND attnum > 0 ORDER BY attnum")
        self.assertEqual([column for column, in columns], TASK_INFO + ["result"])

    def test_a_reader_sees_the_view_and_no_secret(self):
        task = self.submit("""'secret', '{"key": "hunter2", "open": "yes"}'""")
        self.result(task)
        whole = self.sql("SELECT i FROM ctutor.task_info i WHERE task_id = '%s'" % task, "SELECT parameters FROM ctutor.task_info WHERE task_id = '%s'" % task, role="viewer").rows
        self.assertEqual(whole[1], '{"key": "********", "open": "yes"}')
        self.assertNotIn("hunter2", whole[0])
        leak = ("CREATE FUNCTION pg_temp.leak(p jsonb) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'saw %', p; RETURN true; END $$",
                "SELECT count(*) FROM ctutor.task_info WHERE pg_temp.leak(parameters) AND task_id = '" + task + "'")
        done = self.sql(*leak, role="viewer")
        self.assertIn("saw", done.err)
        self.assertNotIn("hunter2", done.err)
        self.sql("SELECT ctutor.submit('greet')", "SELECT ctutor.cancel(NULL)", "UPDATE ctutor.task_info SET status = ''", "SELECT parameters FROM ctutor.tasks",
                 role="viewer", states=["42501", "42501", "55000", "42501"])

    def test_nothing_else_opens(self):
        functions = [row for row, in self.place.psql("SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'ctutor'::regnamespace")]
        self.assertGreater(len(functions), 40)
        opened = {role: {name for name, in self.place.psql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'ctutor'::regnamespace AND has_function_privilege('%s', oid, 'EXECUTE')" % role)}
            for role in ("app", "viewer", "nobody")}
        self.assertEqual(opened, {"app": {"submit", "cancel"}, "viewer": {"status_word", "time_word", "masked", "error_json"}, "nobody": set()})
        tables = {role: {name for name, in self.place.psql(
            "SELECT relname FROM pg_class WHERE relnamespace = 'ctutor'::regnamespace AND relkind IN ('r', 'p', 'v', 'S') AND CASE relkind WHEN 'S' THEN has_sequence_privilege('%s', oid, 'USAGE')"
            " ELSE has_table_privilege('%s', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER') END" % (role, role))} for role in ("app", "viewer", "nobody")}
        self.assertEqual(tables, {"app": set(), "viewer": {"task_info"}, "nobody": set()})
        self.sql("SELECT ctutor.submit('greet')", "SELECT * FROM ctutor.task_info", role="nobody", states=["42501", "42501"])
        self.sql("SELECT ctutor.cancel_tasks('{}')", "SELECT * FROM ctutor.task_info", "CREATE TABLE ctutor.x ()", "SELECT ctutor.grant_door('read', 'app')",
                 states=["42501", "42501", "42501", "42501"])
        self.assertEqual(self.place.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'ctutor'::regnamespace AND prosecdef"), "2")

    def test_what_a_caller_makes_stands_in_for_nothing(self):
        trap = "CREATE OR REPLACE FUNCTION public.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$"
        tables = ["CREATE TEMP TABLE %s (LIKE public.like_%s)" % (name, name) for name in ("tasks", "active", "catalogue", "queues", "keeper")]
        triggers = ["CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.%s FOR EACH ROW EXECUTE FUNCTION public.trap()" % name for name in ("tasks", "active")]
        likes = ";".join("CREATE TABLE public.like_%s (LIKE ctutor.%s); GRANT SELECT ON public.like_%s TO app" % (name, name, name) for name in ("tasks", "active", "catalogue", "queues", "keeper"))
        self.place.psql(likes)
        shadows = ("CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$",
                   "CREATE FUNCTION public.micros(timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$",
                   "CREATE FUNCTION public.is_less(numeric, numeric) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'as %', current_user; END $$",
                   "CREATE OPERATOR public.< (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = public.is_less)",
                   "CREATE FUNCTION pg_temp.check_value(jsonb, jsonb, text, boolean, jsonb) RETURNS text[] LANGUAGE sql RETURN '{}'::text[]",
                   "CREATE DOMAIN pg_temp.uuid AS text CHECK (VALUE = 'never')")
        done = self.sql(trap, *tables, *triggers, *shadows, "SET search_path = pg_temp, public, pg_catalog", "SELECT ctutor.submit('greet', '%s', delay => '1 h')" % ANN,
                        "SELECT ctutor.submit('greet', '{}')", "SELECT ctutor.cancel(id) FROM (SELECT max(t::text)::pg_catalog.uuid AS id FROM (VALUES (ctutor.submit('greet', '%s', delay => '1 h'))) v (t)) i" % ANN,
                        "SELECT count(*) FROM pg_temp.tasks", states=["22023"])
        self.assertRegex(done.rows[0], "^[0-9a-f-]{36}$")
        self.assertEqual(done.rows[1:], ["cancelled", "0"])
        self.assertEqual(self.info(done.rows[0])["status"], "PENDING")
        self.place.psql("DROP OPERATOR public.<(numeric, numeric)")

    def test_every_function_of_a_language_has_a_path_that_ends_with_temp(self):
        rows = self.place.psql("SELECT DISTINCT c FROM pg_proc, unnest(proconfig) c WHERE pronamespace = 'ctutor'::regnamespace AND c LIKE 'search_path%'")
        self.assertEqual(rows, [('search_path="ctutor", pg_temp',)])

    # ---- migrate ----

    def test_grants_are_refused_with_advice(self):
        for words, told in ((("--grant", "submit", "ghost"), "CREATE ROLE"), (("--grant", "write", "app"), "submit and read"), (("--grant", "read"), "which role"), (("app",), "too much"),
                            (("--grant", "read", "app", "viewer"), "too much")):
            self.assertIn(told, self.run_("migrate", *words, status=2).err)
        self.assertEqual(self.run_("migrate", "--grant", "submit", 'Odd "name', "--json").json, {"schema": "ctutor", "version": 2, "applied": 0, "granted": "submit", "role": 'Odd "name'})
        self.result(self.submit("'greet', '%s'" % ANN, role='Odd "name'))


if __name__ == "__main__":
    unittest.main()
