"""What was done, counted: /metrics and /api/stats, after deaths and restarts as before."""

import json
import os
import re
import signal
import unittest

import ctutor
import journey
import rest

TASKS = {
    "fine": 'return { execute = function(ctx) return 1 end }',
    "flaky": """return { retries = { max = 2, backoff = "fixed", base = "10ms", jitter = false },
      execute = function(ctx) if ctx.attempt < 3 then error("again") end return ctx.attempt end }""",
    "hopeless": 'return { execute = function(ctx) ctx.fatal("no luck") end }',
    "slow": 'return { timeout = "300ms", execute = function(ctx) ctx.sleep(60) end }',
    "die": "return { timeout = 60, max_losses = 1, execute = function(ctx) while true do end end }",
    "hold": """local fs = require "ctutor.fs"
return { params = { key = "string" }, execute = function(ctx, params)
  while not fs.exists(params.key) do ctx.sleep(0.02) end return "released" end }""",
}
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r'^(%s)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,(?!\}))?)+\})? (\S+)$' % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
# The contract's; the rest is ours to change.
PROMISED = {
    "ctutor_tasks_submitted_total": {"task", "queue"}, "ctutor_tasks_finished_total": {"task", "queue", "status"},
    "ctutor_attempts_failed_total": {"task", "kind"}, "ctutor_queue_waiting": {"queue"},
    "ctutor_queue_oldest_age_seconds": {"queue"}, "ctutor_queue_paused": {"queue"}, "ctutor_workers": set(),
    "ctutor_slots": {"state"}, "ctutor_loop_lag_seconds": set(), "ctutor_last_claim_ok_age_seconds": set(),
    "ctutor_fenced_total": set(), "ctutor_losses_total": set(), "ctutor_reload_errors": set(), "ctutor_store_up": {"store"},
    "ctutor_task_run_seconds_bucket": {"task", "le"}, "ctutor_task_wait_seconds_bucket": {"task", "le"},
}


def parse(text):
    """{(name, frozenset of labels): value}, as strictly as Prometheus, and what it says of families: {name: type}."""
    samples, types, helped, current = {}, {}, set(), None
    assert text.endswith("\n"), "the last line has no end"
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in helped, current + " comes twice"
            helped.add(current)
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert name == current and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        else:
            found = SAMPLE.match(line)
            assert found, "no sample: " + line
            name, labels = found[1], LABEL.findall(found[2] or "")
            base = re.sub("_(bucket|sum|count)$", "", name) if types[current] == "histogram" else name
            assert base == current, "%s stands in the family %s" % (name, current)
            assert (types[current] == "counter") == name.endswith("_total"), name
            key = (name, frozenset(labels))
            assert key not in samples and len(dict(labels)) == len(labels), line
            samples[key] = float(found[3])
    for name, kind in types.items():
        if kind == "histogram":
            check_histogram(name, samples)
    return samples, types


def check_histogram(name, samples):
    buckets = {}
    for (series, labels), value in samples.items():
        if series == name + "_bucket":
            of = dict(labels)
            buckets.setdefault(frozenset(labels - {("le", of["le"])}), []).append((float(of["le"]), value))
    for labels, pairs in buckets.items():
        counts = [count for _, count in sorted(pairs)]
        assert counts == sorted(counts), (name, labels, counts)
        assert sorted(pairs)[-1][0] == float("inf") and counts[-1] == samples[(name + "_count", labels)], (name, labels)
        assert samples[(name + "_sum", labels)] >= 0


def cpu_ticks(pid):
    with open("/proc/%d/stat" % pid) as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))


def text_of(name):
    with open(os.path.join(ctutor.ROOT, name), encoding="utf-8") as file:
        return file.read()


def documented():
    """{name: set of labels} of the table in docs/metrics.md."""
    rows = re.findall(r"^\| `(ctutor_\w+)` \|([^|]*)\|", text_of("docs/metrics.md"), re.M)
    assert len(rows) == len(dict(rows)), "a name comes twice"
    return {name: set(filter(None, labels.strip().split(", "))) for name, labels in rows}


def rules():
    """Of alerts.yml, which is plainer than YAML may be: each rule has all its fields, on lines of their own."""
    blocks = re.split(r"^      - alert: ", text_of("examples/deploy/alerts.yml"), flags=re.M)[1:]
    fields = re.compile(r"(\w+)\n        expr: (?:>-\n((?:          .*\n)+)|(.*)\n)(?:        for: \d+[smh]\n)?"
                        r"        labels: \{ severity: (?:page|ticket) \}\n        annotations: \{ summary: \".+\" \}\n+")
    found = [fields.fullmatch(block) for block in blocks]
    assert all(found) and len({rule[1] for rule in found}) == len(found) > 8, blocks
    return [{"alert": rule[1], "expr": " ".join((rule[2] or rule[3]).split())} for rule in found]


class Scrape:
    def __init__(self, api):
        answer = api.get("/metrics").expect(200)
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", answer.headers["Content-Type"]
        self.text = answer.text
        self.samples, self.types = parse(self.text)

    def sum(self, name, **labels):
        wanted = set(labels.items())
        return sum(value for (series, of), value in self.samples.items() if series == name and wanted <= of)

    def labels_of(self, family):
        names = [family + end for end in ("", "_bucket", "_sum", "_count")] if self.types[family] == "histogram" else [family]
        return {label for name, labels in self.samples if name in names for label, _ in labels} - {"le"}

    def counters(self):
        """What must stay as it is while nothing happens."""
        return {key: value for key, value in self.samples.items()
                if key[0].endswith(("_total", "_bucket", "_count")) or key[0] == "ctutor_tasks"}


class MetricsTest(ctutor.JourneyTest):
    def setUp(self):
        super().setUp()
        for name, text in TASKS.items():
            self.place.task(name, text)

    def submit(self, name, count=1, **parameters):
        answer = self.api.post("/api/tasks/submit/bulk", [
            {"task_name": name, "parameters": parameters}] * count).expect(200).json
        return [task["task_id"] for task in answer]

    def finish(self, ids):
        for task_id in ids:
            self.api.get("/api/tasks/%s/result?timeout=60" % task_id).expect(200)

    def book(self):
        """All that has happened, and not only what is older than half a minute."""
        for _ in range(2):
            while self.place.value("SELECT roll_figures('0s')") != "0":
                pass


class Numbers(MetricsTest):
    def live(self, api, worker):
        """3 fine, 2 flaky (2 failed runs each), 1 hopeless, 1 out of time, 1 whose process dies, 1 cancelled."""
        self.api = api
        ids = self.submit("fine", 3) + self.submit("flaky", 2) + self.submit("hopeless") + self.submit("slow")
        self.finish(ids)
        die, (runner,) = self.submit("die"), worker.runners()
        used = cpu_ticks(runner)
        ctutor.wait_until(lambda: cpu_ticks(runner) > used + 30, 30, "it computes")
        os.kill(runner, signal.SIGKILL)
        self.finish(die)
        late = api.post("/api/tasks/submit", {"task_name": "fine", "delay": "1h", "queue": "later"}).expect(200).json["task_id"]
        api.post("/api/tasks/%s/cancel" % late).expect(200)

    def check(self, scrape):
        for task, submitted in (("fine", 4), ("flaky", 2), ("hopeless", 1), ("slow", 1), ("die", 1)):
            self.assertEqual(scrape.sum("ctutor_tasks_submitted_total", task=task), submitted, task)
        finished = {status: scrape.sum("ctutor_tasks_finished_total", status=status) for status in ("SUCCESS", "FAILURE", "REVOKED")}
        self.assertEqual(finished, {"SUCCESS": 5, "FAILURE": 3, "REVOKED": 1})
        self.assertEqual(scrape.sum("ctutor_tasks_finished_total", task="fine", queue="later", status="REVOKED"), 1)
        failed = {(dict(of)["task"], dict(of)["kind"]): value
                  for (name, of), value in scrape.samples.items() if name == "ctutor_attempts_failed_total"}
        self.assertEqual(failed, {("flaky", "exception"): 4, ("hopeless", "exception"): 1, ("slow", "timeout"): 1,
                                  ("die", "worker_lost"): 1})
        self.assertEqual(scrape.sum("ctutor_losses_total"), 1)
        runs = {task: scrape.sum("ctutor_task_run_seconds_count", task=task) for task in TASKS}
        self.assertEqual(runs, {"fine": 3, "flaky": 6, "hopeless": 1, "slow": 1, "die": 1, "hold": 0})
        self.assertEqual(scrape.sum("ctutor_task_wait_seconds_count"), 12)
        self.assertGreaterEqual(scrape.sum("ctutor_task_run_seconds_sum", task="slow"), 0.3)
        self.assertEqual(scrape.sum("ctutor_task_run_seconds_bucket", task="slow", le="0.25"), 0)

    def test_numbers_are_those_of_what_was_done_and_survive_everybody(self):
        place = self.place
        worker = place.start_worker()
        api, other = rest.Serve(place), rest.Serve(place)
        self.live(api, worker)
        before = Scrape(api)
        self.check(before)
        self.assertEqual(Scrape(other).counters(), before.counters())
        self.check_names(before)
        worker.kill_group()
        api.stop()
        other.stop()
        worker = place.start_worker()
        api = rest.Serve(place)
        self.assertEqual(Scrape(api).counters(), before.counters())
        self.book()
        self.assertEqual(Scrape(api).counters(), before.counters())
        place.run("prune", "--older-than=0s").expect(0)
        self.assertEqual(Scrape(api).counters(), before.counters())
        self.check_stats(api)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(api.stop(), 0)

    def check_names(self, scrape):
        """The contract, the page and what is built on them."""
        names = {name: {label for label, _ in labels} for name, labels in scrape.samples}
        for name, labels in PROMISED.items():
            self.assertEqual(names.get(name), labels, name)
        self.assertEqual(documented(), {family: scrape.labels_of(family) for family in scrape.types})
        board = json.loads(text_of("examples/deploy/grafana.json"))
        shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
        self.assertGreater(len(shown), 20)
        for expression in shown + [rule["expr"] for rule in rules()]:
            used = re.findall(r"ctutor_\w+", expression)
            self.assertTrue(used or expression.startswith("up{"), expression)
            self.assertEqual([name for name in used if name not in names], [], expression)
            self.assertEqual(expression.count("("), expression.count(")"), expression)
            for name, matchers in re.findall(r"(ctutor_\w+)\{([^}]*)\}", expression):
                self.assertLessEqual({label for label, _ in LABEL.findall(matchers)}, names[name], expression)
            for grouped in re.findall(r"by \(([^)]*)\)", expression):
                self.assertLessEqual(set(grouped.split(", ")), set().union(*(names[name] for name in used)), expression)
        boxes = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
        self.assertEqual(len(set(boxes)), len(boxes))

    def check_stats(self, api):
        for since, step in (("1h", 60), ("1d", 300)):
            stats = api.get("/api/stats?since=" + since).expect(200).json
            self.assertEqual(stats["step"], step)
            points = stats["points"]
            self.assertEqual(list(points[0]), ["at", "submitted", "succeeded", "failed", "revoked", "attempts_failed",
                                               "run_p50", "run_p99", "wait_p50", "waiting"])
            sums = [sum(point[key] for point in points) for key in ("submitted", "succeeded", "failed", "revoked", "attempts_failed")]
            self.assertEqual(sums, [9, 5, 3, 1, 7])
            self.assertIn(len(points), (3600 // 60 + 1, 86400 // 300 + 1))
            self.assertGreater(max(point["run_p99"] or 0 for point in points), 0.1)
        of = api.get("/api/stats?since=1h&name=fine&queue=later").expect(200).json["points"]
        self.assertEqual([sum(point[key] for point in of) for key in ("submitted", "revoked", "succeeded")], [1, 1, 0])
        for wrong in ("since=soon", "since=30d", "since=1s", "until=1h"):
            api.get("/api/stats?" + wrong).expect(422)


class Moments(MetricsTest):
    def test_a_transaction_of_somebody_else_is_counted_when_it_commits(self):
        place = self.place
        with place.worker(), place.session() as say:
            api = rest.Serve(place)
            before = Scrape(api).sum("ctutor_tasks_submitted_total", task="fine")
            say("BEGIN; SELECT now();")
            self.book()  # past the beginning of that transaction
            say("SELECT submit('fine');")
            self.book()
            self.assertEqual(Scrape(api).sum("ctutor_tasks_submitted_total", task="fine"), before)
            say("COMMIT;")
            for _ in range(2):
                self.assertEqual(Scrape(api).sum("ctutor_tasks_submitted_total", task="fine"), before + 1)
                self.book()
            self.assertEqual(api.stop(), 0)

    def test_things_as_they_stand(self):
        place = self.place
        place.task("broken", "return {")
        worker = place.start_worker()
        self.api = api = rest.Serve(place)
        key = place.work + "/key"
        held = self.submit("hold", 2, key=key)
        for task_id in held:
            place.wait_status(task_id, "STARTED")
        api.post("/api/queues/default/pause").expect(200)
        waiting = self.submit("fine", 3)
        ctutor.wait_until(lambda: Scrape(api).sum("ctutor_slots", state="busy") == 2, 30, "a heartbeat tells what runs")
        scrape = Scrape(api)
        self.assertEqual(scrape.sum("ctutor_workers"), 1)
        self.assertEqual(scrape.sum("ctutor_queue_waiting", queue="default"), 3)
        self.assertGreater(scrape.sum("ctutor_queue_oldest_age_seconds", queue="default"), 0)
        self.assertEqual(scrape.sum("ctutor_queue_paused", queue="default"), 1)
        self.assertEqual(scrape.sum("ctutor_tasks", status="STARTED"), 2)
        self.assertEqual(scrape.sum("ctutor_tasks", status="PENDING"), 3)
        self.assertEqual(scrape.sum("ctutor_reload_errors"), 1)
        self.assertEqual(scrape.sum("ctutor_store_up"), 2)
        self.assertGreater(scrape.sum("ctutor_memory_bytes"), 1 << 20)
        self.assertLess(scrape.sum("ctutor_last_claim_ok_age_seconds"), 5)
        self.assertGreaterEqual(scrape.sum("ctutor_batch_size", step="start"), 1)
        for store in ("redis", "postgres"):
            self.assertGreater(scrape.sum("ctutor_store_trip_seconds", store=store), 0, store)
        open(key, "w").close()
        api.post("/api/queues/default/resume").expect(200)
        self.finish(held + waiting)
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(api.stop(), 0)


if __name__ == "__main__":
    unittest.main()
