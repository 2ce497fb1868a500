import { expect, it } from "vitest";
import { DEFAULT_LIMITS } from "./limits.ts";
import { Peer } from "./peer.ts";

it("a peer that takes nothing makes a node hold a bounded queue, whatever is queued for it", () => {
  const peer = new Peer(
    { peer: "slow", incarnation: "0123456789abcdef", addresses: [] },
    { ...DEFAULT_LIMITS, queueBytesMax: 10_000 },
  );
  const message = new Uint8Array(1000);
  // The transport takes one frame, and no more.
  peer.post(message);
  peer.flush(() => false);
  for (let index = 0; index < 100; index++) peer.post(message, `key${index}`);
  expect(peer.queueBytes).toBe(10_000);
  expect(peer.postIfRoom(message)).toBe(false);
  for (let index = 0; index < 100; index++) peer.post(message);
  expect(peer.queueBytes).toBe(20_000);
  peer.drained();
  expect(peer.flush(() => true)).toHaveLength(90);
});

it("a group that is written to faster than a link carries leaves room for the others", () => {
  const peer = new Peer({ peer: "slow", incarnation: "0123456789abcdef", addresses: [] }, DEFAULT_LIMITS);
  const message = new Uint8Array(100_000);
  const post = (key: string): void => {
    for (let index = 0; index < 10; index++) peer.post(message, key);
  };
  // While the transport takes all, whatever one tick brings goes out.
  post("busy");
  expect(peer.queueBytes).toBe(1_000_000);
  peer.flush(() => false);
  post("busy");
  expect(peer.queueBytes).toBe(200_000);
  post("other");
  expect(peer.queueBytes).toBe(400_000);
  peer.drained();
  expect(peer.flush(() => true)).toEqual(["busy", "other"]);
  post("busy");
  expect(peer.queueBytes).toBe(1_000_000);
});

it("a peer hears whom it named last, as long as it says that nothing has changed", () => {
  const peer = new Peer({ peer: "a", incarnation: "", addresses: [] }, DEFAULT_LIMITS);
  peer.setHears(undefined, 7, 100);
  expect(peer.hears("b", 0)).toBe(false);
  peer.setHears(["b"], 7, 200);
  peer.setHears(undefined, 7, 300);
  expect(peer.hears("b", 300)).toBe(true);
  // It has named others since, and that message was lost.
  peer.setHears(undefined, 8, 400);
  expect(peer.hears("b", 400)).toBe(false);
});

it("a list that is asked for again and again is queued once, until it has left", () => {
  const peer = new Peer({ peer: "a", incarnation: "", addresses: [] }, DEFAULT_LIMITS);
  expect([peer.takesList("d"), peer.takesList("d"), peer.takesList("e")]).toEqual([true, false, true]);
  peer.post(new Uint8Array(10));
  peer.flush(() => false);
  expect(peer.takesList("d")).toBe(true);
  peer.post(new Uint8Array(10));
  peer.flush(() => true);
  expect(peer.takesList("d")).toBe(false);
});
