"""A relay between a program and a store that does harm on demand.

    with Proxy(front="/tmp/x/redis", back="/tmp/y/s") as proxy:
        proxy.black_hole()          # whatever anybody sends from now on goes nowhere
        proxy.heal()

An address is the path of a unix socket or (host, port); port 0 takes a free one (then proxy.front
says which). Each mode replaces the one before and holds for the connections that exist and for new
ones; heal() takes it away. A connection that lost bytes stays deaf for ever, as one whose path was
forgotten by a router does (half open): nobody is told, the program must find out.

One thread with poll serves all connections of one proxy. What has been read lies in a queue with
the time at which it may go on; a mode decides when bytes enter the queue, or that they do not.
"""

import collections
import contextlib
import os
import select
import socket
import struct
import threading
import time

TO_SERVER, TO_CLIENT = "to_server", "to_client"
CHUNK = 65536


def _is_path(address):
    return isinstance(address, str)


def _socket_for(address):
    return socket.socket(socket.AF_UNIX if _is_path(address) else socket.AF_INET)


def _shut(end):
    """At once: close() alone takes effect when the thread no longer polls it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class _Flow:
    """One direction of one connection."""

    def __init__(self, name, source, target):
        self.name, self.source, self.target = name, source, target
        self.queue = collections.deque()  # [due, bytes]
        self.ended = False


class _Link:
    """A client's connection and ours to the server."""

    def __init__(self, client, server):
        self.flows = (_Flow(TO_SERVER, client, server), _Flow(TO_CLIENT, server, client))
        self.deaf = False       # lost bytes: nothing passes any more
        self.swallowing = False  # its server's next words are dropped, then it is cut
        self.closed = False

    def sockets(self):
        return self.flows[0].source, self.flows[1].source

    def close(self, reset=False):
        self.closed = True
        for end in self.sockets():
            with contextlib.suppress(OSError):
                if reset and end.family == socket.AF_INET:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    _shut(end)
                end.close()


class Proxy:
    def __init__(self, front, back):
        self.back, self.front = back, front
        self.accepted = self.swallowed = self.cuts = 0
        self._links, self._listener, self._stopped = [], None, False
        self._lock = threading.RLock()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._set()
        self._listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- modes --

    def heal(self):
        """Everything passes; what freeze() held back first."""
        with self._change():
            self._set()
            self._listen()

    def delay(self, seconds):
        with self._change():
            self._set(delay=seconds)

    def black_hole(self):
        """Connections are accepted and stay, nothing comes out at the other end."""
        with self._change():
            self._set(drops=(TO_SERVER, TO_CLIENT))
            for link in self._links:
                link.deaf = True

    def one_way(self, passes):
        """Only this direction (TO_SERVER or TO_CLIENT) passes."""
        with self._change():
            self._set(drops=(TO_CLIENT if passes == TO_SERVER else TO_SERVER,))

    def freeze(self):
        """Nothing passes, but nothing is lost either: it goes on with heal()."""
        with self._change():
            self._set(frozen=True)

    def cut(self):
        """Every connection breaks now; new ones are served."""
        with self._change():
            self._cut_all()

    def cut_after(self, count, direction=TO_CLIENT):
        """Each connection breaks when so many more bytes of it have passed in that direction."""
        with self._change():
            self._set(cut_after=(count, direction))

    def refuse(self):
        """Every connection breaks, and nobody listens any more."""
        with self._change():
            self._set()
            self._cut_all()
            if self._listener:
                _shut(self._listener)
                self._listener.close()
                self._listener = None
                if _is_path(self.front):
                    os.unlink(self.front)

    def swallow(self, text=b"", count=1):
        """Each of the next `count` requests that hold `text` reaches the server, and its connection
        breaks when the answer comes, which nobody sees: it was done, or it was not, who knows."""
        with self._change():
            self._swallow = [text, count]

    @property
    def is_swallowing(self):
        return self._swallow is not None

    def close(self):
        with self._change():
            self._stopped = True
        self._thread.join()
        for link in self._links:
            link.close()
        if self._listener:
            self._listener.close()
        if _is_path(self.front):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.front)
        os.close(self._wake_in)
        os.close(self._wake_out)

    @contextlib.contextmanager
    def _change(self):
        with self._lock:
            yield
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_in, b"!")

    def _set(self, delay=0, drops=(), frozen=False, cut_after=None):
        self._delay, self._drops, self._frozen = delay, drops, frozen
        self._cut_after, self._passed = cut_after, {}
        self._swallow = None

    def _cut_all(self):
        for link in self._links:
            self._cut(link)

    def _cut(self, link):
        if not link.closed:
            self.cuts += 1
            link.close(reset=True)

    # -- the thread --

    def _listen(self):
        if self._listener:
            return
        listener = _socket_for(self.front)
        if _is_path(self.front):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.front)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self.front)
        if _is_path(self.front):
            os.chmod(self.front, 0o777)
        else:
            self.front = listener.getsockname()
        listener.listen(128)
        listener.setblocking(False)
        self._listener = listener

    def _serve(self):
        while True:
            with self._lock:
                if self._stopped:
                    return
                poller, ready_for, timeout = self._interests()
            events = poller.poll(timeout)
            with self._lock:
                for descriptor, _ in events:
                    self._happened(ready_for[descriptor])

    def _interests(self):
        """What to wait for: poll object, descriptor -> (link or None, ...), milliseconds or None."""
        poller, ready_for, due = select.poll(), {self._wake_out: None}, None
        poller.register(self._wake_out, select.POLLIN)
        if self._listener:
            poller.register(self._listener, select.POLLIN)
            ready_for[self._listener.fileno()] = self._listener
        now = time.monotonic()
        wanted = {}
        self._links = [link for link in self._links if not link.closed]
        for link in self._links:
            for flow in link.flows:
                source, target = flow.source.fileno(), flow.target.fileno()
                ready_for[source] = ready_for[target] = link
                if not flow.ended and not self._frozen and len(flow.queue) < 64:
                    wanted[source] = wanted.get(source, 0) | select.POLLIN
                if not flow.queue or self._frozen:
                    continue
                if flow.queue[0][0] <= now:
                    wanted[target] = wanted.get(target, 0) | select.POLLOUT
                else:
                    due = min(due or flow.queue[0][0], flow.queue[0][0])
        for descriptor, events in wanted.items():
            poller.register(descriptor, events)
        return poller, ready_for, None if due is None else max(1, int((due - now) * 1000) + 1)

    def _happened(self, subject):
        if subject is None:
            os.read(self._wake_out, 4096)
        elif subject is self._listener:
            self._accept()
        elif isinstance(subject, _Link) and not subject.closed:
            for flow in subject.flows:
                if not subject.closed:
                    self._turn(subject, flow)

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        self.accepted += 1
        server = _socket_for(self.back)
        try:
            server.connect(self.back)
        except OSError:
            client.close()
            server.close()
            return
        for end in (client, server):
            end.setblocking(False)
        self._links.append(_Link(client, server))

    def _turn(self, link, flow):
        """Reads what is there, and writes what is due. Neither blocks."""
        if not flow.ended and not self._frozen and len(flow.queue) < 64:
            try:
                data = flow.source.recv(CHUNK)
                self._read(link, flow, data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._read(link, flow, b"")
        now = time.monotonic()
        while not link.closed and not self._frozen and flow.queue and flow.queue[0][0] <= now:
            try:
                sent = flow.target.send(flow.queue[0][1])
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                link.close()
                return
            if sent < len(flow.queue[0][1]):
                flow.queue[0][1] = flow.queue[0][1][sent:]
                return
            flow.queue.popleft()
        if flow.ended and not flow.queue and not link.closed and not self._drops:
            link.close()

    def _read(self, link, flow, data):
        if not data:
            flow.ended = True
            return
        if flow.name in self._drops:
            link.deaf = True
        if link.deaf:
            if flow.name in self._drops or not self._drops:
                return
        elif link.swallowing and flow.name == TO_CLIENT:
            self.swallowed += 1
            self._cut(link)
            return
        elif self._swallow and flow.name == TO_SERVER and self._swallow[0] in data:
            link.swallowing = True
            self._swallow[1] -= 1
            if not self._swallow[1]:
                self._swallow = None
        if self._cut_after and flow.name == self._cut_after[1]:
            left = self._cut_after[0] - self._passed.get(link, 0)
            self._passed[link] = self._passed.get(link, 0) + len(data)
            if len(data) >= left:
                with contextlib.suppress(OSError):
                    flow.target.send(data[:left])
                self._cut(link)
                return
        flow.queue.append([time.monotonic() + self._delay, data])


class StoreProxies:
    """Both stores of an Installation behind proxies; env: the settings that lead through them."""

    def __init__(self, place, name="proxy", tcp=False):
        folder = place._folder(name)
        os.chmod(folder, 0o755)
        enter, free = place.stack.enter_context, ("127.0.0.1", 0)
        self.redis = enter(Proxy(free if tcp else folder + "/redis", place.redis_socket))
        self.postgres = enter(Proxy(free if tcp else folder + "/.s.PGSQL.5432", place.postgres_dir + "/.s.PGSQL.5432"))
        redis, postgres = "unix://%s" % (self.redis.front,), "host=" + folder
        if tcp:
            redis, postgres = "redis://%s:%d" % self.redis.front, "host=%s port=%d" % self.postgres.front
        self.env = {"REDIS_URL": redis, "DATABASE_URL": postgres + " user=postgres dbname=codeability"}

    def heal(self):
        self.redis.heal()
        self.postgres.heal()
