/**
 * A journal's *tail* is what goes on behind its group's newest record. A store that closes while no journal has one
 * leaves the mark `j` in its backend, and the next one knows of every record that it is up to date before it has listed
 * the journals.
 *
 * | field   | bytes                    |
 * |---------|--------------------------|
 * | version | 1: 1                     |
 * | seal    | 4: CRC-32, see sealed.ts |
 */
import { Writer } from "@coppice/crdt";
import type { Op, StorageBackend } from "./backend.ts";
import { seal } from "./sealed.ts";
import { TAILS_KEY } from "./store-keys.ts";

const VERSION = 1;
const REMOVAL: Op = { op: "del", key: TAILS_KEY };

/**
 * How many groups have a tail, as far as that is known. What may make the count wrong (damage, a failed write) makes it
 * unknown until the store is opened anew: without the mark everything is listed, which is slower and never wrong.
 */
export class JournalTails {
  readonly #backend: StorageBackend;
  #count: number | undefined;
  /** Whether the mark is there, or may be. */
  #isMarked = false;

  constructor(backend: StorageBackend) {
    this.#backend = backend;
  }

  /** The backend was opened: looks for the mark. */
  async open(): Promise<void> {
    const mark = await this.#backend.get(TAILS_KEY);
    this.#isMarked = mark !== undefined;
    this.#count = mark !== undefined && isWhole(mark) ? 0 : undefined;
  }

  /** Whether no group has a tail, for certain. */
  get areNone(): boolean {
    return this.#count === 0;
  }

  /** All groups were looked at, while nothing was written. */
  counted(count: number): void {
    this.#count = count;
  }

  /** So many more groups have a tail, or fewer. */
  add(count: number): void {
    if (this.#count !== undefined) this.#count += count;
  }

  /** A group has a tail. Where none should have one, somebody restored keys below the store, and left the mark there. */
  found(): void {
    if (this.areNone) this.doubt();
  }

  /** The count may be wrong from here on. */
  doubt(): void {
    this.#count = undefined;
  }

  /**
   * What is written instead of `ops`: the mark is gone before, or with, the first write behind which it might not hold.
   * That write must be synced, for later ones could outlive it. The removal stands first, should an engine tear it.
   */
  guard(ops: readonly Op[]): { readonly ops: readonly Op[]; readonly removes: boolean } {
    const removes = this.#isMarked && (this.#count === undefined || ops.some(({ op }) => op === "append"));
    return removes ? { ops: [REMOVAL, ...ops], removes } : { ops, removes };
  }

  /** A synced write that held the removal has succeeded. */
  removed(): void {
    this.#isMarked = false;
  }

  /** Leaves the mark if no group has a tail, and none if one may have; for the last write before the backend closes. */
  async mark(): Promise<void> {
    const { areNone } = this;
    if (this.#isMarked === areNone) return;
    // Were it written with the records that it stands for, a power cut could leave it without them.
    if (areNone) await this.#backend.sync();
    const op: Op = areNone ? { op: "put", key: TAILS_KEY, value: encodeMark() } : REMOVAL;
    await this.#backend.write([op], { sync: true });
    this.#isMarked = areNone;
  }
}

function encodeMark(): Uint8Array {
  const writer = new Writer(8);
  writer.byte(VERSION);
  return seal(writer, TAILS_KEY);
}

/** Anything else, also of a newer version, is no mark. */
function isWhole(mark: Uint8Array): boolean {
  const whole = encodeMark();
  return mark.length === whole.length && mark.every((byte, at) => byte === whole[at]);
}
