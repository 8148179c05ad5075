"""docs/rest.md: its examples work, the answers it shows fit the document, its reference is the program's."""

import json
import os
import re
import subprocess
import unittest

import ctutor
import journey
import schema
from test_docs import as_script, marked

PAGE = os.path.join("docs", "rest.md")
MARK = "<!-- from here on: ctutor-run help rest; ./dev docs writes it -->\n"


def text():
    with open(os.path.join(ctutor.ROOT, PAGE), encoding="utf-8") as file:
        return file.read()


class RestDocs(journey.ApiTest):
    @classmethod
    def setUpClass(cls):
        cls.files = {}
        for name in os.listdir(journey.SHIPPED):
            if name.endswith(".lua"):
                with open(os.path.join(journey.SHIPPED, name), encoding="utf-8") as file:
                    cls.files[name[:-4]] = file.read()
        super().setUpClass()
        cls.document = cls.api.get("/api/openapi.json").expect(200).json  # before there is a token

    def test_every_example_does_what_it_says(self):
        blocks = list(marked(PAGE))
        self.assertEqual(len(blocks), text().count("```sh\n"), "an example is not run")
        folder = os.path.join(self.place.root, "bin")
        os.mkdir(folder)
        os.symlink(os.path.abspath(ctutor.PROGRAM), os.path.join(folder, "ctutor-run"))
        env = {**self.place.env, "PATH": folder + ":" + self.place.env["PATH"], "CTUTOR_API_URL": "http://127.0.0.1:%d" % self.api.port}
        for block in blocks:
            done = subprocess.run(["sh", "-c", as_script(block)], cwd=self.place.work, env=env, text=True, stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=100)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        ctutor.wait_until(lambda: self.place.value("SELECT count(*) FROM active") == "0", 20)

    def test_answers_that_are_shown_fit_the_document(self):
        shown = re.findall(r"<!-- answer: (\w+) -->\n```json\n(.*?)```", text(), re.S)
        self.assertEqual(len(shown), text().count("```json\n"), "an answer is not checked")
        self.assertGreater(len(shown), 3)
        for name, answer in shown:
            self.assertEqual(schema.check(self.document, {"$ref": "#/components/schemas/" + name}, json.loads(answer)), [], name)

    def test_its_reference_is_what_the_program_prints(self):
        printed = self.place.run("help", "rest").expect(0).out
        self.assertTrue(text().partition(MARK)[2].strip() == printed.strip(), PAGE + " is not what the program prints: run ./dev docs")


if __name__ == "__main__":
    unittest.main()
