"""Wall clocks that a test may set, of one process or of all that one start of a program brought.

    clocks = Clocks(place)
    worker = place.start_worker(env=clocks.env("worker"))
    clocks.step("worker", -3600, pid=worker.pid)    # the supervisor alone, while it runs
    clocks.use("redis", place.redis_server)         # restarts it
"""

import os
import struct
import subprocess

SOURCE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fault", "clock_steps.c")
SIZE = 8 << 22  # of a file that is mapped whole: see SOURCE


class Clocks:
    def __init__(self, place):
        self.folder = place._folder("clocks")
        os.chmod(self.folder, 0o755)  # servers may run as another user
        self.preload = os.path.join(self.folder, "clock_steps.so")
        subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o", self.preload, SOURCE],
                       check=True)

    def env(self, party):
        path = self._path(party)
        if not os.path.exists(path):
            with open(path, "wb") as file:
                os.truncate(file.fileno(), SIZE)
        # The sanitizer's own functions come behind ours, which is no mistake here.
        options = [os.environ.get("ASAN_OPTIONS", ""), "verify_asan_link_order=0"]
        return {"LD_PRELOAD": self.preload, "CLOCK_STEPS": path, "ASAN_OPTIONS": ":".join(filter(None, options))}

    def use(self, party, server):
        server.stop()
        server.env.update(self.env(party))
        server.start()

    def step(self, party, seconds, pid=0):
        """Moves it so far from where it is; pid 0: of all that were started with this env."""
        with open(self._path(party), "r+b") as file:
            file.seek(8 * pid)
            before, = struct.unpack("q", file.read(8))
            file.seek(8 * pid)
            file.write(struct.pack("q", before + int(seconds * 1_000_000)))

    def _path(self, party):
        return os.path.join(self.folder, str(party))
