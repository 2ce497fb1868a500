import type { Actor } from "./actor.ts";
import { type Reader, type Writer, malformed } from "./codec.ts";
import { type CausalOrder, SEQ_MAX, VersionVector } from "./vector.ts";

/** One event: the `seq`-th of its actor. */
export interface Dot {
  readonly actor: Actor;
  readonly seq: number;
}

/**
 * The causal history of one write: its own event, the dot, and a version vector of all that its writer had seen. The
 * dot may stand beyond a gap (the writer saw events 1 to 3 of an actor and this is the 5th), which a version vector
 * alone cannot say: it would claim the 4th as well. Immutable.
 *
 * A store that keeps the concurrent versions of a key keeps one of these with each. `write` stamps a new version,
 * `sync` joins what two replicas have, `context` is what a reader hands back with its next write.
 *
 * After Preguiça, Baquero, Almeida, Fonte, Gonçalves: "Dotted Version Vectors: Logical Clocks for Optimistic
 * Replication", 2010.
 *
 * Encoded: the vector (see {@link VersionVector}), then actor, uint seq.
 */
export class DottedVersionVector {
  readonly dot: Dot;
  readonly #past: VersionVector;

  /**
   * Throws `RangeError` for a dot that is no event, or one that `past` already covers: a write is not its own past.
   *
   * @param dot the event of the write
   * @param past what its writer had seen before; copied
   */
  constructor(dot: Dot, past: VersionVector = new VersionVector()) {
    const { actor, seq } = dot;
    if (!Number.isInteger(seq) || seq < 1 || seq > SEQ_MAX) throw new RangeError(`no event has the number ${seq}`);
    if (past.covers(actor, seq)) throw new RangeError(`the past covers the event itself, number ${seq} of ${actor}`);
    this.dot = Object.freeze({ actor, seq });
    this.#past = new VersionVector([...past].filter(([, known]) => known > 0));
  }

  /**
   * The clock of a new write.
   *
   * @param context what the writer had read: see {@link DottedVersionVector.context}
   * @param actor who makes the event
   * @param known the versions that `actor` keeps, so that the new event is numbered after all of its own
   */
  static write(context: VersionVector, actor: Actor, known: Iterable<DottedVersionVector> = []): DottedVersionVector {
    const seq = Math.max(context.get(actor), DottedVersionVector.context(known).get(actor)) + 1;
    return new DottedVersionVector({ actor, seq }, context);
  }

  /** What remains of two replicas' versions: those that no other one follows, each once. */
  static sync(
    ours: readonly DottedVersionVector[],
    theirs: readonly DottedVersionVector[],
  ): readonly DottedVersionVector[] {
    const remaining: DottedVersionVector[] = [];
    for (const clock of [...ours, ...theirs]) {
      if (remaining.some((kept) => kept.covers(clock.dot.actor, clock.dot.seq))) continue;
      for (let index = remaining.length - 1; index >= 0; index--) {
        const { actor, seq } = (remaining[index] as DottedVersionVector).dot;
        if (clock.covers(actor, seq)) remaining.splice(index, 1);
      }
      remaining.push(clock);
    }
    return remaining;
  }

  /**
   * The smallest vector that covers all of these versions: what one who has read them hands back with the next write.
   * It covers gaps too, so it is right for all versions that one replica keeps, as `sync` leaves them: what such a gap
   * would hold had been overwritten.
   */
  static context(clocks: Iterable<DottedVersionVector>): VersionVector {
    const context = new VersionVector();
    for (const clock of clocks) {
      context.merge(clock.#past);
      const { actor, seq } = clock.dot;
      if (!context.covers(actor, seq)) context.set(actor, seq);
    }
    return context;
  }

  /** What the writer had seen before, the dot not included: a copy. */
  get past(): VersionVector {
    return this.#past.clone();
  }

  /** Whether an event is the dot itself or in its past. */
  covers(actor: Actor, seq: number): boolean {
    return this.#past.covers(actor, seq) || (this.dot.actor === actor && this.dot.seq === seq);
  }

  /** Whether everything in `other`, its dot included, is in this history. */
  includes(other: DottedVersionVector): boolean {
    if (!this.covers(other.dot.actor, other.dot.seq)) return false;
    for (const [actor, seq] of other.#past) {
      // All of 1 to seq: up to the one before in the past, the last one possibly as the dot.
      if (!this.covers(actor, seq) || (seq > 1 && !this.#past.covers(actor, seq - 1))) return false;
    }
    return true;
  }

  /** Where this write stands, seen from `other`: "before" means that `other` was written by one who had seen it. */
  compare(other: DottedVersionVector): CausalOrder {
    const includes = this.includes(other);
    if (other.includes(this)) return includes ? "equal" : "before";
    return includes ? "after" : "concurrent";
  }

  /** For people and for JSON. */
  toJSON(): { readonly dot: Dot; readonly past: Record<string, number> } {
    return { dot: this.dot, past: this.#past.toJSON() };
  }

  encode(writer: Writer): void {
    this.#past.encode(writer);
    writer.actor(this.dot.actor);
    writer.uint(this.dot.seq);
  }

  /** Reads a clock. Throws `MALFORMED` for one that could not have been written. */
  static decode(reader: Reader): DottedVersionVector {
    const past = VersionVector.decode(reader);
    const actor = reader.actor();
    const seq = reader.uintMax(SEQ_MAX, "a sequence number");
    if (seq === 0 || past.covers(actor, seq)) throw malformed("the dot of a clock is in its own past");
    return new DottedVersionVector({ actor, seq }, past);
  }
}
