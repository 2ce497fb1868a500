import { expect, test } from "vitest";
import { gCounter } from "@coppice/crdt";
import { READ_TOKEN, serve } from "../gateway.test-support.ts";
import type { View } from "../views.ts";

const double: View = { name: "double", kind: "scalar", handler: (params) => 2 * (params as number) };

test("calls a scalar view with its parameters and the node", async () => {
  const total: View = {
    name: "total",
    description: "The sum of counters",
    kind: "scalar",
    handler: async (params, { node }) => {
      let sum = 0;
      for (const id of params as string[]) {
        const replica = await node.open(id, gCounter);
        sum += replica.value();
        replica.close();
      }
      return { sum, exact: 2n ** 70n };
    },
  };
  const { call } = await serve({ views: [total, double] });
  const operations = [{ op: "increment", args: [5] }];
  await call("POST", "/v1/groups/a/operations", { body: { type: "gcounter", operations } });
  await call("POST", "/v1/groups/b/operations", { body: { type: "gcounter", operations } });
  const answer = await call("POST", "/v1/views/total", { body: { params: ["a", "b"] }, token: READ_TOKEN });
  expect(answer).toMatchObject({ status: 200, body: { result: { sum: 10, exact: { $bigint: String(2n ** 70n) } } } });
  expect((await call("GET", "/v1/views")).body).toEqual({
    views: [
      {
        name: "total",
        description: "The sum of counters",
        kind: "scalar",
        scope: "global",
        timeoutMs: 10_000,
        permission: "read",
      },
      { name: "double", description: "", kind: "scalar", scope: "global", timeoutMs: 10_000, permission: "read" },
    ],
  });
});

test("a batch takes a list and returns as many results", async () => {
  const batch: View = {
    ...double,
    name: "doubles",
    kind: "batch",
    handler: (params) => (params as number[]).map((n) => 2 * n),
  };
  const broken: View = { ...batch, name: "broken", handler: () => [] };
  const { call, errors } = await serve({ views: [batch, broken] });
  const post = (name: string, params: unknown): Promise<unknown> =>
    call("POST", `/v1/views/${name}`, { body: { params } });
  expect(await post("doubles", [1, 2, 3])).toMatchObject({ status: 200, body: { result: [2, 4, 6] } });
  expect(await post("doubles", 1)).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
  expect(errors).toEqual([]);
  expect(await post("broken", [1])).toMatchObject({ status: 500, body: { code: "VIEW_FAILED" } });
  expect(errors).toHaveLength(1);
});

test("a session view needs a session, and what it keeps goes with it", async () => {
  const ended: string[] = [];
  const visits: View = {
    name: "visits",
    kind: "scalar",
    scope: "session",
    handler: (_params, { session }) => {
      const count = ((session?.data.get("visits") as number | undefined) ?? 0) + 1;
      if (count === 1) session?.signal.addEventListener("abort", () => ended.push(session.id));
      session?.data.set("visits", count);
      return count;
    },
  };
  const { call } = await serve({ views: [visits] });
  const begin = async (): Promise<string> => {
    const { body } = await call("POST", "/v1/sessions", { body: {}, token: READ_TOKEN });
    return (body as { session: string }).session;
  };
  const [first, second] = [await begin(), await begin()];
  const visit = (session?: string): Promise<unknown> => call("POST", "/v1/views/visits", { body: { session } });
  expect(await visit(first)).toMatchObject({ body: { result: 1 } });
  expect(await visit(first)).toMatchObject({ body: { result: 2 } });
  expect(await visit(second)).toMatchObject({ body: { result: 1 } });
  expect(await visit()).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
  expect(await call("DELETE", `/v1/sessions/${first}`)).toMatchObject({ status: 204 });
  expect(ended).toEqual([first]);
  expect(await visit(first)).toMatchObject({ status: 404, body: { code: "NOT_FOUND" } });
  expect(await call("DELETE", `/v1/sessions/${first}`)).toMatchObject({ status: 404 });
  expect(await visit(second)).toMatchObject({ body: { result: 2 } });
});

test("enforces the time limit, also for a handler that never ends", async () => {
  let isAborted = false;
  const slow: View = {
    name: "slow",
    kind: "scalar",
    timeoutMs: 50,
    handler: (_params, { signal }) =>
      new Promise(() => signal.addEventListener("abort", () => (isAborted = true), { once: true })),
  };
  const patient: View = {
    name: "patient",
    kind: "scalar",
    timeoutMs: "infinity",
    handler: () => new Promise((resolve) => setTimeout(() => resolve("done"), 100)),
  };
  const { call, errors } = await serve({ views: [slow, patient] });
  const late = await call("POST", "/v1/views/slow", { body: {} });
  expect(late).toMatchObject({ status: 504, body: { code: "TIMEOUT" } });
  expect(isAborted).toBe(true);
  expect(await call("POST", "/v1/views/patient", { body: {} })).toMatchObject({ body: { result: "done" } });
  expect(errors).toEqual([]);
});

test("a call that waits ends when the server closes", async () => {
  const forever: View = {
    name: "forever",
    kind: "scalar",
    timeoutMs: "infinity",
    handler: () => new Promise(() => undefined),
  };
  const { call, gateway } = await serve({ views: [forever] });
  const answer = call("POST", "/v1/views/forever", { body: {} });
  await new Promise((resolve) => setTimeout(resolve, 50));
  await gateway.close();
  expect(await answer).toMatchObject({ status: 503, body: { code: "CLOSED" } });
});

test("errors of a view: the library's are passed on, others are defects", async () => {
  const missing: View = {
    name: "missing",
    kind: "scalar",
    handler: async (_params, { node }) => await node.delete("nothing"),
  };
  const secret: View = {
    name: "secret",
    kind: "scalar",
    handler: () => {
      throw new Error("the password is 7");
    },
  };
  const { call, errors } = await serve({ views: [missing, secret] });
  const known = await call("POST", "/v1/views/missing", { body: {} });
  expect(known).toMatchObject({ status: 404, body: { code: "UNKNOWN_GROUP" } });
  const answer = await call("POST", "/v1/views/secret", { body: {} });
  expect(answer).toMatchObject({ status: 500, body: { code: "VIEW_FAILED" } });
  expect(JSON.stringify(answer.body)).not.toContain("password");
  expect(errors).toMatchObject([{ message: "the password is 7" }]);
  const typo = await call("POST", "/v1/views/mising", { body: {} });
  expect(typo).toMatchObject({ status: 404, body: { detail: 'no view is called mising. Did you mean "missing"?' } });
});

test("a view that changes something needs the token for writing", async () => {
  const reset: View = { name: "reset", kind: "scalar", permission: "write", handler: () => true };
  const { call } = await serve({ views: [reset] });
  const refused = await call("POST", "/v1/views/reset", { body: {}, token: READ_TOKEN });
  expect(refused).toMatchObject({ status: 403, body: { code: "FORBIDDEN" } });
  expect(await call("POST", "/v1/views/reset", { body: {} })).toMatchObject({ status: 200 });
});

test("loaders run once, before the server is reachable; a failing one keeps it from starting", async () => {
  const loaded: string[] = [];
  const load = (name: string) => (): void => void loaded.push(name);
  const { gateway } = await serve({
    views: [
      { ...double, load: load("a") },
      { ...double, name: "b", load: load("b") },
    ],
  });
  expect(loaded).toEqual(["a", "b"]);
  expect(gateway.url).toMatch(/^http:/);
  const failing: View = {
    ...double,
    load: () => {
      throw new Error("no table");
    },
  };
  await expect(serve({ views: [failing] })).rejects.toThrow("no table");
});

test.each([
  ["a bad name", { ...double, name: "a/b" }],
  ["no kind", { ...double, kind: "other" as "scalar" }],
  ["a bad scope", { ...double, scope: "user" as "session" }],
  ["a bad time limit", { ...double, timeoutMs: 0 }],
  ["no handler", { ...double, handler: undefined as unknown as View["handler"] }],
])("refuses to serve a view with %s", async (_name, view) => {
  await expect(serve({ views: [view] })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});

test("refuses two views of one name", async () => {
  await expect(serve({ views: [double, double] })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});

test("a reload builds aside, and swaps when all loaders have succeeded", async () => {
  let [round, isBroken] = [0, false];
  const view = (name: string, load: () => unknown): View => ({
    name,
    kind: "scalar",
    load,
    handler: (_params, { loaded }) => loaded,
  });
  const served = await serve({
    views: [
      view("first", () => ++round),
      view("second", () => {
        if (isBroken) throw new Error("no data today");
        return round;
      }),
    ],
  });
  const results = async (): Promise<unknown[]> => {
    const answers = ["first", "second"].map((name) => served.call("POST", `/v1/views/${name}`, { body: {} }));
    return (await Promise.all(answers)).map(({ body }) => (body as { result: unknown }).result);
  };
  const reload = { method: "POST", path: "/v1/reloads" };
  expect(await results()).toEqual([1, 1]);
  expect(await served.call(reload.method, reload.path, { body: {} })).toMatchObject({ status: 204 });
  expect(await results()).toEqual([2, 2]);
  isBroken = true;
  const failed = await served.call(reload.method, reload.path, { body: {} });
  expect(failed).toMatchObject({ status: 500, body: { code: "LOAD_FAILED" } });
  expect(JSON.stringify(failed.body)).toContain("second failed: no data today");
  expect(await results()).toEqual([2, 2]);
});

test("the signal of a view fires when its caller has gone", async () => {
  let fired: unknown;
  const handler: View["handler"] = (_params, { signal }) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => {
        fired = signal.reason;
        reject(fired as Error);
      });
    });
  const served = await serve({ views: [{ ...double, timeoutMs: "infinity", handler }] });
  const headers = { authorization: `Bearer ${READ_TOKEN}`, "content-type": "application/json" };
  const signal = AbortSignal.timeout(300);
  const call = fetch(`${served.gateway.url}/v1/views/double`, { method: "POST", headers, body: "{}", signal });
  await expect(call).rejects.toMatchObject({ name: "TimeoutError" });
  await expect.poll(() => fired).toMatchObject({ code: "CLOSED" });
});
