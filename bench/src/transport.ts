/**
 * Latency and throughput of the libp2p transport between two processes on loopback, beside a raw libp2p stream and a
 * raw TCP socket. Run `node bench/dist/transport.js [rounds]` after a build; every figure is the median of the rounds.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { libp2pTransport } from "@coppice/replication/libp2p";
import type { Link, Transport } from "@coppice/replication";
import { median } from "./replication/figure.ts";
import { type RawStream, createRawNode, onBytes } from "./replication/raw-libp2p.ts";

const FRAME_BYTES = 64;
const BURST_FRAMES = 256;
const ECHOES = 2_000;
const WARM_UP_ECHOES = 500;
const FRAMES = 200_000;

/** A way to carry frames: echoed one by one, or counted at the other end. */
interface Lane {
  /** Resolves when the frame has come back. */
  echo(frame: Uint8Array): Promise<void>;
  /** Sends a burst; resolves when more may be sent. */
  burst(frames: readonly Uint8Array[]): Promise<void>;
  /** Resolves when the other end has answered that it has all frames of the bursts. */
  counted(): Promise<void>;
  close(): Promise<void>;
}

const ECHO = 0;
const COUNT = 1;
const LAST = 2;

function frameOf(kind: number): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  frame[0] = kind;
  return frame;
}

/** What the other end does with a frame, whatever carries it: answers echoes and the last of a count. */
function answer(frame: Uint8Array, send: (frame: Uint8Array) => void): void {
  if (frame[0] !== COUNT) send(frame);
}

class Answers {
  #waiting: (() => void) | undefined;

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  take(): void {
    this.#waiting?.();
  }
}

/** Frames of one fixed size need no length prefix: the least that any protocol could do. */
class FixedFrames {
  #rest: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array, take: (frame: Uint8Array) => void): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let offset = 0;
    for (; offset + FRAME_BYTES <= bytes.length; offset += FRAME_BYTES) {
      take(bytes.subarray(offset, offset + FRAME_BYTES));
    }
    this.#rest = bytes.subarray(offset);
  }
}

function context(events: { up(link: Link): void; frame(link: Link, bytes: Uint8Array): void; drained(): void }) {
  return {
    incarnation: Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex"),
    readSecret: async () => undefined,
    writeSecret: async () => undefined,
    events: {
      linkUp: events.up,
      linkDown: () => undefined,
      frame: events.frame,
      drained: events.drained,
      notice: (code: string, message: string) => console.error(code, message),
    },
  };
}

async function listenCoppice(): Promise<string> {
  const transport: Transport = libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" });
  const frame = (link: Link, bytes: Uint8Array): void => answer(bytes, (back) => transport.send(link, back));
  await transport.start(context({ up: () => undefined, frame, drained: () => undefined }));
  return transport.addresses()[0] ?? "";
}

async function dialCoppice(address: string): Promise<Lane> {
  const transport = libp2pTransport();
  const answers = new Answers();
  const drains = new Answers();
  await transport.start(context({ up: () => undefined, frame: () => answers.take(), drained: () => drains.take() }));
  const link = await transport.connect(address);
  return {
    echo(frame) {
      transport.send(link, frame);
      return answers.next();
    },
    async burst(frames) {
      let more = true;
      for (const frame of frames) more = transport.send(link, frame);
      await (more ? new Promise<void>((resolve) => setImmediate(resolve)) : drains.next());
    },
    counted() {
      transport.send(link, frameOf(LAST));
      return answers.next();
    },
    close: () => transport.stop(),
  };
}

async function listenTcp(): Promise<string> {
  const server = createServer({ noDelay: true }, (socket) => {
    const frames = new FixedFrames();
    socket.on("data", (chunk) => frames.push(chunk, (frame) => answer(frame, (back) => socket.write(back))));
    socket.on("error", () => undefined);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return String((server.address() as AddressInfo).port);
}

async function dialTcp(port: string, oneWriteEach: boolean): Promise<Lane> {
  const socket: Socket = connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  const answers = new Answers();
  const frames = new FixedFrames();
  socket.on("data", (chunk) => frames.push(chunk, () => answers.take()));
  return {
    echo(frame) {
      socket.write(frame);
      return answers.next();
    },
    async burst(burst) {
      let more = true;
      if (oneWriteEach) for (const frame of burst) more = socket.write(frame);
      else more = socket.write(Buffer.concat(burst));
      if (!more) await once(socket, "drain");
      else await new Promise((resolve) => setImmediate(resolve));
    },
    counted() {
      socket.write(frameOf(LAST));
      return answers.next();
    },
    async close() {
      socket.destroy();
    },
  };
}

function onFrames(stream: RawStream, take: (frame: Uint8Array) => void): void {
  const frames = new FixedFrames();
  onBytes(stream, (bytes) => frames.push(bytes, take));
}

async function listenRaw(): Promise<string> {
  const node = await createRawNode((stream) => {
    onFrames(stream, (frame) => answer(frame, (back) => stream.send(back)));
  });
  return node.address;
}

async function dialRaw(address: string): Promise<Lane> {
  const node = await createRawNode();
  const stream = await node.dial(address);
  const answers = new Answers();
  onFrames(stream, () => answers.take());
  return {
    echo(frame) {
      stream.send(frame);
      return answers.next();
    },
    async burst(frames) {
      for (const frame of frames) {
        // Sending on after a false would overflow libp2p's own queue, whose handling recurses once a piece.
        if (!stream.send(frame)) {
          await new Promise<void>((resolve) => stream.addEventListener("drain", () => resolve(), { once: true }));
        }
      }
      await new Promise<void>((resolve) => setImmediate(resolve));
    },
    counted() {
      stream.send(frameOf(LAST));
      return answers.next();
    },
    close: () => node.stop(),
  };
}

async function measure(lane: Lane): Promise<{ oneWayMs: number; framesPerSecond: number }> {
  const times: number[] = [];
  for (let index = 0; index < WARM_UP_ECHOES + ECHOES; index++) {
    const startMs = performance.now();
    await lane.echo(frameOf(ECHO));
    if (index >= WARM_UP_ECHOES) times.push(performance.now() - startMs);
  }
  const burst = Array.from({ length: BURST_FRAMES }, () => frameOf(COUNT));
  const startMs = performance.now();
  for (let sent = 0; sent < FRAMES; sent += BURST_FRAMES) await lane.burst(burst);
  await lane.counted();
  const seconds = (performance.now() - startMs) / 1_000;
  await lane.close();
  return { oneWayMs: median(times) / 2, framesPerSecond: FRAMES / seconds };
}

const LISTENERS: Record<string, () => Promise<string>> = { coppice: listenCoppice, tcp: listenTcp, raw: listenRaw };

/** Starts another process that listens and answers; its address is its first message. */
async function listener(kind: string): Promise<{ child: ChildProcess; address: string }> {
  const child = fork(fileURLToPath(import.meta.url), ["listen", kind], { execArgv: process.execArgv });
  const [address] = (await once(child, "message")) as [string];
  return { child, address };
}

async function main(rounds: number): Promise<void> {
  const kinds: [name: string, kind: string, dial: (address: string) => Promise<Lane>][] = [
    ["TCP, a write each", "tcp", (port) => dialTcp(port, true)],
    ["TCP, a write a burst", "tcp", (port) => dialTcp(port, false)],
    ["libp2p stream, a send each", "raw", dialRaw],
    ["Coppice transport", "coppice", dialCoppice],
  ];
  const figures = new Map(kinds.map(([name]) => [name, [] as { oneWayMs: number; framesPerSecond: number }[]]));
  // Round by round, so that whatever else the machine does meets all of them alike.
  for (let round = 0; round < rounds; round++) {
    for (const [name, kind, dial] of kinds) {
      const { child, address } = await listener(kind);
      figures.get(name)?.push(await measure(await dial(address)));
      child.kill();
    }
  }
  for (const [name, rows] of figures) {
    const oneWayMs = median(rows.map((row) => row.oneWayMs)).toFixed(3);
    const framesPerSecond = Math.round(median(rows.map((row) => row.framesPerSecond)));
    console.log(
      `${name.padEnd(28)} one way ${oneWayMs} ms   ${framesPerSecond} frames of ${FRAME_BYTES} bytes a second`,
    );
  }
}

const [role = "3", kind = ""] = process.argv.slice(2);
if (role === "listen") process.send?.(await LISTENERS[kind]?.());
else await main(Number(role));
