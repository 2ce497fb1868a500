import { type Actor, soleActor } from "./actor.ts";
import { type Reader, type Writer, malformed } from "./codec.ts";

/** Highest sequence number of an actor: below 2^31, so that it stays a small integer in every engine. */
export const SEQ_MAX: number = 2 ** 31 - 1;

/** Bytes of the smallest encoded entry: an actor and a one-byte sequence number. */
const ENTRY_BYTES_MIN = 17;

/** Actors up to which a look at each beats a table. */
const FEW = 8;
const NOBODY: Actor[] = [];
const NOTHING: number[] = [];

/** How two points in causal history stand to each other. */
export type CausalOrder = "before" | "after" | "equal" | "concurrent";

/**
 * A version vector: for each actor, how many of its events are known, without gaps (events 1 to n).
 * An absent actor counts as 0.
 *
 * Encoded: uint count, then (actor, uint seq) for each, ordered by actor.
 */
export class VersionVector implements Iterable<[Actor, number]> {
  /** Never changed in place while there are few: copies share it. */
  #actors: Actor[] = NOBODY;
  #seqs: number[] = NOTHING;
  /** Where each actor stands, when they are many. */
  #index: Map<Actor, number> | undefined;

  constructor(entries?: Iterable<readonly [Actor, number]>) {
    if (entries !== undefined) for (const [actor, seq] of entries) this.set(actor, seq);
  }

  /** Number of actors. */
  get size(): number {
    return this.#actors.length;
  }

  get(actor: Actor): number {
    const at = this.#find(actor);
    return at < 0 ? 0 : (this.#seqs[at] as number);
  }

  /** Sets the entry of `actor`. Events 1 to `seq` count as known from here on. */
  set(actor: Actor, seq: number): void {
    const at = this.#find(actor);
    if (at >= 0) {
      this.#seqs[at] = seq;
    } else if (this.#actors.length < FEW) {
      // Of exactly that length: an array that is spread or pushed to takes room for sixteen more.
      this.#actors = this.#actors.length === 0 ? soleActor(actor) : this.#actors.concat([actor]);
      this.#seqs = this.#seqs.concat([seq]);
    } else {
      this.#add(actor, seq);
    }
  }

  #add(actor: Actor, seq: number): void {
    if (this.#index === undefined) {
      this.#actors = [...this.#actors];
      this.#index = new Map(this.#actors.map((name, at) => [name, at]));
    }
    this.#index.set(actor, this.#actors.length);
    this.#actors.push(actor);
    this.#seqs.push(seq);
  }

  #find(actor: Actor): number {
    return this.#index === undefined ? this.#actors.indexOf(actor) : (this.#index.get(actor) ?? -1);
  }

  covers(actor: Actor, seq: number): boolean {
    return this.get(actor) >= seq;
  }

  /** Whether everything that `other` knows is known here. */
  includes(other: VersionVector): boolean {
    for (let at = 0; at < other.#actors.length; at++) {
      if (this.get(other.#actors[at] as Actor) < (other.#seqs[at] as number)) return false;
    }
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
    for (const [actor, seq] of other) if (this.get(actor) < seq) this.set(actor, seq);
  }

  clone(): VersionVector {
    const copy = new VersionVector();
    copy.#actors = this.#index === undefined ? this.#actors : [...this.#actors];
    copy.#seqs = this.#seqs.length === 0 ? NOTHING : [...this.#seqs];
    if (this.#index !== undefined) copy.#index = new Map(this.#index);
    return copy;
  }

  /** The sum of all entries: how many events are known. */
  total(): number {
    let sum = 0;
    for (const seq of this.#seqs) sum += seq;
    return sum;
  }

  *[Symbol.iterator](): Generator<[Actor, number], undefined, undefined> {
    for (let at = 0; at < this.#actors.length; at++) yield [this.#actors[at] as Actor, this.#seqs[at] as number];
    return undefined;
  }

  /** Entries by actor, for people and for JSON. */
  toJSON(): Record<string, number> {
    return Object.fromEntries([...this].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  encode(writer: Writer): void {
    // Most vectors that are written very often have one entry: nothing to sort.
    const [only] = this.#actors;
    if (this.#actors.length < 2 && this.#seqs[0] !== 0) {
      writer.byte(this.#actors.length);
      if (only === undefined) return;
      writer.actor(only);
      writer.uint(this.#seqs[0] as number);
      return;
    }
    const entries = [...this].filter(([, seq]) => seq > 0).sort(([a], [b]) => (a < b ? -1 : 1));
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
