"""examples/clients: each submits, shows progress as it comes, waits and prints."""

import json
import os
import subprocess
import unittest

import ctutor
import journey

FOLDER = os.path.join(ctutor.ROOT, "examples", "clients")
CLIENTS = (["sh", "submit.sh"], ["python3", "-B", "submit.py"], ["node", "submit.mjs"])
FILES = {
    "count": """
local fs = require "ctutor.fs"
return {
  params = { to = "integer", go = "string" },
  execute = function(ctx, params)
    ctx.info("counting")
    local seen = 0
    while not fs.exists(params.go) do
      seen = seen + 1
      ctx.progress(50, { seen = seen })
      ctx.sleep(0.1)
    end
    return { counted = params.to, text = 'a "word" \\\\ of ü\\n' }
  end,
}
""",
    "fail": 'return { execute = function(ctx) ctx.fatal("no luck") end }',
}


class Clients(journey.ApiTest):
    files = FILES

    def client(self, command, *args, url=None):
        env = {**os.environ, "CTUTOR_API_URL": url or "http://127.0.0.1:%d" % self.api.port}
        return subprocess.Popen(command + list(args), cwd=FOLDER, env=env, text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def ended(self, client):
        """Not by communicate(): it knows nothing of what readline() has read ahead."""
        err, out = client.stderr.read(), client.stdout.read()
        return client.wait(60), out, err

    def test_progress_comes_while_it_runs_and_then_the_result(self):
        for command in CLIENTS:
            with self.subTest(command[-1]):
                go = os.path.join(self.place.work, command[-1])
                client = self.client(command, "count", json.dumps({"to": 4, "go": go}))
                seen = ""
                while "seen" not in seen:  # the task still runs: it waits for us
                    line = client.stderr.readline()
                    self.assertTrue(line, "ended early: " + seen)
                    seen += line
                open(go, "w").close()
                status, out, err = self.ended(client)
                self.assertEqual(status, 0, err)
                done = json.loads(out)
                done = done["result"] if "task_id" in done else done
                self.assertEqual(done, {"counted": 4, "text": 'a "word" \\ of ü\n'})
                self.assertIn("counting", seen + err)
                self.assertIn("SUCCESS", err)

    def test_a_failure_and_a_refusal(self):
        for command in CLIENTS:
            with self.subTest(command[-1]):
                status, out, err = self.ended(self.client(command, "fail"))
                self.assertEqual(status, 1, err)
                self.assertIn("no luck", out + err)
                status, _, err = self.ended(self.client(command, "count", '{"to": "x"}'))
                self.assertEqual(status, 2, err)
                self.assertEqual(sorted(one["field"] for one in json.loads(err)["errors"]), ["go", "to"])
                self.assertEqual(self.ended(self.client(command, "nope"))[0], 2)


if __name__ == "__main__":
    unittest.main()
