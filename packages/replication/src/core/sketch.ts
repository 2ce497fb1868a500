/**
 * Rateless invertible Bloom lookup tables (Yang, Gilad, Alizadeh: "Practical Rateless Set Reconciliation", SIGCOMM 2024):
 * two sides that hold almost the same set find the difference from a prefix of coded symbols (cells) whose length depends
 * on the difference alone.
 *
 * An item is a group's hash and digest. A cell is the exclusive or of the items mapped to it and of their checks: 16
 * bytes. Counts are left out, since the check alone tells an item that stands alone, and whoever holds a group knows which
 * of two items is its own. A group that both have, but not alike, is two items; as soon as the other side's is found, the
 * own one is known too. So it takes some 2.2 cells, 35 bytes, for each group that differs.
 */
import type { Digest } from "@coppice/storage";

/** Cells of the longest sketch: enough for some 25 000 differing groups. Beyond that a list is sent. */
export const SKETCH_CELLS_MAX = 65_536;
/** 32-bit words of a cell: hash, digest lanes, check. */
export const CELL_WORDS = 4;
/** Cells to ask for, for each item that is thought to differ; and by how much at least the next ask grows. */
const CELLS_FOR_ITEM = 1.15;
const CELLS_GROWTH_MIN = 1.2;

/** The first cells of the coded symbols of a set. */
export class Sketch {
  readonly #words: Int32Array;

  /** An empty set's. */
  constructor(length: number) {
    this.#words = new Int32Array(length * CELL_WORDS);
  }

  /** Cells. */
  get length(): number {
    return this.#words.length / CELL_WORDS;
  }

  /** Adds an item that is not in the set, or takes out one that is. */
  toggle(hash: number, digest: Digest): void {
    toggle(this.#words, hash | 0, digest[0] | 0, digest[1] | 0);
  }

  /** The words of cells `from` to `to`. */
  cells(from: number, to: number): Uint32Array {
    return Uint32Array.from(this.#words.subarray(from * CELL_WORDS, to * CELL_WORDS));
  }

  /**
   * The hashes of the items that only one of two sets has: this one, and that behind `theirs`, the cells of as long a
   * prefix at most. Undefined when these cells are too few to tell. `digestsOf` tells this set's digests of a hash.
   */
  difference(theirs: Uint32Array, digestsOf: (hash: number) => readonly Digest[]): ReadonlySet<number> | undefined {
    return peel(this.#without(theirs), digestsOf);
  }

  /**
   * How many cells will likely tell, when `theirs` were too few: an estimate from how many cells of the difference are
   * empty; twice as many when none is.
   */
  enough(theirs: Uint32Array): number {
    const words = this.#without(theirs);
    const length = words.length / CELL_WORDS;
    const half = Math.floor(length / 2);
    let empty = 0;
    for (let at = half * CELL_WORDS; at < words.length; at += CELL_WORDS) if (isEmpty(words, at)) empty++;
    if (empty === 0) return 2 * length;
    // A cell of the second half is empty with a chance of about exp(-2 items / (0.75 length)).
    const items = -Math.log(empty / (length - half)) * 0.375 * length;
    return Math.ceil(Math.min(2 * length, Math.max(CELLS_FOR_ITEM * items + 8, CELLS_GROWTH_MIN * length)));
  }

  /** The cells of this sketch and of a prefix of another, one taken from the other. */
  #without(theirs: Uint32Array): Int32Array {
    const words = this.#words.slice(0, theirs.length);
    for (let at = 0; at < words.length; at++) words[at] = (words[at] as number) ^ (theirs[at] as number);
    return words;
  }
}

function isEmpty(words: Int32Array, at: number): boolean {
  for (let word = at; word < at + CELL_WORDS; word++) if (words[word] !== 0) return false;
  return true;
}

/** Takes out one item after another that stands alone in a cell, until nothing is left. */
function peel(words: Int32Array, digestsOf: (hash: number) => readonly Digest[]): ReadonlySet<number> | undefined {
  const hashes = new Set<number>();
  // A peer that sends nonsense must not keep this going.
  let left = 2 * (words.length / CELL_WORDS);
  for (let hasFound = true; hasFound;) {
    hasFound = false;
    for (let at = 0; at < words.length; at += CELL_WORDS) {
      const [hash, first] = [words[at] as number, words[at + 1] as number];
      const [second, check] = [words[at + 2] as number, words[at + 3] as number];
      if ((hash | first | second | check) === 0 || checkOf(hash, first, second) !== check) continue;
      if (left-- === 0) return undefined;
      toggle(words, hash, first, second);
      if (!hashes.has(hash >>> 0)) takeOwn(words, hash, first, digestsOf(hash >>> 0));
      hashes.add(hash >>> 0);
      hasFound = true;
    }
  }
  return words.every((word) => word === 0) ? hashes : undefined;
}

/** An item of the other side was found: when its group is here, that differs, so the own item goes with it. */
function takeOwn(words: Int32Array, hash: number, first: number, own: readonly Digest[]): void {
  const [ours] = own;
  if (ours === undefined || own.length > 1 || (ours[0] | 0) === first) return;
  toggle(words, hash, ours[0] | 0, ours[1] | 0);
}

function toggle(words: Int32Array, hash: number, first: number, second: number): void {
  const check = checkOf(hash, first, second);
  let state = check;
  for (let at = 0; at < words.length;) {
    words[at] = (words[at] as number) ^ hash;
    words[at + 1] = (words[at + 1] as number) ^ first;
    words[at + 2] = (words[at + 2] as number) ^ second;
    words[at + 3] = (words[at + 3] as number) ^ check;
    state = step(state);
    // The chance that an item is mapped to cell i is 1 / (1 + i / 2): jump to its next cell at once.
    const index = at / CELL_WORDS;
    at += CELL_WORDS * Math.max(1, Math.ceil((index + 1.5) * (2 ** 16 / Math.sqrt((state >>> 0) + 1) - 1)));
  }
}

/** A 32-bit hash of an item; also where its walk through the cells begins. */
function checkOf(hash: number, first: number, second: number): number {
  let check = Math.imul(0x9747b28c ^ hash, 0xcc9e2d51);
  check = Math.imul(check ^ (check >>> 15) ^ first, 0x1b873593);
  check = Math.imul(check ^ (check >>> 13) ^ second, 0x85ebca6b);
  return check ^ (check >>> 16);
}

/** The next state of a walk (splitmix32). */
function step(state: number): number {
  let next = (state + 0x9e3779b9) | 0;
  next = Math.imul(next ^ (next >>> 16), 0x21f0aaad);
  next = Math.imul(next ^ (next >>> 15), 0x735a2d97);
  return next ^ (next >>> 15);
}
