"""The tree holds what belongs there, and the docs name what exists."""
import os
import re
import subprocess
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TOP = {"CMakeLists.txt", "CMakePresets.json", "runtime", "bindings", "tasks.d", "tests", "examples", "docs", "README.md",
       "CONTRIBUTING.md", "LICENSE", "dev"}
NAMED = re.compile(r"`((?:runtime|bindings)/[\w/]+\.[ch]):(\w+)`")


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listed.stdout.decode().split("\0") if name and os.path.exists(os.path.join(ROOT, name))]


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


class Tree(unittest.TestCase):
    def test_the_top_level_holds_nothing_else(self):
        tops = {name.split("/")[0] for name in tracked()}
        self.assertEqual({top for top in tops if not top.startswith(".")} - TOP, set())
        self.assertLessEqual({"README.md", "runtime", "dev"}, tops)

    def test_no_tabs_and_no_paths_of_somebodys_machine(self):
        checked = 0
        for name in tracked():
            if not name.endswith((".c", ".h", ".py", ".lua", ".md")):
                continue
            text = text_of(name)
            checked += 1
            self.assertNotIn("\t", text, f"{name} holds a tab")
            self.assertIsNone(re.search(r"/(?:home|Users)/\w+/", text), f"{name} names a path of somebody's machine")
        self.assertGreater(checked, 100)

    def test_what_the_docs_name_exists(self):
        for page in ("docs/journey.md", "docs/states.md", "docs/model.md"):
            names = NAMED.findall(text_of(page))
            self.assertGreater(len(names), 10, page)
            for path, function in names:
                self.assertTrue(os.path.exists(os.path.join(ROOT, path)), f"{page}: {path} does not exist")
                self.assertRegex(text_of(path), rf"\b{function}\b", f"{page}: {path} has no {function}")

    def test_links_of_the_readme_lead_somewhere(self):
        for page in ("README.md", "CONTRIBUTING.md"):
            for link in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
                self.assertTrue(link.startswith("http") or os.path.exists(os.path.join(ROOT, link)), f"{page}: {link}")


if __name__ == "__main__":
    unittest.main()
