import { expect, test } from "vitest";
import { serve } from "./gateway.test-support.ts";

const operations = [{ op: "increment" }];

test.each([
  [{}, 'body lacks "operations"'],
  [[], "body must be object"],
  [{ operations: [] }, "body/operations must NOT have fewer than 1 items"],
  [{ operations: [{ op: "increment", arg: [1] }] }, 'body/operations/0 cannot have "arg"'],
  [{ operations, ack: "lg" }, 'body/ack must be one of "memory", "log", "sync"'],
  [{ operations, ack: 5 }, 'body/ack must be one of "memory", "log", "sync"'],
  [{ operations, ack: { replicas: 0 } }, 'body/ack/replicas must be >= 1, or must be one of "majority", "all"'],
])("%j: %s", async (body, detail) => {
  const { call } = await serve();
  const answer = await call("POST", "/v1/groups/n/operations", { body });
  expect(answer).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST", detail } });
});

test.each([
  ["/v1/groups?limit=x", "limit must be a whole number"],
  ["/v1/groups?lmit=1", 'the query cannot have "lmit"'],
  [
    "/v1/groups/n/value?consistency=most",
    'consistency must be one of "local", "majority", "all", or must be a whole number',
  ],
])("%s: %s", async (path, detail) => {
  const { call } = await serve();
  expect(await call("GET", path)).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST", detail } });
});

test("the path of a group whose id was not encoded says how", async () => {
  const { call } = await serve();
  const answer = await call("GET", "/v1/groups/counter/views");
  const detail = "there is no GET /v1/groups/counter/views; a / in the id of a group is written %2F";
  expect(answer).toMatchObject({ status: 404, body: { detail } });
});
