import { Writer } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";
import { ByteArena } from "./byte-arena.ts";
import { groupHash } from "./digest.ts";
import { isRecordOf } from "./resting-group.ts";

/** A group's row: the same for as long as there is an object of the group. */
export type RowNumber = number;

/** What is noted of a group beside its record. */
export const COUNTED = 1;
export const UNSETTLED = 2;
export const COMPARED = 4;
export const DEGRADED = 8;
export const DELETED = 16;
/** See `unseen-writes.ts`. */
export const UNSEEN = 32;
export const SEEN = 64;
/** See the fields of `Group`. */
export const STORED = 128;
export const PAUSED = 256;
/** See `GroupDirectory.leave`. */
export const VACANT = 512;
/** The row was removed, and waits for another group. */
const FREE = 1024;
export type RowFlag =
  | typeof COUNTED
  | typeof UNSETTLED
  | typeof COMPARED
  | typeof DEGRADED
  | typeof DELETED
  | typeof UNSEEN
  | typeof SEEN
  | typeof STORED
  | typeof PAUSED
  | typeof VACANT;

/** How full the table of hashes gets before it doubles. */
const LOAD_MAX = 0.8;
const GROWTH = 1.5;

/**
 * One row for each group that a node knows, in columns: hash, domain, digest, flags, and where its record is. No object
 * for each group: that would cost some 100 bytes before anything is in it. Rows are found by key or by hash in an
 * open-addressed table.
 */
export class GroupRows {
  #size = 0;
  #hashes = new Uint32Array(16);
  #domains = new Uint32Array(16);
  #digests = new Uint32Array(32);
  #flags = new Uint16Array(16);
  #references = new Uint32Array(16);
  /** Row + 1 at the place that the hash names, or the first free one after it; 0 is free. */
  #table = new Uint32Array(32);
  #arena = new ByteArena();
  #unsettled = 0;
  /** Rows that were removed. */
  readonly #free: RowNumber[] = [];

  get size(): number {
    return this.#size - this.#free.length;
  }

  /** Every row that is not flagged `VACANT`. */
  *taken(): Generator<RowNumber> {
    for (let row = 0; row < this.#size; row++) if (!this.has(row, VACANT)) yield row;
  }

  /** Rows flagged `UNSETTLED`. */
  get unsettled(): number {
    return this.#unsettled;
  }

  add(key: string, domain: number, record: Writer, digest: Digest): RowNumber {
    const free = this.#free.pop();
    if (free === undefined && this.#size === this.#hashes.length) this.#grow();
    const row = free ?? this.#size++;
    this.#flags[row] = 0;
    this.#hashes[row] = groupHash(key);
    this.#domains[row] = domain;
    this.#references[row] = this.#arena.add(record);
    this.setDigest(row, digest);
    if (this.#size > LOAD_MAX * this.#table.length) this.#rehash(2 * this.#table.length);
    else this.#enter(row);
    return row;
  }

  /** A row flagged `VACANT`, and no other, is there no more: the next group may get it. */
  remove(row: RowNumber): void {
    this.#leave(row);
    this.replace(row, new Writer());
    this.#flags[row] = (this.#flags[row] as number) | FREE;
    this.#free.push(row);
  }

  /** The row of the group with this key. */
  find(key: string): RowNumber | undefined {
    for (const row of this.withHash(groupHash(key))) if (isRecordOf(this.record(row), key)) return row;
    return undefined;
  }

  /** The rows of groups whose keys have this hash; mostly one or none. */
  withHash(hash: number): readonly RowNumber[] {
    const rows: RowNumber[] = [];
    const mask = this.#table.length - 1;
    for (let at = hash & mask; this.#table[at] !== 0; at = (at + 1) & mask) {
      const row = (this.#table[at] as number) - 1;
      if (this.#hashes[row] === hash) rows.push(row);
    }
    return rows;
  }

  hash(row: RowNumber): number {
    return this.#hashes[row] as number;
  }

  domain(row: RowNumber): number {
    return this.#domains[row] as number;
  }

  digest(row: RowNumber): Digest {
    return [this.#digests[2 * row] as number, this.#digests[2 * row + 1] as number];
  }

  setDigest(row: RowNumber, digest: Digest): void {
    this.#digests[2 * row] = digest[0];
    this.#digests[2 * row + 1] = digest[1];
  }

  has(row: RowNumber, flag: RowFlag): boolean {
    return ((this.#flags[row] as number) & flag) !== 0;
  }

  set(row: RowNumber, flag: RowFlag, isSet: boolean): void {
    if (flag === UNSETTLED && this.has(row, flag) !== isSet) this.#unsettled += isSet ? 1 : -1;
    const flags = this.#flags[row] as number;
    this.#flags[row] = isSet ? flags | flag : flags & ~flag;
  }

  /** A row's record; see `resting-group.ts`. Not to be changed, nor kept. */
  record(row: RowNumber): Uint8Array {
    return this.#arena.at(this.#references[row] as number);
  }

  replace(row: RowNumber, record: Writer): void {
    const former = this.record(row);
    const next = record.peek();
    if (former.length === next.length && former.every((byte, at) => byte === next[at])) return;
    this.#arena.drop(former);
    this.#references[row] = this.#arena.add(record);
    if (!this.#arena.isWasteful) return;
    const arena = new ByteArena();
    const each = new Writer();
    for (let other = 0; other < this.#size; other++) {
      each.reset();
      each.raw(this.record(other));
      this.#references[other] = arena.add(each);
    }
    this.#arena = arena;
  }

  #grow(): void {
    const length = Math.ceil(GROWTH * this.#size);
    this.#hashes = longer(this.#hashes, new Uint32Array(length));
    this.#domains = longer(this.#domains, new Uint32Array(length));
    this.#digests = longer(this.#digests, new Uint32Array(2 * length));
    this.#flags = longer(this.#flags, new Uint16Array(length));
    this.#references = longer(this.#references, new Uint32Array(length));
  }

  #rehash(length: number): void {
    this.#table = new Uint32Array(length);
    for (let row = 0; row < this.#size; row++) if (((this.#flags[row] as number) & FREE) === 0) this.#enter(row);
  }

  #enter(row: RowNumber): void {
    const mask = this.#table.length - 1;
    let at = this.hash(row) & mask;
    while (this.#table[at] !== 0) at = (at + 1) & mask;
    this.#table[at] = row + 1;
  }

  /** Takes a row out of the table, and moves up those behind it that would not be found behind a free place. */
  #leave(row: RowNumber): void {
    const table = this.#table;
    const mask = table.length - 1;
    let gap = this.hash(row) & mask;
    while (table[gap] !== row + 1) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; table[at] !== 0; at = (at + 1) & mask) {
      const place = this.hash((table[at] as number) - 1) & mask;
      if (((at - place) & mask) < ((at - gap) & mask)) continue;
      table[gap] = table[at] as number;
      gap = at;
    }
    table[gap] = 0;
  }
}

function longer<Column extends Uint32Array | Uint16Array>(column: Column, by: Column): Column {
  by.set(column);
  return by;
}
