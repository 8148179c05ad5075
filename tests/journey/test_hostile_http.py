"""`serve` before clients that mean it ill, or are merely broken: everything of theirs is bounded, each
gets the right status, and whoever asks as one should is answered within a second all along.

CTUTOR_TEST_LONG=1: also until slow bodies are given up, and with far more of what is random.
"""

import contextlib
import os
import random
import re
import resource
import socket
import struct
import time
import unittest

import ctutor
import journey
import rest

LONG = bool(os.environ.get("CTUTOR_TEST_LONG"))
ECHO = 'return { params = { name = "string" }, execute = function(ctx, params) return params.name end }'
BIG = 'return { execute = function(ctx) return string.rep("x", 15 * 1024 * 1024) end }'
HOST = b"Host: localhost\r\n"
BODY = b'{"task_name":"echo","parameters":{"name":"x"}}'
POST = b"POST /api/tasks/submit HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
GOOD = POST + LENGTH + b"\r\n" + BODY
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
LAST = GET + b"Connection: close\r\n\r\n"  # where the server looks for a request after the one before
MEGABYTE = b"a" * (1 << 20)


class Hostile(journey.ApiTest):
    files = {"echo": ECHO, "big": BIG}
    serve_settings = {"ASAN_OPTIONS": journey.NO_QUARANTINE}

    @classmethod
    def setUpClass(cls):
        wanted = min(8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        super().setUpClass()

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.check_answers()
        self.serve_held = len(ctutor.descriptors(self.api.pid))
        self.memory = ctutor.memory(self.api.pid)

    def tearDown(self):
        self.stack.close()
        ctutor.wait_until(lambda: len(ctutor.descriptors(self.api.pid)) <= self.serve_held, 10)
        self.check_answers()
        ctutor.wait_until(lambda: self.place.value(
            "select count(*) from ctutor.active") == "0", 60, "what was accepted has run")
        super().tearDown()

    def connect(self, seconds=30):
        return self.stack.enter_context(self.api.socket(seconds))

    def check_answers(self):
        """One who asks as one should."""
        begun = time.monotonic()
        self.api.get("/api/queues").expect(200)
        self.assertLess(time.monotonic() - begun, 1)

    def say(self, data):
        """The statuses of all answers until the server closes, and what it said."""
        said = b""
        with self.api.socket(10) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
            with contextlib.suppress(ConnectionError):
                while True:
                    more = sock.recv(1 << 16)
                    if not more:
                        break
                    said += more
        return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) [^<]", said)], said

    def check_statuses(self, data, *expected):
        statuses, said = self.say(data)
        self.assertEqual(statuses, list(expected), (data[:300], said[-300:]))

    def test_both_sides_agree_where_a_request_ends(self):
        """What follows is taken for a request only where every proxy takes it for one, too."""
        self.check_statuses(GOOD + LAST, 200, 200)
        self.check_statuses(GOOD * 40 + LAST, *[200] * 41)
        self.check_statuses(POST + CHUNKED + b"\r\n" + CHUNKS + LAST, 200, 200)
        self.check_statuses(GET + b"\r\n" + LAST, 200, 200)
        self.check_statuses(GET.replace(b"GET", b"HEAD") + b"\r\n" + LAST, 200, 200)
        self.check_statuses(GET.replace(b"healthz", b"nothing") + b"\r\n" + LAST, 404, 200)
        self.check_statuses(GOOD.replace(b"/api/tasks/submit", b"/nothing") + LAST, 404, 200)
        self.check_statuses(GET + b"Content-Length: 3\r\n\r\nabc" + LAST, 413, 200)
        self.check_statuses(GET + CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n" + LAST, 413, 200)
        self.check_statuses(POST + LENGTH + b"Expect: 100-continue\r\n\r\n" + BODY + LAST, 100, 200, 200)
        for headers in (LENGTH + CHUNKED, LENGTH + LENGTH, LENGTH + b"Content-Length: 1\r\n", CHUNKED + CHUNKED,
                        LENGTH.replace(b":", b" :"), LENGTH.replace(b":", b"\t:"), LENGTH.replace(b": ", b":\r\n "),
                        LENGTH + b"X: a\r\n Content-Length: 3\r\n", b"Transfer-Encoding: gzip\r\n",
                        b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
                        b"Transfer-Encoding: chunked, chunked\r\n", b"Transfer-Encoding: xchunked\r\n",
                        b"Transfer-Encoding:\r\n chunked\r\n", LENGTH + HOST):
            self.check_statuses(POST + headers + b"\r\n" + BODY + LAST, 400)

    def test_lengths_that_are_none(self):
        for wrong in (b"+5", b"-5", b"5, 5", b"", b"0x5", b"5 5", b"five"):
            self.assertEqual(self.say(POST + b"Content-Length: " + wrong + b"\r\n\r\n" + BODY)[0][:1], [400], wrong)
        for huge in (b"2000000", b"9223372036854775807", b"18446744073709551615", b"9" * 30):
            self.assertEqual(self.say(POST + b"Content-Length: " + huge + b"\r\nExpect: 100-continue\r\n\r\n")[0][:1],
                             [413], huge)
        for wrong, status in ((b"-1", 400), (b"zz", 400), (b"+5", 400), (b"0x5", 400), (b"f" * 17, 413)):
            self.check_statuses(POST + CHUNKED + b"\r\n" + wrong + b"\r\n" + BODY, status)

    def test_what_is_no_request(self):
        for data, status in (
                (b"GET /healthz HTTP/1.1\r\n\r\n", 400), (b"GET /healthz\r\n\r\n", 400),
                (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505), (GET + b"no colon\r\n\r\n", 400),
                (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
                (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
                (b"GET http://localhost/healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 404),
                (b"get /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 405),
                (b"GET /api/%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400)):
            self.assertEqual(self.say(data)[0][:1], [status], data)
        for path in (b"/api/\xff\xfe", b"/api/%ff%fe", b"/api/tasks/%ff%22%0d%0a"):
            statuses, said = self.say(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
            self.assertEqual(statuses, [404])
            said.decode()
        self.assertEqual(self.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n")[0], [])

    def test_whatever_is_too_long_is_refused(self):
        cookies = GET + b"Cookie: " + b"a=b; " * 200000 + b"\r\n\r\n"
        for data, status in ((GET + b"X: " + MEGABYTE + b"\r\n\r\n", 431), (MEGABYTE, 414), (cookies, 431),
                             (GET + b"Authorization: Bearer " + MEGABYTE + b"\r\n\r\n", 431),
                             (GET + b"a:b\r\n" * 200000 + b"\r\n", 431), (b"GET /" + MEGABYTE, 414)):
            statuses, said = self.say(data)
            # It closes before the client has said all, which may cost the client the answer.
            self.assertIn(statuses, ([status], []), said[-300:])
            self.check_answers()
        self.assertLess(ctutor.memory(self.api.pid) - self.memory, 20 << 20)

    def test_a_header_of_any_length_gets_an_answer(self):
        self.assertEqual(self.say(GET + b"Connection: close\r\nX: " + b"a" * 4000 + b"\r\n\r\n")[0], [200])
        """The head of an answer lies in the same memory."""
        step = 8 if LONG else 56
        for length in range(3600, 5900, step):
            for data, statuses in (
                    (GET + b"Connection: close\r\nX: " + b"a" * length + b"\r\n\r\n", (200, 431)),
                    (GOOD.replace(b"Host", b"Connection: close\r\nX: " + b"a" * length + b"\r\nHost"), (200, 431)),
                    (GET.replace(b"z ", b"z?a=" + b"a" * length + b" ") + b"Connection: close\r\n\r\n",
                     (422, 431) if len("/healthz?a=") + length <= 4096 else (414,))):
                found, said = self.say(data)
                self.assertEqual(len(found), 1, (length, data[:20], said))
                self.assertIn(found[0], statuses)
        for count in range(1, 140, 1 if LONG else 6):
            self.assertIn(self.say(GET + b"Connection: close\r\n" + b"a:b\r\n" * count + b"\r\n")[0], ([200], [431]))
            self.assertIn(self.say(GET.replace(b"z ", b"z?" + b"a=b&" * count + b" ") + b"Connection: close\r\n\r\n")[0],
                          ([422], [414]))

    def test_who_is_slow_holds_up_nobody(self):
        """2,000 that never end their header, and some that never end a body or read an answer."""
        heads = [self.connect() for _ in range(2000)]
        bodies = [self.connect() for _ in range(50)]
        for sock in bodies:
            sock.sendall(GOOD[:-10])
        begun = time.monotonic()
        left, at = heads, 0
        while left and time.monotonic() - begun < 25:
            for sock in left:
                with contextlib.suppress(OSError):
                    sock.send(LAST[at % 20:at % 20 + 1])
            at += 1
            self.check_answers()
            self.assertLess(ctutor.memory(self.api.pid) - self.memory, 100 << 20)
            left = [sock for sock in left if not is_closed(sock)]
            time.sleep(0.5)
        self.assertEqual(left, [])
        self.assertGreater(time.monotonic() - begun, 10)
        if LONG:
            ctutor.wait_until(lambda: all(map(is_closed, bodies)), 30)

    def test_who_does_not_read_holds_up_nobody(self):
        task_id = self.api.post("/api/tasks/submit", {"task_name": "big"}).expect(200).json["task_id"]
        self.api.get("/api/tasks/%s/result" % task_id).expect(200)
        readers = [self.connect() for _ in range(10)]
        for sock in readers:
            sock.sendall(b"GET /api/tasks/%s/result HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (task_id.encode(), HOST))
        for sock in readers:
            self.assertEqual(len(sock.recv(1000)), 1000)
            self.check_answers()
        self.assertLess(ctutor.memory(self.api.pid) - self.memory, 300 << 20)
        size = 1000
        while more := readers[0].recv(1 << 20):
            size += len(more)
        self.assertGreater(size, 15 << 20)  # who reads at last has all of it
        self.stack.close()
        ctutor.wait_until(lambda: ctutor.memory(self.api.pid) - self.memory < 60 << 20, 10)

    def test_more_connections_than_descriptors(self):
        with rest.serve(self.place, descriptors=400) as api:
            flood = [self.stack.enter_context(api.socket()) for _ in range(300)]
            self.assertLess(len(ctutor.descriptors(api.pid)), 350)
            before = ctutor.processor_seconds(api.pid)
            time.sleep(1)
            self.assertLess(ctutor.processor_seconds(api.pid) - before, 0.5)  # it does not turn in circles
            for sock in flood:
                sock.close()
            begun = time.monotonic()
            api.get("/api/queues").expect(200)
            self.assertLess(time.monotonic() - begun, 1)
            self.assertNotIn("ERROR", api.log())

    def test_ten_thousand_names_that_are_none(self):
        """Each is looked up; what there is instead is read once."""
        for n in range(150):
            self.place.task("other%d" % n, ECHO.replace("return {", "return { description = '%s'," % ("x" * 2000), 1))
        self.api.post("/api/workers/reload").expect(200)
        body = [{"task_name": "ecko", "parameters": {}}] * 10000
        answers = self.api.post("/api/tasks/submit/bulk", body).expect(200).json
        self.assertEqual(len([answer for answer in answers if "did you mean echo" in answer["detail"]]), 10000)
        self.assertLess(ctutor.memory(self.api.pid) - self.memory, 100 << 20)

    def test_who_leaves_while_an_answer_is_made(self):
        body = {"task_name": "echo", "parameters": {"name": "x"}, "delay": 3600}
        task_id = self.api.post("/api/tasks/submit", body).expect(200).json["task_id"]
        ask = b"GET /api/tasks/%s/result?timeout=%%s HTTP/1.1\r\n%s\r\n" % (task_id.encode(), HOST)
        for n in range(300):
            sock = self.api.socket()
            sock.sendall(ask % (b"0", b"1ms", b"5ms", b"1s")[n % 4])
            time.sleep(n % 7 / 1000)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", n % 2, 0))
            sock.close()
        self.check_answers()
        self.api.post("/api/tasks/%s/cancel" % task_id).expect(200)

    def test_who_waits_or_is_slow_takes_no_processor_time(self):
        body = {"task_name": "echo", "parameters": {"name": "x"}, "delay": 3600}
        task_id = self.api.post("/api/tasks/submit", body).expect(200).json["task_id"]
        wait = b"GET /api/tasks/%s/result?timeout=60 HTTP/1.1\r\n%s\r\n" % (task_id.encode(), HOST)
        for data in (wait, wait + GET + b"\r\n", wait * 30, GOOD[:-10], GET, POST + CHUNKED + b"\r\n5\r\nab"):
            self.connect().sendall(data)
        self.check_answers()
        before = ctutor.processor_seconds(self.api.pid)
        time.sleep(1)
        self.assertLess(ctutor.processor_seconds(self.api.pid) - before, 0.3)
        self.api.post("/api/tasks/%s/cancel" % task_id).expect(200)

    def test_at_random(self):
        """Requests cut, mixed, mangled, and connections reset in every phase."""
        seed = int(os.environ.get("CTUTOR_TEST_SEED", "1"))
        dice = random.Random(seed)
        known = self.api.post("/api/tasks/submit", {"task_name": "echo", "parameters": {"name": "x"}}).json["task_id"].encode()
        requests = [
            GOOD, GET + b"\r\n", POST + CHUNKED + b"\r\n" + CHUNKS, POST + LENGTH + b"Expect: 100-continue\r\n\r\n" + BODY,
            b"GET /api/tasks?limit=3&status=SUCCESS&tag=a HTTP/1.1\r\n" + HOST + b"\r\n",
            b"GET /api/tasks/%s/result?timeout=1 HTTP/1.1\r\n%s\r\n" % (known, HOST),
            GOOD.replace(b"/submit", b"/submit/bulk").replace(LENGTH, b"Content-Length: %d\r\n" % (2 * len(BODY) + 3))
                .replace(BODY, b"[" + BODY + b"," + BODY + b"]")]
        open_now = []
        for n in range(5000 if LONG else 500):
            data = bytearray(b"".join(dice.choice(requests) for _ in range(dice.randint(1, 4))))
            for _ in range(dice.choice((0, 0, 1, 3, 20))):
                data[dice.randrange(len(data))] = dice.randrange(256)
            if dice.random() < 0.5:
                del data[dice.randrange(len(data)):]
            sock = self.api.socket()
            for piece in pieces(data, dice):
                with contextlib.suppress(OSError):
                    sock.sendall(piece)
                if dice.random() < 0.1:
                    time.sleep(dice.random() / 100)
            open_now.append(sock)
            if len(open_now) > 20:
                leave(open_now.pop(dice.randrange(len(open_now))), dice)
            if n % 100 == 0:
                self.check_answers()
                self.assertLess(ctutor.memory(self.api.pid) - self.memory, 50 << 20, seed)
        for sock in open_now:
            leave(sock, dice)


def pieces(data, dice):
    while data:
        size = dice.choice((1, 10, 100, len(data)))
        yield data[:size]
        data = data[size:]


def leave(sock, dice):
    """Reads something or nothing, half closes or not, closes or resets."""
    with contextlib.suppress(OSError):
        if dice.random() < 0.3:
            sock.shutdown(socket.SHUT_WR)
        if dice.random() < 0.5:
            sock.settimeout(0.01)
            sock.recv(dice.choice((1, 65536)))
        if dice.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_closed(sock):
    """By the other side; answers are passed over."""
    try:
        return not sock.recv(1 << 16, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


if __name__ == "__main__":
    unittest.main()
