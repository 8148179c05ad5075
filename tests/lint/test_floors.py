"""A file includes only its own folder and floors below; who may know a library is said here."""
import os
import re
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
FLOOR = {"base": 0, "config": 1, "loop": 1, "task": 1, "io": 2, "broker": 3, "ledger": 3, "lifecycle": 4, "script": 4,
         "bindings": 5, "worker": 6, "keeper": 6, "http": 7, "cli": 8}
# The keeper is a part of the supervisor (docs/architecture.md).
SIDEWAYS = {("worker", "keeper")}
# library header -> folders and file prefixes that may include it
ONLY = {"hiredis": ("io/redis",), "libpq": ("io/pg", "config/postgres_url"), "lua": ("script/", "bindings/"), "microhttpd": ("http/server",), "curl/": ("io/web.c",), "yaml": ("bindings/",),
        "zlib": ("http/",),
        "jansson": ("task/", "config/", "lifecycle/", "script/", "worker/", "keeper/", "http/", "cli/")}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.M)


def sources():
    for top in ("runtime", "bindings"):
        for folder, _, names in os.walk(os.path.join(ROOT, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.join(folder, name)
                    relative = os.path.relpath(path, ROOT)
                    yield relative.removeprefix("runtime/"), open(path, encoding="utf-8").read()


def edges():
    for path, text in sources():
        for own, library in INCLUDE.findall(text):
            yield path, own, library


class Floors(unittest.TestCase):
    def test_includes_go_down(self):
        seen = 0
        for path, own, _ in edges():
            if not own:
                continue
            here, there = path.split("/")[0], own.split("/")[0]
            self.assertIn(here, FLOOR, path)
            self.assertIn(there, FLOOR, f'{path} includes "{own}": write the folder')
            seen += 1
            allowed = here == there or FLOOR[there] < FLOOR[here] or (here, there) in SIDEWAYS
            self.assertTrue(allowed, f'{path} includes "{own}": floor {FLOOR[here]} must not know {there}')
            if there == "bindings":
                self.assertIn(here, ("bindings", "cli"), f'{path} includes "{own}": bindings are passed in')
        self.assertGreater(seen, 300)

    def test_libraries_are_known_in_one_place(self):
        for path, _, library in edges():
            for name, places in ONLY.items():
                if re.match(rf"(?:{name})", library) and not library.startswith("sys/"):
                    self.assertTrue(path.startswith(places), f"{path} includes <{library}>: only {places} may")

    def test_an_upward_edge_would_be_seen(self):
        self.assertGreater(FLOOR["worker"], FLOOR["base"])
        self.assertEqual(INCLUDE.findall('#include "worker/slot.h"\n'), [("worker/slot.h", "")])


if __name__ == "__main__":
    unittest.main()
