/**
 * The HTTP server of a real daemon: increments a second, watchers of one group, time to ready. Each figure stands
 * beside its raw limit: a bare server of node:http that answers the same bytes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { type Socket, connect } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createNode, gCounter } from "coppice";
import { startGateway } from "coppice/http";
import { levelStorage } from "coppice/level";
import { inDirectory } from "./replication/directory.ts";

const CONNECTIONS = 64;
/** Requests, not seconds: on a busy machine few would warm nothing up. */
const WARM_UP_REQUESTS = 10_000;
const MEASURED_REQUESTS = 20_000;
/** A busy machine gets no further than this. */
const LOAD_MS_MAX = 40_000;
const CLOCK_TICKS_PER_SECOND = 100;
const WATCHERS = 1000;
const WATCHED_TOKEN = "w".repeat(43);
const STORED_GROUPS = 100_000;
const AT_ONCE = 1000;
const COMMAND = join(dirname(createRequire(import.meta.url).resolve("coppice/package.json")), "dist", "cli", "main.js");

interface Server {
  readonly url: URL;
  readonly token: string;
  readonly readyMs: number;
  readonly pid: number;
  stop(): Promise<void>;
}

interface Load {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of the server, and of this generator, for a request: what a busy machine does not change much. */
  readonly serverMs: number;
  readonly generatorMs: number;
}

/** A daemon of the built command, with everything else by default. */
async function startDaemon(data: string): Promise<Server> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [COMMAND, "start", "--data", data, "--http", "127.0.0.1:0"]);
  child.stderr.pipe(process.stderr);
  const ready = await firstLine(child, (line) => line.includes('"event":"ready"'));
  const { url, tokenFile } = JSON.parse(ready) as { url: string; tokenFile: string };
  const readyMs = performance.now() - startedAt;
  const token = (await readFile(tokenFile, "utf8")).trim();
  return { url: new URL(url), token, readyMs, pid: child.pid ?? 0, stop: () => stop(child) };
}

/** A server of node:http that answers every request with the bytes of an answer to an increment. */
async function startBare(): Promise<Server> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), "bare"]);
  child.stderr.pipe(process.stderr);
  const url = new URL(await firstLine(child, () => true));
  return { url, token: "none", readyMs: 0, pid: child.pid ?? 0, stop: () => stop(child) };
}

function serveBare(): void {
  const body = JSON.stringify({ results: [null], digest: "0123456789abcdef" });
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      JSON.parse(text);
      response.writeHead(200, { "content-type": "application/json; charset=utf-8", "content-length": body.length });
      response.end(body);
    });
  });
  server.listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { port: number };
    console.log(`http://127.0.0.1:${port}`);
  });
  process.on("SIGTERM", () => process.exit(0));
}

interface WatchedServer extends Server {
  /** What the process holds after a garbage collection. */
  liveBytes(): Promise<number>;
}

/** The same server over a node in memory, in a process that collects its garbage when it is asked what it holds. */
async function startWatched(): Promise<WatchedServer> {
  const child = spawn(process.execPath, ["--expose-gc", fileURLToPath(import.meta.url), "watched"]);
  child.stderr.pipe(process.stderr);
  const url = new URL(await firstLine(child, () => true));
  const liveBytes = async (): Promise<number> => {
    const answer = once(child.stdout, "data") as Promise<[Buffer]>;
    child.stdin.write("\n");
    return Number((await answer)[0].toString());
  };
  return { url, token: WATCHED_TOKEN, readyMs: 0, pid: child.pid ?? 0, stop: () => stop(child), liveBytes };
}

async function serveWatched(): Promise<void> {
  const node = await createNode({ types: [gCounter] });
  const gateway = await startGateway({ node, types: [gCounter], tokens: new Map([[WATCHED_TOKEN, "write"]]) });
  process.stdin.on("data", () => {
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    console.log(heapUsed + external);
  });
  process.on("SIGTERM", () => process.exit(0));
  console.log(gateway.url);
}

async function firstLine(child: ChildProcess, isRight: (line: string) => boolean): Promise<string> {
  let text = "";
  return await new Promise((resolve, reject) => {
    child.once("exit", (status) => reject(new Error(`the server ended with status ${status}`)));
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split("\n").slice(0, -1).find(isRight);
      if (line !== undefined) resolve(line);
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** Sends one request after the other on each connection. Written by hand: a client library would take half a core. */
async function load({ url, token, pid }: Server, operations: number): Promise<Load> {
  const body = JSON.stringify({ operations: Array.from({ length: operations }, () => ({ op: "increment" })) });
  const request = Buffer.from(
    `POST /v1/groups/bench/operations HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  const latencies: number[] = [];
  let answered = 0;
  let begin: (() => void) | undefined;
  const warm = new Promise<void>((resolve) => (begin = resolve));
  let finish: (() => void) | undefined;
  const done = new Promise<void>((resolve) => (finish = resolve));
  const sockets = Array.from({ length: CONNECTIONS }, () => {
    const socket = connect(Number(url.port), url.hostname).setNoDelay(true);
    let sentAt = performance.now();
    onAnswer(socket, (head) => {
      if (!head.startsWith("HTTP/1.1 200")) throw new Error(`answered ${head}`);
      const now = performance.now();
      answered++;
      if (answered > WARM_UP_REQUESTS) latencies.push(now - sentAt);
      if (answered === WARM_UP_REQUESTS) begin?.();
      if (answered === WARM_UP_REQUESTS + MEASURED_REQUESTS) finish?.();
      sentAt = now;
      socket.write(request);
    });
    socket.write(request);
    return socket;
  });
  await Promise.race([warm, sleep(LOAD_MS_MAX)]);
  const [startedAt, cpu, serverCpu] = [performance.now(), process.cpuUsage(), cpuMsOf(pid)];
  await Promise.race([done, sleep(LOAD_MS_MAX)]);
  const seconds = (performance.now() - startedAt) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const serverMs = (cpuMsOf(pid) - serverCpu) / latencies.length;
  for (const socket of sockets) socket.destroy();
  latencies.sort((left, right) => left - right);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  const generatorMs = (user + system) / 1000 / latencies.length;
  return { perSecond: latencies.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), serverMs, generatorMs };
}

/** Processor time of a process so far; not a number where the system does not tell. */
function cpuMsOf(pid: number): number {
  try {
    // Behind the name in parentheses: utime and stime are the 14th and 15th fields.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    return ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS_PER_SECOND;
  } catch {
    return Number.NaN;
  }
}

/** Calls `fn` with each whole answer. */
function onAnswer(socket: Socket, fn: (text: string) => void): void {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (;;) {
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      const answer = text.slice(0, end + 4 + length);
      text = text.slice(end + 4 + length);
      fn(answer);
    }
  });
}

async function call(server: Server, method: string, path: string, body?: unknown): Promise<string> {
  const response = await fetch(new URL(path, server.url), {
    method,
    headers: { authorization: `Bearer ${server.token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${text}`);
  return text;
}

async function increment(server: Server): Promise<void> {
  await call(server, "POST", "/v1/groups/bench/operations", { type: "gcounter", operations: [{ op: "increment" }] });
}

interface Watched {
  readonly bytesEach: number;
  readonly spreadMs: number;
}

/** Many watchers of one group: how long after a write the last of them has the new value, and what each costs. */
async function watch(server: WatchedServer): Promise<Watched> {
  await increment(server);
  const before = await server.liveBytes();
  const texts: string[] = Array.from({ length: WATCHERS }, () => "");
  const sockets = texts.map((_text, index) => {
    const socket = connect(Number(server.url.port), server.url.hostname);
    socket.write(
      `GET /v1/groups/bench/watch HTTP/1.1\r\nHost: ${server.url.host}\r\nAuthorization: Bearer ${server.token}\r\n\r\n`,
    );
    socket.on("data", (chunk: Buffer) => (texts[index] += chunk.toString("latin1")));
    return socket;
  });
  const all = async (mark: string): Promise<void> => {
    while (!texts.every((text) => text.includes(mark))) await sleep(1);
  };
  await all("event: value");
  const bytesEach = ((await server.liveBytes()) - before) / WATCHERS;
  for (let round = 0; round < 100; round++) await increment(server);
  const { value } = JSON.parse(await call(server, "GET", "/v1/groups/bench/value")) as { value: number };
  const startedAt = performance.now();
  await increment(server);
  await all(`"value":${value + 1}`);
  const spreadMs = performance.now() - startedAt;
  for (const socket of sockets) socket.destroy();
  return { bytesEach, spreadMs };
}

/** Starts with many stored groups, beside a plain listing of the same directory. */
async function startLoaded(data: string): Promise<{ readyMs: number; listMs: number }> {
  const node = await createNode({ types: [gCounter], storage: levelStorage(data) });
  for (let first = 0; first < STORED_GROUPS; first += AT_ONCE) {
    const opening = Array.from({ length: AT_ONCE }, async (_, index) => {
      const replica = await node.open(["bench", first + index], gCounter);
      replica.mutate((counter) => counter.increment());
      replica.close();
    });
    await Promise.all(opening);
  }
  await node.close();
  const startedAt = performance.now();
  const again = await createNode({ types: [gCounter], storage: levelStorage(data) });
  const listMs = performance.now() - startedAt;
  await again.close();
  const daemon = await startDaemon(data);
  await daemon.stop();
  return { readyMs: daemon.readyMs, listMs };
}

function show(name: string, { perSecond, p50Ms, p99Ms, serverMs, generatorMs }: Load): void {
  const rate = `${Math.round(perSecond).toLocaleString("en")}/s`.padStart(10);
  const cpu = `server ${serverMs.toFixed(3)} ms, generator ${generatorMs.toFixed(3)} ms of processor time each`;
  console.log(`${name.padEnd(32)}${rate}   p50 ${p50Ms.toFixed(1)} ms   p99 ${p99Ms.toFixed(1)} ms   ${cpu}`);
}

async function main(data: string): Promise<void> {
  console.log(`${CONNECTIONS} connections, one request at a time on each, durability "log"\n`);
  const bare = await startBare();
  show("bare node:http, the same bytes", await load(bare, 1));
  await bare.stop();
  const daemon = await startDaemon(join(data, "a"));
  await increment(daemon);
  show("one increment a request", await load(daemon, 1));
  show("100 increments a request", await load(daemon, 100));
  await daemon.stop();
  const watched = await startWatched();
  const { bytesEach, spreadMs } = await watch(watched);
  await watched.stop();
  console.log(
    `\n${WATCHERS} watchers: ${(bytesEach / 1024).toFixed(0)} KiB of heap each, all told after ${spreadMs.toFixed(0)} ms`,
  );
  const { readyMs, listMs } = await startLoaded(join(data, "b"));
  const idle = await startDaemon(join(data, "c"));
  await idle.stop();
  console.log(
    `start to ready with ${STORED_GROUPS.toLocaleString("en")} groups: ${readyMs.toFixed(0)} ms; ` +
      `with none ${idle.readyMs.toFixed(0)} ms; opening that storage in process ${listMs.toFixed(0)} ms`,
  );
}

if (process.argv[2] === "bare") serveBare();
else if (process.argv[2] === "watched") await serveWatched();
else await inDirectory(main);
