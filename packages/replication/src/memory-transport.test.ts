import { describe, expect, it } from "vitest";
import { createMemoryNetwork, type MemoryNetwork } from "./memory-transport.ts";
import { linked, TestPeer } from "./testing/test-peer.ts";
import { transportSuite } from "./testing/transport-suite.ts";

describe("transport suite", () => {
  transportSuite({
    describe,
    it,
    create() {
      const network = createMemoryNetwork();
      return {
        transport: (name, { allow }) => network.transport(name, { allow }),
        deadAddress: "memory:/nobody",
        crash: (name) => network.crash(name),
      };
    },
  });
});

describe("transport suite with delays", () => {
  transportSuite({
    describe,
    it,
    create() {
      const network = createMemoryNetwork({ faults: { delayMs: [0, 3] } });
      return { transport: (name, { allow }) => network.transport(name, { allow }), deadAddress: "memory:/nobody" };
    },
  });
});

/** A clock that jumps from timer to timer. */
class VirtualClock {
  nowMs = 0;
  #order = 0;
  #timers: { atMs: number; order: number; run: () => void }[] = [];

  readonly schedule = (delayMs: number, run: () => void): void => {
    this.#timers.push({ atMs: this.nowMs + delayMs, order: this.#order++, run });
  };

  /** Runs everything due within `ms`, letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
      this.#timers.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const next = this.#timers[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#timers.shift();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = endMs;
  }
}

interface World {
  readonly clock: VirtualClock;
  readonly network: MemoryNetwork;
  start(name: string): Promise<TestPeer>;
  pair(): Promise<[TestPeer, TestPeer]>;
}

function world(options: Parameters<typeof createMemoryNetwork>[0] = {}): World {
  const clock = new VirtualClock();
  const network = createMemoryNetwork({ schedule: clock.schedule, ...options });
  let incarnation = 0;
  const start = (name: string): Promise<TestPeer> =>
    new TestPeer(network.transport(name), new Map(), String(++incarnation).padStart(16, "0")).start();
  return {
    clock,
    network,
    start,
    async pair() {
      const [a, b] = [await start("a"), await start("b")];
      const connecting = a.transport.connect(b.address);
      await clock.advance(100);
      await connecting;
      await linked(a, b);
      return [a, b];
    },
  };
}

function sendMany(from: TestPeer, to: TestPeer, count: number): void {
  for (let index = 0; index < count; index++) from.transport.send(from.linkTo(to), Uint8Array.of(index % 256));
}

const received = (peer: TestPeer): number[] => peer.frames.map(({ bytes }) => bytes[0] ?? -1);

describe("memory network", () => {
  it("repeats a run exactly from the same seed", async () => {
    const run = async (seed: number): Promise<number[]> => {
      const { clock, pair } = world({
        seed,
        faults: { loss: 0.2, duplication: 0.2, reordering: 0.2, delayMs: [1, 20] },
      });
      const [a, b] = await pair();
      sendMany(a, b, 200);
      await clock.advance(1_000);
      return received(b);
    };
    const first = await run(7);
    expect(await run(7)).toEqual(first);
    expect(await run(8)).not.toEqual(first);
  });

  it("dials what it is hinted at for a while, without a notice, and then no more", async () => {
    const { clock, start } = world();
    const a = await start("a");
    a.transport.discovered(["memory:/b", "memory:/never", "not an address"], "record");
    await clock.advance(2_000);
    const b = await start("b");
    await clock.advance(5_000);
    await linked(a, b);
    await clock.advance(60_000);
    const never = await start("never");
    await clock.advance(60_000);
    expect(never.links.size).toBe(0);
    expect(a.count("notice")).toBe(0);
  });

  it("loses, duplicates and reorders frames when told to, and not otherwise", async () => {
    const { clock, network, pair } = world();
    const [a, b] = await pair();
    const whole = Array.from({ length: 100 }, (_, index) => index);
    const observe = async (): Promise<number[]> => {
      b.frames.length = 0;
      sendMany(a, b, 100);
      await clock.advance(1_000);
      return received(b);
    };
    expect(await observe()).toEqual(whole);
    network.setFaults({ loss: 0.5 }, "a", "b");
    const lossy = await observe();
    expect(lossy.length).toBeGreaterThan(20);
    expect(lossy.length).toBeLessThan(80);
    network.setFaults({ loss: 0, duplication: 0.5 }, "a", "b");
    const doubled = await observe();
    expect(doubled.length).toBeGreaterThan(120);
    expect([...new Set(doubled)]).toEqual(whole);
    network.clearFaults();
    network.setFaults({ reordering: 0.5, delayMs: [0, 10] });
    const shuffled = await observe();
    expect(shuffled).not.toEqual(whole);
    expect(shuffled.toSorted((x, y) => x - y)).toEqual(whole);
    network.clearFaults();
    network.setFaults({ delayMs: [0, 10] });
    expect(await observe()).toEqual(whole);
  });

  it("swallows one direction of an asymmetric partition, then gives the link up, and redials after healing", async () => {
    const { clock, network, pair } = world({ halfOpenMs: 1_000 });
    const [a, b] = await pair();
    network.partition("a", "b", { oneWay: true });
    sendMany(a, b, 3);
    sendMany(b, a, 3);
    await clock.advance(500);
    expect([a.frames.length, b.frames.length]).toEqual([3, 0]);
    await clock.advance(1_000);
    expect([a.links.size, b.links.size]).toEqual([0, 0]);
    await clock.advance(60_000);
    expect([a.links.size, b.links.size]).toEqual([0, 0]);
    network.heal();
    await clock.advance(5_100);
    await linked(a, b);
    sendMany(a, b, 1);
    await clock.advance(10);
    expect(b.frames.length).toBe(1);
  });

  it("keeps a link over a partition shorter than its patience", async () => {
    const { clock, network, pair } = world({ halfOpenMs: 1_000 });
    const [a, b] = await pair();
    for (let round = 0; round < 5; round++) {
      network.partition("a", "b");
      await clock.advance(600);
      network.heal("a", "b");
      await clock.advance(300);
    }
    expect([a.count("up"), a.count("down"), b.count("down")]).toEqual([1, 0, 0]);
  });

  it("pushes back on a clogged link and delivers everything once it flows", async () => {
    const { clock, network, pair } = world();
    const [a, b] = await pair();
    network.setFaults({ bytesPerSecond: 0 }, "a", "b");
    const frame = new Uint8Array(100_000);
    let sent = 1;
    while (a.transport.send(a.linkTo(b), frame)) sent++;
    expect(sent).toBe(11);
    await clock.advance(60_000);
    expect([b.frames.length, a.drains.length]).toEqual([0, 0]);
    network.setFaults({ bytesPerSecond: 100_000 }, "a", "b");
    await clock.advance(3_500);
    expect([b.frames.length, a.drains.length]).toEqual([4, 0]);
    await clock.advance(60_000);
    expect([b.frames.length, a.drains.length]).toEqual([11, 1]);
  });

  it("delivers at once what waits on a slow link that becomes fast", async () => {
    const { clock, network, pair } = world();
    const [a, b] = await pair();
    network.setFaults({ bytesPerSecond: 500 }, "a", "b");
    for (let sent = 0; sent < 3; sent++) a.transport.send(a.linkTo(b), new Uint8Array(10_000));
    await clock.advance(10);
    expect(b.frames.length).toBe(1);
    network.setFaults({ bytesPerSecond: Number.POSITIVE_INFINITY }, "a", "b");
    await clock.advance(10);
    expect(b.frames.length).toBe(3);
  });

  it("resets a link and makes it anew", async () => {
    const { clock, network, pair } = world();
    const [a, b] = await pair();
    network.reset("a", "b");
    expect([a.told.at(-1)?.kind, b.told.at(-1)?.kind]).toEqual(["down", "down"]);
    await clock.advance(1_000);
    await linked(a, b);
  });

  it.each([
    { silent: false, noticedMs: 10 },
    { silent: true, noticedMs: 5_000 },
  ])("crashes without a word to itself, silent: $silent", async ({ silent, noticedMs }) => {
    const { clock, network, pair, start } = world();
    const [a, b] = await pair();
    network.crash("b", { silent });
    await clock.advance(noticedMs - 1);
    expect(a.links.size).toBe(silent ? 1 : 0);
    await clock.advance(1);
    expect([a.links.size, b.count("down")]).toEqual([0, 0]);
    const again = await start("b");
    await clock.advance(5_100);
    await linked(a, again);
  });

  it("supersedes the link of a peer that came back before its crash was noticed", async () => {
    const { clock, network, pair, start } = world();
    const [a] = await pair();
    network.crash("b", { silent: true });
    const again = await start("b");
    const connecting = again.transport.connect(a.address);
    await clock.advance(10);
    await connecting;
    await linked(a, again);
    expect(a.told.map((told) => (told.kind === "down" ? told.reason : told.kind))).toEqual(["up", "superseded", "up"]);
  });

  it("leaves no link behind when the dialler crashes while it dials", async () => {
    const { clock, network, start } = world({ faults: { delayMs: [10, 10] } });
    const [a, b] = [await start("a"), await start("b")];
    const outcome = a.transport.connect(b.address).catch((error: unknown) => error);
    await clock.advance(15);
    expect(b.links.size).toBe(1);
    network.crash("a");
    await clock.advance(20);
    expect(b.links.size).toBe(0);
    expect(await outcome).toMatchObject({ code: "CLOSED" });
  });
});
