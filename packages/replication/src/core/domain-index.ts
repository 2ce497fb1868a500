import { lowerBound } from "../lower-bound.ts";
import { addDigest, equalDigest } from "./digest.ts";
import type { Group } from "./group.ts";
import { COMPARED, COUNTED, type GroupRows, type RowFlag, type RowNumber } from "./group-rows.ts";
import type { DomainSum, List, Sketch as SketchMessage } from "./messages.ts";
import { CELL_WORDS, SKETCH_CELLS_MAX, Sketch } from "./sketch.ts";
import type { Digest } from "@coppice/storage";

/** Groups on one page of a list: about 12 bytes each, so that a page fits into a frame. */
const PAGE_GROUPS_MAX = 8192;
/** The greatest hash of a group. */
export const HASH_MAX: number = 2 ** 32 - 1;
/** Cells of a sketch that is made; one that turns out too short is made anew, eight times as long. */
const SKETCH_CELLS = 1024;
const SKETCH_GROWTH = 8;

/** The groups of one domain that have something to tell, by hash, with the sum of their digests kept up to date. */
export class DomainIndex {
  readonly name: string;
  /** What the rows call it. */
  readonly number: number;
  readonly #rows: GroupRows;
  #members = new Uint32Array(4);
  #size = 0;
  /** Whether the members are in order of their hashes. */
  #isSorted = true;
  /** The sum of the digests, lane by lane. */
  #first = 0;
  #second = 0;
  /** Made when a peer first differs, then kept up with each change. */
  #sketch: Sketch | undefined;
  #version = 0;

  constructor(name: string, number: number, rows: GroupRows) {
    this.name = name;
    this.number = number;
    this.#rows = rows;
  }

  /**
   * Takes the group, with its digest as it is now, into the sum; returns whether that changed. A group that says nothing yet
   * is left out.
   */
  update(group: Group): boolean {
    const isSilent = group.isEmpty && group.epoch === 1;
    if (isSilent && !this.#rows.has(group.row, COUNTED)) return false;
    return this.count(group.row, group.digest());
  }

  /** Takes a row into the sum, with this digest; returns whether that changed. */
  count(row: RowNumber, digest: Digest): boolean {
    const rows = this.#rows;
    const hash = rows.hash(row);
    if (rows.has(row, COUNTED)) {
      const counted = rows.digest(row);
      if (equalDigest(counted, digest)) return false;
      this.#first = (this.#first - counted[0]) >>> 0;
      this.#second = (this.#second - counted[1]) >>> 0;
      this.#sketch?.toggle(hash, counted);
    } else {
      rows.set(row, COUNTED, true);
      this.#insert(row, hash);
    }
    rows.setDigest(row, digest);
    this.#first = (this.#first + digest[0]) >>> 0;
    this.#second = (this.#second + digest[1]) >>> 0;
    this.#sketch?.toggle(hash, digest);
    this.#version++;
    return true;
  }

  #insert(row: RowNumber, hash: number): void {
    if (this.#size === this.#members.length) {
      const members = new Uint32Array(Math.ceil(1.5 * this.#size));
      members.set(this.#members);
      this.#members = members;
    }
    const last = this.#size === 0 ? -1 : this.#rows.hash(this.#members[this.#size - 1] as number);
    if (hash < last) this.#isSorted = false;
    this.#members[this.#size++] = row;
  }

  /** Rises with every change of a digest. */
  get version(): number {
    return this.#version;
  }

  sum(): DomainSum {
    return { domain: this.name, groups: this.#size, digest: [this.#first, this.#second] };
  }

  /** Whether a flag is set for any group. */
  some(flag: RowFlag): boolean {
    return this.#members.subarray(0, this.#size).some((row) => this.#rows.has(row, flag));
  }

  /** Clears a flag of all groups. */
  clear(flag: RowFlag): void {
    for (let at = 0; at < this.#size; at++) this.#rows.set(this.#members[at] as number, flag, false);
  }

  /** Cells `from` to `to` of the sketch of all groups and digests, as of `version`. */
  sketch(from: number, to: number): SketchMessage {
    const cells = this.#sketchOf(to).cells(from, to);
    return { kind: "sketch", domain: this.name, version: this.#version, from, cells };
  }

  /** The hashes of the groups that differ from those behind a peer's cells; undefined when the cells are too few. */
  differing(cells: Uint32Array): ReadonlySet<number> | undefined {
    return this.#sketchOf(cells.length / CELL_WORDS).difference(cells, (hash) =>
      this.withHash(hash).map((row) => this.#rows.digest(row)),
    );
  }

  /** How many of a peer's cells will likely do, when these were too few. */
  enough(cells: Uint32Array): number {
    return this.#sketchOf(cells.length / CELL_WORDS).enough(cells);
  }

  /** The sketch, of `length` cells at least. */
  #sketchOf(length: number): Sketch {
    if (this.#sketch !== undefined && this.#sketch.length >= length) return this.#sketch;
    let cells = SKETCH_CELLS;
    while (cells < length) cells *= SKETCH_GROWTH;
    const sketch = new Sketch(Math.min(cells, SKETCH_CELLS_MAX));
    for (const row of this.#members.subarray(0, this.#size))
      sketch.toggle(this.#rows.hash(row), this.#rows.digest(row));
    return (this.#sketch = sketch);
  }

  /** The groups of this domain with a hash: mostly one or none. */
  withHash(hash: number): readonly RowNumber[] {
    const rows = this.#rows;
    return rows.withHash(hash).filter((row) => rows.has(row, COUNTED) && rows.domain(row) === this.number);
  }

  /** Every group, in order of hashes, in pages that together cover all hashes. */
  *pages(): Generator<List> {
    const members = this.#sorted();
    let from = 0;
    for (let start = 0; start === 0 || start < members.length;) {
      let end = Math.min(start + PAGE_GROUPS_MAX, members.length);
      // Groups that share a hash are one entry.
      while (end < members.length && this.#hashAt(members, end) === this.#hashAt(members, end - 1)) end++;
      const to = end === members.length ? HASH_MAX : this.#hashAt(members, end - 1);
      yield { kind: "list", domain: this.name, from, to, entries: this.#entries(members.subarray(start, end)) };
      from = to + 1;
      start = Math.max(end, 1);
    }
  }

  /** Compares a peer's page with what is here; returns the hashes of groups that differ, and of unknown ones. */
  compare(list: List): { readonly differing: ReadonlySet<number>; readonly unknown: number[] } {
    const differing = new Set<number>();
    const theirs = new Map(list.entries.map(({ hash, digest }) => [hash, digest]));
    const ours = new Set<number>();
    const members = this.#sorted();
    const start = lowerBound(members, (row) => this.#rows.hash(row) < list.from);
    let end = start;
    while (end < members.length && this.#hashAt(members, end) <= list.to) end++;
    for (const { hash, digest } of this.#entries(members.subarray(start, end))) {
      const other = theirs.get(hash);
      ours.add(hash);
      if (other === undefined || !equalDigest(other, digest)) differing.add(hash);
    }
    return { differing, unknown: list.entries.map(({ hash }) => hash).filter((hash) => !ours.has(hash)) };
  }

  /** Something of the rows with hashes `from` to `to`, except some, was compared: nothing is missing here. */
  compared(except: ReadonlySet<number>, busy: ReadonlySet<RowNumber>, from: number, to: number): void {
    const rows = this.#rows;
    for (let at = 0; at < this.#size; at++) {
      const row = this.#members[at] as number;
      const hash = rows.hash(row);
      if (hash < from || hash > to || except.has(hash) || busy.has(row)) continue;
      rows.set(row, COMPARED, true);
    }
  }

  #sorted(): Uint32Array {
    const members = this.#members.subarray(0, this.#size);
    if (!this.#isSorted) members.sort((a, b) => this.#rows.hash(a) - this.#rows.hash(b));
    this.#isSorted = true;
    return members;
  }

  #hashAt(members: Uint32Array, at: number): number {
    return this.#rows.hash(members[at] as number);
  }

  #entries(members: Uint32Array): { readonly hash: number; digest: Digest }[] {
    const entries: { readonly hash: number; digest: Digest }[] = [];
    for (const row of members) {
      const [hash, digest] = [this.#rows.hash(row), this.#rows.digest(row)];
      const last = entries.at(-1);
      if (last?.hash === hash) last.digest = addDigest(last.digest, digest);
      else entries.push({ hash, digest });
    }
    return entries;
  }
}
