"""Who may do what: tokens, sessions, the names a server goes by, and the record of operators."""

import json
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

    @classmethod
    def tearDownClass(cls):
        status = cls.api.stop()
        log = cls.api.log()
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

    def operations(self):
        return [tuple(row) for row in self.place.psql(
            "SELECT actor, operation, target, name, before, after FROM operations ORDER BY id")]


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
            self.assertEqual(answer.headers["Referrer-Policy"], "no-referrer")
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


class Tokens(AccessTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = cls.place.run("token", "create", "root", "--scope", "admin", "--json").expect(0).json

    def test_from_the_first_on_nobody_comes_in_without(self):
        self.denied(self.api.get("/api/tasks"), 401, "unauthorized")
        self.assertEqual(self.api.get("/api/tasks").headers["WWW-Authenticate"], "Bearer")
        for text in ("", "Bearer", "Bearer x", "Basic YTpi", "Bearer " + self.admin["token"][:-1],
                     "Bearer " + self.admin["token"] + "A", "Bearer ctr_" + "0" * 16 + self.admin["token"][20:]):
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
        token = self.create("--scope=read", "--expires=1s")
        self.as_(token, "GET", "/api/tasks").expect(200)
        ctutor.wait_until(lambda: self.as_(token, "GET", "/api/tasks").status == 401, 3)
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
        made = self.as_(self.admin, "POST", "/api/tokens", {"scope": "submit", "name": "web", "expires": "1h", "tasks": "grade_*"})
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
