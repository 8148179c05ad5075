"""The REST API: every route, from outside."""

import json
import threading
import time
import unittest

import ctutor
import journey
import rest

HELLO = """
return {
  summary = "Greets",
  params = { name = { type = "string", maxLength = 20 }, count = { type = "integer", default = 1, minimum = 1 },
             pin = { type = "string", secret = true, optional = true } },
  execute = function(ctx, params)
    ctx.info("hello " .. params.name)
    return { greeting = "hello " .. params.name, count = params.count }
  end,
}
"""
HOLD = """
local fs = require "ctutor.fs"
return {
  params = { key = "string" },
  execute = function(ctx, params) while not fs.exists(params.key) do ctx.sleep(0.02) end return "released" end,
}
"""
FAIL = 'return { execute = function(ctx) ctx.fatal("no luck") end }'


class RestTest(journey.ApiTest):
    files = {"hello": HELLO, "hold": HOLD, "fail": FAIL}

    def hold(self):
        """(id of a running task, what lets it end)"""
        key = self.place.work + "/key-" + self.id().rpartition(".")[2]
        task_id = self.submit("hold", {"key": key})
        self.wait_started(task_id)
        return task_id, lambda: open(key, "w").close()

    def refused(self, answer, status, *fields, code=None):
        answer.expect(status)
        self.assertEqual(set(answer.json) - {"errors"}, {"detail", "code"})
        if fields:
            self.assertEqual([error["field"] for error in answer.json["errors"]], list(fields))
            for field in fields:
                self.assertIn(field, answer.json["detail"])
        if code:
            self.assertEqual(answer.json["code"], code)


class Submit(RestTest):
    def test_a_task_runs_and_its_result_comes(self):
        done = self.api.post("/api/tasks/submit", {"task_name": "hello", "parameters": {"name": "Ada"}})
        self.assertEqual(done.expect(200).json["status"], "submitted")
        self.assertNotIn("warnings", done.json)
        result = self.finish(done.json["task_id"])
        self.assertEqual(list(result), journey.TASK_RESULT)
        self.assertEqual(result["result"], {"greeting": "hello Ada", "count": 1})
        self.assertEqual(result["parameters"], {"name": "Ada", "count": 1} if "count" in result["parameters"]
                         else {"name": "Ada"})

    def test_what_is_wrong_is_named_by_field(self):
        post = lambda **body: self.api.post("/api/tasks/submit", body)
        self.refused(post(task_name="hello", parameters={"nam": 1}, priority=11), 422, "name", "nam", "priority")
        self.refused(post(task_name="hello", parameters={"name": "x"}, prio=1), 422, "prio")
        self.refused(post(task_name="hello", parameters={"name": "x", "count": "1"}), 422, "count")
        self.refused(post(parameters={}), 422, "task_name")
        self.refused(post(task_name="helo"), 404)
        self.assertIn("did you mean hello?", post(task_name="helo").json["detail"])
        self.refused(self.api.post("/api/tasks/submit", b"{"), 422, "body")
        self.refused(self.api.post("/api/tasks/submit", b"[]"), 422, "body")
        self.refused(self.api.post("/api/tasks/submit", b'{"task_name":"hello","task_name":"x"}'), 422, "body")
        self.refused(self.api.post("/api/tasks/submit", b"{}", headers={"Content-Type": "text/plain"}), 415)
        self.refused(self.api.post("/api/tasks/submit", b"{}", headers={"Content-Type": "application/jsonx"}), 415)

    def test_a_secret_is_never_shown(self):
        task_id = self.submit("hello", {"name": "x", "pin": "4711-secret"})
        self.finish(task_id)
        for path in ("/api/tasks/" + task_id, "/api/tasks/%s/result" % task_id, "/api/tasks?name=hello"):
            self.assertNotIn("4711", self.api.get(path).text)

    def test_an_id_of_ones_own(self):
        body = {"task_name": "hello", "parameters": {"name": "x"}, "id": ident()}
        self.assertEqual(self.api.post("/api/tasks/submit", body).expect(200).json["status"], "submitted")
        again = self.api.post("/api/tasks/submit", body).expect(200).json
        self.assertEqual((again["status"], again["task_id"]), ("duplicate", body["id"]))
        body["parameters"] = {"name": "y"}
        self.refused(self.api.post("/api/tasks/submit", body), 409, code="conflict")
        self.finish(body["id"])

    def test_an_idempotency_key_gets_the_first_answer_again(self):
        body = {"task_name": "hello", "parameters": {"name": "x"}}
        key = {"Idempotency-Key": "order-17"}
        first = self.api.post("/api/tasks/submit", body, headers=key).expect(200).json
        self.assertEqual(self.api.post("/api/tasks/submit", body, headers=key).expect(200).json, first)
        other = {**body, "parameters": {"name": "y"}}
        self.refused(self.api.post("/api/tasks/submit", other, headers=key), 409, code="conflict")
        self.refused(self.api.post("/api/tasks/submit", body, headers={"Idempotency-Key": "a b"}), 422, "Idempotency-Key")
        self.refused(self.api.post("/api/tasks/submit", body, headers={"Idempotency-Key": "k" * 256}), 422, "Idempotency-Key")
        longest = self.api.post("/api/tasks/submit", body, headers={"Idempotency-Key": "k" * 255}).expect(200).json
        self.finish(longest["task_id"])
        self.finish(first["task_id"])
        self.assertEqual(self.api.post("/api/tasks/submit", body, headers=key).expect(200).json, first)

    def test_many_at_once_with_one_key_are_one(self):
        body = {"task_name": "hello", "parameters": {"name": "x"}}
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.api.post(
            "/api/tasks/submit", body, headers={"Idempotency-Key": "at-once"}))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len({answer.json["task_id"] for answer in answers}), 1)
        self.finish(answers[0].json["task_id"])

    def test_a_queue_that_nobody_serves_is_warned_of(self):
        done = self.api.post("/api/tasks/submit", {"task_name": "hello", "parameters": {"name": "x"}, "queue": "lonely"})
        self.assertEqual(done.expect(200).json["warnings"], ["no live worker takes the queue lonely"])
        self.api.post("/api/tasks/%s/cancel" % done.json["task_id"]).expect(200)

    def test_bulk_accepts_each_by_itself(self):
        tasks = [{"task_name": "hello", "parameters": {"name": 'a]"}\\'}}, {"task_name": "nope"}, 7,
                 {"task_name": "hello", "parameters": {"name": 1}}, {"task_name": "hello", "parameters": {"name": "z"}}]
        done = self.api.post("/api/tasks/submit/bulk", tasks).expect(200).json
        self.assertEqual(["task_id" in answer for answer in done], [True, False, False, False, True])
        self.assertEqual(done[3]["errors"][0]["field"], "name")
        self.assertEqual(self.finish(done[0]["task_id"])["result"]["greeting"], 'hello a]"}\\')
        self.finish(done[4]["task_id"])
        self.assertEqual(self.api.post("/api/tasks/submit/bulk", []).expect(200).json, [])

    def test_bulk_takes_ten_thousand_and_no_more(self):
        one = {"task_name": "hello", "parameters": {"name": "x"}, "tags": ["many"]}
        key = {"Idempotency-Key": "ten-thousand"}
        done = self.api.post("/api/tasks/submit/bulk", [one] * 10000, headers=key, seconds=120).expect(200).json
        self.assertEqual(len({answer["task_id"] for answer in done}), 10000)
        self.assertEqual(self.api.post("/api/tasks/submit/bulk", [one] * 10000, headers=key, seconds=120).json, done)
        self.refused(self.api.post("/api/tasks/submit/bulk", [one] * 10001, seconds=120), 413, code="too_large")
        ctutor.wait_until(lambda: self.api.get("/api/tasks?tag=many&status=PENDING,STARTED&limit=1").json["total"] == 0, 120)

    def test_bulk_of_what_is_no_array_accepts_nothing(self):
        good = b'{"task_name":"hello","parameters":{"name":"x"},"tags":["broken"]}'
        for body in (b"", b"{}", b"[", b"[" + good, b"[" + good + b",]", b"[" + good + b"] x", b'["', b"[}]", b"[1 2]"):
            answer = self.api.post("/api/tasks/submit/bulk", body)
            if answer.status == 200:  # its element is refused
                self.assertTrue(all("detail" in one for one in answer.json), body)
            else:
                self.refused(answer, 422, "body")
        self.assertEqual(self.api.get("/api/tasks?tag=broken").json["total"], 0)

    def test_too_large_is_413(self):
        big = {"task_name": "hello", "parameters": {"name": "x" * (2 << 20)}}
        self.refused(self.api.post("/api/tasks/submit", big), 413, code="too_large")


class Read(RestTest):
    def test_waiting_for_a_result(self):
        task_id, release = self.hold()
        pending = self.api.get("/api/tasks/%s/result?timeout=0" % task_id).expect(202).json
        self.assertEqual(list(pending), journey.TASK_INFO)
        begun = time.monotonic()
        self.api.get("/api/tasks/%s/result?timeout=300ms" % task_id).expect(202)
        self.assertGreater(time.monotonic() - begun, 0.29)
        threading.Timer(0.5, release).start()
        begun = time.monotonic()
        self.assertEqual(self.finish(task_id)["result"], "released")
        self.assertLess(time.monotonic() - begun, 3)
        for wrong in ("x", "301", "-1"):
            self.refused(self.api.get("/api/tasks/%s/result?timeout=%s" % (task_id, wrong)), 422, "timeout")

    def test_a_client_that_leaves_holds_nothing(self):
        task_id, release = self.hold()
        before = len(ctutor.descriptors(self.api.pid))
        sockets = [self.api.socket() for _ in range(50)]
        for sock in sockets:
            sock.sendall(b"GET /api/tasks/%s/result?timeout=60 HTTP/1.1\r\nHost: localhost\r\n\r\n" % task_id.encode())
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) >= before + 50)
        for sock in sockets:
            sock.close()
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) <= before, 10)
        release()
        self.finish(task_id)

    def test_lists_and_filters(self):
        ids = [self.submit("hello", {"name": str(n)}, tags=["listed", "n%d" % n]) for n in range(5)]
        failed = self.submit("fail", tags=["listed"])
        for task_id in ids + [failed]:
            self.finish(task_id)
        get = lambda query: self.api.get("/api/tasks?" + query).expect(200).json
        page = get("tag=listed&limit=2&offset=1")
        self.assertEqual(list(page), ["tasks", "total", "limit", "offset", "has_more"])
        self.assertEqual((page["total"], page["limit"], page["offset"], page["has_more"]), (6, 2, 1, True))
        self.assertEqual([task["task_id"] for task in page["tasks"]], [ids[4], ids[3]])
        self.assertEqual(get("tag=listed&status=FAILURE")["tasks"][0]["task_id"], failed)
        self.assertEqual(get("tag=listed&tag=n3")["total"], 1)
        self.assertEqual(get("tag=listed&name=hello&since=1h")["total"], 5)
        self.assertEqual(get("tag=listed&until=1h")["total"], 0)
        for query, field in (("limit=0", "limit"), ("limit=1001", "limit"), ("offset=-1", "offset"), ("status=DONE", "status"),
                             ("since=x", "since"), ("foo=1", "foo")):
            self.refused(self.api.get("/api/tasks?" + query), 422, field)

    def test_one_task_by_every_path(self):
        task_id = self.submit("hello", {"name": "x"})
        self.finish(task_id)
        info = self.api.get("/api/tasks/" + task_id).expect(200).json
        self.assertEqual(list(info), journey.TASK_INFO)
        self.assertEqual(self.api.get("/api/tasks/%s/status" % task_id).json, info)
        self.assertEqual(self.api.get("/api/tasks/" + task_id.upper()).json, info)
        logs = self.api.get("/api/tasks/%s/logs" % task_id).expect(200).json
        self.assertEqual([line["text"] for line in logs["logs"]], ["hello x"])
        self.assertEqual(self.api.get("/api/tasks/%s/logs?after=%d" % (task_id, logs["logs"][0]["seq"])).json["logs"], [])
        for path in ("", "/status", "/result", "/logs"):
            self.refused(self.api.get("/api/tasks/" + journey.ABSENT_ID + path), 404, code="not_found")
            self.refused(self.api.get("/api/tasks/not-an-id" + path), 404)

    def test_the_catalogue(self):
        types = self.api.get("/api/tasks/types").expect(200).json
        self.assertEqual([entry["name"] for entry in types], ["fail", "hello", "hold"])
        hello = self.api.get("/api/tasks/types/hello").expect(200).json
        self.assertEqual(hello, types[1])
        self.assertEqual(hello["parameters"]["properties"]["pin"]["writeOnly"], True)
        self.refused(self.api.get("/api/tasks/types/helo"), 404)

    def test_workers_and_queues(self):
        workers = self.api.get("/api/workers").expect(200).json["workers"]
        self.assertEqual([worker["pid"] for worker in workers], [self.worker.pid])
        queues = self.api.get("/api/queues").expect(200).json["queues"]
        self.assertEqual([queue["name"] for queue in queues], ["default", "high_priority", "low_priority"])
        task_id, release = self.hold()
        status = self.api.get("/api/tasks/workers/status").expect(200).json
        self.assertEqual(sorted(status), ["broker_url", "queues", "status", "workers"])
        self.assertEqual(status["workers"]["active_count"], 1)
        self.assertEqual([task["task_id"] for task in status["workers"]["workers"][workers[0]["name"]]], [task_id])
        release()
        self.finish(task_id)

    def test_health(self):
        self.assertEqual(self.api.get("/healthz").expect(200).json, {"status": "ok"})
        self.assertEqual(self.api.get("/readyz").expect(200).json, {"status": "ready", "reasons": []})

    def test_what_is_not_there(self):
        self.refused(self.api.get("/api/nothing"), 404)
        self.refused(self.api.get("/api/tasks/"), 404)
        answer = self.api.delete("/api/queues")
        self.refused(answer, 405)
        self.assertEqual(answer.headers["Allow"], "GET")
        self.refused(self.api.get("/api/tasks/%00x"), 400)


class Operate(RestTest):
    def test_cancel_retry_delete(self):
        task_id, _ = self.hold()
        done = self.api.delete("/api/tasks/%s/cancel" % task_id).expect(200).json
        self.assertEqual(list(done), ["task_id", "status", "task_status", "message"])
        self.assertEqual((done["task_id"], done["status"], done["task_status"]), (task_id, "cancelling", "STARTED"))
        self.assertEqual(self.finish(task_id)["status"], "REVOKED")
        self.refused(self.api.post("/api/tasks/%s/cancel" % task_id), 409, code="refused")
        waiting = self.submit("hello", {"name": "x"}, delay="1h")
        self.assertEqual(self.api.post("/api/tasks/%s/cancel" % waiting).expect(200).json["status"], "cancelled")
        failed = self.submit("fail")
        self.finish(failed)
        self.assertEqual(self.api.post("/api/tasks/%s/retry" % failed).expect(200).json["status"], "retried")
        self.assertEqual(self.finish(failed)["attempt"], 2)
        self.assertEqual(self.api.delete("/api/tasks/" + failed).expect(200).json["status"], "deleted")
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/cancel"), ("DELETE", "/cancel")):
            self.refused(self.api.request(method, "/api/tasks/" + failed + path), 404)

    def test_many_by_ids_and_by_filter(self):
        ids = [self.submit("hello", {"name": "x"}, delay="1h", tags=["bulk"]) for _ in range(7)]
        post = lambda verb, body: self.api.post("/api/tasks/" + verb, body)
        self.assertEqual(post("cancel", {"ids": ids[:2] + [journey.ABSENT_ID]}).expect(200).json, {"matched": 3, "done": 2, "refused": 1})
        self.assertEqual(post("cancel", {"filter": {"tag": "bulk"}}).json, {"matched": 5, "done": 5, "refused": 0})
        self.assertEqual(post("retry", {"filter": {"tag": ["bulk"], "status": ["REVOKED"]}}).json["done"], 7)
        for task_id in ids:
            self.finish(task_id)
        self.assertEqual(post("delete", {"filter": {"tag": "bulk"}}).json, {"matched": 7, "done": 7, "refused": 0})
        for body, field in (({}, "ids"), ({"ids": [], "filter": {}}, "ids"), ({"ids": ["x"]}, "ids[0]"), ({"ids": "x"}, "ids"),
                            ({"filter": {}}, "filter"), ({"filter": 1}, "filter"), ({"filter": {"nam": "x"}}, "nam"),
                            ({"filter": {"name": 1}}, "name"), ({"id": "x"}, "id")):
            self.refused(post("cancel", body), 422, field)

    def test_pause_and_resume(self):
        self.assertEqual(self.api.post("/api/queues/default/pause").expect(200).json, {"name": "default", "paused": True})
        task_id = self.submit("hello", {"name": "x"})
        self.api.get("/api/tasks/%s/result?timeout=1" % task_id).expect(202)
        self.assertEqual(self.api.post("/api/queues/default/resume").expect(200).json, {"name": "default", "paused": False})
        self.finish(task_id)
        self.refused(self.api.post("/api/queues/De/pause"), 422, "name")

    def test_reload(self):
        self.place.task("late", 'return { execute = function() return "late" end }')
        answer = self.api.post("/api/workers/reload").expect(200).json
        files = {file["file"]: file["outcome"] for file in answer["workers"][0]["answer"]["files"]}
        self.assertEqual(files["late.lua"], "loaded")
        self.assertEqual(self.finish(self.submit("late"))["result"], "late")


class Access(RestTest):
    """While no token exists, only what plainly comes from this machine is served."""

    def test_only_from_here(self):
        body = {"task_name": "hello", "parameters": {"name": "x"}, "tags": ["foreign"]}
        for headers, status in (({"Host": "evil.example"}, 403), ({"Origin": "http://evil.example"}, 403),
                                ({"Origin": "null"}, 403), ({"X-Forwarded-For": "10.0.0.1"}, 401), ({"Forwarded": "for=x"}, 401),
                                ({"X-Real-IP": "1"}, 401), ({"Host": "localhost.evil.example"}, 403)):
            self.refused(self.api.post("/api/tasks/submit", body, headers=headers), status)
            self.refused(self.api.get("/api/tasks", headers=headers), status)
            self.api.get("/healthz", headers=headers).expect(200)
        self.assertEqual(self.api.get("/api/tasks?tag=foreign").json["total"], 0)
        own = {"Origin": "http://127.0.0.1:%d" % self.api.port, "Host": "127.0.0.1:%d" % self.api.port}
        self.api.get("/api/tasks", headers=own).expect(200)

    def test_both_lengths_are_refused(self):
        for head in (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 2\r\nContent-Length: 2\r\n",
                     b"Host: localhost\r\n"):
            with self.api.socket() as sock:
                sock.sendall(b"POST /api/tasks/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + head + b"\r\n{}")
                self.assertIn(b" 400 ", sock.recv(4096).split(b"\r\n")[0])


class Stores(ctutor.JourneyTest):
    def test_redis_away_and_postgres_away(self):
        self.place.task("hello", HELLO)
        with self.place.worker():
            pass
        api = rest.Serve(self.place)
        self.place.redis_server.stop()
        done = api.post("/api/tasks/submit", {"task_name": "hello", "parameters": {"name": "x"}}).expect(200)
        self.assertEqual(done.json["dispatch"], "deferred")
        away = api.get("/readyz").expect(503).json
        self.assertEqual((away["status"], len(away["reasons"])), ("not ready", 1))
        self.assertIn('\nctutor_store_up{store="redis"} 0\nctutor_store_up{store="postgres"} 1\n', api.get("/metrics").expect(200).text)
        self.place.redis_server.start()
        with self.place.worker():
            self.assertEqual(api.get("/api/tasks/%s/result" % done.json["task_id"]).expect(200).json["status"], "SUCCESS")
        self.place.postgres_server.stop()
        answer = api.post("/api/tasks/submit", {"task_name": "hello", "parameters": {"name": "x"}})
        self.assertEqual((answer.status, answer.json["code"]), (503, "unavailable"))
        self.assertIn("Retry-After", answer.headers)
        self.assertEqual(api.get("/readyz").status, 503)
        api.get("/metrics").expect(503)  # nobody can be let in
        api.get("/healthz").expect(200)
        self.place.postgres_server.start()
        ctutor.wait_until(lambda: api.get("/readyz").status == 200, 15)
        self.assertEqual(api.stop(), 0)

    def test_a_leaving_server_answers_who_waits(self):
        self.place.task("hello", HELLO)
        with self.place.worker():
            pass
        api = rest.Serve(self.place)
        task_id = api.post("/api/tasks/submit", {"task_name": "hello", "parameters": {"name": "x"}, "delay": 3600}).json["task_id"]
        answers = []
        thread = threading.Thread(target=lambda: answers.append(api.get("/api/tasks/%s/result?timeout=60" % task_id)))
        thread.start()
        ctutor.wait_until(lambda: len(ctutor.descriptors(api.pid)) > 0)
        time.sleep(0.3)
        self.assertEqual(api.stop(), 0)
        thread.join()
        self.assertEqual(answers[0].status, 202)
        self.place.run("cancel", task_id).expect(0)

    def test_what_it_cannot_listen_on_is_said(self):
        for listen in ("127.0.0.1", "x:y", "nowhere.example:80", ":80"):
            done = self.place.run("serve", "--listen", listen).expect(2)
            self.assertIn("127.0.0.1:8000", done.err)
        api = rest.Serve(self.place)
        done = self.place.run("serve", "--listen", "127.0.0.1:%d" % api.port)
        self.assertEqual(done.status, 1)
        self.assertIn("cannot listen on 127.0.0.1:%d" % api.port, done.err)
        self.assertEqual(api.stop(), 0)


def ident():
    """A UUIDv7 of now."""
    milliseconds = int(time.time() * 1000)
    return "%08x-%04x-7%03x-8%03x-%012x" % (milliseconds >> 16, milliseconds & 0xffff, 1, 2, time.monotonic_ns() & 0xffffffffffff)


if __name__ == "__main__":
    unittest.main()
