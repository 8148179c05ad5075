"""Draws the pictures of docs/dashboard.md: python3 tests/browser/pictures.py DIR, in the environment of the browser test."""

import os
import subprocess
import sys

import ctutor
import rest

TASKS = {
    "render_report": """return { summary = "Renders a monthly report", retries = { max = 3, base = 1 },
      params = { customer = "string", api_key = { type = "string", secret = true, optional = true } },
      execute = function(ctx, params)
        for i = 1, 20 do
          ctx.sleep(0.5) ctx.progress(5 * i, { page = i, of = 20 }) ctx.info("page " .. i .. " rendered")
          if i == 3 then ctx.warn("image 3 is missing") end
        end
      end }""",
    "import_rows": """return { summary = "Imports rows", params = { source = "string" },
      execute = function(ctx, params) error("connection to " .. params.source .. " reset by peer") end }""",
    "resize_image": """return { summary = "Makes thumbnails", params = { url = "string", width = "integer" },
      execute = function(ctx, params) ctx.sleep(0.05) return { width = params.width } end }""",
}


def main(folder):
    with ctutor.Installation() as place:
        for name, text in TASKS.items():
            place.task(name, text)
        with place.worker(processes=2, name="grading-1", grace="1s"):
            api = rest.Serve(place)

            def submit(name, **fields):
                parameters = fields.pop("parameters")
                return api.post("/api/tasks/submit", {"task_name": name, "parameters": parameters, **fields}).expect(200).json["task_id"]

            for i in range(60):
                submit("resize_image", parameters={"url": "https://cdn.example/%d.jpg" % i, "width": 160 + i})
            for i in range(3):
                submit("import_rows", parameters={"source": "ftp://warehouse.example/%d" % i})
            submit("resize_image", parameters={"url": "https://cdn.example/a.jpg", "width": 9}, queue="thumbnails")
            for i in range(20):
                submit("resize_image", parameters={"url": "https://cdn.example/b.jpg", "width": i}, delay=3600)
            api.post("/api/queues/low_priority/pause").expect(200)
            for i in range(12):
                submit("resize_image", parameters={"url": "https://cdn.example/c.jpg", "width": i}, queue="low_priority")
            report = submit("render_report", parameters={"customer": "ACME", "api_key": "secret"}, tags=["monthly"])
            ctutor.wait_until(lambda: (api.get("/api/tasks/" + report).json["progress"]["percentage"] or 0) >= 10)
            driver = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pictures.js")
            subprocess.run(["node", driver, "http://127.0.0.1:%d" % api.port, folder, report], check=True, timeout=120)
            api.stop()


if __name__ == "__main__":
    main(sys.argv[1])
