"""The document in the hands of others: redocly lints it, openapi-typescript makes a client of it, which type-checks and runs."""

import json
import os
import shutil
import unittest

import journey
import npm
from test_openapi import FILES

SOURCE = os.path.join(npm.ctutor.ROOT, "tests", "openapi")


class Tools(journey.ApiTest):
    files = FILES

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.packages = npm.packages("openapi")
        cls.folder = os.path.join(cls.packages, "run")  # below node_modules, where node looks
        shutil.rmtree(cls.folder, ignore_errors=True)
        os.mkdir(cls.folder)
        for file in ("redocly.yaml", "example.ts"):
            shutil.copy(os.path.join(SOURCE, file), cls.folder)
        with open(os.path.join(cls.folder, "openapi.json"), "wb") as file:
            file.write(cls.api.get("/api/openapi.json").expect(200).body)

    def tool(self, name, *args, **env):
        return npm.run([os.path.join(self.packages, "node_modules", ".bin", name), *args], self.folder, env=env)

    def test_redocly_finds_nothing(self):
        found = self.tool("redocly", "lint", "--format=json", "openapi.json", REDOCLY_TELEMETRY="off")
        self.assertEqual(json.loads(found)["problems"], [])

    def test_a_generated_client_type_checks_and_runs(self):
        self.tool("openapi-typescript", "openapi.json", "-o", "api.d.ts")
        self.tool("tsc", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2022,dom",
                  "--noUncheckedIndexedAccess", "example.ts")
        os.rename(os.path.join(self.folder, "example.js"), os.path.join(self.folder, "example.mjs"))
        printed = npm.run(["node", "example.mjs"], self.folder, env={"CTUTOR_API_URL": "http://127.0.0.1:%d" % self.api.port})
        self.assertEqual(json.loads(printed), {"result": {"greeting": "hello Ada"}, "total": 1})


if __name__ == "__main__":
    unittest.main()
