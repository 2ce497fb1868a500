import { StorageError } from "@coppice/storage";
import { levelStorage } from "@coppice/storage/level";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { TOKEN, serve } from "../gateway.test-support.ts";

test("metrics tell of groups, requests and watchers", async () => {
  const { call } = await serve();
  const body = { type: "gcounter", operations: [{ op: "increment" }, { op: "increment" }] };
  await call("POST", "/v1/groups/a/operations", { body });
  await call("GET", "/v1/groups/nothing");
  const answer = await call("GET", "/v1/metrics");
  expect(answer.headers["content-type"]).toContain("text/plain");
  const lines = String(answer.body).split("\n");
  expect(lines).toContain('coppice_groups{phase="active"} 1');
  expect(lines).toContain("coppice_events 1");
  expect(lines).toContain("coppice_peers 0");
  expect(lines).toContain("coppice_watchers 0");
  expect(lines).toContain(
    'coppice_http_request_seconds_count{method="POST",route="/v1/groups/:id/operations",status="200"} 1',
  );
  expect(lines).toContain('coppice_http_request_seconds_count{method="GET",route="/v1/groups/:id",status="404"} 1');
});

test("tells types and their operations", async () => {
  const { call } = await serve();
  const { body } = await call("GET", "/v1/types");
  expect(body).toMatchObject({
    types: expect.arrayContaining([
      { name: "gcounter", operations: ["increment", "get"], nestable: true },
      { name: "lwwmap", operations: ["set", "get", "has", "delete", "clear"], nestable: true },
    ]) as unknown,
  });
});

test("is live and ready, until the node is closed", async () => {
  const { call, node } = await serve();
  expect(await call("GET", "/v1/live")).toMatchObject({ status: 200, body: { status: "ok" } });
  expect(await call("GET", "/v1/ready")).toMatchObject({ status: 200, body: { status: "ok" } });
  await node.close();
  expect(await call("GET", "/v1/live")).toMatchObject({ status: 200 });
  expect(await call("GET", "/v1/ready")).toMatchObject({ status: 503, body: { code: "CLOSED" } });
});

test("reports on recovery, also dry", async () => {
  const { call } = await serve();
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  await call("POST", "/v1/groups/a/operations", { body });
  for (const dryRun of [true, false]) {
    const answer = await call("POST", "/v1/recoveries", { body: { dryRun } });
    expect(answer).toMatchObject({ status: 200, body: { degraded: [], failed: [], unknown: [] } });
  }
});

test("tells how far a recovery is, and nothing else, before its result", async () => {
  const data = await mkdtemp(join(tmpdir(), "coppice-recovery-"));
  const { call, gateway } = await serve({}, { storage: levelStorage(data) });
  onTestFinished(() => rm(data, { recursive: true, force: true }));
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  await call("POST", "/v1/groups/a/operations", { body });
  const response = await fetch(`${gateway.url}/v1/recoveries`, {
    method: "POST",
    headers: { accept: "text/event-stream", authorization: `Bearer ${TOKEN}`, "content-type": "application/json" },
    body: "{}",
  });
  expect(await response.text()).toMatch(
    /^event: progress\ndata: \{"done":1,"total":1\}\n\nevent: result\ndata: \{"groups":1,/,
  );
});

test("connecting needs a transport, and an address", async () => {
  const { call } = await serve();
  const post = (body: unknown): Promise<unknown> => call("POST", "/v1/peers", { body });
  expect(await post({ address: "/ip4/127.0.0.1/tcp/1" })).toMatchObject({
    status: 400,
    body: { code: "INVALID_OPTIONS" },
  });
  expect(await post({})).toMatchObject({ status: 400, body: { code: "INVALID_REQUEST" } });
  expect(await call("GET", "/v1/peers")).toMatchObject({ status: 200, body: { peers: [] } });
});

test("the token is in no answer", async () => {
  const { call } = await serve();
  for (const path of ["/v1/status", "/v1/openapi.json", "/v1/metrics", "/v1/nowhere"]) {
    expect(JSON.stringify(await call("GET", path))).not.toContain(TOKEN);
  }
});

test("is not ready while the storage takes no writes, and refuses writes; reading goes on", async () => {
  const data = await mkdtemp(join(tmpdir(), "coppice-ready-"));
  const storage = levelStorage(data);
  const { call, node } = await serve({}, { storage });
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  expect(await call("POST", "/v1/groups/a/operations", { body })).toMatchObject({ status: 200 });
  const write = storage.write.bind(storage);
  storage.write = () => Promise.reject(new StorageError("FULL", "no space"));
  const applied = await call("POST", "/v1/groups/a/operations", { body });
  expect(applied).toMatchObject({ status: 503, body: { code: "APPLIED_NOT_DURABLE", applied: true } });
  await expect.poll(async () => (await call("GET", "/v1/ready")).status).toBe(503);
  const refused = await call("POST", "/v1/groups/a/operations", { body });
  expect(refused).toMatchObject({ status: 503, body: { code: "STORAGE_FAILED" } });
  expect(await call("GET", "/v1/groups/a/value")).toMatchObject({ status: 200, body: { value: 2 } });
  storage.write = write;
  await expect.poll(async () => (await call("GET", "/v1/ready")).status, { timeout: 10_000 }).toBe(200);
  await node.close();
  await rm(data, { recursive: true, force: true });
});
