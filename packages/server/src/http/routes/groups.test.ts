import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { type Served, TOKEN, serve } from "../gateway.test-support.ts";
import type { GroupPageBody } from "../api.ts";

const gcounter = { type: "gcounter", operations: [{ op: "increment", args: [3] }] };

async function create(served: Served, id: string, body: unknown = gcounter): Promise<void> {
  const answer = await served.call("POST", `/v1/groups/${encodeURIComponent(id)}/operations`, { body });
  expect(answer.status).toBe(200);
}

test("tells what the node is", async () => {
  const served = await serve();
  await create(served, "a");
  const { body } = await served.call("GET", "/v1/status");
  expect(body).toMatchObject({ peerId: served.node.id, incarnation: served.node.incarnation, groups: 1, peers: 0 });
  expect(body).toMatchObject({ types: expect.arrayContaining(["gcounter", "lww", "ormap"]) as unknown });
});

test("lists groups by id, in pages, and by prefix", async () => {
  const served = await serve();
  const ids = ["alone", "b", "words/a", "words/b", "words/:7", "words/100%25", "x/y"];
  for (const id of ids.toReversed()) await create(served, id);
  const all = (await served.call("GET", "/v1/groups")).body as GroupPageBody;
  expect(all.next).toBeNull();
  expect(all.groups.map(({ id }) => id)).toEqual([
    "alone",
    "b",
    "words/:7",
    "words/100%25",
    "words/a",
    "words/b",
    "x/y",
  ]);
  expect(all.groups[0]).toMatchObject({ type: "gcounter", phase: "active", events: 1, domain: "" });

  const paged: string[] = [];
  for (let after = ""; ;) {
    const query = after === "" ? "" : `&after=${encodeURIComponent(after)}`;
    const { groups, next } = (await served.call("GET", `/v1/groups?limit=2${query}`)).body as GroupPageBody;
    expect(groups.length).toBeLessThanOrEqual(2);
    paged.push(...groups.map(({ id }) => id));
    if (next === null) break;
    after = next;
  }
  expect(paged).toEqual(all.groups.map(({ id }) => id));

  const words = (await served.call("GET", "/v1/groups?prefix=words/")).body as GroupPageBody;
  expect(words.groups.map(({ id }) => id)).toEqual(["words/:7", "words/100%25", "words/a", "words/b"]);
});

test.each(["limit=0", "limit=1001", "limit=x", "limit=-1", "other=1", "prefix=a//b"])("refuses ?%s", async (query) => {
  const { call } = await serve();
  expect((await call("GET", `/v1/groups?${query}`)).status).toBe(400);
});

test.each(["plain", "with space", "a/b", "one/", "t/:-5", "percent%25", "q?x#y", "ü/☃", "x".repeat(400)])(
  "the id %s arrives as it is",
  async (text) => {
    const served = await serve();
    const id = text.replaceAll(/[ ?#]/g, encodeURIComponent);
    await create(served, id);
    const path = `/v1/groups/${encodeURIComponent(id)}`;
    expect((await served.call("GET", path)).body).toMatchObject({ id });
    expect((await served.call("GET", `${path}/value`)).body).toMatchObject({ id, value: 3 });
    expect([...served.node.groups()]).toHaveLength(1);
  },
);

test("reads a value, or a part of it", async () => {
  const served = await serve();
  const operations = [
    { op: "set", args: ["a", { b: [1, 2] }] },
    { op: "set", args: ["big", { $bigint: "9007199254740993" }] },
  ];
  await create(served, "m", { type: "lwwmap", operations });
  const read = async (query: string): Promise<unknown> => {
    const { body } = await served.call("GET", `/v1/groups/m/value${query}`);
    return (body as { value: unknown }).value;
  };
  expect(await read("")).toEqual({ a: { b: [1, 2] }, big: { $bigint: "9007199254740993" } });
  expect(await read("?key=a&key=b")).toEqual([1, 2]);
  expect(await read("?key=big")).toEqual({ $bigint: "9007199254740993" });
  expect(await read("?key=constructor")).toBeNull();
  expect(await read("?key=a&key=b&key=length&key=x")).toBeNull();
});

test("a conditional read answers 304 until something changes", async () => {
  const served = await serve();
  await create(served, "a");
  const first = await served.call("GET", "/v1/groups/a/value");
  const headers = { "if-none-match": String(first.headers["etag"]) };
  expect(await served.call("GET", "/v1/groups/a/value", { headers })).toMatchObject({ status: 304, body: undefined });
  await create(served, "a");
  const later = await served.call("GET", "/v1/groups/a/value", { headers });
  expect(later).toMatchObject({ status: 200, body: { value: 6 } });
});

test("deletes a group; it is gone until it is begun anew", async () => {
  const served = await serve();
  await create(served, "a");
  expect(await served.call("DELETE", "/v1/groups/a")).toMatchObject({ status: 204 });
  expect(await served.call("GET", "/v1/groups/a")).toMatchObject({ status: 410, body: { code: "GROUP_DELETED" } });
  expect((await served.call("GET", "/v1/groups")).body).toMatchObject({ groups: [] });
  const again = await served.call("POST", "/v1/groups/a/operations", { body: gcounter });
  expect(again).toMatchObject({ status: 410, body: { code: "GROUP_DELETED" } });
  await create(served, "a", { ...gcounter, recreate: true });
  expect((await served.call("GET", "/v1/groups/a/value")).body).toMatchObject({ value: 3 });
});

test.each([
  ["GET", "/v1/groups/nothing", 404, "UNKNOWN_GROUP"],
  ["GET", "/v1/groups/nothing/value", 404, "UNKNOWN_GROUP"],
  ["DELETE", "/v1/groups/nothing", 404, "UNKNOWN_GROUP"],
  ["GET", "/v1/groups/a%2F%2Fb", 400, "INVALID_GROUP_ID"],
  ["GET", `/v1/groups/${"x".repeat(600)}`, 400, "INVALID_GROUP_ID"],
  ["GET", "/v1/groups/%25zz", 400, "INVALID_GROUP_ID"],
  ["GET", "/v1/groups/%zz", 400, "INVALID_REQUEST"],
  ["GET", "/v2/groups", 404, "NOT_FOUND"],
  ["DELETE", "/v1/groups", 405, "METHOD_NOT_ALLOWED"],
  ["GET", "/v1/groups/a/operations", 405, "METHOD_NOT_ALLOWED"],
  ["GET", "/v1/groups/a/b/value", 404, "NOT_FOUND"],
  ["GET", "/v1/watch", 400, "INVALID_REQUEST"],
  ["DELETE", "/v1/peers/somebody", 404, "NOT_FOUND"],
])("%s %s answers %d %s", async (method, path, status, code) => {
  const { call, errors } = await serve();
  expect(await call(method, path)).toMatchObject({ status, body: { code } });
  expect(errors).toEqual([]);
});

test("takes snapshots on request", async () => {
  const served = await serve();
  await create(served, "a");
  expect(await served.call("POST", "/v1/snapshots", { body: {} })).toMatchObject({ status: 204 });
  expect(await served.call("POST", "/v1/snapshots", { body: { group: "a" } })).toMatchObject({ status: 204 });
  const missing = await served.call("POST", "/v1/snapshots", { body: { group: "b" } });
  expect(missing).toMatchObject({ status: 404, body: { code: "UNKNOWN_GROUP" } });
});

test("says with which methods a path can be asked for", async () => {
  const { call } = await serve();
  expect((await call("DELETE", "/v1/groups/a/value")).headers["allow"]).toBe("GET, HEAD");
  expect((await call("POST", "/v1/groups/a", { body: {} })).headers["allow"]).toBe("GET, HEAD, DELETE");
  expect((await call("DELETE", "/v1/nowhere")).headers["allow"]).toBeUndefined();
});

test("knows its tag in a list, weakened, and as any", async () => {
  const served = await serve();
  await create(served, "a");
  const tag = String((await served.call("GET", "/v1/groups/a/value")).headers["etag"]);
  const ask = async (known: string): Promise<number> =>
    (await served.call("GET", "/v1/groups/a/value", { headers: { "if-none-match": known } })).status;
  for (const known of [tag, `W/${tag}`, `"x", ${tag}`, `W/"x",W/${tag}`, "*"]) expect(await ask(known)).toBe(304);
  for (const other of ['"x"', tag.slice(0, -1), tag.slice(1, -1), ""]) expect(await ask(other)).toBe(200);
});

test("takes no body that it would have to guess at", async () => {
  const { gateway, node } = await serve();
  const post = async (
    body: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
  ): Promise<unknown> => {
    const all = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json", ...headers };
    const response = await fetch(`${gateway.url}/v1/groups/a/operations`, { method: "POST", headers: all, body });
    return { status: response.status, ...((await response.json()) as object) };
  };
  const set = (text: string): string => JSON.stringify({ type: "lww", operations: [{ op: "set", args: [text] }] });
  const latin1 = Buffer.from(set("é"), "latin1");
  const refused = { status: 400, code: "INVALID_REQUEST", detail: "the body is not UTF-8" };
  expect(await post(new Uint8Array(latin1))).toMatchObject(refused);
  const packed = await post(new Uint8Array(gzipSync(set("x"))), { "content-encoding": "gzip" });
  expect(packed).toMatchObject({ status: 415, code: "UNSUPPORTED_MEDIA_TYPE" });
  expect(node.group("a")).toBeUndefined();
  expect(await post(set("é"), { "content-encoding": "identity" })).toMatchObject({ status: 200 });
});
