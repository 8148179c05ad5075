"""The proxy does the harm that it is told to do, and no other."""

import os
import socket
import tempfile
import threading
import time
import unittest

import ctutor
from proxy import TO_CLIENT, TO_SERVER, Proxy


class Upper:
    """A server that answers every chunk in capitals; got: all that it was sent."""

    def __init__(self, address):
        self.got = b""
        self.listener = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.listener.bind(address)
        self.listener.listen()
        self.address = address if isinstance(address, str) else self.listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(link,), daemon=True).start()

    def _answer(self, link):
        with link:
            while True:
                try:
                    data = link.recv(65536)
                    if not data:
                        return
                    self.got += data
                    link.sendall(data.upper())
                except OSError:
                    return


class Modes(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="ctj-", dir="/tmp")
        self.addCleanup(self.folder.cleanup)
        self.server = Upper(os.path.join(self.folder.name, "server"))
        self.addCleanup(self.server.listener.close)
        self.proxy = Proxy(os.path.join(self.folder.name, "front"), self.server.address)
        self.addCleanup(self.proxy.close)

    def connect(self):
        link = socket.socket(socket.AF_UNIX)
        self.addCleanup(link.close)
        link.settimeout(5)
        link.connect(self.proxy.front)
        return link

    def ask(self, link, text):
        link.sendall(text)
        return self.answer(link)

    def answer(self, link, seconds=5):
        """What comes; b"" when the connection ended, None when nothing comes."""
        link.settimeout(seconds)
        try:
            return link.recv(65536)
        except socket.timeout:
            return None
        except ConnectionResetError:
            return b""

    def test_what_is_healthy_passes_whole(self):
        link = self.connect()
        self.assertEqual(self.ask(link, b"abc"), b"ABC")
        text = b"x" * 3_000_000
        threading.Thread(target=link.sendall, args=(text,)).start()
        got = 0
        while got < len(text):
            got += len(link.recv(65536))
        self.assertEqual(got, len(text))

    def test_delay(self):
        link = self.connect()
        self.ask(link, b"a")
        self.proxy.delay(0.2)
        began = time.monotonic()
        self.assertEqual(self.ask(link, b"b"), b"B")
        self.assertGreaterEqual(time.monotonic() - began, 0.4)
        self.proxy.heal()
        began = time.monotonic()
        self.assertEqual(self.ask(link, b"c"), b"C")
        self.assertLess(time.monotonic() - began, 0.2)

    def test_a_black_hole_swallows_and_what_fell_in_stays_deaf(self):
        old = self.connect()
        self.ask(old, b"a")
        self.proxy.black_hole()
        fresh = self.connect()
        for link in (old, fresh):
            link.sendall(b"lost")
            self.assertIsNone(self.answer(link, 0.1))
        self.assertEqual(self.server.got, b"a")
        self.proxy.heal()
        old.sendall(b"still lost")
        self.assertIsNone(self.answer(old, 0.1))
        self.assertEqual(self.ask(self.connect(), b"b"), b"B")
        self.assertEqual(self.server.got, b"ab")

    def test_what_is_frozen_comes_later(self):
        link = self.connect()
        self.proxy.freeze()
        link.sendall(b"abc")
        self.assertIsNone(self.answer(link, 0.1))
        self.proxy.heal()
        self.assertEqual(self.answer(link), b"ABC")

    def test_one_direction_only(self):
        link = self.connect()
        self.ask(link, b"a")
        self.proxy.one_way(TO_SERVER)
        link.sendall(b"b")
        self.assertIsNone(self.answer(link, 0.1))
        ctutor.wait_until(lambda: self.server.got == b"ab", 5)
        self.proxy.one_way(TO_CLIENT)
        other = self.connect()
        other.sendall(b"c")
        self.assertIsNone(self.answer(other, 0.1))
        self.assertEqual(self.server.got, b"ab")

    def test_cut_after_so_many_bytes(self):
        link = self.connect()
        self.proxy.cut_after(5)
        self.assertEqual(self.ask(link, b"abc"), b"ABC")
        self.assertEqual(self.ask(link, b"def"), b"DE")
        self.assertEqual(self.answer(link), b"")
        self.assertEqual(self.server.got, b"abcdef")

    def test_cut_and_refuse(self):
        link = self.connect()
        self.ask(link, b"a")
        self.proxy.cut()
        self.assertEqual(self.answer(link), b"")
        self.assertEqual(self.ask(self.connect(), b"b"), b"B")
        self.proxy.refuse()
        with self.assertRaises(OSError):
            self.connect()
        self.proxy.heal()
        self.assertEqual(self.ask(self.connect(), b"c"), b"C")

    def test_the_answer_to_a_request_is_swallowed(self):
        link, other = self.connect(), self.connect()
        self.proxy.swallow(b"commit", 1)
        self.assertEqual(self.ask(link, b"begin"), b"BEGIN")
        self.assertEqual(self.ask(link, b"commit"), b"")
        self.assertEqual(self.server.got, b"begincommit")
        self.assertEqual(self.ask(other, b"commit"), b"COMMIT")
        self.assertEqual((self.proxy.swallowed, self.proxy.cuts), (1, 1))

    def test_loopback_tcp_at_both_ends(self):
        server = Upper(("127.0.0.1", 0))
        self.addCleanup(server.listener.close)
        with Proxy(("127.0.0.1", 0), server.address) as proxy:
            with socket.create_connection(proxy.front) as link:
                self.assertEqual(self.ask(link, b"abc"), b"ABC")
                proxy.cut()
                self.assertEqual(self.answer(link), b"")
            proxy.refuse()
            with self.assertRaises(OSError):
                socket.create_connection(proxy.front).close()
            proxy.heal()
            with socket.create_connection(proxy.front) as link:
                self.assertEqual(self.ask(link, b"abc"), b"ABC")


if __name__ == "__main__":
    unittest.main()
