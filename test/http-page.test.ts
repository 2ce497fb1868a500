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

/** What stands on the page as a matcher: `…` within a text stands for anything, alone also for what is no text. */
function matcher(answer: unknown): unknown {
  if (answer === "…") return expect.anything();
  if (typeof answer === "string" && answer.includes("…")) {
    return expect.stringMatching(answer.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`).replaceAll("…", ".*"));
  }
  if (Array.isArray(answer)) {
    const open = answer.length > 1 && answer.at(-1) === "…";
    return open ? expect.arrayContaining(answer.slice(0, -1).map(matcher)) : answer.map(matcher);
  }
  if (typeof answer !== "object" || answer === null) return answer;
  return Object.fromEntries(Object.entries(answer).map(([key, item]) => [key, matcher(item)]));
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
    expect({ request: `${method} ${path}`, answer: actual }).toEqual({
      request: `${method} ${path}`,
      answer: matcher(answer),
    });
  }
});

test("docs/http.md names every route", async () => {
  const daemon = await Daemon.start(await temporaryDirectory());
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`${daemon.ready.url}/v1/openapi.json`, { headers });
  const { paths } = (await response.json()) as { paths: Record<string, Record<string, object>> };
  const text = await readFile(page, "utf8");
  for (const [path, methods] of Object.entries(paths)) {
    const shown = path.replaceAll(/\{(id|peer|name)\}/g, "(ID|NAME|[\\w%]+)");
    for (const method of Object.keys(methods)) {
      expect(text).toMatch(new RegExp(`${method.toUpperCase()} ${shown}(?![/\\w])`));
    }
  }
});
