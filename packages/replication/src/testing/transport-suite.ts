import { ReplicationError } from "../error.ts";
import { FRAME_BYTES_MAX, type Link } from "../transport.ts";
import { linked, type TestPeer } from "./test-peer.ts";
import {
  Lab,
  assert,
  assertEqual,
  assertRejects,
  assertSameBytes,
  bytesOf,
  lastLink,
  numberOf,
  patterned,
  pause,
  type TransportFixture,
} from "./transport-lab.ts";

export type { FixtureTransportOptions, TransportFixture } from "./transport-lab.ts";

/** What the suite needs of a test runner, such as vitest or `node:test`. */
export interface TransportSuiteOptions {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void>): void;
  create(): TransportFixture | Promise<TransportFixture>;
}

/** The tests that every {@link Transport} passes. Each test makes its own fixture and stops what it started. */
export function transportSuite({ describe, it, create }: TransportSuiteOptions): void {
  const test = (name: string, body: (lab: Lab) => Promise<void>): void => {
    it(name, async () => {
      const lab = new Lab(await create());
      try {
        await body(lab);
      } finally {
        await lab.close();
      }
    });
  };
  describe("lifecycle", () => lifecycleTests(test));
  describe("frames", () => frameTests(test));
  describe("links", () => linkTests(test));
}

type Test = (name: string, body: (lab: Lab) => Promise<void>) => void;

function lifecycleTests(test: Test): void {
  test("has no address before start and after stop", async (lab) => {
    const a = lab.peer("a");
    assertEqual(a.transport.addresses(), [], "addresses before start");
    await a.start();
    assert(a.id.length > 0, "start answers the node's id");
    assert(a.transport.addresses().length > 0, "addresses after start");
    await a.transport.stop();
    assertEqual(a.transport.addresses(), [], "addresses after stop");
  });

  test("stops twice, and without having started", async (lab) => {
    await lab.peer("b").transport.stop();
    const a = await lab.start("a");
    await Promise.all([a.transport.stop(), a.transport.stop()]);
    await a.transport.stop();
  });

  test("starts only once", async (lab) => {
    const a = await lab.start("a");
    await assertRejects(a.start(), TypeError);
  });

  test("refuses to start, connect when the signal is aborted", async (lab) => {
    const reason = new Error("enough");
    await assertRejects(lab.peer("b").start({ signal: AbortSignal.abort(reason) }), reason);
    const a = await lab.start("a");
    await assertRejects(a.transport.connect(lab.deadAddress, { signal: AbortSignal.abort(reason) }), reason);
  });

  test("keeps its id over a restart", async (lab) => {
    const first = await lab.start("a");
    await first.transport.stop();
    const second = await lab.start("a");
    assertEqual(second.id, first.id, "id");
    const other = await lab.start("b");
    assert(other.id !== first.id, "another node has another id");
  });

  test("refuses to connect before start and after stop", async (lab) => {
    const a = lab.peer("a");
    await assertRejects(a.transport.connect(lab.deadAddress), "CLOSED");
    await a.start();
    await a.transport.stop();
    await assertRejects(a.transport.connect(lab.deadAddress), "CLOSED");
  });

  test("says nothing after stop", async (lab) => {
    const [a, b] = await lab.pair();
    for (let index = 0; index < 100; index++) b.transport.send(b.linkTo(a), bytesOf(index));
    await a.transport.stop();
    const told = a.told.length;
    const frames = a.frames.length;
    assertEqual(a.told.at(-1), { kind: "down", link: lastLink(a), reason: "stopped" }, "last word");
    await b.until("link down", () => b.links.size === 0);
    await pause(50);
    assertEqual([a.told.length, a.frames.length], [told, frames], "told after stop");
  });

  test("ends a pending connect on stop", async (lab) => {
    const a = await lab.start("a");
    const b = await lab.start("b");
    const outcome = a.transport.connect(b.address).then(
      () => "linked",
      (error: unknown) => (error instanceof ReplicationError ? error.code : error),
    );
    await a.transport.stop();
    const ended = await outcome;
    assert(ended === "CLOSED" || ended === "linked", `connect ended with ${String(ended)}`);
    await b.until("no link", () => b.links.size === 0);
  });
}

function frameTests(test: Test): void {
  test("carries frames both ways, in order and whole", async (lab) => {
    const [a, b] = await lab.pair();
    const sizes = [0, 1, 2, 127, 128, 129, 1_000, 16_383, 16_384, 16_385, 65_536, 100_000];
    const frames = sizes.map((size, index) => patterned(size, index));
    for (const frame of frames) {
      a.transport.send(a.linkTo(b), frame);
      b.transport.send(b.linkTo(a), frame);
    }
    for (const end of [a, b]) {
      await end.until("all frames", () => end.frames.length === frames.length);
      for (const [index, frame] of frames.entries()) assertSameBytes(end.frames[index]?.bytes, frame);
    }
  });

  test("carries the largest frame and refuses a larger one", async (lab) => {
    const [a, b] = await lab.pair();
    const link = a.linkTo(b);
    const frames = [FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX].map(patterned);
    for (const frame of frames) a.transport.send(link, frame);
    await assertRejects((async () => a.transport.send(link, new Uint8Array(FRAME_BYTES_MAX + 1)))(), "FRAME_TOO_LARGE");
    a.transport.send(link, bytesOf(7));
    await b.until("three frames", () => b.frames.length === 3);
    assertSameBytes(b.frames[0]?.bytes, frames[0]);
    assertSameBytes(b.frames[1]?.bytes, frames[1]);
    assertEqual(a.links.size, 1, "links after the refused frame");
  });

  test("carries many small frames in order", async (lab) => {
    const [a, b] = await lab.pair();
    const count = 20_000;
    for (let index = 0; index < count; index++) a.transport.send(a.linkTo(b), bytesOf(index));
    await b.until("all frames", () => b.frames.length === count);
    assertEqual(
      b.frames.map(({ bytes }) => numberOf(bytes)),
      Array.from({ length: count }, (_, index) => index),
      "order",
    );
  });

  test("delivers bytes of the receiver's own", async (lab) => {
    const [a, b] = await lab.pair();
    for (let index = 0; index < 100; index++) a.transport.send(a.linkTo(b), bytesOf(index));
    await b.until("frames", () => b.frames.length === 100);
    b.frames[0]?.bytes.fill(0xff);
    assertEqual(numberOf(b.frames[1]?.bytes), 1, "the next frame after the first was overwritten");
  });

  test("pushes back on a sender whose receiver is paused, and loses nothing", async (lab) => {
    const [a, b] = await lab.pair();
    const link = a.linkTo(b);
    const frame = 16 * 1024;
    const limit = 64 * 1024 * 1024;
    b.transport.pause(b.linkTo(a));
    let sent = 0;
    const fill = async (): Promise<void> => {
      for (; sent * frame < limit; sent++) {
        if (sent % 16 === 15) await pause(0);
        if (!a.transport.send(link, patterned(frame, sent))) return void sent++;
      }
    };
    await fill();
    assert(sent * frame < limit, "send answered false before 64 MiB were queued");
    const queuedAtFirst = sent;
    await pause(50);
    assert(b.frames.length <= 1, "a paused link delivers nothing");
    const held = b.frames.length;
    b.transport.resume(b.linkTo(a));
    assertEqual(b.frames.length, held, "frames delivered from within resume");
    await a.until("drained", () => a.drains.length > 0);
    await fill();
    await b.until("all frames", () => b.frames.length >= queuedAtFirst);
    const total = sent;
    await b.until("all frames", () => b.frames.length === total);
    for (const [index, { bytes }] of b.frames.entries()) assertSameBytes(bytes, patterned(frame, index));
  });

  test("bounds what a slow reader makes the sender hold", async (lab) => {
    const [a, b] = await lab.pair();
    const link = a.linkTo(b);
    const back = b.linkTo(a);
    const count = 600;
    b.onFrame = () => {
      b.transport.pause(back);
      setTimeout(() => b.transport.resume(back), 1);
      return true;
    };
    let mostInFlight = 0;
    for (let index = 0; index < count; index++) {
      const drains = a.drains.length;
      const canSendMore = a.transport.send(link, patterned(32 * 1024, index));
      mostInFlight = Math.max(mostInFlight, index + 1 - b.frames.length);
      if (!canSendMore) await a.until("drained", () => a.drains.length > drains);
    }
    await b.until("all frames", () => b.frames.length === count);
    assert(mostInFlight * 32 * 1024 < 12 * 1024 * 1024, `at most 12 MiB in flight, not ${mostInFlight} frames`);
    for (const [index, { bytes }] of b.frames.entries()) assertEqual(bytes[0], index % 256, `frame ${index}`);
  });

  test("drops frames for a link that is down", async (lab) => {
    const [a, b] = await lab.pair();
    const link = a.linkTo(b);
    await a.transport.disconnect(b.id);
    assertEqual(a.transport.send(link, bytesOf(1)), true, "send on a link that is down");
    a.transport.pause(link);
    a.transport.resume(link);
  });
}

function linkTests(test: Test): void {
  test("tells both sides who the other is", async (lab) => {
    const [a, b] = await lab.pair();
    assertEqual([a.linkTo(b).peer, a.linkTo(b).incarnation], [b.id, b.incarnation], "a's link");
    assertEqual([b.linkTo(a).peer, b.linkTo(a).incarnation], [a.id, a.incarnation], "b's link");
    assertEqual(a.linkTo(b).addresses, b.transport.addresses(), "b's addresses");
  });

  test("answers the same link to a second connect", async (lab) => {
    const [a, b] = await lab.pair();
    assert((await a.transport.connect(b.address)) === a.linkTo(b), "same link");
    assert((await b.transport.connect(a.address)) === b.linkTo(a), "same link from the other side");
    assertEqual([a.count("up"), b.count("up")], [1, 1], "links");
  });

  test("makes exactly one link when both sides dial at once", async (lab) => {
    for (let round = 0; round < 5; round++) {
      const a = await lab.start(`a${round}`, { allow: "any" });
      const b = await lab.start(`b${round}`, { allow: "any" });
      const [there, back] = await Promise.all([a.transport.connect(b.address), b.transport.connect(a.address)]);
      await linked(a, b);
      assert(a.linkTo(b) === there && b.linkTo(a) === back, "connect answers the link that stands");
      a.transport.send(there, bytesOf(1));
      b.transport.send(back, bytesOf(2));
      await Promise.all([a.until("frame", () => a.frames.length === 1), b.until("frame", () => b.frames.length === 1)]);
      await pause(50);
      assertEqual([a.count("up"), a.count("down"), b.count("up"), b.count("down")], [1, 0, 1, 0], "ups and downs");
    }
  });

  test("says why a dial fails", async (lab) => {
    const a = await lab.start("a");
    await assertRejects(a.transport.connect("not an address"), "BAD_ADDRESS");
    await assertRejects(a.transport.connect(lab.deadAddress), "DIAL_FAILED");
  });

  test("aborts a dial with the signal's reason", async (lab) => {
    const a = await lab.start("a");
    const b = await lab.start("b");
    const reason = new Error("enough");
    const abort = new AbortController();
    const connecting = a.transport.connect(b.address, { signal: abort.signal });
    abort.abort(reason);
    await assertRejects(connecting, reason);
    // The abandoned address is dialled no more, and nothing hinders a new attempt.
    await a.transport.connect(b.address);
    await linked(a, b);
  });

  test("refuses a peer that is not admitted, and says so on both sides", async (lab) => {
    const a = await lab.start("a");
    const b = await lab.start("b", { allow: [] });
    await assertRejects(a.transport.connect(b.address), "NOT_ADMITTED");
    const refusal = (peer: TestPeer): boolean =>
      peer.told.some((told) => told.kind === "notice" && told.code === "NOT_ADMITTED");
    await Promise.all([a.until("notice", () => refusal(a)), b.until("notice", () => refusal(b))]);
    assertEqual([a.count("up"), b.count("up")], [0, 0], "links");
  });

  test("ends a link on disconnect, on both sides, and dials no more", async (lab) => {
    const [a, b] = await lab.pair();
    await a.transport.disconnect(b.id);
    assertEqual(a.told.at(-1)?.kind, "down", "a's last word");
    await b.until("link down", () => b.links.size === 0);
    assertEqual(b.told.at(-1), { kind: "down", link: lastLink(b), reason: "closed" }, "b's last word");
    await pause(400);
    assertEqual([a.count("up"), b.count("up")], [1, 1], "links made");
    await a.transport.disconnect("a peer that is not there");
  });

  test("dials again after its peer has restarted", async (lab) => {
    const [a, b] = await lab.pair();
    const address = b.address;
    await b.transport.stop();
    await a.until("link down", () => a.links.size === 0);
    assertEqual(a.told.at(-1), { kind: "down", link: lastLink(a), reason: "closed" }, "a's last word");
    const again = await lab.start("b", { at: address });
    await linked(a, again);
    assertEqual(again.id, b.id, "id");
    a.transport.send(a.linkTo(again), bytesOf(3));
    await again.until("frame", () => again.frames.length === 1);
  });

  test("lets a restarted peer replace its old link", async (lab) => {
    const a = await lab.start("a");
    const b = await lab.start("b", { allow: "any" });
    await b.transport.connect(a.address);
    await linked(a, b);
    await lab.crash("b", b);
    const again = await lab.start("b");
    await again.transport.connect(a.address);
    await linked(a, again);
    const downs = a.told.filter((told) => told.kind === "down");
    assertEqual(downs.length, 1, "old links gone");
  });

  test("joins three nodes in a line", async (lab) => {
    const [a, b] = await lab.pair();
    const c = await lab.start("c");
    await c.transport.connect(b.address);
    await linked(b, c);
    assertEqual([a.links.size, b.links.size, c.links.size], [1, 2, 1], "links");
    b.onFrame = (link: Link, bytes) => {
      for (const other of b.links.values()) if (other !== link) b.transport.send(other, bytes);
      return true;
    };
    for (let index = 0; index < 100; index++) a.transport.send(a.linkTo(b), bytesOf(index));
    await c.until("frames passed on", () => c.frames.length === 100);
    assertEqual(numberOf(c.frames[99]?.bytes), 99, "last frame");
  });
}
