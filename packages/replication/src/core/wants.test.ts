import { describe, expect, it } from "vitest";
import type { CoreContext } from "./context.ts";
import { groupHash } from "./digest.ts";
import { unpackFrame } from "./frames.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { decodeMessage } from "./message-codec.ts";
import { Peer } from "./peer.ts";
import { LISTED_MAX, Wants } from "./wants.ts";

const DOMAIN = "d";
const keys = Array.from({ length: 600 }, (_, index) => `key${index}`);
const hashes = keys.map(groupHash);

/** A node without groups, and its peers. */
class Bench {
  readonly peers = new Map<string, Peer>();
  readonly known = new Set<number>();
  readonly compared: string[] = [];
  room = Number.POSITIVE_INFINITY;
  now = 0;
  readonly wants: Wants = new Wants(
    {
      peers: this.peers,
      groups: { withHash: (hash: number) => (this.known.has(hash) ? [{ domain: DOMAIN }] : []) },
      now: () => this.now,
      room: () => this.room,
    } as unknown as CoreContext,
    (peer) => this.compared.push(peer.id),
  );

  link(name: string): Peer {
    const peer = new Peer({ peer: name, incarnation: "", addresses: [] }, DEFAULT_LIMITS);
    this.peers.set(name, peer);
    return peer;
  }

  /** The hashes that a peer has been asked for since the last look. */
  asked(peer: Peer): number[] {
    const frames: Uint8Array[] = [];
    peer.flush((_link, frame) => frames.push(frame) > 0);
    const messages = frames.flatMap((frame) => unpackFrame(frame).map(decodeMessage));
    return messages.flatMap((message) => (message?.kind === "want" ? message.hashes : []));
  }

  bring(peer: Peer, key: string): void {
    this.known.add(groupHash(key));
    this.wants.answered(peer, key);
  }
}

describe("groups that this node does not know", () => {
  it("are all asked of an only peer", () => {
    const bench = new Bench();
    const peer = bench.link("a");
    bench.wants.listed(peer, DOMAIN, hashes);
    expect(bench.asked(peer)).toEqual(hashes);
    bench.wants.listed(peer, DOMAIN, hashes);
    expect(bench.asked(peer)).toEqual([]);
  });

  it("are shared out among peers that have the same, each asked of one", () => {
    const bench = new Bench();
    const peers = [bench.link("a"), bench.link("b")];
    for (const peer of peers) bench.wants.listed(peer, DOMAIN, hashes);
    const asked = peers.map((peer) => bench.asked(peer));
    for (let round = 0; asked.flat().length < keys.length; round++) {
      expect(round).toBeLessThan(20);
      for (const [at, peer] of peers.entries()) {
        for (const hash of asked[at] ?? []) bench.bring(peer, keys[hashes.indexOf(hash)] ?? "");
        asked[at]?.push(...bench.asked(peer));
      }
    }
    expect(asked.flat()).toHaveLength(hashes.length);
    expect(new Set(asked.flat())).toEqual(new Set(hashes));
    expect(Math.min(...asked.map(({ length }) => length))).toBeGreaterThan(200);
  });

  it("are asked of another peer when one goes, or has come to none of them for a while", () => {
    const bench = new Bench();
    const [a, b] = [bench.link("a"), bench.link("b")];
    const few = hashes.slice(0, 10);
    bench.wants.listed(a, DOMAIN, few);
    bench.wants.listed(b, DOMAIN, few);
    expect(bench.asked(b)).toEqual([]);
    bench.now = 5_000;
    a.pulls.progressAt = bench.now;
    bench.wants.tick();
    expect(bench.asked(b)).toEqual(few.slice(5));
    bench.peers.delete("a");
    bench.wants.left();
    expect(bench.asked(b)).toEqual(few.slice(0, 5));
  });

  it("are compared again with a peer when another has brought them, perhaps not all of them", () => {
    const bench = new Bench();
    const [a, b] = [bench.link("a"), bench.link("b")];
    for (const peer of [a, b]) bench.wants.listed(peer, DOMAIN, hashes.slice(0, 2));
    bench.bring(a, "key0");
    expect(bench.compared).toEqual([]);
    bench.bring(a, "key1");
    expect(bench.compared).toEqual(["b"]);
  });

  it("are as many as there is room for, and remembered in no greater number", () => {
    const bench = new Bench();
    const peer = bench.link("a");
    bench.room = 3;
    bench.wants.listed(peer, DOMAIN, hashes);
    expect(bench.asked(peer)).toEqual(hashes.slice(0, 3));
    bench.room = 0;
    for (const key of keys.slice(0, 3)) bench.bring(peer, key);
    expect(peer.pulls.listed.size).toBe(0);
    bench.wants.listed(
      peer,
      DOMAIN,
      Array.from({ length: LISTED_MAX + 10 }, (_, hash) => hash),
    );
    expect(peer.pulls.listed.size).toBe(0);
    bench.room = 1;
    bench.wants.listed(
      peer,
      DOMAIN,
      Array.from({ length: LISTED_MAX + 10 }, (_, hash) => hash),
    );
    expect(peer.pulls.listed.size).toBeLessThanOrEqual(LISTED_MAX);
    expect(bench.asked(peer)).toHaveLength(1);
  });

  it("are given up when nothing comes: the next comparison finds them", () => {
    const bench = new Bench();
    const peer = bench.link("a");
    bench.wants.listed(peer, DOMAIN, hashes.slice(0, 4));
    bench.asked(peer);
    bench.now = 1_000;
    bench.wants.tick();
    expect(peer.pulls.open).toBe(0);
    bench.wants.listed(peer, DOMAIN, hashes.slice(0, 4));
    expect(bench.asked(peer)).toEqual(hashes.slice(0, 4));
  });
});
