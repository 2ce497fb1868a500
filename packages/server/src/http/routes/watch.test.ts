import { type ClientRequest, type IncomingMessage, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { TOKEN, type Served, serve } from "../gateway.test-support.ts";

interface Event {
  readonly event: string;
  readonly id: string;
  readonly data: { readonly value?: unknown };
}

class Stream {
  readonly events: Event[] = [];
  readonly request: ClientRequest;
  response: IncomingMessage | undefined;
  isEnded = false;
  #text = "";

  constructor(served: Served, path: string, headers: Record<string, string> = {}) {
    this.request = httpRequest(served.gateway.url + path, {
      headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    });
    this.request.on("error", () => (this.isEnded = true));
    this.request.on("response", (response) => {
      this.response = response;
      response.on("data", (chunk: Buffer) => this.#read(chunk.toString()));
      response.on("close", () => (this.isEnded = true));
    });
    this.request.end();
    onTestFinished(() => void this.request.destroy());
  }

  get values(): unknown[] {
    return this.events.map(({ data }) => data.value);
  }

  #read(text: string): void {
    const blocks = (this.#text + text).split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(
        block.split("\n").map((line) => [line.split(": ")[0], line.slice(line.indexOf(": ") + 2)]),
      );
      const data = fields.get("data");
      if (data === undefined) continue;
      const event = { event: fields.get("event") ?? "", id: fields.get("id") ?? "" };
      this.events.push({ ...event, data: JSON.parse(data) as Event["data"] });
    }
  }
}

async function increment(served: Served, amount = 1): Promise<void> {
  const body = { type: "gcounter", operations: [{ op: "increment", args: [amount] }] };
  expect(await served.call("POST", "/v1/groups/n/operations", { body })).toMatchObject({ status: 200 });
}

test("tells the value now and after each change, and the end", async () => {
  const served = await serve();
  await increment(served);
  const stream = new Stream(served, "/v1/groups/n/watch");
  await expect.poll(() => stream.values).toEqual([1]);
  expect(stream.response?.headers).toMatchObject({ "content-type": "text/event-stream; charset=utf-8" });
  await increment(served, 2);
  await expect.poll(() => stream.values).toEqual([1, 3]);
  expect(stream.events.at(-1)?.id).toBe([...served.node.groups()][0]?.digest);
  await served.call("DELETE", "/v1/groups/n");
  await expect.poll(() => stream.events.at(-1)?.event, { timeout: 5000 }).toBe("deleted");
  await expect.poll(() => stream.isEnded).toBe(true);
});

test("resumes: tells nothing that is known already", async () => {
  const served = await serve();
  await increment(served);
  const first = new Stream(served, "/v1/groups/n/watch");
  await expect.poll(() => first.values).toEqual([1]);
  first.request.destroy();
  const headers = { "last-event-id": first.events[0]?.id ?? "" };
  const second = new Stream(served, "/v1/groups/n/watch", headers);
  await expect.poll(() => second.response?.statusCode).toBe(200);
  await increment(served);
  await expect.poll(() => second.values).toEqual([2]);
  const third = new Stream(served, "/v1/groups/n/watch", headers);
  await expect.poll(() => third.values).toEqual([2]);
  const fourth = new Stream(served, `/v1/groups/n/watch?after=${second.events[0]?.id}`);
  await expect.poll(() => fourth.response?.statusCode).toBe(200);
  await increment(served);
  await expect.poll(() => fourth.values).toEqual([3]);
});

test("a slow reader gets the last value, and the server keeps no queue for it", async () => {
  const served = await serve();
  const set = async (round: number): Promise<void> => {
    const body = { type: "lww", operations: [{ op: "set", args: [`${round} ${"x".repeat(500_000)}`] }] };
    expect(await served.call("POST", "/v1/groups/r/operations", { body })).toMatchObject({ status: 200 });
  };
  await set(0);
  const stream = new Stream(served, "/v1/groups/r/watch");
  await expect.poll(() => stream.values.length).toBe(1);
  stream.response?.pause();
  for (let round = 1; round <= 60; round++) await set(round);
  stream.response?.resume();
  await expect.poll(() => String(stream.values.at(-1)).slice(0, 3)).toBe("60 ");
  expect(stream.values.length).toBeLessThan(50);
});

test("many watchers of one group all get the final value", async () => {
  const served = await serve();
  await increment(served);
  const streams = Array.from({ length: 100 }, () => new Stream(served, "/v1/groups/n/watch"));
  for (let round = 0; round < 20; round++) await increment(served);
  await expect.poll(() => streams.filter(({ values }) => values.at(-1) === 21).length).toBe(100);
});

test("closing the server ends every stream", async () => {
  const served = await serve();
  await increment(served);
  const stream = new Stream(served, "/v1/groups/n/watch");
  await expect.poll(() => stream.values).toEqual([1]);
  await served.gateway.close();
  await expect.poll(() => stream.isEnded).toBe(true);
});

test("a group that does not exist is a plain problem", async () => {
  const served = await serve();
  const answer = await served.call("GET", "/v1/groups/nothing/watch");
  expect(answer).toMatchObject({ status: 404, body: { code: "UNKNOWN_GROUP" } });
});

test("connections that carry no request do not hold up the end", async () => {
  const served = await serve();
  await increment(served);
  const { port } = new URL(served.gateway.url);
  const sockets = [connect(Number(port), "127.0.0.1"), connect(Number(port), "127.0.0.1")];
  // One that was opened ahead of need, and one that is kept alive behind its stream.
  for (const socket of sockets) onTestFinished(() => void socket.destroy());
  const head = `Host: 127.0.0.1:${port}\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`;
  sockets[1]?.write(`GET /v1/groups/n/watch HTTP/1.1\r\n${head}`);
  await new Promise((resolve) => sockets[1]?.once("data", resolve));
  await served.gateway.close();
});

test.each(["/v1/groups/a/watch", "/v1/dashboard/stream", "/v1/export"])(
  "HEAD %s is refused: streams have no end",
  async (path) => {
    const served = await serve();
    await increment(served);
    const response = await fetch(served.gateway.url + path, {
      method: "HEAD",
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    expect(response.status).toBe(path === "/v1/export" ? 404 : 405);
  },
);
