"""/api/openapi.json, and what it says of each route against what the route does."""

import re
import unittest

import journey
import schema

FILES = {
    "hello": """
return {
  summary = "Greets", tags = { "kind" }, retries = 2,
  params = { name = { type = "string", maxLength = 20 }, count = { type = "integer", default = 1, minimum = 1 },
             pin = { type = "string", secret = true, optional = true } },
  execute = function(ctx, params)
    ctx.info("hello " .. params.name)
    ctx.progress(50, { half = true })
    return { greeting = "hello " .. params.name }
  end,
}
""",
    "hold": """
local fs = require "ctutor.fs"
return {
  params = { key = "string" },
  execute = function(ctx, params) while not fs.exists(params.key) do ctx.sleep(0.02) end end,
}
""",
    "fail": 'return { retries = { max = 1, base = 0 }, execute = function(ctx) error("no luck") end }',
}
ID = "/api/tasks/{id}"


class OpenApi(journey.ApiTest):
    files = FILES

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place.task("broken", "return {")
        cls.api.post("/api/workers/reload").expect(200)
        cls.document = cls.api.get("/api/openapi.json").expect(200).json
        cls.token = cls.api.post("/api/tokens", {"scope": "admin"}).expect(200).json["token"]
        cls.checked = set()  # (method, path, status)

    def routes(self):
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def call(self, method, path, status, body=None, query="", headers=None, **words):
        """The answer, which must have this status and be what the document says of it."""
        operation = self.document["paths"][path][method.lower()]
        if body is not None and not isinstance(body, bytes) and status < 300:
            wanted = operation["requestBody"]["content"]["application/json"]["schema"]
            self.assertEqual(schema.check(self.document, wanted, body), [])
        said = operation["responses"][str(status)]
        said = schema.resolve(self.document, said["$ref"]) if "$ref" in said else said
        ask = self.api.look if list(said.get("content", [])) == ["text/event-stream"] else self.api.request
        headers = {"Authorization": "Bearer " + self.token, **(headers or {})}
        answer = ask(method, path.format(**words) + query, body, headers=headers).expect(status)
        kind = (answer.headers["Content-Type"] or "").split(";")[0]
        if "content" in said or kind:
            self.assertIn(kind, said["content"], (method, path))
        if kind == "application/json":
            self.assertEqual(schema.check(self.document, said["content"][kind]["schema"], answer.json), [], (method, path, status))
        self.checked.add((method, path, status))
        return answer

    def submit(self, name, parameters=None, **fields):
        body = {"task_name": name, "parameters": parameters or {}, **fields}
        return self.call("POST", "/api/tasks/submit", 200, body).json["task_id"]

    def test_the_answers_of_every_route_are_as_documented(self):
        self.checked.clear()
        for part in (self.submit_all, self.read_all, self.operate_all, self.look_after_all, self.follow_all, self.enter_all):
            part()
        for method, path, operation in self.routes():  # what needs nothing but to be asked
            if method == "GET" and "{" not in path and (method, path, 200) not in self.checked and "200" in operation["responses"]:
                self.call(method, path, 200)
        missing = [(method, path, int(status)) for method, path, operation in self.routes() for status in operation["responses"]
                   if status[0] == "2" and (method, path, int(status)) not in self.checked]
        self.assertEqual(missing, [], "no test has seen these answers")

    def submit_all(self):
        hello = {"task_name": "hello", "parameters": {"name": "Ada", "count": 2}, "priority": 7, "queue": "lonely", "delay": "1h",
                 "timeout": False, "retries": 3, "expires": 7200, "unique_key": "k", "tags": ["a"]}
        first = self.call("POST", "/api/tasks/submit", 200, hello, headers={"Idempotency-Key": "first"}).json
        self.assertEqual(len(first["warnings"]), 1)
        self.assertEqual(self.call("POST", "/api/tasks/submit", 200, hello).json["status"], "duplicate")
        self.call("POST", ID + "/cancel", 200, id=first["task_id"])
        bulk = self.call("POST", "/api/tasks/submit/bulk", 200, [{"task_name": "hello", "parameters": {"name": "x"}}]).json
        self.call("GET", ID + "/result", 200, id=bulk[0]["task_id"])
        refused = self.call("POST", "/api/tasks/submit/bulk", 200, b'[{"task_name": "hello", "parameters": {}}, {"task_name": "nope"}]').json
        self.assertEqual([answer["code"] for answer in refused], ["invalid", "not_found"])
        self.call("POST", "/api/tasks/submit", 422, {"task_name": "hello", "parameters": {"name": 1}, "priority": 11})
        self.call("POST", "/api/tasks/submit", 404, {"task_name": "nope"})
        self.call("POST", "/api/tasks/submit", 409, {**hello, "tags": []}, headers={"Idempotency-Key": "first"})
        self.call("POST", "/api/tasks/submit", 413, {"task_name": "hello", "parameters": {"name": "x" * (2 << 20)}})

    def read_all(self):
        task_id, failed = self.submit("hello", {"name": "Ada", "pin": "1"}), self.submit("fail")
        for path in (ID, ID + "/status"):
            self.call("GET", path, 200, id=task_id)
        self.call("GET", ID + "/result", 200, id=task_id, query="?timeout=60")
        result = self.call("GET", ID + "/result", 200, id=failed, query="?timeout=60").json
        self.assertEqual(len(result["errors"]), 2)
        self.assertEqual(len(self.call("GET", ID + "/logs", 200, id=task_id, query="?limit=10").json["logs"]), 1)
        self.assertGreater(len(self.call("GET", "/api/tasks", 200, query="?limit=1000").json["tasks"]), 2)
        waiting = self.submit("hello", {"name": "x"}, run_at="2100-01-01T00:00:00.000Z")
        self.call("GET", ID + "/result", 202, id=waiting, query="?timeout=0")
        self.call("POST", "/api/tasks/cancel", 200, {"ids": [waiting, journey.ABSENT_ID]})

    def operate_all(self):
        key = self.place.work + "/key"
        held = self.submit("hold", {"key": key})
        self.wait_started(held)
        self.call("GET", "/api/tasks/workers/status", 200)
        self.call("GET", "/api/workers", 200)
        self.call("DELETE", ID, 409, id=held)
        self.assertEqual(self.call("DELETE", ID + "/cancel", 200, id=held).json["status"], "cancelling")
        self.call("GET", ID + "/result", 200, id=held)
        self.call("POST", ID + "/cancel", 409, id=held)
        open(key, "w").close()
        self.assertEqual(self.call("POST", ID + "/retry", 200, id=held).json["status"], "retried")
        self.call("GET", ID + "/result", 200, id=held)
        self.call("DELETE", ID, 200, id=held)
        waiting = self.submit("hello", {"name": "x"}, delay=3600, tags=["many"])
        chosen = {"filter": {"tag": ["many"], "since": "1h"}}
        self.assertEqual(self.call("POST", "/api/tasks/cancel", 200, chosen).json, {"matched": 1, "done": 1, "refused": 0})
        self.call("POST", "/api/tasks/retry", 200, chosen)
        self.call("GET", ID + "/result", 200, id=waiting)
        self.call("POST", "/api/tasks/delete", 200, {"filter": {"status": "SUCCESS", "tag": "many"}})
        self.call("POST", "/api/tasks/delete", 422, {"filter": {}})

    def look_after_all(self):
        types = self.call("GET", "/api/tasks/types", 200).json
        self.assertEqual([one["name"] for one in types if one["error"]], ["broken"])
        for name in ("hello", "broken"):
            self.call("GET", "/api/tasks/types/{name}", 200, name=name)
        self.call("GET", "/api/tasks/types/{name}", 404, name="nope")
        self.call("POST", "/api/workers/reload", 200)
        for verb in ("pause", "resume"):
            self.call("POST", "/api/queues/{name}/" + verb, 200, name="default")

    def follow_all(self):
        task_id = self.submit("hello", {"name": "x"})
        self.call("GET", ID + "/result", 200, id=task_id)
        self.call("GET", ID + "/events", 200, id=task_id)
        self.call("GET", ID + "/logs", 200, id=task_id, query="?follow=true")
        told = self.api.get(ID.format(id=task_id) + "/events", headers={"Authorization": "Bearer " + self.token}).text
        last = re.findall(r"(?m)^id: ?(.*)$", told)[-1]
        self.call("GET", ID + "/events", 204, id=task_id, headers={"Last-Event-ID": last})

    def enter_all(self):
        made = self.call("POST", "/api/tokens", 200, {"name": "second", "scope": "read", "tasks": "hel*", "own": True, "expires": "1h"}).json
        self.call("POST", "/api/tokens", 409, {"name": "second", "scope": "read"})
        self.assertIn("second", [token["name"] for token in self.call("GET", "/api/tokens", 200).json["tokens"]])
        limited = self.call("GET", "/api/openapi.json", 200, headers={"Authorization": "Bearer " + made["token"]}).json
        self.assertEqual(list(limited["components"]["schemas"]["Submission"]["discriminator"]["mapping"]), ["hello"])
        self.call("DELETE", "/api/tokens/{token}", 200, token=made["id"])
        self.call("DELETE", "/api/tokens/{token}", 404, token="nope")
        self.assertGreater(len(self.call("GET", "/api/audit", 200).json["operations"]), 2)
        self.call("POST", "/login", 401, {"token": "nope"})
        self.call("POST", "/login", 200, {"token": self.token})
        self.call("POST", "/logout", 200)

    def test_every_route_refuses_as_documented(self):
        for method, path, operation in self.routes():
            words = {"id": journey.ABSENT_ID, "name": "nope", "token": "nope"}
            has_body = "requestBody" in operation
            body = {} if has_body else None
            with self.subTest(method + " " + path):
                self.call(method, path, 422, body, query="?nosuch=1", **words)
                if "{id}" in path:
                    self.call(method, path, 404, body, **words)
                    self.call(method, path, 404, body, **{**words, "id": "no-id"})
                if operation["security"]:
                    self.call(method, path, 401, body, headers={"Authorization": "Bearer nope"}, **words)
                if "403" in operation["responses"]:
                    self.call(method, path, 403, body, headers={"Origin": "http://evil.example"}, **words)
                if has_body:
                    self.call(method, path, 415, b"{}", headers={"Content-Type": "text/plain"}, **words)
                allowed = self.api.request("PATCH", path.format(**words)).expect(405).headers["Allow"].split(", ")
                self.assertIn(method, allowed)

    def test_every_task_has_a_schema(self):
        submission = {"$ref": "#/components/schemas/Submission"}
        check = lambda **body: schema.check(self.document, submission, body)
        self.assertEqual(sorted(self.document["components"]["schemas"]["Submission"]["discriminator"]["mapping"]), ["fail", "hello", "hold"])
        self.assertEqual(check(task_name="hello", parameters={"name": "x"}, priority=None), [])
        self.assertEqual(check(task_name="fail"), [])
        for wrong in ({"task_name": "hello"}, {"task_name": "hello", "parameters": {"name": 1}}, {"task_name": "nope"}, {},
                      {"task_name": "fail", "prio": 1}, {"task_name": "hello", "parameters": {"name": "x", "count": 0}}):
            self.assertNotEqual(check(**wrong), [], wrong)
        pin = self.document["components"]["schemas"]["parameters.hello"]["properties"]["pin"]
        self.assertIs(pin["writeOnly"], True)
        self.assertNotIn("secret", pin)

    def test_the_checker_sees_what_is_wrong(self):
        info = {"$ref": "#/components/schemas/TaskInfo"}
        good = self.call("GET", ID, 200, id=self.submit("fail")).json
        self.assertEqual(schema.check(self.document, info, good), [])
        for change in ({"status": "DONE"}, {"extra": 1}, {"attempt": "1"}, {"task_id": "x"}, {"created_at": None}, {"priority": 11},
                       {"tags": [1]}, {"progress": {"percentage": 1}}, {"created_at": "2026-11-24T08:00:00Z"}):
            self.assertNotEqual(schema.check(self.document, info, {**good, **change}), [], change)
        del good["worker"]
        self.assertNotEqual(schema.check(self.document, info, good), [])


if __name__ == "__main__":
    unittest.main()
