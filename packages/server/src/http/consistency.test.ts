import { builtinTypes } from "@coppice/crdt";
import { createMemoryNetwork } from "@coppice/replication";
import { expect, test } from "vitest";
import { type Answer, type Served, serve } from "./gateway.test-support.ts";

const ROSTERS = { words: ["a", "b"] };

async function pair(): Promise<{ a: Served; b: Served; network: ReturnType<typeof createMemoryNetwork> }> {
  const network = createMemoryNetwork();
  const a = await serve({}, { types: builtinTypes, transport: network.transport("a"), rosters: ROSTERS });
  const b = await serve({}, { types: builtinTypes, transport: network.transport("b"), rosters: ROSTERS });
  return { a, b, network };
}

function increment({ call }: Served, id: string, options: object = {}, session?: string): Promise<Answer> {
  const body = { type: "gcounter", operations: [{ op: "increment" }], ...options };
  return call("POST", `/v1/groups/${encodeURIComponent(id)}/operations`, {
    body,
    headers: { "session-token": session },
  });
}

function read({ call }: Served, id: string, query = "", session?: string): Promise<Answer> {
  return call("GET", `/v1/groups/${encodeURIComponent(id)}/value${query}`, { headers: { "session-token": session } });
}

function sessionOf({ headers }: Answer): string {
  const token = headers["session-token"];
  if (typeof token !== "string") throw new Error("no session token");
  return token;
}

test("a session reads its own writes on another node, also of a group that is new there", async () => {
  const { a, b } = await pair();
  const written = sessionOf(await increment(a, "words/n"));
  expect(await read(b, "words/n", "?timeoutMs=100", written)).toMatchObject({ status: 504, body: { code: "TIMEOUT" } });
  expect(await read(b, "words/n")).toMatchObject({ status: 404 });
  const early = read(b, "words/n", "", written);
  await b.node.connect("memory:/a");
  const seen = await early;
  expect(seen).toMatchObject({ status: 200, body: { value: 1 } });

  const later = await increment(a, "words/n", {}, sessionOf(seen));
  const both = sessionOf(await increment(a, "words/other", {}, sessionOf(later)));
  expect(await read(b, "words/n", "", both)).toMatchObject({ status: 200, body: { value: 2 } });
  expect(await read(b, "words/other", "", `${written}, ${both}`)).toMatchObject({ status: 200, body: { value: 1 } });
});

test("a token that is none, or asks for what is nowhere", async () => {
  const { a, b } = await pair();
  await increment(a, "words/n");
  expect(await read(a, "words/n", "", "nonsense")).toMatchObject({ status: 400, body: { code: "INVALID_TOKEN" } });
  const elsewhere = sessionOf(await increment(b, "words/n"));
  expect(await read(a, "words/n", "?timeoutMs=50", elsewhere)).toMatchObject({
    status: 504,
    body: { code: "TIMEOUT" },
  });
  expect(await read(a, "words/unknown", "", elsewhere)).toMatchObject({ status: 404 });
});

test("reads and writes by majority and by number", async () => {
  const { a, b } = await pair();
  await b.node.connect("memory:/a");
  expect(await increment(a, "words/n", { ack: { replicas: "majority" } })).toMatchObject({ status: 200 });
  for (const level of ["majority", "all", "1", "local"]) {
    expect(await read(b, "words/n", `?consistency=${level}`)).toMatchObject({ status: 200, body: { value: 1 } });
  }
  expect(await read(b, "words/n", "?consistency=2&timeoutMs=50")).toMatchObject({ status: 504 });
  expect(await read(b, "words/n", "?consistency=most")).toMatchObject({
    status: 400,
    body: { code: "INVALID_REQUEST" },
  });
  await increment(a, "other");
  expect(await read(a, "other", "?consistency=all")).toMatchObject({ status: 409, body: { code: "NO_MEMBERSHIP" } });
});
