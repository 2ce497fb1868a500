import { expect, test } from "vitest";
import { type Answer, type Served, serve } from "../gateway.test-support.ts";

function post(served: Served, id: string, body: unknown): Promise<Answer> {
  return served.call("POST", `/v1/groups/${encodeURIComponent(id)}/operations`, { body });
}

async function value(served: Served, id: string): Promise<unknown> {
  const { body } = await served.call("GET", `/v1/groups/${encodeURIComponent(id)}/value`);
  return (body as { value: unknown }).value;
}

test("performs operations of every plain type", async () => {
  const served = await serve();
  expect(await post(served, "n", { type: "gcounter", operations: [{ op: "increment", args: [5] }] })).toMatchObject({
    status: 200,
    body: { results: [null] },
  });
  expect((await post(served, "n", { operations: [{ op: "increment" }], value: true })).body).toMatchObject({
    value: 6,
  });
  await post(served, "r", { type: "lww", operations: [{ op: "set", args: [{ deep: [null, 1.5] }] }] });
  expect(await value(served, "r")).toEqual({ deep: [null, 1.5] });
  const set = { op: "set", args: ["k", 1] };
  const answer = await post(served, "m", {
    type: "lwwmap",
    operations: [set, { op: "get", args: ["k"] }, { op: "delete", args: ["k"] }, { op: "has", args: ["k"] }],
  });
  expect(answer.body).toMatchObject({ results: [null, 1, true, false] });
  expect(await value(served, "m")).toEqual({});
});

test("reaches into nested types, in one event", async () => {
  const served = await serve();
  const word = (key: string, amount: number): unknown => ({
    path: ["words", { key, type: "gcounter" }],
    op: "increment",
    args: [amount],
  });
  const total = { path: [{ key: "total", type: "gcounter" }], op: "increment", args: [5] };
  const place = { path: ["position", { key: "n1", type: "lww" }], op: "set", args: [17] };
  const operations = [word("the", 2), word("a", 3), total, place];
  expect(await post(served, "words/a", { type: "struct", operations })).toMatchObject({ status: 200 });
  expect(await value(served, "words/a")).toEqual({ words: { the: 2, a: 3 }, total: 5, position: { n1: 17 } });
  expect((await served.call("GET", "/v1/groups/words%2Fa")).body).toMatchObject({ events: 1 });
  await post(served, "words/a", { operations: [{ path: ["words"], op: "delete", args: ["the"] }] });
  expect(await value(served, "words/a")).toMatchObject({ words: { a: 3 } });
});

test("a batch with one refused operation changes nothing", async () => {
  const served = await serve();
  await post(served, "n", { type: "gcounter", operations: [{ op: "increment" }] });
  const operations = [
    { op: "increment", args: [10] },
    { op: "increment", args: [-1] },
  ];
  expect(await post(served, "n", { operations })).toMatchObject({
    status: 422,
    body: { code: "INVALID_OPERATION", operation: 1 },
  });
  expect(await value(served, "n")).toBe(1);
});

test("a first operation that is refused leaves no group behind, and its type is free again", async () => {
  const served = await serve({}, { limits: { groupsMax: 1 } });
  const refused = [
    { operations: [{ op: "increment", args: [-1] }] },
    { operations: [{ op: "increment" }, { op: "increment", args: [0.5] }] },
    { operations: [{ op: "increment" }], ack: "sync" },
    { operations: [{ op: "increment" }], ack: { replicas: "majority" } },
  ];
  for (const [index, request] of refused.entries()) {
    const answer = await post(served, `new/${index}`, { type: "gcounter", ...request });
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect([...served.node.groups()]).toEqual([]);
    expect((await served.call("GET", `/v1/groups/new%2F${index}`)).status).toBe(404);
  }
  const add = { type: "orset", operations: [{ op: "add", args: ["x"] }] };
  expect(await post(served, "new/0", add)).toMatchObject({ status: 200 });
});

test("refused operations among others on a new group take nothing away", async () => {
  const served = await serve();
  const send = (amount: number): Promise<Answer> =>
    post(served, "n", { type: "gcounter", operations: [{ op: "increment", args: [amount] }] });
  const answers = await Promise.all([-1, 1, -1, 2, -1, -1, 3].map(send));
  expect(answers.map(({ status }) => status)).toEqual([422, 200, 422, 200, 422, 422, 200]);
  expect(await value(served, "n")).toBe(6);
});

test("a refused operation begins no deleted group anew", async () => {
  const served = await serve();
  await post(served, "n", { type: "gcounter", operations: [{ op: "increment" }] });
  await served.call("DELETE", "/v1/groups/n");
  const anew = (amount: number): Promise<Answer> =>
    post(served, "n", { type: "gcounter", recreate: true, operations: [{ op: "increment", args: [amount] }] });
  expect(await anew(-1)).toMatchObject({ status: 422 });
  expect((await served.call("GET", "/v1/groups/n/value")).body).toMatchObject({ code: "GROUP_DELETED" });
  expect(await anew(4)).toMatchObject({ status: 200 });
  expect(await value(served, "n")).toBe(4);
});

test.each<[string, object, number, string]>([
  ["an unknown type", { type: "gcouter", operations: [{ op: "increment" }] }, 422, "UNKNOWN_TYPE"],
  ["no type", { operations: [{ op: "increment" }] }, 404, "UNKNOWN_GROUP"],
  ["an unknown operation", { type: "gcounter", operations: [{ op: "incremnt" }] }, 422, "UNKNOWN_OPERATION"],
  ["an inherited method", { type: "gcounter", operations: [{ op: "constructor" }] }, 422, "UNKNOWN_OPERATION"],
  [
    "a method that is no operation",
    { type: "ormap", operations: [{ op: "at", args: ["x"] }] },
    422,
    "UNKNOWN_OPERATION",
  ],
  ["a fraction", { type: "gcounter", operations: [{ op: "increment", args: [0.5] }] }, 422, "INVALID_OPERATION"],
  [
    "a text for a number",
    { type: "gcounter", operations: [{ op: "increment", args: ["5"] }] },
    422,
    "INVALID_OPERATION",
  ],
  ["a way into a counter", { type: "gcounter", operations: [{ path: ["x"], op: "clear" }] }, 422, "INVALID_OPERATION"],
  [
    "a way through the prototype",
    { type: "gcounter", operations: [{ path: ["__proto__"], op: "clear" }] },
    422,
    "INVALID_OPERATION",
  ],
  ["no operations", { type: "gcounter", operations: [] }, 400, "INVALID_REQUEST"],
  ["a misspelt field", { type: "gcounter", operation: [], operations: [{ op: "increment" }] }, 400, "INVALID_REQUEST"],
  ["a number for a text", { type: 7, operations: [{ op: "increment" }] }, 400, "INVALID_REQUEST"],
  ["an unknown ack", { type: "gcounter", operations: [{ op: "increment" }], ack: "disk" }, 400, "INVALID_REQUEST"],
  [
    "an ack that memory cannot give",
    { type: "gcounter", operations: [{ op: "increment" }], ack: "sync" },
    422,
    "ACK_UNAVAILABLE",
  ],
])("refuses %s", async (_name, body, status, code) => {
  const served = await serve();
  expect(await post(served, "n", body)).toMatchObject({ status, body: { code, status } });
  const { body: read } = await served.call("GET", "/v1/groups/n/value");
  expect(read).not.toMatchObject({ value: 1 });
  expect(served.errors).toEqual([]);
});

test("suggests what may have been meant", async () => {
  const served = await serve();
  const type = await post(served, "n", { type: "gcouter", operations: [{ op: "increment" }] });
  expect(type.body).toMatchObject({ detail: expect.stringContaining('Did you mean "gcounter"?') as string });
  const op = await post(served, "n", { type: "gcounter", operations: [{ op: "incremnt" }] });
  expect(op.body).toMatchObject({ detail: expect.stringContaining('Did you mean "increment"?') as string });
});

test("another type than the group's is a conflict", async () => {
  const served = await serve();
  await post(served, "n", { type: "gcounter", operations: [{ op: "increment" }] });
  const answer = await post(served, "n", { type: "lww", operations: [{ op: "set", args: [1] }] });
  expect(answer).toMatchObject({ status: 409, body: { code: "TYPE_CONFLICT" } });
});

test("an acknowledgement that does not come says that the write is applied", async () => {
  const served = await serve();
  const body = { type: "gcounter", operations: [{ op: "increment" }], ack: { replicas: 1 }, timeoutMs: 50 };
  const detail = "1 replica wanted within 50 ms, none answered; the write stays applied";
  expect(await post(served, "n", body)).toMatchObject({
    status: 504,
    body: { code: "TIMEOUT", applied: true, detail },
  });
  expect(await value(served, "n")).toBe(1);
});

test.each([
  ["{", 400, "INVALID_REQUEST"],
  ["", 400, "INVALID_REQUEST"],
  ["null", 400, "INVALID_REQUEST"],
  ["[]", 400, "INVALID_REQUEST"],
  ['{"__proto__": {"x": 1}, "operations": [{"op": "increment"}]}', 400, "INVALID_REQUEST"],
  [JSON.stringify({ operations: [{ op: "x".repeat(2 << 20) }] }), 413, "BODY_TOO_LARGE"],
])("refuses the body %.20s", async (body, status, code) => {
  const served = await serve();
  const answer = await served.call("POST", "/v1/groups/n/operations", {
    body,
    headers: { "content-type": "application/json" },
  });
  expect(answer).toMatchObject({ status, body: { code } });
  expect(served.errors).toEqual([]);
});

test("a key may be called as what objects inherit", async () => {
  const served = await serve();
  const odd = '{"__proto__":{"x":1},"constructor":{"prototype":2}}';
  const steps = '[{"key":"__proto__","type":"gcounter"}]';
  const body = `{"type":"struct","operations":[{"path":${steps},"op":"increment"},
    {"path":[{"key":"r","type":"lww"}],"op":"set","args":[${odd}]}]}`;
  expect(await post(served, "odd", body)).toMatchObject({ status: 200 });
  expect(JSON.stringify(await value(served, "odd"))).toBe(`{"__proto__":1,"r":${odd}}`);
  const refused = await post(served, "odd", '{"operations":[{"op":"get"}],"__proto__":{"type":"gcounter"}}');
  expect(refused).toMatchObject({ status: 400, body: { detail: 'body cannot have "__proto__"' } });
  expect(await post(served, "odd", "")).toMatchObject({ body: { detail: "the body is empty, and declared as JSON" } });
  const broken = await post(served, "odd", '{"operations": [}');
  expect((broken.body as { detail: string }).detail).toMatch(/^the body is no JSON: Unexpected token/);
});
