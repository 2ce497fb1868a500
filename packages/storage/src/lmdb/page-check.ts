/**
 * Looks at the pages of LMDB's file, which has no checksums: one flipped bit in the head of a page can hide what it holds,
 * or end the process that reads it. Keys and values are the store's to check. Integers are little endian.
 *
 * | page  | bytes                                                                            |
 * |-------|----------------------------------------------------------------------------------|
 * | all   | 8: its number, 8: the transaction that wrote it, 2: –, 2: kind                   |
 * | tree  | 2: `lower`, 2: `upper`, 2 for each node: its place; from `upper` on the nodes    |
 * | value | 4: how many pages it takes, the value                                            |
 *
 * Places, `lower` (the end of the places) and `upper` count from behind these 24 bytes. Nodes fill the page to its end:
 *
 * | node   | bytes                                                                                |
 * |--------|--------------------------------------------------------------------------------------|
 * | branch | 6: page of the subtree, 2: bytes of the key, key                                     |
 * | leaf   | 4: bytes of the value, 2: whether it lies apart, 2: bytes of the key, key, value     |
 * | apart  | instead of the value 8: its first page, 8: transaction, 8: how many pages it takes   |
 *
 * A tree's head has, from its byte 6 on, 2: levels, 8 each: branch pages, leaf pages, pages of values, entries, its root.
 */
import { readSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { throwIfAborted } from "../error.ts";
import { inTurns } from "../in-turns.ts";
import { damagedFile, type DataFileMeta, readMetas } from "./data-file.ts";

const HEAD_BYTES = 24;
const NODE_BYTES = 8;
const BRANCH = 1;
const LEAF = 2;
const VALUE = 4;
/** The flag of a node whose value lies apart. */
const APART = 1;
const APART_BYTES = 24;
const NO_PAGE = 2n ** 64n - 1n;
const LEVELS_MAX = 32;
const FIRST_PAGE = 2;

/** Keys of a subtree: from `from` on, and below `upto`. */
interface Bounds {
  readonly from: Buffer | undefined;
  readonly upto: Buffer | undefined;
}

interface Node {
  readonly key: Buffer;
  /** Of a leaf: the value as it stands in the page. */
  readonly value: Buffer;
  readonly flags: number;
  /** Of a leaf: bytes of the value. */
  readonly size: number;
  /** Of a branch: the page of its subtree. */
  readonly child: number;
  /** Where the next one begins. */
  readonly end: number;
}

/**
 * Walks through both trees of a file that nobody writes to. Rejects with `CORRUPT` at the first thing that cannot be, with
 * `ABORTED` when `signal` fires.
 */
export async function checkPages(file: FileHandle, name: string, signal: AbortSignal | undefined): Promise<void> {
  const { size } = await file.stat();
  const [first, second] = await readMetas(file, name, size);
  const walk = new Walk(file, name, first.transaction >= second.transaction ? first : second);
  for await (const _ of inTurns(walk.run())) throwIfAborted(signal);
}

class Walk {
  readonly #file: FileHandle;
  readonly #name: string;
  readonly #meta: DataFileMeta;
  readonly #used: Uint8Array;

  constructor(file: FileHandle, name: string, meta: DataFileMeta) {
    this.#file = file;
    this.#name = name;
    this.#meta = meta;
    this.#used = new Uint8Array(meta.lastPage + 1);
  }

  expect(condition: boolean, reason: string): void {
    if (!condition) throw damagedFile(this.#name, reason);
  }

  /** Yields after each branch page. */
  *run(): Generator<void> {
    const [free, main] = this.#meta.trees;
    yield* this.#tree(main, Buffer.compare);
    yield* this.#tree(free, compareNumbers, (list) => this.#freePages(list));
  }

  *#tree(head: DataView, compare: Compare, onValue?: (value: Buffer) => void): Generator<void> {
    const root = head.getBigUint64(40, true);
    const levels = head.getUint16(6, true);
    const counts = [8, 16, 24, 32].map((at) => Number(head.getBigUint64(at, true)));
    const tree = { levels, compare, onValue, counts: { branch: 0, leaf: 0, value: 0, entries: 0 } };
    if (root === NO_PAGE) this.expect(levels === 0, "a tree without pages has levels");
    else {
      this.expect(levels > 0 && levels <= LEVELS_MAX, `a tree has ${levels} levels`);
      yield* this.#page(Number(root), 1, tree, { from: undefined, upto: undefined });
    }
    const found = Object.values(tree.counts);
    const isSame = found.every((count, index) => count === counts[index]);
    this.expect(isSame, `it should have ${counts.join(", ")} pages and entries, and has ${found.join(", ")}`);
  }

  *#page(number: number, level: number, tree: Tree, bounds: Bounds): Generator<void> {
    const isLeaf = level === tree.levels;
    const nodes = this.#nodes(number, isLeaf);
    this.#order(number, isLeaf ? nodes : nodes.slice(1), tree.compare, bounds);
    if (isLeaf) {
      tree.counts.leaf++;
      tree.counts.entries += nodes.length;
      for (const node of nodes) this.#value(number, node, tree);
      return;
    }
    tree.counts.branch++;
    for (const [index, { key, child }] of nodes.entries()) {
      const from = index === 0 ? bounds.from : key;
      yield* this.#page(child, level + 1, tree, { from, upto: nodes[index + 1]?.key ?? bounds.upto });
    }
    yield;
  }

  #order(number: number, nodes: readonly Node[], compare: Compare, { from, upto }: Bounds): void {
    let last = from;
    let isFirst = true;
    for (const { key } of nodes) {
      const order = last === undefined ? -1 : compare(last, key);
      this.expect(order < 0 || (isFirst && order === 0), `the keys of page ${number} are not in order`);
      last = key;
      isFirst = false;
    }
    const isBelow = upto === undefined || last === undefined || compare(last, upto) < 0;
    this.expect(isBelow, `page ${number} has keys of another`);
  }

  #value(number: number, { flags, size, value }: Node, tree: Tree): void {
    if (flags !== APART) {
      tree.onValue?.(value);
      return;
    }
    const [first = 0, , count = 0] = numbersOf(value);
    for (let index = 0; index < count; index++) this.#use(first + index);
    const isRoom = count > 0 && HEAD_BYTES + size <= count * this.#meta.pageBytes;
    this.expect(isRoom, `a value of page ${number} does not fit into its pages`);
    const bytes = this.#read(first, tree.onValue ? HEAD_BYTES + size : HEAD_BYTES);
    this.#head(bytes, first, VALUE);
    this.expect(bytes.readUInt32LE(20) === count, `page ${first} begins another number of pages`);
    tree.counts.value += count;
    tree.onValue?.(bytes.subarray(HEAD_BYTES));
  }

  #nodes(number: number, isLeaf: boolean): readonly Node[] {
    this.#use(number);
    const page = this.#read(number, this.#meta.pageBytes);
    this.#head(page, number, isLeaf ? LEAF : BRANCH);
    const [lower, upper] = [page.readUInt16LE(20), page.readUInt16LE(22)];
    const body = page.subarray(HEAD_BYTES);
    const isWhole = lower > 0 && lower % 2 === 0 && lower <= upper && upper <= body.length;
    this.expect(isWhole, `the head of page ${number} has wrong bounds`);
    const places = Array.from({ length: lower / 2 }, (_, index) => body.readUInt16LE(2 * index));
    const ends = new Map<number, number>();
    const nodes = places.map((place) => {
      this.expect(place + NODE_BYTES <= body.length, `a node of page ${number} lies outside of it`);
      const node = nodeAt(body, place, isLeaf);
      this.expect(!isLeaf || node.flags <= APART, `a node of page ${number} is of another kind`);
      ends.set(place, node.end);
      return node;
    });
    let end: number | undefined = upper;
    for (let count = 0; count < places.length; count++) end = end === undefined ? undefined : ends.get(end);
    this.expect(ends.size === places.length && end === body.length, `the nodes of page ${number} do not fill it`);
    return nodes;
  }

  #head(page: Buffer, number: number, kind: number): void {
    this.expect(page.readBigUInt64LE() === BigInt(number), `page ${number} has another number`);
    const isEarlier = page.readBigUInt64LE(8) <= BigInt(this.#meta.transaction);
    this.expect(isEarlier, `page ${number} is of a later transaction`);
    this.expect(page.readUInt16LE(18) === kind, `page ${number} is of another kind`);
  }

  /** Entries: 0 is none, a negative one says of how many pages the next one is the first. */
  #freePages(list: Buffer): void {
    const [count = -1, ...entries] = numbersOf(list);
    this.expect(count >= 0 && count <= entries.length, "a list of free pages has another length");
    let pages = 1;
    for (const entry of entries.slice(0, count)) {
      if (entry > 0) for (let index = 0; index < pages; index++) this.#use(entry + index);
      pages = Math.max(1, -entry);
    }
  }

  #use(page: number): void {
    this.expect(page >= FIRST_PAGE && page <= this.#meta.lastPage, `it has no page ${page}`);
    this.expect(this.#used[page] === 0, `page ${page} is used twice`);
    this.#used[page] = 1;
  }

  #read(page: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    const bytesRead = readSync(this.#file.fd, bytes, 0, length, page * this.#meta.pageBytes);
    this.expect(bytesRead === length, `it ends within page ${page}`);
    return bytes;
  }
}

type Compare = (left: Buffer, right: Buffer) => number;

interface Tree {
  readonly levels: number;
  readonly compare: Compare;
  readonly onValue: ((value: Buffer) => void) | undefined;
  readonly counts: { branch: number; leaf: number; value: number; entries: number };
}

/** Keys of the tree of free pages are the numbers of transactions. */
function compareNumbers(left: Buffer, right: Buffer): number {
  const [[a = 0], [b = 0]] = [numbersOf(left), numbersOf(right)];
  return a - b;
}

function numbersOf(bytes: Buffer): number[] {
  return Array.from({ length: Math.floor(bytes.length / 8) }, (_, index) => Number(bytes.readBigInt64LE(8 * index)));
}

/** A node that begins within a page; what goes beyond the page is left out of its key and value. */
function nodeAt(body: Buffer, place: number, isLeaf: boolean): Node {
  const size = body.readUInt32LE(place);
  const flags = body.readUInt16LE(place + 4);
  const keyAt = place + NODE_BYTES;
  const valueAt = keyAt + body.readUInt16LE(place + 6);
  const valueBytes = isLeaf ? (flags === APART ? APART_BYTES : size) : 0;
  const end = valueAt + valueBytes;
  return {
    key: body.subarray(keyAt, valueAt),
    value: body.subarray(valueAt, end),
    end: end + (end % 2),
    flags,
    size,
    child: size + flags * 2 ** 32,
  };
}
