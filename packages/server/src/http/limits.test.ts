/** Each limit of the server, reached. */
import { builtinTypes } from "@coppice/crdt";
import { yjsDoc } from "@coppice/crdt/yjs";
import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import * as Y from "yjs";
import { type Served, TOKEN, bytesInUse, serve } from "./gateway.test-support.ts";
import { MESSAGE_SYNC, SYNC_STEP_1, SYNC_UPDATE, WireReader, wire } from "./yjs-wire.ts";

const types = [...builtinTypes, yjsDoc({ note: "text" })];

async function set(served: Served, id: string, text: string): Promise<void> {
  const body = { type: "lww", operations: [{ op: "set", args: [text] }] };
  expect(await served.call("POST", `/v1/groups/${id}/operations`, { body })).toMatchObject({ status: 200 });
}

function raw(served: Served): Socket {
  const socket = connect(Number(new URL(served.gateway.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  return socket;
}

function webSocket(served: Served, path: string): WebSocket {
  const socket = new WebSocket(served.gateway.url.replace("http", "ws") + path, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  socket.on("error", () => undefined);
  onTestFinished(() => socket.terminate());
  return socket;
}

async function closing(socket: WebSocket): Promise<string> {
  const [code, reason] = (await once(socket, "close")) as [number, Buffer];
  return `${code} ${reason.toString()}`;
}

test.each(["requestsPerSecond", "requestsPerSecondPerAddress"] as const)("refuses more than %s", async (limit) => {
  const served = await serve({ limits: { [limit]: 1 } });
  const answers = await Promise.all(Array.from({ length: 10 }, () => served.call("GET", "/v1/live")));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThan(2);
  expect(refused[0]).toMatchObject({
    headers: { "retry-after": "1" },
    body: { code: "RATE_LIMITED", retryAfterSeconds: 1 },
  });
});

test("who tries wrong tokens is kept waiting, who has a right one is not", async () => {
  const served = await serve({ limits: { failuresPerMinute: 3 } });
  const statuses: number[] = [];
  for (const token of ["a", "b", undefined, "c", "d"]) {
    statuses.push((await served.call("GET", "/v1/status", { token })).status);
  }
  expect(statuses).toEqual([401, 401, 401, 429, 429]);
  expect(await served.call("GET", "/v1/status")).toMatchObject({ status: 200 });
});

test("closes connections beyond those one address may have, and takes others when they end", async () => {
  const served = await serve({ limits: { connectionsPerAddressMax: 3 } });
  // Those of the test's own agent do not stay open.
  const kept = [raw(served), raw(served), raw(served)];
  await Promise.all(kept.map((socket) => once(socket, "connect")));
  const refused = raw(served);
  await once(refused, "close");
  kept[0]?.destroy();
  await expect.poll(async () => (await served.call("GET", "/v1/live").catch(() => undefined))?.status).toBe(200);
});

test("refuses a body and a head that are too large, and what is no HTTP", async () => {
  const served = await serve({ limits: { bodyBytesMax: 1000, headerBytesMax: 2000 } });
  const body = { type: "lww", operations: [{ op: "set", args: ["x".repeat(1000)] }] };
  expect(await served.call("POST", "/v1/groups/a/operations", { body })).toMatchObject({ status: 413 });
  const large = await served.call("GET", "/v1/live", { headers: { "x-filler": "x".repeat(3000) } });
  expect(large).toMatchObject({ status: 431, body: { code: "INVALID_REQUEST" } });
  const socket = raw(served);
  socket.write("EHLO example.org\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 400 .*"code":"INVALID_REQUEST"/s);
});

test("who sends a body that is too large hears so, however it is sent, and may go on", async () => {
  const served = await serve({ limits: { bodyBytesMax: 1000 } });
  const { host } = new URL(served.gateway.url);
  const head = `Host: ${host}\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\n`;
  const size = 8_000_000;
  const body = "x".repeat(size);
  const chunked = `Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  for (const rest of [`Content-Length: ${size}\r\n\r\n${body}`, chunked]) {
    const socket = raw(served);
    let heard = "";
    socket.on("data", (data: Buffer) => (heard += data.toString()));
    socket.write(`POST /v1/groups/a/operations HTTP/1.1\r\n${head}${rest}GET /v1/live HTTP/1.1\r\n${head}\r\n`);
    await expect.poll(() => heard, { timeout: 5000 }).toMatch(/^HTTP\/1.1 413 [^]*BODY_TOO_LARGE[^]*HTTP\/1.1 200 /);
  }
});

test("streams and sockets share the places for watchers", async () => {
  const served = await serve({ types, limits: { watchersMax: 2 } }, { types });
  await set(served, "a", "1");
  const headers = { authorization: `Bearer ${TOKEN}` };
  const controller = new AbortController();
  await fetch(`${served.gateway.url}/v1/groups/a/watch`, { headers, signal: controller.signal });
  const editor = webSocket(served, "/v1/yjs/note");
  await once(editor, "message");
  expect(await served.call("GET", "/v1/groups/a/watch")).toMatchObject({
    status: 429,
    headers: { "retry-after": "5" },
    body: { code: "RATE_LIMITED" },
  });
  expect(await closing(webSocket(served, "/v1/yjs/note"))).toBe("1008 RATE_LIMITED");
  const socket = webSocket(served, "/v1/watch");
  await once(socket, "open");
  socket.send('{"watch": "a"}');
  expect(String(await once(socket, "message"))).toContain("RATE_LIMITED");
  controller.abort();
  editor.close();
  await expect.poll(async () => (await served.call("GET", "/v1/metrics")).body).toContain("coppice_watchers 0");
  const stream = await fetch(`${served.gateway.url}/v1/groups/a/watch`, { headers });
  expect(stream.status).toBe(200);
  await stream.body?.cancel();
});

test("a socket that sends too often, or too much at once, is closed", async () => {
  const served = await serve({ types, limits: { messagesPerSecond: 5, messageBytesMax: 1000 } }, { types });
  for (const path of ["/v1/watch", "/v1/yjs/note"]) {
    const often = webSocket(served, path);
    await once(often, "open");
    for (let count = 0; count < 10; count++) often.send(path === "/v1/watch" ? "{}" : Uint8Array.of(3));
    expect(await closing(often)).toBe("1008 RATE_LIMITED");
    const large = webSocket(served, path);
    await once(large, "open");
    large.send("x".repeat(1001));
    expect(await closing(large)).toMatch(/^1009 /);
  }
});

test("a watcher that does not read skips values, and is disconnected when it goes on so", async () => {
  const served = await serve({ limits: { queueBytesMax: 10_000, stalledMs: 500 } });
  await set(served, "a", "first");
  const streaming = raw(served);
  const sleeping = webSocket(served, "/v1/watch");
  const host = new URL(served.gateway.url).host;
  streaming.write(`GET /v1/groups/a/watch HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${TOKEN}\r\n\r\n`);
  await once(streaming, "data");
  await once(sleeping, "open");
  sleeping.send('{"watch": "a"}');
  await once(sleeping, "message");
  streaming.pause();
  sleeping.pause();
  const ended = new Set<string>();
  streaming.on("close", () => ended.add("stream"));
  sleeping.on("close", () => ended.add("socket"));
  // More than the kernel keeps for a connection.
  for (let round = 0; round < 40; round++) await set(served, "a", `${round} ${"x".repeat(400_000)}`);
  await expect
    .poll(async () => (await served.call("GET", "/v1/metrics")).body, { timeout: 10_000 })
    .toContain("coppice_watchers 0");
  streaming.resume();
  sleeping.resume();
  await expect.poll(() => [...ended].toSorted()).toEqual(["socket", "stream"]);
});

test("an editor that was behind gets what it missed as one update", async () => {
  const served = await serve({ types, limits: { queueBytesMax: 10_000, stalledMs: 60_000 } }, { types });
  const replica = await served.node.open("note", yjsDoc({ note: "text" }));
  const socket = webSocket(served, "/v1/yjs/note");
  const doc = new Y.Doc();
  let updates = 0;
  socket.on("message", (data: Buffer) => {
    const reader = new WireReader(data);
    if (reader.uint() !== MESSAGE_SYNC || reader.uint() !== SYNC_UPDATE) return;
    updates++;
    Y.applyUpdate(doc, reader.bytes());
  });
  await once(socket, "message");
  socket.pause();
  const rounds = 60;
  for (let round = 0; round < rounds; round++) {
    replica.mutate(({ doc: own }) => own.getText("note").insert(0, `${round} ${"x".repeat(200_000)}`));
  }
  await replica.mutate(({ doc: own }) => own.getText("note").insert(0, "last "));
  socket.resume();
  await expect.poll(() => doc.getText("note").toJSON().slice(0, 5), { timeout: 10_000 }).toBe("last ");
  expect(doc.getText("note").length).toBe(replica.read(({ doc: own }) => own.getText("note").length));
  expect(updates).toBeLessThan(rounds);
});

test("what an editor asks together is answered one after the other, as fast as it reads", async () => {
  const served = await serve({ types }, { types });
  const replica = await served.node.open("note", yjsDoc({ note: "text" }));
  await replica.mutate(({ doc }) => doc.getText("note").insert(0, "x".repeat(2_000_000)));
  const socket = webSocket(served, "/v1/yjs/note");
  const answers: number[] = [];
  await once(socket, "message");
  socket.on("message", (data: Buffer) => answers.push(data.length));
  socket.pause();
  const before = bytesInUse();
  const question = wire(MESSAGE_SYNC, SYNC_STEP_1, Uint8Array.of(0));
  // All in one packet.
  const { _socket: connection } = socket as unknown as { readonly _socket: Socket };
  connection.cork();
  for (let count = 0; count < 100; count++) socket.send(question);
  connection.uncork();
  await sleep(500);
  expect(bytesInUse() - before).toBeLessThan(50_000_000);
  socket.resume();
  await expect.poll(() => answers.length, { timeout: 10_000 }).toBe(100);
  expect(Math.min(...answers)).toBeGreaterThan(2_000_000);
});

test("a document that is too deep for JSON is refused, and ends its watches and nothing else", async () => {
  const type = yjsDoc({ note: "text" });
  let isDeep = false;
  const value: typeof type.value = (state) => {
    if (isDeep) throw new RangeError("Maximum call stack size exceeded");
    return type.value(state);
  };
  const brittle = { ...type, value };
  const served = await serve({ types: [brittle] }, { types: [brittle] });
  const replica = await served.node.open("deep", brittle);
  const socket = webSocket(served, "/v1/watch");
  const messages: unknown[] = [];
  socket.on("message", (data: Buffer) => messages.push(JSON.parse(data.toString())));
  await once(socket, "open");
  socket.send('{"watch": "deep"}');
  await expect.poll(() => messages.length).toBe(1);
  isDeep = true;
  await replica.mutate(({ doc }) => doc.getText("note").insert(0, "deeper"));
  const code = "LIMIT_EXCEEDED";
  await expect.poll(() => messages.at(1)).toMatchObject({ event: "error", id: "deep", code });
  expect(await served.call("GET", "/v1/groups/deep/value")).toMatchObject({ status: 422, body: { code } });
  socket.send('{"watch": "deep"}');
  await expect.poll(() => messages.at(2)).toMatchObject({ event: "error", id: "deep", code });
  await expect.poll(async () => (await served.call("GET", "/v1/metrics")).body).toContain("coppice_watchers 0");
  expect(served.errors).toEqual([]);
});

test("a reader that takes nothing does not hold up the end of the server", async () => {
  const served = await serve({ types }, { types });
  const replica = await served.node.open("note", yjsDoc({ note: "text" }));
  for (let round = 0; round < 8; round++) {
    await replica.mutate(({ doc }) => doc.getText("note").insert(0, "x".repeat(2_000_000)));
  }
  const reader = raw(served);
  const host = new URL(served.gateway.url).host;
  reader.write(`GET /v1/groups/note/watch HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
  await once(reader, "data");
  reader.pause();
  await sleep(500);
  const begunAt = performance.now();
  await served.gateway.close();
  expect(performance.now() - begunAt).toBeLessThan(4000);
});

test.each([{ bodyBytesMax: 0 }, { requestsPerSecond: 1.5 }, { stalledMs: -1 }, { watchersMax: Number.NaN }])(
  "refuses the limits %j",
  async (limits) => {
    await expect(serve({ limits })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
  },
);
