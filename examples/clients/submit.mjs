#!/usr/bin/env node
// usage: submit.mjs TASK [PARAMETERS]    prints the result; progress and log lines go to stderr
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";

const url = (process.env.CTUTOR_API_URL ?? "http://127.0.0.1:8000").replace(/\/$/, "");
const token = process.env.CTUTOR_TOKEN;

class Refused extends Error {}

// A server that is away or says 503 is asked again.
async function ask(path, { body, headers = {}, tries = 5 } = {}) {
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  for (let i = 0; ; i++) {
    const last = i + 1 >= tries;
    try {
      const answer = await fetch(url + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
      if (answer.ok) return answer;
      if (answer.status !== 503 || last) throw new Refused(await answer.text());
    } catch (error) {
      if (error instanceof Refused || last) throw error;
    }
    await setTimeout(1000 * 2 ** i);
  }
}

async function submit(name, parameters) {
  const headers = { "Idempotency-Key": randomUUID() }; // repeated with it, the request submits nothing twice
  const answer = await ask("/api/tasks/submit", { body: { task_name: name, parameters }, headers });
  return (await answer.json()).task_id;
}

// What happens to the task, until it is final.
async function* events(id) {
  const answer = await ask(`/api/tasks/${id}/events`);
  let rest = "";
  for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
  }
}

async function result(id) {
  for (;;) { // 202: not final yet; the server answers at once when it is
    const answer = await ask(`/api/tasks/${id}/result?timeout=60`);
    if (answer.status === 200) return answer.json();
  }
}

function show(event) {
  if (event.event === "progress") console.error(`${Math.round(event.percentage)} % ${JSON.stringify(event.metadata)}`);
  else console.error(event.text ?? event.status);
}

const [name, parameters = "{}"] = process.argv.slice(2);
try {
  const id = await submit(name, JSON.parse(parameters));
  for await (const event of events(id)) show(event);
  const done = await result(id);
  if (done.status === "SUCCESS") console.log(JSON.stringify(done.result));
  else console.error(done.error?.message ?? done.status);
  process.exitCode = done.status === "SUCCESS" ? 0 : 1;
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
