import { CrdtError } from "./error.ts";

declare const actorBrand: unique symbol;

/**
 * One writer: a node in one incarnation of its process. 32 lower-case hexadecimal digits: 8 bytes that name the
 * node, then 8 random bytes that name the incarnation. Actors order as their bytes do.
 *
 * An actor is never reused by two processes: a copied or restored data directory must write under a new one.
 */
export type Actor = string & { readonly [actorBrand]: true };

/** Bytes of an encoded actor. */
export const ACTOR_BYTES = 16;

const ACTOR_PATTERN = /^[0-9a-f]{32}$/;
const DIGITS = "0123456789abcdef";

/**
 * The actor of a node's incarnation.
 *
 * @param node 8 bytes that stand for the node (a truncated hash of its id)
 * @param incarnation 8 random bytes, fresh for every process start
 */
export function createActor(node: Uint8Array, incarnation: Uint8Array): Actor {
  if (node.length !== 8 || incarnation.length !== 8) {
    throw new TypeError(`an actor is made of 8 + 8 bytes, not ${node.length} + ${incarnation.length}`);
  }
  const bytes = new Uint8Array(ACTOR_BYTES);
  bytes.set(node);
  bytes.set(incarnation, 8);
  return actorFromBytes(bytes);
}

/** Reads an actor from its text form. Throws `TypeError` for anything but 32 lower-case hexadecimal digits. */
export function parseActor(text: string): Actor {
  if (!ACTOR_PATTERN.test(text)) throw new TypeError(`not an actor (32 hexadecimal digits): ${JSON.stringify(text)}`);
  return text as Actor;
}

/** Reads an actor from its 16 bytes. Throws `CrdtError` `MALFORMED` for another length. */
export function actorFromBytes(bytes: Uint8Array): Actor {
  if (bytes.length !== ACTOR_BYTES) throw new CrdtError("MALFORMED", `an actor has 16 bytes, not ${bytes.length}`);
  return actorAt(bytes, 0);
}

// The same few actors come again and again: each then is one string, which is compared by its address.
const RECENT_MAX = 256;
const recentBytes = new Uint8Array(RECENT_MAX * ACTOR_BYTES);
const recentNames: (Actor | undefined)[] = Array.from({ length: RECENT_MAX }, () => undefined);

/** The actor whose 16 bytes stand at `offset`. */
export function actorAt(bytes: Uint8Array, offset: number): Actor {
  const slot = ((bytes[offset + 15] as number) ^ (bytes[offset + 7] as number)) % RECENT_MAX;
  const known = recentNames[slot];
  if (known !== undefined && isAt(recentBytes, slot * ACTOR_BYTES, bytes, offset)) return known;
  const name = textAt(bytes, offset);
  for (let index = 0; index < ACTOR_BYTES; index++) {
    recentBytes[slot * ACTOR_BYTES + index] = bytes[offset + index] as number;
  }
  recentNames[slot] = name;
  return name;
}

function isAt(recent: Uint8Array, start: number, bytes: Uint8Array, offset: number): boolean {
  for (let index = 0; index < ACTOR_BYTES; index++) {
    if (recent[start + index] !== bytes[offset + index]) return false;
  }
  return true;
}

function textAt(bytes: Uint8Array, offset: number): Actor {
  // One flat string: a concatenated one would be kept as its pieces.
  const codes: number[] = [];
  for (let index = offset; index < offset + ACTOR_BYTES; index++) {
    const byte = bytes[index] as number;
    codes.push(DIGITS.charCodeAt(byte >> 4), DIGITS.charCodeAt(byte & 15));
  }
  return String.fromCharCode(...codes) as Actor;
}

/** The 16 bytes of an actor. */
export function actorToBytes(actor: Actor): Uint8Array {
  const bytes = new Uint8Array(ACTOR_BYTES);
  writeActorBytes(actor, bytes, 0);
  return bytes;
}

let alone: Actor[] = [];

/** A list of one actor, not to be changed: the very many groups with one writer share it. */
export function soleActor(actor: Actor): Actor[] {
  if (alone[0] !== actor) alone = [actor];
  return alone;
}

/** Writes the 16 bytes of `actor` into `target` from `offset` on. */
export function writeActorBytes(actor: Actor, target: Uint8Array, offset: number): void {
  const slot = (byteAt(actor, 15) ^ byteAt(actor, 7)) % RECENT_MAX;
  if (recentNames[slot] === actor) {
    const start = slot * ACTOR_BYTES;
    for (let index = 0; index < ACTOR_BYTES; index++) target[offset + index] = recentBytes[start + index] as number;
  } else {
    for (let index = 0; index < ACTOR_BYTES; index++) target[offset + index] = byteAt(actor, index);
  }
}

function byteAt(actor: Actor, index: number): number {
  return (digit(actor.charCodeAt(2 * index)) << 4) | digit(actor.charCodeAt(2 * index + 1));
}

function digit(code: number): number {
  return code < 58 ? code - 48 : code - 87;
}

/** The part of an actor that names its node: the first 16 digits. */
export function actorNode(actor: Actor): string {
  return actor.slice(0, 16);
}
