import { once } from "node:events";
import { connect } from "node:net";
import { builtinTypes, gCounter } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { memoryStorage } from "@coppice/storage";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { READ_TOKEN, TOKEN, type Served, serve } from "../gateway.test-support.ts";

interface Message {
  readonly event: string;
  readonly id?: string;
  readonly digest?: string;
  readonly value?: unknown;
  readonly code?: string;
}

class Socket {
  readonly messages: Message[] = [];
  readonly socket: WebSocket;
  closeCode: number | undefined;
  status: number | undefined;

  constructor(served: Served, options: { headers?: Record<string, string>; protocols?: string[] } = {}) {
    const { protocols = [], headers = { authorization: `Bearer ${READ_TOKEN}` } } = options;
    this.socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/watch`, protocols, { headers });
    this.socket.on("message", (data: Buffer) => this.messages.push(JSON.parse(data.toString()) as Message));
    this.socket.on("close", (code) => (this.closeCode = code));
    this.socket.on("unexpected-response", (_request, response) => {
      this.status = response.statusCode;
      this.socket.terminate();
    });
    this.socket.on("error", () => undefined);
    onTestFinished(() => this.socket.terminate());
  }

  async opened(): Promise<this> {
    if (this.socket.readyState !== WebSocket.OPEN) await once(this.socket, "open");
    return this;
  }

  say(message: unknown): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }
}

async function increment(served: Served, id: string): Promise<void> {
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  expect(await served.call("POST", `/v1/groups/${id}/operations`, { body })).toMatchObject({ status: 200 });
}

test("watches several groups, resumes, and stops", async () => {
  const served = await serve();
  await increment(served, "a");
  await increment(served, "b");
  const socket = await new Socket(served).opened();
  socket.say({ watch: "a" });
  socket.say({ watch: "b" });
  await expect.poll(() => socket.messages.length).toBe(2);
  expect(socket.messages).toMatchObject([
    { event: "value", id: "a", value: 1 },
    { event: "value", id: "b", value: 1 },
  ]);
  socket.say({ unwatch: "a" });
  await increment(served, "a");
  await increment(served, "b");
  await expect.poll(() => socket.messages.slice(2)).toMatchObject([{ id: "b", value: 2 }]);
  socket.say({ watch: "a", after: socket.messages[0]?.digest });
  await expect.poll(() => socket.messages.slice(3)).toMatchObject([{ id: "a", value: 2 }]);
  await served.call("DELETE", "/v1/groups/a");
  await expect.poll(() => socket.messages.at(-1), { timeout: 5000 }).toMatchObject({ event: "deleted", id: "a" });
});

test("reports what is wrong and goes on", async () => {
  const served = await serve();
  await increment(served, "a");
  const socket = await new Socket(served).opened();
  for (const message of [{ watch: "nothing" }, { watch: "a//b" }, "{", "7", { watch: 7 }]) socket.say(message);
  socket.say({ watch: "a" });
  socket.say({ watch: "a" });
  await expect.poll(() => socket.messages.length).toBe(7);
  const codes = socket.messages.map(({ code, event }) => code ?? event);
  expect(codes.toSorted()).toEqual([
    "INVALID_GROUP_ID",
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "INVALID_REQUEST",
    "UNKNOWN_GROUP",
    "value",
  ]);
});

test("a watch that is taken back and asked for again while it opens is one watch", async () => {
  const storage = memoryStorage();
  const former = await createNode({ types: builtinTypes, storage });
  (await former.open("a", gCounter)).mutate((counter) => counter.increment(1));
  await former.close();
  const served = await serve({}, { storage });
  const socket = await new Socket(served).opened();
  for (let turn = 0; turn < 5; turn++) {
    socket.say({ watch: "a" });
    socket.say({ unwatch: "a" });
  }
  socket.say({ watch: "a" });
  await expect.poll(() => socket.messages.length).toBe(1);
  await increment(served, "a");
  await expect.poll(() => socket.messages.length).toBe(2);
  socket.say({ unwatch: "a" });
  await increment(served, "a");
  socket.say({ watch: "a" });
  await expect.poll(() => socket.messages.map(({ value }) => value)).toEqual([1, 2, 3]);
});

test("is refused before the upgrade without a token, or from a foreign page", async () => {
  const served = await serve();
  const authorization = `Bearer ${TOKEN}`;
  const refused = [
    new Socket(served, { headers: {} }),
    new Socket(served, { headers: { authorization: "Bearer x" } }),
    new Socket(served, { headers: { authorization, origin: "https://evil.example" } }),
    new Socket(served, { headers: { authorization, host: "evil.example" } }),
    new Socket(served, { headers: {}, protocols: ["coppice", "bearer.wrong"] }),
  ];
  await expect.poll(() => refused.map(({ status }) => status)).toEqual([401, 401, 403, 421, 401]);
});

test("takes the token as a subprotocol, as pages must give it", async () => {
  const served = await serve();
  await increment(served, "a");
  const socket = await new Socket(served, { headers: {}, protocols: ["coppice", `bearer.${READ_TOKEN}`] }).opened();
  expect(socket.socket.protocol).toBe("coppice");
  socket.say({ watch: "a" });
  await expect.poll(() => socket.messages.length).toBe(1);
});

test("a message that is too large ends the socket, and the server's end too", async () => {
  const served = await serve();
  const large = await new Socket(served).opened();
  large.say({ watch: "x".repeat(100_000) });
  await expect.poll(() => large.closeCode).toBe(1009);
  const socket = await new Socket(served).opened();
  await served.gateway.close();
  await expect.poll(() => socket.closeCode).toBe(1001);
});

test("does not wait for a client that has gone without a word", async () => {
  const { gateway } = await serve();
  const { hostname, port } = new URL(gateway.url);
  const mute = connect(Number(port), hostname);
  onTestFinished(() => void mute.destroy());
  mute.on("error", () => undefined);
  const head = [
    "GET /v1/watch HTTP/1.1",
    `Host: ${hostname}:${port}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    `Authorization: Bearer ${READ_TOKEN}`,
  ];
  mute.write(`${head.join("\r\n")}\r\n\r\n`);
  const [answer] = (await once(mute, "data")) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 101 /);
  const startedAt = performance.now();
  await gateway.close();
  expect(performance.now() - startedAt).toBeLessThan(8000);
});

test("a watch that ends with its group gives its place back", async () => {
  const served = await serve({ limits: { watchersMax: 1 } });
  const socket = await new Socket(served).opened();
  for (const id of ["a", "b"]) {
    await increment(served, id);
    socket.say({ watch: id });
    await expect.poll(() => socket.messages.at(-1)).toMatchObject({ event: "value", id });
    await served.call("DELETE", `/v1/groups/${id}`);
    await expect.poll(() => socket.messages.at(-1), { timeout: 5000 }).toMatchObject({ event: "deleted", id });
  }
});
