import { afterEach, describe, expect, it } from "vitest";
import { FRAME_BYTES_MAX } from "../transport.ts";
import { Lab, noticed, pause, type IntruderStream } from "./lab.test-support.ts";
import { encodeHello, FrameType } from "./wire.ts";

const lab = new Lab();
afterEach(() => lab.close());

const hello = { type: FrameType.hello, body: encodeHello("ffffffffffffffff", []) };
const alive = { type: FrameType.alive, body: new Uint8Array(0) };

describe("a peer that breaks the format", () => {
  it("loses its link for garbage that is held until the next turn, because what stood before it took long", async () => {
    const victim = await lab.start();
    victim.onFrame = () => {
      const until = performance.now() + 15;
      while (performance.now() < until);
      return true;
    };
    const intruder = await lab.intruder();
    const stream = await intruder.link(victim);
    stream.send({ type: FrameType.data, body: new Uint8Array(1000) });
    stream.sendBytes(...new Uint8Array(64).fill(255));
    await victim.until("link down", () => victim.links.size === 0);
    expect(victim.frames).toHaveLength(1);
    expect(noticed(victim, "MALFORMED_FRAME")).toContain(intruder.id);
    await pause(50);
  });

  it.each<[name: string, attack: (stream: IntruderStream) => void]>([
    ["an oversize frame", (stream) => stream.sendBytes(FrameType.data, 0x04, 0x00, 0x01)],
    ["a frame of 16 MiB", (stream) => stream.sendBytes(FrameType.data, 0xff, 0xff, 0xff)],
    ["an unknown type", (stream) => stream.sendBytes(99, 0, 0, 0)],
    ["type zero", (stream) => stream.sendBytes(0, 0, 0, 0)],
    ["a second hello", (stream) => stream.send(hello)],
    ["an empty acceptance", (stream) => stream.send({ type: FrameType.accept, body: new Uint8Array(0) })],
    ["an acceptance out of turn", (stream) => stream.send({ type: FrameType.accept, body: new Uint8Array(4) })],
  ])("loses its link for %s, with a notice", async (_name, attack) => {
    const victim = await lab.start();
    const intruder = await lab.intruder();
    attack(await intruder.link(victim));
    await victim.until("link down", () => victim.links.size === 0);
    expect(victim.told.at(-1)).toMatchObject({ kind: "down", reason: "reset" });
    expect(noticed(victim, "MALFORMED_FRAME")).toContain(intruder.id);
  });

  it.each<[name: string, attack: (stream: IntruderStream) => void]>([
    ["data before the hello", (stream) => stream.send({ type: FrameType.data, body: new Uint8Array(1) })],
    ["a hello without magic", (stream) => stream.send({ type: FrameType.hello, body: new Uint8Array(20) })],
    ["an empty hello", (stream) => stream.send({ type: FrameType.hello, body: new Uint8Array(0) })],
    ["data before the decision", (stream) => stream.send(hello, { type: FrameType.data, body: new Uint8Array(1) })],
    ["HTTP", (stream) => stream.sendBytes(...Buffer.from("GET / HTTP/1.1\r\n\r\n"))],
  ])("gets no link with %s", async (name, attack) => {
    const victim = await lab.start();
    let intruder = await lab.intruder();
    // Only the deciding side sends data right after the other's hello, so this one must not be it.
    while (name === "data before the decision" && intruder.id > victim.id) intruder = await lab.intruder();
    const stream = await intruder.dial(victim);
    attack(stream);
    await victim.until("notice", () => noticed(victim, "MALFORMED_FRAME") !== undefined);
    expect(victim.count("up")).toBe(0);
    for (let turn = 0; !stream.ended && turn < 100; turn++) await pause(10);
    expect(stream.ended).toBe(true);
  });

  it("leaves other links alone", async () => {
    const victim = await lab.start();
    const friend = await lab.start();
    await friend.transport.connect(victim.address);
    await victim.until("link", () => victim.links.size === 1);
    const intruder = await lab.intruder();
    (await intruder.link(victim)).sendBytes(99, 99, 99, 99);
    await victim.until("link down", () => victim.count("down") === 1);
    friend.transport.send(friend.linkTo(victim), Uint8Array.of(7));
    await victim.until("frame", () => victim.frames.length === 1);
  });

  it("may send the largest frame", async () => {
    const victim = await lab.start();
    const stream = await (await lab.intruder()).link(victim);
    stream.send({ type: FrameType.data, body: new Uint8Array(FRAME_BYTES_MAX) });
    await victim.until("frame", () => victim.frames[0]?.bytes.length === FRAME_BYTES_MAX);
  });
});

describe("a peer that wastes resources", () => {
  it("is cut off after silence", async () => {
    const victim = await lab.start({ heartbeatMs: 30 });
    await (await lab.intruder()).link(victim);
    await victim.until("link down", () => victim.told.at(-1)?.kind === "down");
    expect(victim.told.at(-1)).toMatchObject({ reason: "reset" });
  });

  it("sends byte by byte: others are not held up, and it is cut off once it is silent", async () => {
    const victim = await lab.start({ heartbeatMs: 60 });
    const friend = await lab.start({ heartbeatMs: 60 });
    await friend.transport.connect(victim.address);
    const intruder = await lab.intruder();
    const stream = await intruder.link(victim);
    await victim.until("links", () => victim.links.size === 2);
    // A frame of the largest size, of which next to nothing ever comes.
    stream.sendBytes(FrameType.data, 0x04, 0x00, 0x00);
    for (let turn = 0; turn < 40; turn++) {
      stream.sendBytes(turn);
      friend.transport.send(friend.linkTo(victim), Uint8Array.of(turn));
      await pause(5);
    }
    await victim.until("the friend's frames", () => victim.frames.length === 40);
    expect(victim.frames.every(({ link }) => link.peer === friend.id)).toBe(true);
    await victim.until("link down", () => !victim.links.has(intruder.id));
    expect(victim.links.has(friend.id)).toBe(true);
  });

  it("keeps its link by showing life", async () => {
    const victim = await lab.start({ heartbeatMs: 30 });
    const stream = await (await lab.intruder()).link(victim);
    for (let turn = 0; turn < 20; turn++) {
      await pause(15);
      stream.send(alive);
    }
    expect(victim.links.size).toBe(1);
    expect(stream.received.filter(({ type }) => type === FrameType.alive).length).toBeGreaterThan(3);
  });

  it("gets few answers to many probes", async () => {
    const victim = await lab.start();
    const stream = await (await lab.intruder()).link(victim);
    const probes = Array.from({ length: 10_000 }, () => ({ type: FrameType.probe, body: new Uint8Array(0) }));
    stream.send(...probes, { type: FrameType.data, body: Uint8Array.of(1) });
    await victim.until("frame after the probes", () => victim.frames.length === 1);
    await pause(50);
    const answers = stream.received.filter(({ type }) => type === FrameType.alive).length;
    expect(answers).toBeGreaterThan(0);
    expect(answers).toBeLessThan(1_000);
  });

  it("gets one link however many streams it opens", async () => {
    const victim = await lab.start();
    const intruder = await lab.intruder();
    const streams = await Promise.all(Array.from({ length: 8 }, () => intruder.dial(victim).catch(() => undefined)));
    for (const stream of streams) if (stream?.stream.writeStatus === "writable") stream.send(hello);
    await pause(200);
    expect(victim.links.size).toBeLessThanOrEqual(1);
    expect(victim.count("up") - victim.count("down")).toBe(victim.links.size);
    const friend = await lab.start();
    await friend.transport.connect(victim.address);
  });

  it("speaks of other nodes in vain", async () => {
    const victim = await lab.start();
    const intruder = await lab.intruder();
    const stream = await intruder.dial(victim);
    const own = `/ip4/127.0.0.1/tcp/4001/p2p/${intruder.id}`;
    const foreign = [`/ip4/127.0.0.1/tcp/4001/p2p/${victim.id}`, "/ip4/127.0.0.1/tcp/4001", "nonsense", own];
    stream.send({ type: FrameType.hello, body: encodeHello("ffffffffffffffff", foreign) });
    if (intruder.id < victim.id) stream.send({ type: FrameType.accept, body: new Uint8Array(4) });
    await victim.until("link", () => victim.links.size === 1);
    expect(victim.links.get(intruder.id)?.addresses).toEqual([own]);
  });
});

it("a peer of another version is told so", async () => {
  const victim = await lab.start();
  const intruder = await lab.intruder();
  const stream = await intruder.dial(victim);
  const newer = encodeHello("ffffffffffffffff", []);
  newer[4] = 2;
  stream.send({ type: FrameType.hello, body: newer });
  await victim.until("notice", () => noticed(victim, "VERSION_MISMATCH") !== undefined);
  for (let turn = 0; stream.received.length < 2 && turn < 100; turn++) await pause(10);
  expect(stream.received.at(-1)?.type).toBe(FrameType.reject);
  expect(victim.count("up")).toBe(0);
});
