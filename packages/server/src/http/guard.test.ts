import { expect, test } from "vitest";
import { READ_TOKEN, TOKEN, type RequestOptions, serve } from "./gateway.test-support.ts";

const increment = { type: "gcounter", operations: [{ op: "increment" }] };

function port(url: string): string {
  return new URL(url).port;
}

test.each<[string, RequestOptions, number, string]>([
  ["no token", { token: undefined }, 401, "UNAUTHORIZED"],
  ["a wrong token", { token: "x".repeat(43) }, 401, "UNAUTHORIZED"],
  ["a token that begins right", { token: TOKEN.slice(0, -1) }, 401, "UNAUTHORIZED"],
  ["another scheme", { headers: { authorization: `Basic ${TOKEN}` } }, 401, "UNAUTHORIZED"],
  ["another host", { headers: { host: "evil.example" } }, 421, "HOST_NOT_ALLOWED"],
  ["another port", { headers: { host: "127.0.0.1:1" } }, 421, "HOST_NOT_ALLOWED"],
  ["a rebound name with the port", { headers: { host: "evil.example:80" } }, 421, "HOST_NOT_ALLOWED"],
  ["a foreign page", { headers: { origin: "https://evil.example" } }, 403, "ORIGIN_NOT_ALLOWED"],
  ["a sandboxed page", { headers: { origin: "null" } }, 403, "ORIGIN_NOT_ALLOWED"],
])("refuses %s", async (_name, options, status, code) => {
  const { call, errors } = await serve();
  for (const path of ["/v1/status", "/v1/nowhere", "/nowhere"]) {
    const answer = await call("GET", path, options);
    expect(answer).toMatchObject({ status, body: { status, code, type: `urn:coppice:error:${code}` } });
    expect(answer.headers["content-type"]).toContain("application/problem+json");
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  }
  expect(errors).toEqual([]);
});

test("answers for the names of the loopback address, and for its own pages", async () => {
  const { call, gateway } = await serve();
  for (const name of ["127.0.0.1", "localhost", "[::1]"]) {
    const host = `${name}:${port(gateway.url)}`;
    expect(await call("GET", "/v1/status", { headers: { host } })).toMatchObject({ status: 200 });
    const origin = `http://${host}`;
    const answer = await call("GET", "/v1/status", { headers: { origin } });
    expect(answer.headers["access-control-allow-origin"]).toBe(origin);
    expect(await call("GET", "/v1/status", { headers: { origin: `https://${host}` } })).toMatchObject({ status: 403 });
  }
});

test("answers for hosts and origins that were allowed", async () => {
  const { call } = await serve({ allowHosts: ["box.example:7475"], allowOrigins: ["https://app.example"] });
  const headers = { host: "box.example:7475", origin: "https://app.example" };
  const answer = await call("GET", "/v1/status", { headers });
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({ "access-control-allow-origin": "https://app.example", vary: "origin" });
  expect(answer.headers["access-control-expose-headers"]).toContain("session-token");
  expect((await call("GET", "/v1/status", { headers: { origin: "https://app.example.evil" } })).status).toBe(403);
});

test("answers a preflight of an allowed origin without a token, and of no other", async () => {
  const { call } = await serve({ allowOrigins: ["https://app.example"] });
  const preflight = (origin: string): RequestOptions => ({
    token: undefined,
    headers: { origin, "access-control-request-method": "POST" },
  });
  const allowed = await call("OPTIONS", "/v1/groups/a/operations", preflight("https://app.example"));
  expect(allowed).toMatchObject({ status: 204, body: undefined });
  for (const header of ["authorization", "session-token", "if-none-match"]) {
    expect(allowed.headers["access-control-allow-headers"]).toContain(header);
  }
  expect((await call("OPTIONS", "/v1/groups/a/operations", preflight("https://evil.example"))).status).toBe(403);
  expect((await call("OPTIONS", "/v1/status", { token: undefined })).status).toBe(401);
});

test.each([
  ["application/x-www-form-urlencoded"],
  ["text/plain"],
  ["multipart/form-data; boundary=x"],
  ["application/json-but-not-quite"],
  [undefined],
])("refuses a mutation declared as %s", async (type) => {
  const { call, node } = await serve();
  const answer = await call("POST", "/v1/groups/a/operations", { body: increment, headers: { "content-type": type } });
  expect(answer).toMatchObject({ status: 415, body: { code: "UNSUPPORTED_MEDIA_TYPE" } });
  expect([...node.groups()]).toEqual([]);
});

test("a token for reading reads and changes nothing", async () => {
  const { call, node } = await serve();
  const token = READ_TOKEN;
  expect(await call("POST", "/v1/groups/a/operations", { body: increment })).toMatchObject({ status: 200 });
  expect(await call("GET", "/v1/groups/a/value", { token })).toMatchObject({ status: 200, body: { value: 1 } });
  const writes = [
    call("POST", "/v1/groups/a/operations", { body: increment, token }),
    call("DELETE", "/v1/groups/a", { token }),
    call("POST", "/v1/snapshots", { body: {}, token }),
    call("POST", "/v1/peers", { body: { address: "/ip4/127.0.0.1/tcp/1" }, token }),
  ];
  for (const answer of await Promise.all(writes)) {
    expect(answer).toMatchObject({ status: 403, body: { code: "FORBIDDEN" } });
  }
  expect([...node.groups()]).toHaveLength(1);
});

test("an address that other machines reach needs to be asked for", async () => {
  await expect(serve({ host: "0.0.0.0" })).rejects.toMatchObject({ code: "UNSAFE_BIND" });
  const { call, gateway } = await serve({ host: "0.0.0.0", allowRemote: true, allowHosts: ["box.example"] });
  const own = await call("GET", "/v1/status", { headers: { host: `127.0.0.1:${port(gateway.url)}` } });
  expect(own).toMatchObject({ status: 421, body: { code: "HOST_NOT_ALLOWED" } });
  expect((await call("GET", "/v1/status", { headers: { host: "box.example" } })).status).toBe(200);
});

test("a server without a token does not start", async () => {
  await expect(serve({ tokens: new Map() })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});

test("what is asked in a way that does not fit is told so", async () => {
  const { call } = await serve();
  const cases: [method: string, path: string, options: RequestOptions, status: number, detail: RegExp][] = [
    ["PUT", "/v1/groups/a", {}, 405, /^there is no PUT .*, but GET, HEAD, DELETE$/],
    ["POST", "/v1/nothing", {}, 404, /^there is no POST/],
    ["GET", `/v1/groups/${"a".repeat(6000)}`, {}, 400, /its key has \d+ bytes, the limit is 512/],
    [
      "GET",
      "/v1/status",
      { headers: { upgrade: "websocket", connection: "upgrade" } },
      400,
      /^GET .* is no WebSocket$/,
    ],
    [
      "GET",
      "/v1/watch",
      { headers: { upgrade: "websocket" } },
      400,
      /^GET .* is a WebSocket: connect with one; a proxy/,
    ],
    ["GET", "/v1/watch", { headers: { upgrade: "h2c", connection: "upgrade" } }, 400, /^GET .* is a WebSocket/],
  ];
  for (const [method, path, options, status, detail] of cases) {
    const answer = await call(method, path, options);
    expect({ path, ...answer }).toMatchObject({
      path,
      status,
      body: { detail: expect.stringMatching(detail) as string },
    });
  }
});
