import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { linked } from "../testing/test-peer.ts";
import { Lab, LOOPBACK, noticed } from "./lab.test-support.ts";

/**
 * A node in a process of its own: takes options and its stored key as arguments, prints a line a happening, and
 * stops on a line of input. It must then end by itself: nothing here calls `process.exit`. It runs what is built.
 */
const PROGRAM = `
  import { libp2pTransport } from ${JSON.stringify(new URL("../../dist/libp2p/index.js", import.meta.url).href)};
  const [options, incarnation, stored] = process.argv.slice(1);
  const say = (line) => console.log(JSON.stringify(line));
  const transport = libp2pTransport(JSON.parse(options));
  const peer = await transport.start({
    incarnation,
    readSecret: async () => (stored ? Buffer.from(stored, "hex") : undefined),
    writeSecret: async (_name, bytes) => say({ secret: Buffer.from(bytes).toString("hex") }),
    events: {
      linkUp: (link) => say({ up: link.peer }),
      linkDown: (link, reason) => say({ down: link.peer, reason }),
      frame: (link, bytes) => transport.send(link, bytes),
      drained: () => undefined,
      notice: (code) => say({ notice: code }),
    },
  });
  say({ peer, addresses: transport.addresses() });
  process.stdin.once("data", async () => {
    process.stdin.destroy();
    await transport.stop();
    say({ stopped: true });
  });
`;

type Line = Record<string, unknown>;

class Child {
  readonly process: ChildProcess;
  readonly lines: Line[] = [];
  readonly exited: Promise<unknown>;

  constructor(options: object, incarnation: string, stored: string) {
    const program = ["--input-type=module", "-e", PROGRAM, JSON.stringify(options), incarnation, stored];
    this.process = spawn(process.execPath, program, { stdio: ["pipe", "pipe", "inherit"] });
    this.exited = once(this.process, "exit");
    if (this.process.stdout === null) throw new TypeError("stdout is a pipe");
    createInterface(this.process.stdout).on("line", (line) => {
      this.lines.push(JSON.parse(line) as Line);
      this.process.emit("line");
    });
  }

  async line(key: string): Promise<Line> {
    for (;;) {
      const line = this.lines.find((candidate) => key in candidate);
      if (line !== undefined) return line;
      await once(this.process, "line");
    }
  }
}

const lab = new Lab();
const children: Child[] = [];
let incarnations = 0;

function child(options: object, stored = ""): Child {
  const incarnation = (++incarnations).toString(16).padStart(16, "c");
  const made = new Child({ listen: [LOOPBACK], allow: "any", ...options }, incarnation, stored);
  children.push(made);
  return made;
}

afterEach(async () => {
  for (const { process } of children.splice(0)) process.kill("SIGKILL");
  await lab.close();
});

describe("a real process", () => {
  it("ends by itself after stop, even while it redials and has links", async () => {
    const a = await lab.start();
    const b = child({ peers: [a.address, "/ip4/127.0.0.1/tcp/1"] });
    await b.line("up");
    await b.line("notice");
    b.process.stdin?.write("stop\n");
    expect(await b.exited).toEqual([0, null]);
    await a.until("link down", () => a.links.size === 0);
    expect(a.told.at(-1)).toMatchObject({ reason: "closed" });
  });

  it("lives on while it waits for a peer, without listening", async () => {
    const b = child({ listen: [], peers: ["/ip4/127.0.0.1/tcp/1"] });
    await b.line("notice");
    const outcome = await Promise.race([b.exited, new Promise((resolve) => setTimeout(resolve, 500, "alive"))]);
    expect(outcome).toBe("alive");
  });

  it("killed again and again is replaced by its successor at once", async () => {
    const a = await lab.start();
    let b = child({ peers: [a.address] });
    const stored = String((await b.line("secret"))["secret"]);
    for (let kill = 1; kill <= 4; kill++) {
      await b.line("up");
      await a.until("link", () => a.count("up") === kill);
      for (const link of a.links.values()) a.transport.send(link, Uint8Array.of(kill));
      await a.until("echo", () => a.frames.length === kill);
      b.process.kill("SIGKILL");
      b = child({ peers: [a.address] }, stored);
    }
    await a.until("last link", () => a.count("up") === 5);
    expect([a.links.size, a.count("down")]).toEqual([1, 4]);
    expect(noticed(a, "DUPLICATE_IDENTITY")).toBeUndefined();
    // Five processes one after the other: on a busy machine each takes seconds to start.
  }, 60_000);

  it("that hangs loses its link by silence, and gets one again when it wakes", async () => {
    const a = await lab.start({ heartbeatMs: 100 });
    const b = child({ peers: [a.address], heartbeatMs: 100 });
    await a.until("link", () => a.links.size === 1);
    b.process.kill("SIGSTOP");
    await a.until("link down", () => a.links.size === 0);
    expect(a.told.at(-1)).toMatchObject({ reason: "reset" });
    b.process.kill("SIGCONT");
    await a.until("link again", () => a.links.size === 1);
  });

  it("that hangs is replaced at once by another under its identity", async () => {
    const a = await lab.start();
    const b = child({ peers: [a.address] });
    const stored = String((await b.line("secret"))["secret"]);
    await a.until("link", () => a.count("up") === 1);
    b.process.kill("SIGSTOP");
    const successor = child({ peers: [a.address] }, stored);
    await successor.line("up");
    await a.until("second link", () => a.count("up") === 2);
    expect(a.told.map((told) => (told.kind === "down" ? told.reason : told.kind))).toEqual(["up", "superseded", "up"]);
    // Awake again it learns that it has been replaced, and does not take the link back.
    b.process.kill("SIGCONT");
    await b.line("notice");
    expect(b.lines.find((line) => "notice" in line)).toEqual({ notice: "DUPLICATE_IDENTITY" });
    expect(a.count("up")).toBe(2);
  });

  it("that hangs does not hold up stop", async () => {
    const a = await lab.start();
    const hung = [child({ peers: [a.address] }), child({ peers: [a.address] })];
    await a.until("links", () => a.links.size === 2);
    for (const { process } of hung) process.kill("SIGSTOP");
    for (const link of a.links.values())
      for (let index = 0; index < 40; index++) a.transport.send(link, new Uint8Array(200_000));
    await a.transport.stop();
    expect(a.count("down")).toBe(2);
    expect(hung.map(({ process }) => process.exitCode)).toEqual([null, null]);
  });

  it("that hangs does not hold up a dial's abort, or another dial", async () => {
    const b = child({});
    const addresses = (await b.line("addresses"))["addresses"] as string[];
    const a = await lab.start();
    b.process.kill("SIGSTOP");
    const reason = new Error("enough");
    const abort = new AbortController();
    const outcome = a.transport.connect(addresses[0] ?? "", { signal: abort.signal }).catch((error: unknown) => error);
    const c = await lab.start();
    await a.transport.connect(c.address);
    await linked(a, c);
    abort.abort(reason);
    expect(await outcome).toBe(reason);
  });
});
