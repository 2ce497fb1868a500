/**
 * Rateless invertible Bloom lookup tables (Yang, Gilad, Alizadeh: "Practical Rateless Set Reconciliation", SIGCOMM 2024):
 * two sides that hold almost the same set find the difference from a prefix of coded symbols whose length depends on the
 * difference alone, about 1.5 symbols for each item that only one side has.
 *
 * An item is a group's hash and digest. A cell is the exclusive or of the items mapped to it, of their checks, and their
 * count. The prefix here is kept up to date with each change, so that asking for it costs nothing.
 */
import type { Digest } from "@coppice/storage";

/** Cells kept. Enough for about 300 differing groups; beyond that a list is sent. */
export const SKETCH_CELLS_MAX = 1024;

/** 32-bit words of a cell: hash high and low, digest lanes, check, count. */
const WORDS = 6;
const COUNT = 5;

export interface SketchItem {
  /** 53 bits. */
  readonly hash: number;
  readonly digest: Digest;
}

/** What two sketches differ in. */
export interface SketchDifference {
  readonly ours: readonly SketchItem[];
  readonly theirs: readonly SketchItem[];
}

/** One cell as it travels. */
export interface Cell {
  readonly hash: number;
  readonly digest: Digest;
  readonly check: number;
  readonly count: number;
}

/** The first cells of the coded symbols of a set. */
export class Sketch {
  readonly #words: Int32Array;
  readonly length: number;

  constructor(length: number = SKETCH_CELLS_MAX, words: Int32Array = new Int32Array(length * WORDS)) {
    this.length = length;
    this.#words = words;
  }

  add(item: SketchItem): void {
    this.#apply(item, 1);
  }

  remove(item: SketchItem): void {
    this.#apply(item, -1);
  }

  #apply({ hash, digest }: SketchItem, count: 1 | -1): void {
    const words = this.#words;
    const high = Math.floor(hash / 2 ** 32);
    const low = hash | 0;
    const check = checkOf(high, low, digest[0], digest[1]);
    let state = check;
    for (let index = 0; index < this.length;) {
      const at = index * WORDS;
      words[at] = (words[at] as number) ^ high;
      words[at + 1] = (words[at + 1] as number) ^ low;
      words[at + 2] = (words[at + 2] as number) ^ digest[0];
      words[at + 3] = (words[at + 3] as number) ^ digest[1];
      words[at + 4] = (words[at + 4] as number) ^ check;
      words[at + COUNT] = (words[at + COUNT] as number) + count;
      state = step(state);
      // The chance that an item is mapped to cell i is 1 / (1 + i / 2): jump to its next cell at once.
      index += Math.max(1, Math.ceil((index + 1.5) * (2 ** 16 / Math.sqrt((state >>> 0) + 1) - 1)));
    }
  }

  cell(index: number): Cell {
    const at = index * WORDS;
    const word = (offset: number): number => (this.#words[at + offset] as number) >>> 0;
    return {
      hash: word(0) * 2 ** 32 + word(1),
      digest: [word(2), word(3)],
      check: word(4),
      count: this.#words[at + COUNT] as number,
    };
  }

  /** What this set and the one behind `theirs` differ in; undefined when these cells are too few to tell. */
  difference(theirs: readonly Cell[]): SketchDifference | undefined {
    const length = Math.min(theirs.length, this.length);
    const words = this.#words.slice(0, length * WORDS);
    for (let index = 0; index < length; index++) subtract(words, index * WORDS, theirs[index] as Cell);
    return peel(new Sketch(length, words), words, length);
  }
}

function subtract(words: Int32Array, at: number, { hash, digest, check, count }: Cell): void {
  words[at] = (words[at] as number) ^ Math.floor(hash / 2 ** 32);
  words[at + 1] = (words[at + 1] as number) ^ (hash | 0);
  words[at + 2] = (words[at + 2] as number) ^ digest[0];
  words[at + 3] = (words[at + 3] as number) ^ digest[1];
  words[at + 4] = (words[at + 4] as number) ^ check;
  words[at + COUNT] = (words[at + COUNT] as number) - count;
}

/** Takes out one item after another that stands alone in a cell, until nothing is left. */
function peel(sketch: Sketch, words: Int32Array, length: number): SketchDifference | undefined {
  const ours: SketchItem[] = [];
  const theirs: SketchItem[] = [];
  for (let found = true; found;) {
    found = false;
    for (let index = 0; index < length; index++) {
      const count = words[index * WORDS + COUNT] as number;
      if (count !== 1 && count !== -1) continue;
      const { hash, digest, check } = sketch.cell(index);
      if (checkOf(Math.floor(hash / 2 ** 32), hash | 0, digest[0], digest[1]) >>> 0 !== check) continue;
      const item = { hash, digest };
      if (count === 1) sketch.remove(item);
      else sketch.add(item);
      (count === 1 ? ours : theirs).push(item);
      // A peer that sends nonsense must not keep this going.
      if (ours.length + theirs.length > length) return undefined;
      found = true;
    }
  }
  return words.every((word) => word === 0) ? { ours, theirs } : undefined;
}

/** A 32-bit hash of an item; also where its walk through the cells begins. */
function checkOf(high: number, low: number, first: number, second: number): number {
  let hash = 0x9747b28c;
  for (const word of [high, low, first, second]) {
    hash = Math.imul(hash ^ word, 0xcc9e2d51);
    hash = Math.imul(hash ^ (hash >>> 15), 0x1b873593);
    hash ^= hash >>> 13;
  }
  return hash | 0;
}

/** The next state of a walk (splitmix32). */
function step(state: number): number {
  let next = (state + 0x9e3779b9) | 0;
  next = Math.imul(next ^ (next >>> 16), 0x21f0aaad);
  next = Math.imul(next ^ (next >>> 15), 0x735a2d97);
  return next ^ (next >>> 15);
}
