"""Formatting of C, and luacheck over every Lua file that ships."""
import glob
import os
import shutil
import subprocess
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def files(*patterns):
    found = []
    for pattern in patterns:
        found += glob.glob(os.path.join(ROOT, pattern), recursive=True)
    return sorted(found)


class Style(unittest.TestCase):
    def test_c_is_formatted(self):
        sources = files("runtime/**/*.[ch]", "bindings/**/*.[ch]", "tests/**/*.[ch]")
        self.assertGreater(len(sources), 100)
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", *sources], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr[:3000] + "\nrun ./dev format")

    def test_lua_is_clean(self):
        sources = files("tasks.d/**/*.lua", "bindings/lua/*.lua", "runtime/script/lua/*.lua", "examples/**/*.lua", "tests/bench/tasks.d/*.lua")
        self.assertGreater(len(sources), 8)
        self.assertIsNotNone(shutil.which("luacheck"))
        done = subprocess.run(["luacheck", "--std", "luajit", "--no-color", "--no-max-line-length", "--no-unused-args", "-q", *sources],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:])


if __name__ == "__main__":
    unittest.main()
