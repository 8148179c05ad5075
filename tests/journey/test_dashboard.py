"""The dashboard's files, the pages without scripts, and what lists offer them: from outside, without a browser."""

import gzip
import unittest
import urllib.parse

import ctutor
import journey

ECHO = """
return {
  summary = "Says <b>it</b>",
  params = { text = "string", count = { type = "integer", default = 1, maximum = 9 }, kind = { type = "string", enum = { "a", "b" }, default = "a" },
             pin = { type = "string", secret = true, optional = true } },
  execute = function(ctx, params) if params.count == 9 then error(params.text) end return params.text end,
}
"""
HOSTILE = "<script>alert(1)</script>\"'&" + "x" * 10000
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class DashboardTest(journey.ApiTest):
    files = {"echo": ECHO}

    def send(self, fields, origin=True, **headers):
        if origin:
            headers["Origin"] = "http://127.0.0.1:%d" % self.api.port if origin is True else origin
        return self.api.post("/plain/run/echo", urllib.parse.urlencode(fields).encode(), headers={**FORM, **headers})


class Files(DashboardTest):
    def test_files_come_packed_or_not_and_once(self):
        for path in ("/assets/app.js", "/assets/app.css", "/assets/plain.css", "/assets/icon.svg"):
            packed = self.api.get(path, headers={"Accept-Encoding": "gzip, br"}).expect(200)
            plain = self.api.get(path, headers={"Accept-Encoding": "br"}).expect(200)
            self.assertEqual(packed.headers["Content-Encoding"], "gzip")
            self.assertIsNone(plain.headers["Content-Encoding"])
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            self.assertEqual(packed.headers["Vary"], "Accept-Encoding")
            self.assertEqual(packed.headers["X-Content-Type-Options"], "nosniff")
            known = {"If-None-Match": packed.headers["ETag"]}
            again = self.api.get(path, headers=known).expect(304)
            self.assertEqual((again.body, again.headers["ETag"]), (b"", packed.headers["ETag"]))
        self.api.get("/assets/app.js", headers={"If-None-Match": '"1111111111111111"'}).expect(200)
        self.api.get("/assets/nothing").expect(404)

    def test_the_page_lets_nothing_else_in(self):
        home = self.api.get("/")
        if home.status == 303:  # built without npm
            self.assertEqual(home.headers["Location"], "/plain")
            home = self.api.get("/plain")
        policy = dict(rule.split(None, 1) for rule in home.expect(200).headers["Content-Security-Policy"].split("; "))
        self.assertEqual(policy["default-src"], "'self'")
        self.assertNotIn("script-src", policy)
        self.assertEqual(policy["frame-ancestors"], "'none'")
        self.assertNotIn("unsafe", str(policy))
        self.assertNotIn("<script>", home.text)

    def test_it_is_small(self):
        sizes = [len(self.api.get(path, headers={"Accept-Encoding": "gzip"}).body)
                 for path in ("/assets/app.js", "/assets/app.css", "/assets/icon.svg")]
        self.assertLess(sum(sizes), 120_000)


class Plain(DashboardTest):
    def test_a_form_runs_a_task(self):
        form = self.api.get("/plain/run/echo").expect(200).text
        self.assertIn('name="pin" type="password"', form)
        self.assertIn("<option>b</option>", form)
        self.assertIn("/plain/run/echo", self.api.get("/plain/run").expect(200).text)
        done = self.send({"text": "5", "count": "2", "kind": "", "pin": "4711", "option.priority": "7"}).expect(303)
        task_id = done.headers["Location"].removeprefix("/plain/tasks/")
        result = self.finish(task_id)
        self.assertEqual((result["result"], result["priority"], result["queue"]), ("5", 7, "high_priority"))
        self.assertEqual({key: value for key, value in result["parameters"].items() if key != "kind"},
                         {"text": "5", "count": 2, "pin": "********"})
        page = self.api.get(done.headers["Location"]).expect(200).text
        self.assertIn("SUCCESS", page)
        self.assertNotIn("4711", page)

    def test_what_does_not_fit_is_said(self):
        page = self.send({"count": "10", "option.priority": "high", "option.queue": "<b>"}).expect(422).text
        for word in ("text", "count", "priority", "queue"):
            self.assertIn("<b>%s</b>" % word, page)
        self.assertIn("must be an integer", self.send({"text": "x", "count": "one"}).expect(422).text)
        self.api.post("/plain/run/echo", b"text=%ff", headers={**FORM, "Origin": "http://127.0.0.1:%d" % self.api.port}).expect(422)
        self.api.get("/plain/run/nothing").expect(404)
        self.api.get("/plain/tasks/" + journey.ABSENT_ID).expect(404)

    def test_forms_of_other_pages_are_refused(self):
        before = self.api.get("/api/tasks").json["total"]
        self.send({"text": "x"}, origin=None).expect(403)
        self.send({"text": "x"}, origin="null").expect(403)
        self.send({"text": "x"}, origin="http://evil.example").expect(403)
        self.send({"text": "x"}, **{"Content-Type": "text/plain"}).expect(415)
        self.assertEqual(self.api.get("/api/tasks").json["total"], before)

    def test_hostile_texts_stay_texts(self):
        good, bad = self.submit("echo", {"text": HOSTILE}, tags=["<i>"]), self.submit("echo", {"text": HOSTILE, "count": 9})
        self.finish(good), self.finish(bad)
        for path in ("/plain", "/plain/run", "/plain/tasks/" + good, "/plain/tasks/" + bad,
                     "/plain?" + urllib.parse.urlencode({"text": HOSTILE[:50], "tag": "\"><i>"})):
            page = self.api.get(path).expect(200).text
            self.assertNotIn("<script", page)
            self.assertNotIn("<i>", page)
            self.assertNotIn("<b>it", page)

    def test_lists_by_page(self):
        ids = [self.submit("echo", {"text": "paged"}) for _ in range(51)]
        for task_id in ids:
            self.finish(task_id)
        first = self.api.get("/plain?text=paged").expect(200).text
        self.assertIn("51 tasks", first)
        self.assertIn('href="/plain?text=paged&amp;offset=50"', first)
        self.assertIn(ids[0], self.api.get("/plain?text=paged&offset=50").expect(200).text)


class Lists(DashboardTest):
    def found(self, query, **fields):
        return [task["task_id"] for task in self.api.get("/api/tasks?" + query).expect(200).json["tasks"]]

    def test_by_text_but_not_of_secrets(self):
        task_id = self.submit("echo", {"text": "A needle, \u00c4", "pin": "4711-needle"})
        self.finish(task_id)
        self.assertEqual(self.found("text=NEEDLE"), [task_id])
        self.assertEqual(self.found("text=needle%2C%20%C3%84"), [task_id])
        for text in ("4711", "4711-needle", "need%25", "_eedle"):
            self.assertEqual(self.found("text=" + text), [])
        done = self.api.post("/api/tasks/delete", {"filter": {"text": "a needle"}}).expect(200).json
        self.assertEqual((done["matched"], done["done"]), (1, 1))

    def test_oldest_or_newest_first(self):
        ids = [self.submit("echo", {"text": "sorted"}) for _ in range(3)]
        for task_id in ids:
            self.finish(task_id)
        self.assertEqual(self.found("text=sorted&sort=created_at"), ids)
        self.assertEqual(self.found("text=sorted&sort=created_at&limit=1&offset=1"), ids[1:2])
        self.assertEqual(self.found("text=sorted&sort=-created_at"), ids[::-1])
        self.assertEqual(self.found("status=FAILURE&text=sorted&sort=created_at"), [])
        self.assertEqual(self.api.get("/api/tasks?sort=name").expect(422).json["errors"][0]["field"], "sort")

    def test_children(self):
        parent, child = self.submit("echo", {"text": "p"}), self.submit("echo", {"text": "c"})
        self.finish(parent), self.finish(child)
        self.place.psql("UPDATE tasks SET parent_id = '%s' WHERE id = '%s'" % (parent, child))
        self.assertEqual(self.found("parent=" + parent), [child])
        self.assertEqual(self.found("parent=" + child), [])
        self.assertEqual(self.api.get("/api/tasks?parent=x").expect(422).json["errors"][0]["field"], "parent")


class PlainLogin(journey.ApiTest):
    files = {"echo": ECHO}
    serve_settings = {"DASHBOARD_USER": "ada", "DASHBOARD_PASSWORD": "<b>&+ secret"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.token = cls.place.run("token", "create", "reader", "--scope=read").expect().out.strip()
        ctutor.wait_until(lambda: cls.api.get("/plain").status != 200, 10, "a token is needed")

    def log_in(self, origin=True, **fields):
        headers = {"Origin": "http://127.0.0.1:%d" % self.api.port} if origin else {}
        return self.api.post("/plain/login", urllib.parse.urlencode(fields).encode(), headers={**FORM, **headers})

    def cookie(self, answer):
        self.assertEqual(answer.expect(303).headers["Location"], "/plain")
        self.assertIn("; HttpOnly; SameSite=Strict", answer.headers["Set-Cookie"])
        return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}

    def test_the_pages_lead_to_the_form_and_it_lets_in(self):
        for path in ("/plain", "/plain/run", "/plain/run/echo", "/plain/tasks/" + journey.ABSENT_ID):
            self.assertEqual(self.api.get(path).expect(303).headers["Location"], "/plain/login")
        self.assertIn('name="password" type="password"', self.api.get("/plain/login").expect(200).text)
        session = self.cookie(self.log_in(user="ada", password="<b>&+ secret"))
        self.assertIn("Run a task", self.api.get("/plain", headers=session).expect(200).text)
        headers = {**FORM, **session, "Origin": "http://127.0.0.1:%d" % self.api.port}
        done = self.api.post("/plain/run/echo", b"text=hello", headers=headers).expect(303)
        self.assertIn("hello", self.api.get(done.headers["Location"], headers=session).expect(200).text)

    def test_a_token_opens_a_session_of_its_rights(self):
        session = self.cookie(self.log_in(token=self.token))
        self.api.get("/plain", headers=session).expect(200)
        headers = {**FORM, **session, "Origin": "http://127.0.0.1:%d" % self.api.port}
        self.api.post("/plain/run/echo", b"text=hello", headers=headers).expect(403)

    def test_who_is_not_let_in_sees_the_form_again(self):
        for fields in ({"user": "ada", "password": "<b>"}, {"token": "x"}, {"user": "", "password": ""}):
            answer = self.log_in(**fields).expect(401)
            self.assertNotIn("Set-Cookie", answer.headers)
            self.assertIn("this does not let you in", answer.text)
            self.assertIn('action="/plain/login"', answer.text)
        for fields in ({}, {"user": "ada"}, {"token": self.token, "user": "ada", "password": "x"}):
            self.assertIn("give either a token", self.log_in(**fields).expect(422).text)
        self.log_in(origin=False, token=self.token).expect(403)
        self.assertEqual([self.log_in(token="x").status for _ in range(8)][-1], 429)


if __name__ == "__main__":
    unittest.main()
