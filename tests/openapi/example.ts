// A client that openapi-typescript generated: the task's name decides what its parameters are.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

declare const process: { env: Record<string, string | undefined> };
const { CTUTOR_API_URL: baseUrl, CTUTOR_TOKEN: token } = process.env;
const client = createClient<paths>({ baseUrl, headers: token ? { Authorization: `Bearer ${token}` } : {} });

type Hello = components["schemas"]["submit.hello"];
const hello: Hello = { task_name: "hello", parameters: { name: "Ada", count: 2 }, tags: ["typed"] };
// @ts-expect-error: this parameter is a text
const wrong: Hello = { task_name: "hello", parameters: { name: 1 } };
// @ts-expect-error: this one is required
const missing: Hello = { task_name: "hello", parameters: {} };
// @ts-expect-error: there is no such task
const unknown: components["schemas"]["Submission"] = { task_name: "helo", parameters: { name: "Ada" } };

const submitted = await client.POST("/api/tasks/submit", { body: hello });
if (!submitted.data) throw new Error(submitted.error.detail);
const id = submitted.data.task_id;
const waited = await client.GET("/api/tasks/{id}/result", { params: { path: { id }, query: { timeout: 60 } } });
if (!waited.data) throw new Error(waited.error.detail);
if (waited.data.status !== "SUCCESS" || !("result" in waited.data)) throw new Error(waited.data.error?.message ?? "not final yet");
const list = await client.GET("/api/tasks", { params: { query: { tag: ["typed"], limit: 10 } } });
console.log(JSON.stringify({ result: waited.data.result, total: list.data?.total }));
