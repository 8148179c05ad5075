"""Every page of the dashboard in a real browser against a real system (dashboard.js).

The steps are JavaScript, because Playwright is; the system is made here, and afterwards nothing may be left of it.
"""

import os
import shutil
import subprocess
import unittest

import journey
import rest

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = """
return {
  summary = "Ten steps <script>window.pwned = 3</script>",
  params = { label = { type = "string", minLength = 1, description = "what it is called" }, pause = { type = "number", default = 0.01, minimum = 0, maximum = 1 },
             kind = { type = "string", enum = { "plain", "fancy" }, default = "plain" }, pin = { type = "string", secret = true, optional = true },
             loud = { type = "boolean", default = false }, list = { type = "array", items = { type = "string" }, optional = true } },
  execute = function(ctx, params)
    for i = 1, 10 do
      ctx.sleep(params.pause)
      ctx.info("step " .. i .. " of 10")
      ctx.progress(10 * i, { step = i })
    end
    return { label = params.label, nested = { list = { 1, 2, 3 } } }
  end,
}
"""
HOLD = "return { execute = function(ctx) while true do ctx.sleep(60) end end }"
MOODY = """
return { params = { mood = "string" }, execute = function(ctx, params) if params.mood == "bad" then error("the mood is bad") end return "fine" end }
"""
ECHO = """
return {
  summary = "\\"><img src=x onerror=window.pwned=4>", additional_params = true, params = { text = "string", fails = { type = "boolean", default = false } },
  execute = function(ctx, params) ctx.progress(50, params) ctx.info(params.text) if params.fails then error(params.text) end return params end,
}
"""


class Dashboard(journey.ServedTest):
    files = {"steps": STEPS, "hold": HOLD, "moody": MOODY, "echo": ECHO}

    def test_an_operator_at_work(self):
        node = shutil.which("node") or shutil.which("nodejs")
        self.assertTrue(node, "no Node: install nodejs")
        self.assertTrue(os.environ.get("NODE_PATH"), "npm could not get playwright-core when the build was configured: configure it again with a network")
        login = {"DASHBOARD_USER": "ada", "DASHBOARD_PASSWORD": "correct horse battery"}
        api = rest.Serve(self.place, env=login)
        tasks = os.path.join(self.place.work, "tasks.d")
        driver = [node, os.path.join(HERE, "dashboard.js"), "http://127.0.0.1:%d" % api.port, tasks]
        done = subprocess.run(driver, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240,
                              env={**os.environ, **login})
        self.assertEqual(done.returncode, 0, done.stdout + api.log())
        print(done.stdout)
        self.assertEqual(api.stop(), 0)


if __name__ == "__main__":
    unittest.main()
