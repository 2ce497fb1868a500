import type { Actor } from "./actor.ts";
import { type Reader, type Writer, malformed } from "./codec.ts";

/** Highest sequence number of an actor: below 2^31, so that it stays a small integer in every engine. */
export const SEQ_MAX: number = 2 ** 31 - 1;

/** Bytes of the smallest encoded entry: an actor and a one-byte sequence number. */
const ENTRY_BYTES_MIN = 17;

/** How two points in causal history stand to each other. */
export type CausalOrder = "before" | "after" | "equal" | "concurrent";

/**
 * A version vector: for each actor, how many of its events are known, without gaps (events 1 to n).
 * An absent actor counts as 0.
 *
 * Encoded: uint count, then (actor, uint seq) for each, ordered by actor.
 */
export class VersionVector implements Iterable<[Actor, number]> {
  readonly #seqs: Map<Actor, number>;

  constructor(entries?: Iterable<readonly [Actor, number]>) {
    this.#seqs = new Map(entries);
  }

  /** Number of actors. */
  get size(): number {
    return this.#seqs.size;
  }

  get(actor: Actor): number {
    return this.#seqs.get(actor) ?? 0;
  }

  /** Sets the entry of `actor`. Events 1 to `seq` count as known from here on. */
  set(actor: Actor, seq: number): void {
    this.#seqs.set(actor, seq);
  }

  covers(actor: Actor, seq: number): boolean {
    return this.get(actor) >= seq;
  }

  /** Whether everything that `other` knows is known here. */
  includes(other: VersionVector): boolean {
    for (const [actor, seq] of other.#seqs) if (this.get(actor) < seq) return false;
    return true;
  }

  /** Where this point stands, seen from `other`: "before" means that `other` knows all of this and more. */
  compare(other: VersionVector): CausalOrder {
    const includes = this.includes(other);
    if (other.includes(this)) return includes ? "equal" : "before";
    return includes ? "after" : "concurrent";
  }

  equals(other: VersionVector): boolean {
    return this.includes(other) && other.includes(this);
  }

  /** Takes the higher entry of each actor. */
  merge(other: VersionVector): void {
    for (const [actor, seq] of other.#seqs) if (this.get(actor) < seq) this.#seqs.set(actor, seq);
  }

  clone(): VersionVector {
    return new VersionVector(this.#seqs);
  }

  /** The sum of all entries: how many events are known. */
  total(): number {
    let sum = 0;
    for (const seq of this.#seqs.values()) sum += seq;
    return sum;
  }

  [Symbol.iterator](): IterableIterator<[Actor, number]> {
    return this.#seqs.entries();
  }

  /** Entries by actor, for people and for JSON. */
  toJSON(): Record<string, number> {
    return Object.fromEntries([...this.#seqs].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  encode(writer: Writer): void {
    const entries = [...this.#seqs].filter(([, seq]) => seq > 0).sort(([a], [b]) => (a < b ? -1 : 1));
    writer.uint(entries.length);
    for (const [actor, seq] of entries) {
      writer.actor(actor);
      writer.uint(seq);
    }
  }

  /** Reads a vector. Throws `MALFORMED` for entries out of order or out of range. */
  static decode(reader: Reader): VersionVector {
    const count = reader.count(ENTRY_BYTES_MIN);
    const vector = new VersionVector();
    let last = "";
    for (let index = 0; index < count; index++) {
      const actor = reader.actor();
      if (actor <= last) throw malformed("the actors of a version vector are out of order");
      last = actor;
      const seq = reader.uintMax(SEQ_MAX, "a sequence number");
      if (seq === 0) throw malformed("a version vector has an empty entry");
      vector.set(actor, seq);
    }
    return vector;
  }
}
