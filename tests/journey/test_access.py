"""Who may do what: tokens, sessions, the names a server goes by, and the record of operators."""

import os
import pty
import re
import unittest

import ctutor
import journey
import rest

QUICK = 'return { execute = function(ctx) return "done" end }'
FAIL = 'return { execute = function(ctx) ctx.fatal("no luck") end }'
HOLD = 'return { execute = function(ctx) while true do ctx.sleep(0.05) end end }'


class AccessTest(journey.ServedTest):
    files = {"grade_one": QUICK, "grade_two": QUICK, "other": QUICK, "fail": FAIL, "hold": HOLD}
    serve_settings = {}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = rest.Serve(cls.place, env=cls.serve_settings)

    def tearDown(self):
        """Once for all, below: to look takes longer than most of these tests."""

    @classmethod
    def tearDownClass(cls):
        status = cls.api.stop()
        log = cls.api.log()
        cls.place.check_nothing_left()
        super().tearDownClass()
        if status != 0 or "ERROR:" in log:
            raise AssertionError("serve left with %d:\n%s" % (status, log))

    def create(self, *args):
        """A new token, made by the command line: an object with its text."""
        return self.run_("token", "create", *args, "--json").json

    def as_(self, token, method, path, body=None, **headers):
        return self.api.request(method, path, body, {"Authorization": "Bearer " + token["token"],
                                                     **{k.replace("_", "-"): v for k, v in headers.items()}})

    def submit_as(self, token, name):
        return self.as_(token, "POST", "/api/tasks/submit", {"task_name": name})

    def finish(self, token, task_id):
        return self.as_(token, "GET", "/api/tasks/%s/result" % task_id).expect(200).json

    def denied(self, answer, status, code):
        answer.expect(status)
        self.assertEqual((set(answer.json), answer.json["code"]), ({"detail", "code"}, code))

    def setUp(self):
        self.noted = self.place.value("SELECT coalesce(max(id), 0) FROM operations")

    def operations(self):
        """What was done since the test began."""
        return [tuple(row) for row in self.place.psql(
            "SELECT actor, operation, target, name, before, after FROM operations WHERE id > %s ORDER BY id" % self.noted)]


class WithoutTokens(AccessTest):
    """No token was ever made: who plainly comes from this machine may do everything."""

    def test_only_what_plainly_comes_from_here_is_served(self):
        port = self.api.port
        for host in ("127.0.0.1:%d", "localhost:%d", "[::1]:%d", "localhost", "LOCALHOST:1%d"):
            host = host % port if "%d" in host else host
            self.api.get("/api/queues", headers={"Host": host}).expect(200)
        for origin in ("http://127.0.0.1:%d" % port, "https://127.0.0.1:%d" % port):
            self.api.get("/api/queues", headers={"Origin": origin}).expect(200)
        for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"):
            self.denied(self.api.get("/api/queues", headers={name: "for=127.0.0.1"}), 401, "unauthorized")

    def test_a_forged_host_or_origin_changes_nothing(self):
        forged = [{"Host": host} for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
                                              "localhost:80x", "0.0.0.0:%d" % self.api.port, "")]
        forged += [{"Origin": origin} for origin in (
            "http://evil.example", "null", "http://localhost:%d" % (self.api.port + 1), "127.0.0.1",
            "file://", "http://127.0.0.1:%d.evil.example" % self.api.port)]
        forged += [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
        before = self.operations()
        for headers in forged:
            for path, body in (("/api/queues/default/pause", None), ("/api/tasks/submit", {"task_name": "other"}),
                               ("/api/tokens", {"scope": "admin"}), ("/login", {"user": "a", "password": "b"})):
                self.denied(self.api.post(path, body, headers=headers), 403, "forbidden")
            if "Sec-Fetch-Site" not in headers:
                self.denied(self.api.get("/api/tasks", headers=headers), 403, "forbidden")
        self.assertEqual(self.operations(), before)
        self.assertEqual(self.place.value("SELECT count(*) FROM queues WHERE paused"), "0")
        self.assertEqual(self.place.value("SELECT count(*) FROM tokens"), "0")

    def test_health_is_open_whatever_the_names(self):
        for path in ("/healthz", "/readyz"):
            self.api.get(path, headers={"Host": "probe.example", "Origin": "http://evil.example"}).expect(200)

    def test_every_answer_says_what_a_browser_must_not_do(self):
        for answer in (self.api.get("/healthz"), self.api.get("/api/tasks"), self.api.get("/nothing"),
                       self.api.get("/api/tasks", headers={"Host": "evil.example"}),
                       self.api.post("/api/tasks/submit", b"{")):
            policy = answer.headers["Content-Security-Policy"]
            for part in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.headers["Referrer-Policy"], "same-origin")
            self.assertEqual(len(answer.headers.get_all("X-Content-Type-Options")), 1)

    def test_any_other_address_demands_a_token(self):
        for listen in ("0.0.0.0:0", "[::]:0"):
            done = self.place.run("serve", "--listen", listen).expect(2)
            self.assertIn("ctutor-run token create NAME --scope admin", done.err)

    def test_local_is_who_does_it(self):
        self.assertEqual(self.api.get("/api/session").expect(200).json,
                         {"actor": "local", "scope": "admin", "tasks": None, "own": False, "session": False})
        task_id = self.api.post("/api/tasks/submit", {"task_name": "other"}).expect(200).json["task_id"]
        self.assertEqual(self.result(task_id)["created_by"], "local")
        task_id = self.place.submit("other")
        self.assertRegex(self.result(task_id)["created_by"], r"^cli:[^@]+@.+")


class TokenTests:
    def test_from_the_first_on_nobody_comes_in_without(self):
        self.denied(self.api.get("/api/tasks"), 401, "unauthorized")
        self.assertEqual(self.api.get("/api/tasks").headers["WWW-Authenticate"], "Bearer")
        for text in ("", "Bearer", "Bearer x", "Basic YTpi", "Bearer " + self.admin["token"][:-1],
                     "Bearer " + self.admin["token"] + "A", "Bearer ctr_" + "0" * 16 + self.admin["token"][20:],
                     "Bearer " + self.admin["token"][:21] + self.token["token"][21:]):
            self.denied(self.api.get("/api/tasks", headers={"Authorization": text}), 401, "unauthorized")
        self.as_(self.admin, "GET", "/api/tasks").expect(200)
        for path in ("/healthz", "/readyz"):
            self.api.get(path).expect(200)

    def test_a_token_is_told_once_and_kept_as_a_hash(self):
        done = self.run_("token", "create", "once", "--scope", "read")
        token = done.out.strip()
        self.assertRegex(token, r"^ctr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$")
        secret = token[21:]
        for text in (self.run_("token", "list").out, self.run_("token", "list", "--json").out, self.api.log(),
                     self.as_(self.admin, "GET", "/api/tokens").text, done.err,
                     str(self.place.psql("SELECT t::text FROM tokens t"))):
            self.assertNotIn(secret, text)
        row = next(row for row in self.run_("token", "list", "--json").json["tokens"] if row["name"] == "once")
        self.assertEqual({**row, "created_at": 0, "created_by": ""},
                         {"id": token[4:20], "name": "once", "session": False, "scope": "read", "tasks": None, "own": False,
                          "state": "active", "created_at": 0, "created_by": "", "expires_at": None, "last_used_at": None,
                          "revoked_at": None})

    def test_each_scope_holds_those_before_it(self):
        read, submit = self.create("--scope=read"), self.create("--scope=submit")
        task_id = self.submit_as(submit, "other").expect(200).json["task_id"]
        self.finish(read, task_id)
        for path in ("/api/tasks", "/api/tasks/types", "/api/queues", "/api/workers", "/api/tasks/" + task_id):
            for token in (read, submit, self.admin):
                self.as_(token, "GET", path).expect(200)
        self.denied(self.submit_as(read, "other"), 403, "forbidden")
        self.denied(self.as_(read, "POST", "/api/tasks/%s/cancel" % task_id), 403, "forbidden")
        self.as_(submit, "POST", "/api/tasks/%s/cancel" % task_id).expect(409)
        for method, path, body in (("DELETE", "/api/tasks/" + task_id, None), ("POST", "/api/queues/default/pause", None),
                                   ("POST", "/api/workers/reload", None), ("GET", "/api/tokens", None),
                                   ("POST", "/api/tokens", {"scope": "read"}), ("GET", "/api/audit", None),
                                   ("DELETE", "/api/tokens/" + read["id"], None), ("POST", "/api/tasks/delete", {"ids": []})):
            for token in (read, submit):
                self.denied(self.as_(token, method, path, body), 403, "forbidden")
        self.as_(self.admin, "DELETE", "/api/tasks/" + task_id).expect(200)

    def test_it_ends_at_once(self):
        token = self.create("short", "--scope=read")
        self.as_(token, "GET", "/api/tasks").expect(200)
        self.assertEqual(self.as_(self.admin, "DELETE", "/api/tokens/" + token["id"]).expect(200).json["state"], "revoked")
        self.denied(self.as_(token, "GET", "/api/tasks"), 401, "unauthorized")
        token = self.create("short", "--scope=read")  # the name is free again
        self.as_(token, "GET", "/api/tasks").expect(200)
        self.run_("token", "revoke", token["id"])
        ctutor.wait_until(lambda: self.as_(token, "GET", "/api/tasks").status == 401, 1)
        self.run_("token", "revoke", token["id"])  # repeated: nothing more happens
        self.run_("token", "revoke", "0123456789abcdef", status=4)
        self.as_(self.admin, "DELETE", "/api/tokens/0123456789abcdef").expect(404)

    def test_it_expires(self):
        token = self.create("--scope=read", "--expires=1h")
        self.as_(token, "GET", "/api/tasks").expect(200)
        left = "extract(epoch FROM expires_at - now()) BETWEEN 3500 AND 3600"
        self.assertEqual(self.place.value("SELECT %s FROM tokens WHERE id = '%s'" % (left, token["id"])), "t")
        self.place.psql("UPDATE tokens SET expires_at = now() + interval '300 ms' WHERE id = '%s';"
                        "SELECT pg_notify('ctutor_control', '')" % token["id"])  # and nothing more is said
        ctutor.wait_until(lambda: self.as_(token, "GET", "/api/tasks").status == 401, 5)
        row = next(row for row in self.run_("token", "list", "--json").json["tokens"] if row["id"] == token["id"])
        self.assertEqual(row["state"], "expired")

    def test_its_last_use_is_noted(self):
        token = self.create("--scope=read")
        used = lambda: self.place.value("SELECT used_at FROM tokens WHERE id = '%s'" % token["id"])
        self.assertEqual(used(), "")
        self.as_(token, "GET", "/api/tasks").expect(200)
        first = ctutor.wait_until(used, 5)
        for _ in range(50):
            self.as_(token, "GET", "/api/queues").expect(200)
        self.assertEqual(used(), first)  # once a minute

    def test_what_is_wrong_with_a_wish_is_said(self):
        for args, word in ((["--scope=all"], "--scope"), ([], "--scope"), (["a b", "--scope=read"], "name"),
                           (["--scope=read", "--tasks=[a]"], "--tasks"), (["--scope=read", "--expires=0"], "--expires"),
                           (["root", "--scope=read"], "root")):
            self.assertIn(word, self.place.run("token", "create", *args).expect(2).err)
        for body, field in (({}, "scope"), ({"scope": 1}, "scope"), ({"scope": "read", "x": 1}, "x"),
                            ({"scope": "read", "tasks": "a*["}, "tasks"), ({"scope": "read", "own": "yes"}, "own"),
                            ({"scope": "read", "expires": 0}, "expires"), ({"scope": "read", "expires": "soon"}, "expires"),
                            ({"scope": "read", "name": "-x"}, "name")):
            answer = self.as_(self.admin, "POST", "/api/tokens", body).expect(422)
            self.assertEqual([error["field"] for error in answer.json["errors"]], [field])
        self.denied(self.as_(self.admin, "POST", "/api/tokens", {"scope": "read", "name": "root"}), 409, "conflict")

    def test_made_over_the_api_it_is_good_at_once(self):
        made = self.as_(self.admin, "POST", "/api/tokens", {"scope": "submit", "name": "made-there", "expires": "1h", "tasks": "grade_*"})
        token = made.expect(200).json
        self.assertEqual((token["created_by"], token["scope"], token["tasks"]), ("token:root", "submit", "grade_*"))
        self.as_(token, "GET", "/api/tasks").expect(200)
        listed = self.as_(self.admin, "GET", "/api/tokens").expect(200).json["tokens"]
        del token["token"]
        self.assertIn(token["id"], [row["id"] for row in listed])

    def test_a_glob_bounds_what_it_submits_sees_and_operates(self):
        token = self.create("grader", "--scope=admin", "--tasks=grade_*")
        mine = self.submit_as(token, "grade_one").expect(200).json["task_id"]
        self.assertEqual(self.finish(token, mine)["created_by"], "token:grader")
        self.denied(self.submit_as(token, "other"), 403, "forbidden")
        self.denied(self.submit_as(token, "absent"), 403, "forbidden")
        bulk = self.as_(token, "POST", "/api/tasks/submit/bulk", [{"task_name": "grade_two"}, {"task_name": "other"}])
        accepted, refused = bulk.expect(200).json
        self.assertIn("grade_*", refused["detail"])
        self.finish(token, accepted["task_id"])
        theirs = self.submit_as(self.admin, "other").expect(200).json["task_id"]
        self.finish(self.admin, theirs)
        failed = self.submit_as(self.admin, "fail").expect(200).json["task_id"]
        self.finish(self.admin, failed)
        for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/result"), ("GET", "/logs"), ("POST", "/cancel"),
                             ("DELETE", "/cancel"), ("POST", "/retry"), ("DELETE", "")):
            self.denied(self.as_(token, method, "/api/tasks/%s%s" % (failed, path)), 404, "not_found")
        names = {task["task_name"] for task in self.as_(token, "GET", "/api/tasks").expect(200).json["tasks"]}
        self.assertLessEqual(names, {"grade_one", "grade_two"})
        self.assertEqual({row["name"] for row in self.as_(token, "GET", "/api/tasks/types").expect(200).json},
                         {"grade_one", "grade_two"})
        self.as_(token, "GET", "/api/tasks/types/grade_one").expect(200)
        self.denied(self.as_(token, "GET", "/api/tasks/types/other"), 404, "not_found")
        answer = self.as_(token, "POST", "/api/tasks/retry", {"ids": [failed]}).expect(200).json
        self.assertEqual(answer, {"matched": 1, "done": 0, "refused": 1})
        answer = self.as_(token, "POST", "/api/tasks/retry", {"filter": {"name": "fail"}}).expect(200).json
        self.assertEqual(answer, {"matched": 0, "done": 0, "refused": 0})
        answer = self.as_(token, "POST", "/api/tasks/delete", {"ids": [theirs, accepted["task_id"]]}).expect(200).json
        self.assertEqual(answer, {"matched": 2, "done": 1, "refused": 1})
        self.as_(self.admin, "GET", "/api/tasks/" + theirs).expect(200)
        # What is not bounded by names is not for it, whatever its scope.
        for method, path, body in (("POST", "/api/tokens", {"scope": "admin"}), ("POST", "/api/queues/default/pause", None),
                                   ("GET", "/api/audit", None), ("GET", "/api/tasks/workers/status", None)):
            self.denied(self.as_(token, method, path, body), 403, "forbidden")

    def test_an_underscore_of_a_glob_is_no_wildcard(self):
        token = self.create("--scope=read", "--tasks=g_*")
        self.assertEqual(self.as_(token, "GET", "/api/tasks").expect(200).json["total"], 0)

    def test_only_its_own(self):
        one, two = self.create("one", "--scope=submit", "--own"), self.create("two", "--scope=submit", "--own")
        mine = self.submit_as(one, "other").expect(200).json["task_id"]
        self.finish(one, mine)
        for token, status in ((one, 200), (two, 404)):
            self.as_(token, "GET", "/api/tasks/" + mine).expect(status)
            total = self.as_(token, "GET", "/api/tasks").expect(200).json["total"]
            self.assertEqual(total, 1 if status == 200 else 0)
        self.as_(two, "POST", "/api/tasks/%s/cancel" % mine).expect(404)

    def test_with_a_token_any_host_will_do_but_no_foreign_origin(self):
        self.as_(self.admin, "GET", "/api/tasks", Host="tasks.example.org").expect(200)
        self.as_(self.admin, "GET", "/api/tasks", X_Forwarded_For="10.0.0.1").expect(200)
        self.denied(self.as_(self.admin, "GET", "/api/tasks", Origin="http://evil.example"), 403, "forbidden")

    def test_one_key_of_two_clients_is_two_keys(self):
        one, two = self.create("--scope=submit"), self.create("--scope=submit")
        ids = [self.as_(token, "POST", "/api/tasks/submit", {"task_name": "other"}, Idempotency_Key="same")
               .expect(200).json["task_id"] for token in (one, two)]
        self.assertNotEqual(*ids)
        for task_id in ids:
            self.finish(self.admin, task_id)

    def test_what_is_revoked_keeps_the_door_shut(self):
        with rest_of(self.place) as place:
            token = place.run("token", "create", "--scope=admin", "--json").expect(0).json
            place.run("token", "revoke", token["id"]).expect(0)
            api = rest.Serve(place)
            self.denied(api.get("/api/tasks"), 401, "unauthorized")
            self.assertEqual(api.stop(), 0)


class SessionTests:
    def login(self, **body):
        return self.api.post("/login", body, headers=self.origin)

    def cookie(self, answer):
        """What a browser would send from then on; the attributes of the cookie."""
        pair, *attributes = answer.headers["Set-Cookie"].split("; ")
        return {"Cookie": pair}, attributes

    def test_a_token_opens_a_session_with_its_rights(self):
        answer = self.login(token=self.token["token"]).expect(200)
        cookie, attributes = self.cookie(answer)
        self.assertEqual(sorted(attributes), ["HttpOnly", "Max-Age=43200", "Path=/", "SameSite=Strict"])
        self.assertEqual(self.api.get("/api/session", headers=cookie).expect(200).json,
                         {"actor": "token:web", "scope": "submit", "tasks": None, "own": False, "session": True})
        self.denied(self.api.get("/api/tokens", headers=cookie), 403, "forbidden")
        done = self.api.post("/api/tasks/submit", {"task_name": "other"}, headers={**cookie, **self.origin}).expect(200)
        self.assertEqual(self.result(done.json["task_id"])["created_by"], "token:web")
        # It is a cookie and nothing else, and a token is no cookie.
        text = cookie["Cookie"].partition("=")[2]
        self.denied(self.api.get("/api/tasks", headers={"Authorization": "Bearer " + text}), 401, "unauthorized")
        self.denied(self.api.get("/api/tasks", headers={"Cookie": "ctutor_session=" + self.token["token"]}), 401, "unauthorized")

    def test_user_and_password_open_one_that_may_everything(self):
        for body in ({"user": "ada", "password": "correct hors"}, {"user": "adb", "password": "correct horse"},
                     {"user": "", "password": ""}, {"token": "ctr_x"}):
            self.denied(self.login(**body), 401, "unauthorized")
        for body in ({}, {"user": "ada"}, {"user": "ada", "password": "x", "token": "y"}, {"user": 1, "password": 2}, {"x": 1}):
            self.assertIn(self.login(**body).status, (422,))
        cookie, _ = self.cookie(self.login(user="ada", password="correct horse").expect(200))
        self.assertEqual(self.api.get("/api/session", headers=cookie).expect(200).json["actor"], "login:ada")
        self.api.get("/api/audit", headers=cookie).expect(200)
        self.assertNotIn("correct horse", self.api.log())

    def test_with_a_cookie_changes_need_the_origin_and_json(self):
        cookie, _ = self.cookie(self.login(token=self.token["token"]).expect(200))
        before = self.place.value("SELECT count(*) FROM tasks")
        body = {"task_name": "other"}
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {**self.origin, "Sec-Fetch-Site": "cross-site"},
                        {**self.origin, "Host": "evil.example"}):
            self.denied(self.api.post("/api/tasks/submit", body, headers={**cookie, **headers}), 403, "forbidden")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            self.api.post("/api/tasks/submit", body, headers={**cookie, **self.origin, "Content-Type": kind}).expect(415)
            self.api.post("/login", {"token": self.token["token"]}, headers={**self.origin, "Content-Type": kind}).expect(415)
        self.assertEqual(self.place.value("SELECT count(*) FROM tasks"), before)

    def test_a_session_ends_by_logout_and_with_its_token(self):
        token = self.create("--scope=read")
        cookie, _ = self.cookie(self.login(token=token["token"]).expect(200))
        other, _ = self.cookie(self.login(token=token["token"]).expect(200))
        self.api.get("/api/tasks", headers=cookie).expect(200)
        self.denied(self.api.post("/logout", headers={**cookie, "Origin": "http://evil.example"}), 403, "forbidden")
        gone = self.api.post("/logout", headers={**cookie, **self.origin}).expect(200)
        self.assertIn("Max-Age=0", gone.headers["Set-Cookie"])
        self.denied(self.api.get("/api/tasks", headers=cookie), 401, "unauthorized")
        self.api.get("/api/tasks", headers=other).expect(200)
        self.run_("token", "revoke", token["id"])
        ctutor.wait_until(lambda: self.api.get("/api/tasks", headers=other).status == 401, 1)

    def test_a_session_expires(self):
        cookie, _ = self.cookie(self.login(token=self.token["token"]).expect(200))
        self.place.psql("UPDATE tokens SET expires_at = now() WHERE session;"
                        "SELECT pg_notify('ctutor_control', '')")
        ctutor.wait_until(lambda: self.api.get("/api/tasks", headers=cookie).status == 401, 2)

    def test_other_names_are_listed_in_the_settings(self):
        host = {"Host": "tasks.example.org"}
        answer = self.api.post("/login", {"token": self.token["token"]},
                               headers={**host, "Origin": "https://tasks.example.org"}).expect(200)
        cookie, attributes = self.cookie(answer)
        self.assertIn("Secure", attributes)
        self.api.get("/api/tasks", headers={**host, **cookie}).expect(200)
        # A proxy may change the Host; who speaks http where https is the rule is not ours.
        self.api.post("/api/tasks/submit", {"task_name": "other"}, headers={**cookie, "Origin": "https://tasks.example.org"}).expect(200)
        for headers in ({"Origin": "http://tasks.example.org"}, {**host, "Origin": "http://tasks.example.org"}):
            self.denied(self.api.post("/logout", headers={**cookie, **headers}), 403, "forbidden")
        self.api.get("/api/tasks", headers={"Host": "build7:8000", **cookie}).expect(200)
        self.denied(self.api.get("/api/tasks", headers={"Host": "build7:8001", **cookie}), 403, "forbidden")

    def test_guessing_is_bounded(self):
        api = rest.Serve(self.place, env=self.serve_settings)
        self.addCleanup(api.stop)
        statuses = [api.post("/login", {"user": "ada", "password": str(n)}).status for n in range(12)]
        self.assertEqual(statuses, 10 * [401] + 2 * [429])
        limited = api.post("/login", {"user": "ada", "password": "correct horse"})
        self.denied(limited, 429, "limited")
        self.assertLessEqual(int(limited.headers["Retry-After"]), 7)
        self.assertGreaterEqual(int(limited.headers["Retry-After"]), 1)
        api.get("/login?code=x").expect(429)
        other = rest.Serve(self.place, env=self.serve_settings)
        self.addCleanup(other.stop)
        for _ in range(20):  # who comes in is no guesser
            other.post("/login", {"user": "ada", "password": "correct horse"}).expect(200)
        api.get("/api/tasks", headers={"Authorization": "Bearer " + self.token["token"]}).expect(200)

    def test_half_a_login_is_refused(self):
        for env in ({"DASHBOARD_USER": "ada"}, {"DASHBOARD_PASSWORD": "x"}):
            done = self.place.run("serve", "--listen", "127.0.0.1:0", env=env).expect(2)
            self.assertIn("a login needs both", done.err)

    def test_the_link_on_the_terminal_works_once(self):
        ours, theirs = pty.openpty()
        shell = self.place.start("serve", "--listen", "127.0.0.1:0", stderr=theirs)
        os.close(theirs)
        shown = b""
        while b"code=" not in shown or not shown.endswith(b"\n"):
            shown += os.read(ours, 4096)
        port, code = re.search(rb"http://127\.0\.0\.1:(\d+)/login\?code=(ctr_[\w-]+)", shown).groups()
        api = At(int(port))
        path = "/login?code=" + code.decode()
        self.denied(api.get(path[:-1]), 401, "unauthorized")
        self.denied(api.get(path, headers={"Host": "evil.example"}), 403, "forbidden")
        answer = api.get(path).expect(200)
        self.assertIn('content="0;url=/"', answer.text)
        cookie, _ = self.cookie(answer)
        self.assertEqual(api.get("/api/session", headers=cookie).expect(200).json["actor"], "login:link")
        self.denied(api.get(path), 401, "unauthorized")
        self.assertNotIn("Set-Cookie", api.get("/login").expect(200).headers)
        shell.terminate()
        self.assertEqual(shell.wait(30), 0)
        os.close(ours)

    def test_without_a_terminal_there_is_no_link(self):
        self.assertNotIn("code=", self.api.log())


class At(rest.Serve):
    """A server that somebody else has started."""

    def __init__(self, port):
        self.host, self.port = "127.0.0.1", port


class AuditTests:
    def failed(self, name="fail"):
        task_id = self.submit_as(self.admin, name).expect(200).json["task_id"]
        self.finish(self.admin, task_id)
        return task_id

    def test_what_is_done_to_tasks_is_noted_with_before_and_after(self):
        task_id, later = self.failed(), self.place.submit("other", "--delay=1h")
        running = self.submit_as(self.admin, "hold").expect(200).json["task_id"]
        self.wait_started(running)
        who = "token:root"
        for method, path in (("POST", "/api/tasks/%s/retry" % task_id), ("POST", "/api/tasks/%s/cancel" % later),
                             ("POST", "/api/tasks/%s/cancel" % running)):
            self.as_(self.admin, method, path).expect(200)
        self.finish(self.admin, task_id)
        self.finish(self.admin, running)
        self.as_(self.admin, "DELETE", "/api/tasks/" + task_id).expect(200)
        self.as_(self.admin, "DELETE", "/api/tasks/" + task_id).expect(404)  # nothing done, nothing noted
        self.as_(self.admin, "POST", "/api/tasks/%s/cancel" % running).expect(409)
        self.assertEqual(self.operations(), [
            (who, "retry", task_id, "fail", "FAILURE", "PENDING"), (who, "cancel", later, "other", "PENDING", "REVOKED"),
            (who, "cancel", running, "hold", "STARTED", "cancelling"), (who, "delete", task_id, "fail", "FAILURE", "")])

    def test_many_at_once_are_noted_one_by_one(self):
        ids = [self.place.submit("other", "--delay=1h", "--tag=many") for _ in range(3)]
        answer = self.as_(self.admin, "POST", "/api/tasks/cancel", {"filter": {"tag": "many"}}).expect(200).json
        self.assertEqual(answer["done"], 3)
        self.assertEqual({(row[1], row[2]) for row in self.operations()}, {("cancel", task_id) for task_id in ids})

    def test_from_the_command_line_too(self):
        task_id = self.failed()
        self.run_("retry", task_id)
        self.finish(self.admin, task_id)
        self.run_("delete", task_id)
        self.run_("queues", "pause", "default")
        self.run_("queues", "resume", "default")
        self.run_("worker", "reload")
        made = self.create("made", "--scope=read", "--tasks=a*", "--own")
        self.run_("token", "revoke", made["id"])
        rows = self.operations()
        self.assertEqual({re.sub(r"^cli:[^@]+@.+$", "cli", row[0]) for row in rows}, {"cli"})
        worker = self.run_("workers", "--json").json["workers"][0]["name"]
        self.assertEqual([row[1:] for row in rows], [
            ("retry", task_id, "fail", "FAILURE", "PENDING"), ("delete", task_id, "fail", "FAILURE", ""),
            ("pause", "default", "", "open", "paused"), ("resume", "default", "", "paused", "open"),
            ("reload", worker, "", "", ""), ("token create", made["id"], "made", "", "read a* (own)"),
            ("token revoke", made["id"], "made", "read", "revoked")])

    def test_from_sql_too(self):
        later = self.place.submit("other", "--delay=1h")
        self.place.psql("SELECT cancel('%s')" % later)
        self.assertEqual(self.operations(), [("sql:postgres", "cancel", later, "other", "PENDING", "REVOKED")])

    def test_queues_workers_and_tokens_over_the_api(self):
        self.as_(self.admin, "POST", "/api/queues/default/pause").expect(200)
        self.as_(self.admin, "POST", "/api/queues/default/resume").expect(200)
        self.as_(self.admin, "POST", "/api/workers/reload").expect(200)
        made = self.as_(self.admin, "POST", "/api/tokens", {"scope": "read"}).expect(200).json
        self.as_(self.admin, "DELETE", "/api/tokens/" + made["id"]).expect(200)
        self.as_(self.admin, "DELETE", "/api/tokens/" + made["id"]).expect(200)  # noted once
        rows = self.operations()
        self.assertEqual({row[0] for row in rows}, {"token:root"})
        self.assertEqual([row[1] for row in rows], ["pause", "resume", "reload", "token create", "token revoke"])

    def test_it_is_read_in_pages_newest_first(self):
        for n in range(5):
            self.run_("queues", "pause" if n % 2 == 0 else "resume", "default")
        self.run_("queues", "resume", "default")
        first = self.as_(self.admin, "GET", "/api/audit?limit=4").expect(200).json
        rest_ = self.as_(self.admin, "GET", "/api/audit?limit=4&offset=4").expect(200).json
        self.assertEqual((first["limit"], first["offset"], first["has_more"]), (4, 0, True))
        end = self.as_(self.admin, "GET", "/api/audit?offset=100000").expect(200).json
        self.assertEqual(end, {"operations": [], "limit": 100, "offset": 100000, "has_more": False})
        all_ = first["operations"] + rest_["operations"][:2]
        self.assertEqual([row["operation"] for row in all_], ["resume", "pause"] * 3)
        self.assertEqual(list(all_[0]), ["id", "at", "actor", "operation", "target", "name", "before", "after"])
        self.assertEqual(sorted((row["id"] for row in all_), reverse=True), [row["id"] for row in all_])
        self.as_(self.admin, "GET", "/api/audit?limit=0").expect(422)

    def test_it_stands_in_the_same_transaction(self):
        """Where it cannot be noted it is not done."""
        task_id = self.failed()
        self.place.psql("ALTER TABLE operations ADD CONSTRAINT never CHECK (false) NOT VALID")
        try:
            for method, path in (("POST", "/api/tasks/%s/retry" % task_id), ("DELETE", "/api/tasks/" + task_id),
                                 ("POST", "/api/queues/default/pause")):
                self.assertGreaterEqual(self.as_(self.admin, method, path).status, 409)
        finally:
            self.place.psql("ALTER TABLE operations DROP CONSTRAINT never")
        self.assertEqual(self.info(task_id)["status"], "FAILURE")
        self.assertEqual(self.place.value("SELECT count(*) FROM queues WHERE paused"), "0")

    def test_it_goes_after_a_year(self):
        self.run_("queues", "pause", "default")
        self.run_("queues", "resume", "default")
        self.place.psql("UPDATE operations SET at = now() - interval '366 days' WHERE operation = 'pause'; SELECT tidy()")
        self.assertEqual([row[1] for row in self.operations()], ["resume"])


class WithTokens(TokenTests, SessionTests, AuditTests, AccessTest):
    serve_settings = {"FLOWER_USER": "ada", "DASHBOARD_PASSWORD": "correct horse", "CTUTOR_HOSTS": "https://tasks.example.org, build7:8000"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin, cls.token = (cls.place.run("token", "create", name, "--scope", scope, "--json").expect(0).json
                                for name, scope in (("root", "admin"), ("web", "submit")))
        cls.origin = {"Origin": "http://127.0.0.1:%d" % cls.api.port}


class Away(ctutor.JourneyTest):
    def test_while_postgres_is_away_nobody_is_let_in(self):
        token = self.place.run("migrate").expect(0) and self.place.run(
            "token", "create", "--scope=admin", "--json").expect(0).json
        headers = {"Authorization": "Bearer " + token["token"]}
        api = rest.Serve(self.place)
        api.get("/api/tasks", headers=headers).expect(200)
        self.place.postgres_server.stop()
        away = ctutor.wait_until(lambda: self.status(api, headers, 503), 10)
        self.assertEqual((away.json["code"], away.headers["Retry-After"]), ("unavailable", "1"))
        self.assertEqual(api.get("/api/tasks").status, 503)
        api.get("/healthz").expect(200)
        self.place.postgres_server.start()
        ctutor.wait_until(lambda: self.status(api, headers, 200), 20)
        api.get("/api/tasks").expect(401)
        self.assertEqual(api.stop(), 0)

    def status(self, api, headers, wanted):
        answer = api.get("/api/tasks", headers=headers)
        return answer if answer.status == wanted else None


def rest_of(place):
    """A schema of its own in the same stores."""
    import contextlib

    @contextlib.contextmanager
    def other():
        kept = place.namespace, dict(place.env)
        place.namespace = place.env["CTUTOR_NAMESPACE"] = "other"
        try:
            place.run("migrate").expect(0)
            yield place
        finally:
            place.namespace = kept[0]
            place.env = kept[1]
    return other()


if __name__ == "__main__":
    unittest.main()
