"""The commands from a machine that reaches neither store: the same journeys again through the REST API, and what only an API can do wrong."""

import http.server
import json
import signal
import ssl
import subprocess
import threading
import time
import unittest

import journey
import test_cancel
import test_cli_stores
import test_main_job
from ctutor import Folder
from journey import ABSENT_ID

TOKEN = "ctr_sesame-open"


def load_tests(loader, _tests, _pattern):
    """Not those that the imported modules run themselves."""
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Commands, MainJob, Cancel, Answers))


class Commands(journey.OverApi, test_cli_stores.Commands):
    def test_what_needs_the_stores_says_so(self):
        for words in (["audit"], ["doctor"], ["prune", "--older-than", "1d"], ["migrate"], ["up"], ["serve"],
                      ["worker", "start"], ["worker", "stop", "--all"]):
            told = self.run_(*words, status=2, env=self.stores)
            self.assertIn("CTUTOR_API_URL", told.err)
            self.assertNotIn(self.token, told.out + told.err)

    def test_a_pause_a_reload_and_what_is_listed(self):
        self.assertEqual(self.run_("queues", "pause", "..", "--json").json, {"name": "..", "paused": True})
        self.assertIn("open", self.run_("queues", "resume", "..").out)
        name = self.run_("workers", "--json").json["workers"][0]["name"]
        for words in ([], ["--all"], [name]):
            files = self.run_("worker", "reload", *words, "--json").json[0]
            self.assertEqual(files["worker"], name)
            self.assertIn("greet.lua", {file["file"] for file in files["answer"]["files"]})
        self.assertIn("ghost is not alive", self.run_("worker", "reload", "ghost", status=4).err)
        self.assertIn("greet", self.run_("tasks").out)
        self.assertEqual(self.run_("tasks", "show", "greet", "--json").json["parameters"]["required"], ["name"])
        self.assertIn("did you mean greet", self.run_("tasks", "show", "gret", status=4).err)

    def test_a_token_says_what_it_may(self):
        env = {**self.stores, "CTUTOR_API_URL": None, "CTUTOR_TOKEN": None}
        made = self.run_("token", "create", "looks", "--scope=read", "--json", env=env).json
        looks = {"CTUTOR_TOKEN": made["token"]}
        self.run_("list", env=looks)
        for words in (["submit", "greet", "name=a"], ["queues", "pause", "default"], ["worker", "reload", "--all"]):
            told = self.run_(*words, "--json", status=2, env=looks)
            self.assertEqual(told.json["code"], "forbidden")
            self.assertIn("the token has read", told.err)
        self.run_("token", "revoke", made["id"], env=env)
        for words in (["list"], ["watch", ABSENT_ID], ["submit", "greet", "name=a"], ["submit", "--bulk", "-"]):
            told = self.run_(*words, status=2, env=looks, input='{"task_name": "greet"}\n')
            self.assertIn("this token is unknown, revoked or expired", told.err)
            self.assertNotIn(made["token"], told.out + told.err)

    def test_many_lines_in_bulk(self):
        lines = [json.dumps({"task_name": "greet", "parameters": {"name": "n"}, "delay": "1h", "tags": ["bulk"]})] * 2500
        lines[1200] = '{"task_name": "greet", "parameters": {"name": 7}}'
        lines[1201] = '{"task_name": "gret"}'
        lines[1202] = '{'
        done = self.run_("submit", "--bulk", "-", status=2, input="\n".join(lines) + "\n")
        self.assertEqual(len(set(done.lines)), 2497)
        self.assertIn("line 1201: greet: name: must be a string", done.err)
        self.assertIn("line 1202: there is no task 'gret': did you mean greet?", done.err)
        self.assertIn("line 1203: ", done.err)
        self.assertEqual(self.run_("cancel", "--tag", "bulk", "--yes", "--json").json, {"matched": 2497, "done": 2497, "refused": 0})

    def test_waits_and_bulks_outlast_a_server_that_restarts(self):
        waiting = self.place.start("submit", "greet", "name=late", "--delay", "3s", "--wait")
        task = waiting.stderr.readline().strip()  # it has been answered once: what never was is not waited for
        feeding = self.place.start("submit", "--bulk", "-", "--json", stdin=-1)
        line = json.dumps({"task_name": "greet", "parameters": {"name": "n"}}) + "\n"
        feeding.stdin.write(line)
        feeding.stdin.flush()
        first = json.loads(feeding.stdout.readline())
        self.api.stop(signal.SIGKILL)
        feeding.stdin.write(line * 10)
        feeding.stdin.flush()
        self.assertIn("trying again", feeding.stderr.readline())
        self.assertIn("does not answer", self.run_("status", task, status=3).err)
        type(self).api = journey.rest.Serve(self.place, listen="127.0.0.1:%d" % self.api.port, env={
            **self.stores, "CTUTOR_API_URL": None, "CTUTOR_TOKEN": None})
        out, err = waiting.communicate(timeout=30)
        self.assertEqual((waiting.returncode, json.loads(out)), (0, "late"), err)
        out, err = feeding.communicate(timeout=30)
        ids = {json.loads(answer)["task_id"] for answer in out.splitlines()} | {first["task_id"]}
        self.assertEqual((feeding.returncode, len(ids)), (0, 11), err)
        for task_id in ids:
            self.result(task_id)


class MainJob(journey.OverApi, test_main_job.MainJob):
    pass


class Cancel(journey.OverApi, test_cancel.CancelTest):
    """But for what a task does about it, which no command changes."""

    test_each_wait_raises_after_a_cancel_and_a_normal_return_is_a_success = None
    test_a_task_that_ignores_it_is_ended_after_its_grace = None
    test_the_subprocesses_of_a_cancelled_task_are_gone = None
    test_a_task_between_two_attempts_is_revoked_at_once = None


class Answers(unittest.TestCase):
    """A server that says what a test wants."""

    def setUp(self):
        test = self
        self.answer, self.seen = None, []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                test.seen.append((self.command, self.path, self.headers, body))
                test.answer(self)

            do_GET = do_POST = do_DELETE = do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # of commands that leave
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.place = Folder()
        self.addCleanup(self.place.close)
        self.place.env.update({"CTUTOR_API_URL": "http://127.0.0.1:%d/api/" % self.server.server_port, "CTUTOR_TOKEN": TOKEN})

    def say(self, status, body, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request):
            request.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(data)

        self.answer = answer

    def run_(self, *args, status=0, **options):
        done = self.place.run(*args, **options).expect(status)
        self.assertNotIn(TOKEN, done.out + done.err)
        return done

    def test_refusals_have_the_words_and_statuses_of_the_stores(self):
        cases = [(401, "unauthorized", 2, "forbidden"), (403, "forbidden", 2, "forbidden"), (404, "not_found", 4, "not_found"),
                 (409, "conflict", 2, "conflict"), (413, "too_large", 2, "too_large"), (422, "invalid", 2, "invalid"),
                 (503, "unavailable", 3, "unavailable"), (503, "full", 3, "full"), (500, "failed", 1, "failed")]
        for status, code, exit_status, told_code in cases:
            with self.subTest(status):
                self.say(status, {"detail": "so it is", "code": code})
                self.assertIn("so it is" if status != 404 else "there is no task", self.run_("queues" if status != 404 else "status",
                              *([ABSENT_ID] if status == 404 else []), status=exit_status).err)
                told = self.run_("worker", "reload", "--all", "--json", status=exit_status).json
                self.assertEqual(told["code"], told_code)
        for _, path, headers, _ in self.seen:
            self.assertEqual(headers["Authorization"], "Bearer " + TOKEN)
            self.assertTrue(path.startswith("/api/") and not path.startswith("/api/api"), path)

    def test_wrong_fields_are_told_one_by_one(self):
        def answer(request):
            if request.command == "GET":
                self.say(200, {"name": "t", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}})
            else:
                self.say(422, {"detail": "n: no", "code": "invalid", "errors": [{"field": "n", "message": "no\x1b[2J"}, {"field": "m", "message": "neither"}]})
            self.answer(request)
            self.answer = answer

        self.answer = answer
        done = self.run_("submit", "t", "n=3", status=2)
        self.assertEqual(done.err, "ctutor-run: n: no\ufffd[2J\nctutor-run: m: neither\n")
        sent = json.loads(self.seen[-1][3])
        self.assertEqual((sent["task_name"], sent["parameters"]), ("t", {"n": 3}))
        self.assertEqual(self.run_("submit", "t", "--json", status=2).json["errors"][1], {"field": "m", "message": "neither"})

    def test_what_is_no_api_is_told(self):
        self.say(200, b"<html>welcome</html>", "text/html")
        self.assertIn("is not the API", self.run_("list", status=3).err)
        self.say(502, b"<html>bad gateway</html>", "text/html")
        self.assertIn("status 502", self.run_("list", status=3).err)
        self.say(307, b"", Location="http://127.0.0.1:1/api/tasks")
        self.assertIn("sends elsewhere", self.run_("list", status=3).err)
        self.assertEqual(len(self.seen), 3)  # the token went nowhere else

    def test_nonsense_in_its_answers_ends_no_command_by_a_signal(self):
        odd = {"name": 3, "task_id": [], "status": {}, "queues": 7, "host": None, "files": [1, {}], "parameters": {"properties": {"a": {}, "b": 3}, "required": [1]}}
        nonsense = [[1], {"workers": 3, "queues": {}, "tasks": "x", "logs": 1, "total": "y", "status": "SUCCESS"},
                    {name: [1, {}, odd, None] for name in ("workers", "queues", "tasks", "logs")} | odd, [odd, 1, None]]
        commands = [["status", ABSENT_ID], ["result", ABSENT_ID], ["logs", ABSENT_ID], ["list"], ["cancel", ABSENT_ID],
                    ["delete", "--tag", "x", "--yes"], ["tasks"], ["tasks", "show", "t"], ["queues"], ["workers"], ["worker", "status", "w"],
                    ["worker", "reload", "w"], ["submit", "t"], ["submit", "--bulk", "-"], ["result", ABSENT_ID, "--wait", "0"]]
        for body in nonsense:
            self.say(200, body)
            for words in commands:
                done = self.place.run(*words, input='{"task_name": "t"}')
                self.assertIn(done.status, (0, 1, 2, 3, 4, 5, 6, 124), (body, words, done.err))
                for words_of_a_sanitizer in ("Sanitizer", "runtime error"):
                    self.assertNotIn(words_of_a_sanitizer, done.err)

    def test_an_api_that_cannot_be_reached_is_exit_3(self):
        away = {"CTUTOR_API_URL": "http://127.0.0.1:1"}
        for words in (["list"], ["watch", ABSENT_ID], ["submit", "t"], ["submit", "--bulk", "-"]):
            done = self.run_(*words, status=3, env=away, input='{"task_name": "t"}\n' if "--bulk" in words else None)
            self.assertIn("127.0.0.1:1", done.err)
            self.assertLess(done.seconds, 10)
        tls = {"CTUTOR_API_URL": "https://127.0.0.1:%d" % self.server.server_port}
        self.assertIn("does not answer", self.run_("list", status=3, env=tls).err)

    def test_a_certificate_must_be_known(self):
        key, certificate = self.place.root + "/key", self.place.root + "/certificate"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
                        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.say(200, {"queues": []})
        env = {"CTUTOR_API_URL": "https://127.0.0.1:%d" % self.server.server_port}
        self.assertIn("certificate", self.run_("queues", status=3, env=env).err)
        self.assertEqual(self.seen, [])
        self.run_("queues", env={**env, "SSL_CERT_FILE": certificate})

    def test_an_unknown_outcome_names_the_id(self):
        def answer(request):
            if request.command == "GET":
                self.say(200, {"name": "t", "parameters": {"type": "object", "properties": {}}})
                self.answer(request)
                self.answer = answer
            else:
                request.close_connection = True
                request.connection.close()

        self.answer = answer
        done = self.run_("submit", "t", status=3)
        self.assertIn(json.loads(self.seen[-1][3])["id"], done.err)
        self.assertIn("not known", done.err)

    def test_addresses_and_tokens_that_cannot_be_right(self):
        for url in ("http://me:secret@127.0.0.1", "http://127.0.0.1/?a=b"):
            told = self.run_("list", status=2, env={"CTUTOR_API_URL": url})
            self.assertNotIn("secret", told.err)
        self.assertEqual(self.place.run("list", env={"CTUTOR_TOKEN": "a b\tc"}).status, 2)

    def test_a_stream_of_events_is_told_as_it_comes(self):
        info = {"task_id": ABSENT_ID, "status": "STARTED", "attempt": 1, "progress": {}, "started_at": "2026-11-24T08:00:00.000Z"}
        is_seen, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        self.addCleanup(is_seen.set)

        def event(**more):
            return b"event: x\nid: 1-1\ndata: " + json.dumps({"id": ABSENT_ID, **more}).encode() + b"\n\n"

        def answer(request):
            if not request.path.endswith("/events"):
                self.say(200, info)
                self.answer(request)
                self.answer = answer
                return
            request.send_response(200)
            request.send_header("Content-Type", "text/event-stream")
            request.end_headers()
            request.close_connection = True
            is_seen.wait(20)
            text = event(event="progress", percentage=42, metadata=None, at="2026-11-24T08:00:01.000Z")
            for part in (text[:30], text[30:]):
                request.wfile.write(part)
                request.wfile.flush()
            go_on.wait(20)
            info.update(status="SUCCESS", finished_at="2026-11-24T08:00:02.000Z")
            request.wfile.write(event(event="status", status="SUCCESS", attempt=1, at="2026-11-24T08:00:02.000Z"))

        self.answer = answer
        process = self.place.start("watch", ABSENT_ID, "--json")
        self.assertEqual(json.loads(process.stdout.readline())["status"], "STARTED")
        is_seen.set()
        self.assertEqual(json.loads(process.stdout.readline())["percentage"], 42)
        began = time.monotonic()
        go_on.set()
        self.assertEqual(json.loads(process.stdout.readline())["status"], "SUCCESS")
        self.assertLess(time.monotonic() - began, 0.8)  # not by the look of each second
        self.assertEqual(process.wait(10), 0)


if __name__ == "__main__":
    unittest.main()
