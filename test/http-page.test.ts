import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Daemon, temporaryDirectory } from "./daemon.test-support.ts";

const page = fileURLToPath(new URL("../docs/http.md", import.meta.url));

interface Example {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly answer: unknown;
}

function examples(text: string): Example[] {
  const pairs = text.matchAll(/```http\n(\S+) (\S+)\n(.*?)```\n\n```json\n(.*?)```/gs);
  return [...pairs].map(([, method = "", path = "", body = "", answer = ""]) => {
    return { method, path, body, answer: JSON.parse(answer) as unknown };
  });
}

/** The actual answer with `…` where the page has it: within a text for anything, alone also for what is no text. */
function masked(actual: unknown, shown: unknown): unknown {
  if (shown === "…") return actual === undefined ? undefined : shown;
  if (typeof shown === "string" && typeof actual === "string") {
    const pattern = shown.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`).replaceAll("…", ".*");
    return new RegExp(`^${pattern}$`).test(actual) ? shown : actual;
  }
  if (Array.isArray(shown) && Array.isArray(actual)) {
    const open = shown.length > 1 && shown.at(-1) === "…";
    return open
      ? [...(masked(actual.slice(0, shown.length - 1), shown.slice(0, -1)) as unknown[]), "…"]
      : actual.map((item, index) => masked(item, shown[index]));
  }
  if (typeof shown !== "object" || shown === null || typeof actual !== "object" || actual === null) return actual;
  const fields = new Map(Object.entries(shown));
  return Object.fromEntries(Object.entries(actual).map(([key, item]) => [key, masked(item, fields.get(key))]));
}

test("every request of docs/http.md gets the answer that stands there", async () => {
  const daemon = await Daemon.start(await temporaryDirectory());
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const list = examples(await readFile(page, "utf8"));
  expect(list.length).toBeGreaterThan(10);
  for (const { method, path, body, answer } of list) {
    const response = await fetch(`${daemon.ready.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === "" ? {} : { "content-type": "application/json" }) },
      ...(body === "" ? {} : { body }),
    });
    const text = await response.text();
    const actual = text === "" ? null : (JSON.parse(text) as unknown);
    const request = `${method} ${path}`;
    expect({ request, answer: masked(actual, answer) }).toEqual({ request, answer });
  }
});

test("docs/http.md names every route", async () => {
  const daemon = await Daemon.start(await temporaryDirectory());
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${daemon.ready.url}/v1/openapi.json`, { headers });
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, object>> };
  const text = await readFile(page, "utf8");
  const missing = Object.entries(paths).flatMap(([path, methods]) => {
    const shown = path.replaceAll(/\{\w+\}/g, String.raw`[\w%]+`).replaceAll(".", String.raw`\.`);
    return Object.keys(methods)
      .map((method) => `${method.toUpperCase()} ${shown}`)
      .filter((request) => !new RegExp(String.raw`${request}(?![/\w])`).test(text));
  });
  expect(missing).toEqual([]);
});
