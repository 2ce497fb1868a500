import { multiaddr } from "@multiformats/multiaddr";
import { afterEach, expect, test } from "vitest";
import type { PeerId } from "../transport.ts";
import type { Admission } from "./admission.ts";
import {
  INTRODUCTIONS_PROTOCOL,
  type Introductions,
  type Roll,
  type RollEntry,
  decodeIntroductions,
  encodeIntroductions,
} from "./introductions.ts";
import { Lab, noticed, pause } from "./lab.test-support.ts";

let lab = new Lab();
afterEach(async () => {
  await lab.close();
  lab = new Lab();
});

/** Admits whom it is told of. */
class OpenRoll implements Admission, Roll {
  readonly known = new Map<PeerId, RollEntry>();
  readonly told: Introductions[] = [];
  readonly roll = this;
  readonly #watchers = new Set<() => void>();

  admits(peer: PeerId): boolean {
    return this.known.get(peer)?.isRemoved === false;
  }

  isRemoved(peer: PeerId): boolean {
    return this.known.get(peer)?.isRemoved === true;
  }

  isOpen(): boolean {
    return false;
  }

  redeem(): Promise<boolean> {
    return Promise.resolve(false);
  }

  entries(): RollEntry[] {
    return [...this.known.values()];
  }

  introduce(_by: PeerId, told: Introductions): void {
    this.told.push(told);
    for (const entry of told.roll) if ((this.known.get(entry.peer)?.at ?? 0) < entry.at) this.decide(entry);
  }

  decide(entry: RollEntry): void {
    this.known.set(entry.peer, entry);
    for (const watcher of this.#watchers) watcher();
  }

  introducerOf(): undefined {
    return undefined;
  }

  onChange(fn: () => void): () => void {
    this.#watchers.add(fn);
    return () => void this.#watchers.delete(fn);
  }
}

test("members tell each other whom they admit, over others too, and drop whoever is removed", async () => {
  const rolls = [new OpenRoll(), new OpenRoll(), new OpenRoll()] as const;
  const [first, second, third] = rolls;
  const a = await lab.start({ allow: [], admission: first, heartbeatMs: 200 });
  const b = await lab.start({ allow: [], peers: [a.address], admission: second, heartbeatMs: 200 });
  first.decide({ peer: b.id, at: 1, isRemoved: false, label: "" });
  await a.until("link to b", () => a.links.has(b.id));
  const c = await lab.start({ allow: [], peers: [b.address], admission: third, heartbeatMs: 200 });
  second.decide({ peer: c.id, at: 1, isRemoved: false, label: "" });
  await b.until("link to c", () => b.links.has(c.id));
  const newcomer = await lab.start({ peers: [a.address, c.address], admission: new OpenRoll() });
  await pause(300);
  expect(c.links.has(newcomer.id)).toBe(false);
  first.decide({ peer: newcomer.id, at: 5, isRemoved: false, label: "new" });
  await c.until("link to the newcomer", () => c.links.has(newcomer.id));
  expect(third.known.get(newcomer.id)).toEqual({ peer: newcomer.id, at: 5, isRemoved: false, label: "new" });
  await expect.poll(() => third.told.some(({ members }) => members.includes(a.id)), { timeout: 5000 }).toBe(true);

  third.decide({ peer: newcomer.id, at: 6, isRemoved: true, label: "new" });
  await c.until("no link to the newcomer", () => !c.links.has(newcomer.id));
  await a.until("no link to the newcomer", () => !a.links.has(newcomer.id));
  await pause(1500);
  expect([a, b, c].some(({ links }) => links.has(newcomer.id))).toBe(false);
  expect(noticed(c, "NOT_ADMITTED")).toContain(newcomer.id);
});

test("a peer that was removed is not admitted because it was linked in the last run", async () => {
  const roll = new OpenRoll();
  const other = await lab.start();
  const node = await lab.start({ admission: roll, allow: undefined } as never);
  roll.decide({ peer: other.id, at: 1, isRemoved: true, label: "" });
  node.transport.discovered?.([other.address], "record");
  await pause(500);
  expect(node.links.size).toBe(0);
});

test("nobody who is not admitted is listened to, and nothing that is no message", async () => {
  const roll = new OpenRoll();
  const node = await lab.start({ allow: [], admission: roll });
  const intruder = await lab.intruder();
  const introduce = async (bytes: Uint8Array): Promise<number | "ended"> => {
    const connection = await intruder.node.dial(multiaddr(node.address)).catch(() => undefined);
    const stream = await connection?.newStream(INTRODUCTIONS_PROTOCOL).catch(() => undefined);
    if (stream === undefined) return "ended";
    const answer = await new Promise<number | "ended">((resolve) => {
      stream.addEventListener("message", ({ data }) => resolve(data.subarray()[0] ?? 0));
      stream.addEventListener("close", () => resolve("ended"));
      // It may have ended by now.
      if (stream.status === "open") stream.send(bytes);
      else resolve("ended");
    });
    await stream.close().catch(() => undefined);
    return answer;
  };
  const message = encodeIntroductions({ roll: [], members: ["12D3KooWx"] });
  const whole = Uint8Array.of(0, 0, 0, message.length, ...message);
  expect(await introduce(whole)).toBe("ended");
  roll.decide({ peer: intruder.id, at: 1, isRemoved: false, label: "" });
  expect(await introduce(whole)).toBe(1);
  expect(roll.told).toEqual([{ roll: [], members: ["12D3KooWx"] }]);
  for (const bytes of [
    [0, 0, 0, 2, 9, 9],
    [0, 0, 0, 3, 0, 0, 0],
    [255, 255, 255, 255, 0],
  ]) {
    expect(await introduce(Uint8Array.from(bytes))).toBe("ended");
  }
  const answers = new Set<number | "ended">();
  for (let count = 0; count < 130; count++) answers.add(await introduce(whole));
  expect([...answers]).toEqual([1, "ended"]);
  expect(roll.told.length).toBeLessThanOrEqual(120);
});

test("a message is read as it was written, and anything else is refused", () => {
  const told = {
    roll: [{ peer: "12D3KooWx", at: 1_800_000_000_000, isRemoved: true, label: "ü" }],
    members: ["a", "b"],
  };
  const bytes = encodeIntroductions(told);
  expect(decodeIntroductions(bytes)).toEqual(told);
  for (let length = 0; length < bytes.length; length++)
    expect(() => decodeIntroductions(bytes.subarray(0, length))).toThrow(/./);
  const long = encodeIntroductions({ roll: [], members: ["x".repeat(257)] });
  expect(() => decodeIntroductions(long)).toThrow(/too long/);
  const many = encodeIntroductions({ roll: [], members: Array.from({ length: 2001 }, () => "x") });
  expect(() => decodeIntroductions(many)).toThrow(/2001/);
});
