"""The document in the hands of others: redocly lints it, openapi-typescript makes a client of it, which type-checks and runs."""

import json
import os
import shutil
import subprocess
import unittest

import ctutor
import journey
from test_openapi import FILES

SOURCE = os.path.join(ctutor.ROOT, "tests", "openapi")
PACKAGES = os.environ.get("NODE_PATH")


def run(command, folder, **env):
    """Its stdout; it must succeed."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s%s" % (" ".join(command), done.returncode, done.stdout, done.stderr))
    return done.stdout


class Tools(journey.ApiTest):
    files = FILES

    @classmethod
    def setUpClass(cls):
        if not PACKAGES:
            raise AssertionError("npm could not get the packages of tests/openapi when the build was configured: configure it again with a network")
        super().setUpClass()
        cls.folder = os.path.join(os.path.dirname(PACKAGES), "run")  # beside node_modules, where node looks
        shutil.rmtree(cls.folder, ignore_errors=True)
        os.mkdir(cls.folder)
        for file in ("redocly.yaml", "example.ts"):
            shutil.copy(os.path.join(SOURCE, file), cls.folder)
        with open(os.path.join(cls.folder, "openapi.json"), "wb") as file:
            file.write(cls.api.get("/api/openapi.json").expect(200).body)

    def tool(self, name, *args, **env):
        return run([os.path.join(PACKAGES, ".bin", name), *args], self.folder, **env)

    def test_redocly_finds_nothing(self):
        found = self.tool("redocly", "lint", "--format=json", "openapi.json", REDOCLY_TELEMETRY="off")
        self.assertEqual(json.loads(found)["problems"], [])

    def test_a_generated_client_type_checks_and_runs(self):
        self.tool("openapi-typescript", "openapi.json", "-o", "api.d.ts")
        self.tool("tsc", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom",
                  "--noUncheckedIndexedAccess", "example.ts")
        os.rename(os.path.join(self.folder, "example.js"), os.path.join(self.folder, "example.mjs"))
        printed = run(["node", "example.mjs"], self.folder, CTUTOR_API_URL="http://127.0.0.1:%d" % self.api.port)
        self.assertEqual(json.loads(printed), {"result": {"greeting": "hello Ada"}, "total": 1})


if __name__ == "__main__":
    unittest.main()
