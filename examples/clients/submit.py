#!/usr/bin/env python3
"""usage: submit.py TASK [PARAMETERS]    prints the result; progress and log lines go to stderr"""
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("CTUTOR_API_URL", "http://127.0.0.1:8000").rstrip("/")
TOKEN = os.environ.get("CTUTOR_TOKEN")


def ask(method, path, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if TOKEN:
        headers["Authorization"] = "Bearer " + TOKEN
    if body is not None:
        headers["Content-Type"] = "application/json"
        body = json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(URL + path, body, headers, method=method), timeout=330)


def stubbornly(attempt, tries=5):
    """A server that is away or says 503 is asked again."""
    for i in range(tries):
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code != 503 or i + 1 == tries:
                raise
        except OSError:
            if i + 1 == tries:
                raise
        time.sleep(2**i)


def submit(name, parameters):
    key = str(uuid.uuid4())  # repeated with it, the request submits nothing twice
    body = {"task_name": name, "parameters": parameters}
    return stubbornly(lambda: json.load(ask("POST", "/api/tasks/submit", body, Idempotency_Key=key)))["task_id"]


def events(task_id):
    """What happens to the task, until it is final."""
    with ask("GET", "/api/tasks/%s/events" % task_id) as stream:
        for line in stream:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def result(task_id):
    while True:  # 202: not final yet; the server answers at once when it is
        answer = stubbornly(lambda: ask("GET", "/api/tasks/%s/result?timeout=60" % task_id))
        if answer.status == 200:
            return json.load(answer)


def show(event):
    if event["event"] == "progress":
        print("%3.0f %% %s" % (event["percentage"], json.dumps(event["metadata"])), file=sys.stderr)
    else:
        print(event.get("text") or event.get("status"), file=sys.stderr)


def main():
    name, parameters = sys.argv[1], json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}")
    try:
        task_id = submit(name, parameters)
        for event in events(task_id):
            show(event)
        done = result(task_id)
    except urllib.error.HTTPError as error:
        print(error.read().decode(), file=sys.stderr)
        return 2
    if done["status"] != "SUCCESS":
        print((done["error"] or {}).get("message", done["status"]), file=sys.stderr)
        return 1
    print(json.dumps(done["result"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
