import { once } from "node:events";
import { type Socket, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { type Served, TOKEN, serve } from "./gateway.test-support.ts";

/** As Java's client sends it with each request. */
const H2C = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQ"];

interface Request {
  readonly headers?: readonly string[];
  readonly body?: string;
  readonly isChunked?: boolean;
}

class Client {
  readonly socket: Socket;
  readonly #host: string;
  #heard = "";

  constructor({ gateway }: Served) {
    const { host, hostname, port } = new URL(gateway.url);
    this.#host = host;
    this.socket = connect(Number(port), hostname);
    this.socket.on("data", (data: Buffer) => (this.#heard += data.toString()));
    this.socket.on("error", () => undefined);
    onTestFinished(() => void this.socket.destroy());
  }

  /** A whole request, by default with an upgrade to HTTP/2. */
  text(method: string, path: string, { headers = H2C, body = "", isChunked = false }: Request = {}): string {
    const head = [`${method} ${path} HTTP/1.1`, `Host: ${this.#host}`, `Authorization: Bearer ${TOKEN}`, ...headers];
    if (body === "") return `${head.join("\r\n")}\r\n\r\n`;
    head.push("Content-Type: application/json");
    head.push(isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`);
    const rest = (body.length - 1).toString(16);
    const sent = isChunked ? `1\r\n${body.slice(0, 1)}\r\n${rest}\r\n${body.slice(1)}\r\n0\r\n\r\n` : body;
    return `${head.join("\r\n")}\r\n\r\n${sent}`;
  }

  async send(text: string, pieces = 1): Promise<void> {
    const length = Math.ceil(text.length / pieces);
    for (let at = 0; at < text.length; at += length) {
      this.socket.write(text.slice(at, at + length));
      if (pieces > 1) await sleep(5);
    }
  }

  /** What comes from now on, until it matches. */
  async heard(wanted: RegExp): Promise<string> {
    while (!wanted.test(this.#heard)) await once(this.socket, "data");
    const heard = this.#heard;
    this.#heard = "";
    return heard;
  }
}

const INCREMENT = JSON.stringify({ type: "gcounter", operations: [{ op: "increment" }], value: true });
const TO = "/v1/groups/a/operations";

test("an upgrade that is not known is ignored, in each request of a connection", async () => {
  // It counts as one connection all the time.
  const client = new Client(await serve({ limits: { connectionsPerAddressMax: 2 } }));
  for (let count = 1; count <= 12; count += 2) {
    await client.send(client.text("GET", "/v1/ready"));
    await client.heard(/^HTTP\/1.1 200 [^]*}$/);
    await client.send(client.text("POST", TO, { body: INCREMENT }), count);
    await client.heard(new RegExp(`^HTTP/1.1 200 [^]*"value":${count}}$`));
    await client.send(client.text("POST", TO, { body: INCREMENT, isChunked: true }), count);
    await client.heard(new RegExp(`^HTTP/1.1 200 [^]*"value":${count + 1}}$`));
  }
});

test("what follows a request whose upgrade is ignored is not lost", async () => {
  const client = new Client(await serve());
  const first = client.text("POST", TO, { body: INCREMENT });
  const rest = client.text("POST", TO, { body: INCREMENT, headers: [], isChunked: true });
  await client.send(first + rest + rest);
  await client.heard(/"value":1}HTTP\/1.1 200 [^]*"value":2}HTTP\/1.1 200 [^]*"value":3}$/);
});

test("a client may wait for the word to go on with its body", async () => {
  const client = new Client(await serve());
  const [head = "", body = ""] = client
    .text("POST", TO, { body: INCREMENT, headers: [...H2C, "Expect: 100-continue"] })
    .split(/(?<=\r\n\r\n)/);
  await client.send(head);
  await client.heard(/^HTTP\/1.1 100 Continue\r\n\r\n$/);
  await client.send(body);
  await client.heard(/^HTTP\/1.1 200 [^]*"value":1}$/);
});

test("connection options of a client stay, and one that wants it gets its connection closed", async () => {
  const client = new Client(await serve());
  const ended = once(client.socket, "end");
  const headers = ["Connection: upgrade,close", "Upgrade: h2c, foo/2", "connection: Http2-Settings"];
  await client.send(client.text("GET", "/v1/ready", { headers }));
  await client.heard(/^HTTP\/1.1 200 [^]*connection: close[^]*}$/i);
  await ended;
});

test.each([
  ["an upgrade behind a request that is not answered yet", ["Connection: upgrade", "Upgrade: h2c"]],
  ["the same to a WebSocket", ["Connection: upgrade", "Upgrade: websocket"]],
])("%s ends the connection", async (_name, headers) => {
  const client = new Client(await serve());
  const closed = once(client.socket, "close");
  const watch = client.text("GET", "/v1/groups/a/watch", { headers: [] });
  await client.send(client.text("POST", TO, { body: INCREMENT, headers: [] }));
  await client.heard(/"value":1}/);
  await client.send(watch);
  await client.heard(/"value":1}/);
  await client.send(client.text("GET", "/v1/watch", { headers }));
  await closed;
});

test("a head that would not be read again as it was ends the connection", async () => {
  const served = await serve({ limits: { headerBytesMax: 100_000 } });
  const many = new Client(served);
  const closed = once(many.socket, "close");
  await many.send(many.text("GET", "/v1/ready", { headers: [...H2C, ...Array.from({ length: 500 }, () => "a: b")] }));
  await closed;
  const odd = [
    "Content-Length: 3\r\nContent-Length: 4",
    "Content-Length: 1\r\nTransfer-Encoding: chunked",
    "a: b\r\n c",
    "a: b\u0000",
  ];
  for (const header of odd) {
    const client = new Client(served);
    await client.send(client.text("GET", "/v1/ready", { headers: [...H2C, header] }));
    await client.heard(/^HTTP\/1.1 400 /);
  }
});

test("a server that closes does not wait for those that it ignored the upgrade of", async () => {
  const served = await serve();
  const client = new Client(served);
  await client.send(client.text("GET", "/v1/ready"));
  await client.heard(/^HTTP\/1.1 200 /);
  const startedAt = performance.now();
  await served.gateway.close();
  expect(performance.now() - startedAt).toBeLessThan(3000);
});
