/**
 * Digests: two unsigned 32-bit lanes, added up modulo 2^32, so that a sum follows each event in O(1).
 *
 * A group's digest is `H(group, type, epoch) + sum over its version vector of H(group, type, epoch, actor, seq)`; a
 * domain's is the sum of its groups'. Equal digests are taken for equal content until `verify` says otherwise: the
 * chance of a false match is 2^-64 for each comparison. `H` is part of the protocol. It is not cryptographic: members
 * are admitted, and a forged digest only hides the forger's own events.
 */
import type { Actor } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";

export const ZERO_DIGEST: Digest = [0, 0];

/** The two lanes of a string (cyrb53's mixing, 64 bits kept), from two seeds. */
export function hashText(text: string, seed: Digest = ZERO_DIGEST): Digest {
  let high = 0xdeadbeef ^ seed[0];
  let low = 0x41c6ce57 ^ seed[1];
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return [high >>> 0, low >>> 0];
}

/** `H(group, type, epoch)`: the seed of a group's digest, and the digest of an empty or deleted group. */
export function groupSeed(key: string, type: string, epoch: number): Digest {
  return hashText(`${key}\n${type}\n${epoch}`);
}

/** `H(group, type, epoch, actor, seq)`. */
export function entryHash(seed: Digest, actor: Actor, seq: number): Digest {
  const [high, low] = hashText(actor, seed);
  return [mix(high, seq), mix(low, Math.imul(seq, 0x9e3779b1))];
}

/** murmur3's finaliser over lane and number. */
function mix(lane: number, seq: number): number {
  let hash = (lane ^ Math.imul(seq, 0xcc9e2d51)) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export function addDigest(a: Digest, b: Digest): Digest {
  return [(a[0] + b[0]) >>> 0, (a[1] + b[1]) >>> 0];
}

export function subtractDigest(a: Digest, b: Digest): Digest {
  return [(a[0] - b[0]) >>> 0, (a[1] - b[1]) >>> 0];
}

export function equalDigest(a: Digest, b: Digest): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

/** The digest of a whole version vector. */
export function vectorDigest(seed: Digest, vector: Iterable<readonly [Actor, number]>): Digest {
  let sum = seed;
  for (const [actor, seq] of vector) sum = addDigest(sum, entryHash(seed, actor, seq));
  return sum;
}

/** 16 hexadecimal digits. */
export function formatDigest(digest: Digest): string {
  return formatLane(digest[0]) + formatLane(digest[1]);
}

function formatLane(lane: number): string {
  return lane.toString(16).padStart(8, "0");
}

/** A group's place in lists and sketches: 32 bits of its key's hash. Two groups may share one. */
export function groupHash(key: string): number {
  const [high, low] = hashText(key);
  return (high ^ low) >>> 0;
}
