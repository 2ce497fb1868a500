import type { Digest } from "@coppice/storage";
import { ZERO_DIGEST, addDigest, equalDigest, subtractDigest } from "./digest.ts";
import type { Group } from "./group.ts";
import type { DomainSum, List, Sketch as SketchMessage } from "./messages.ts";
import { CELL_WORDS, SKETCH_CELLS_MAX, Sketch } from "./sketch.ts";

/** Groups on one page of a list: about 12 bytes each, so that a page fits into a frame. */
const PAGE_GROUPS_MAX = 8192;
/** The greatest hash. */
const HASH_MAX = 2 ** 32 - 1;
/** Cells of a sketch that is made; one that turns out too short is made anew, eight times as long. */
const SKETCH_CELLS = 1024;
const SKETCH_GROWTH = 8;

/** The groups of one domain that have something to tell, by hash, with the sum of their digests kept up to date. */
export class DomainIndex {
  readonly name: string;
  readonly #groups = new Map<number, Group[]>();
  readonly #counted = new Map<Group, Digest>();
  #sum: Digest = ZERO_DIGEST;
  /** Made when a peer first differs, then kept up with each change. */
  #sketch: Sketch | undefined;
  #version = 0;
  #sorted: number[] | undefined;

  constructor(name: string) {
    this.name = name;
  }

  /** Takes the group, with its digest as it is now, into the sum. A group that says nothing yet is left out. */
  update(group: Group): void {
    if (group.vector.size === 0 && group.epoch === 1) return;
    const digest = group.digest();
    const counted = this.#counted.get(group);
    if (counted === undefined) {
      this.#insert(group);
    } else {
      if (equalDigest(counted, digest)) return;
      this.#sum = subtractDigest(this.#sum, counted);
      this.#sketch?.toggle(group.hash, counted);
    }
    this.#sum = addDigest(this.#sum, digest);
    this.#sketch?.toggle(group.hash, digest);
    this.#counted.set(group, digest);
    this.#version++;
  }

  #insert(group: Group): void {
    const others = this.#groups.get(group.hash);
    if (others === undefined) this.#groups.set(group.hash, [group]);
    else others.push(group);
    this.#sorted = undefined;
  }

  /** Rises with every change of a digest. */
  get version(): number {
    return this.#version;
  }

  sum(): DomainSum {
    return { domain: this.name, groups: this.#counted.size, digest: this.#sum };
  }

  at(hash: number): readonly Group[] {
    return this.#groups.get(hash) ?? [];
  }

  groups(): IterableIterator<Group> {
    return this.#counted.keys();
  }

  /** Cells `from` to `to` of the sketch of all groups and digests, as of `version`. */
  sketch(from: number, to: number): SketchMessage {
    const cells = this.#sketchOf(to).cells(from, to);
    return { kind: "sketch", domain: this.name, version: this.#version, from, cells };
  }

  /** The hashes of the groups that differ from those behind a peer's cells; undefined when the cells are too few. */
  differing(cells: Uint32Array): ReadonlySet<number> | undefined {
    const sketch = this.#sketchOf(cells.length / CELL_WORDS);
    return sketch.difference(cells, (hash) => this.at(hash).map((group) => this.#counted.get(group) ?? ZERO_DIGEST));
  }

  /** The sketch, of `length` cells at least. */
  #sketchOf(length: number): Sketch {
    if (this.#sketch !== undefined && this.#sketch.length >= length) return this.#sketch;
    let cells = SKETCH_CELLS;
    while (cells < length) cells *= SKETCH_GROWTH;
    const sketch = new Sketch(Math.min(cells, SKETCH_CELLS_MAX));
    for (const [group, digest] of this.#counted) sketch.toggle(group.hash, digest);
    return (this.#sketch = sketch);
  }

  /** Every group, in order of hashes, in pages that together cover all hashes. */
  *pages(): Generator<List> {
    const hashes = this.#hashes();
    let from = 0;
    for (let start = 0; start === 0 || start < hashes.length; start += PAGE_GROUPS_MAX) {
      const page = hashes.slice(start, start + PAGE_GROUPS_MAX);
      const isLast = start + PAGE_GROUPS_MAX >= hashes.length;
      const to = isLast ? HASH_MAX : (page.at(-1) as number);
      yield { kind: "list", domain: this.name, from, to, entries: page.map((hash) => this.#entry(hash)) };
      from = to + 1;
    }
  }

  /** Compares a peer's page with what is here. */
  compare(list: List): { differing: Group[]; unknown: number[]; equal: Group[] } {
    const differing: Group[] = [];
    const equal: Group[] = [];
    const unknown: number[] = [];
    const theirs = new Map(list.entries.map(({ hash, digest }) => [hash, digest]));
    for (const hash of this.#hashes()) {
      if (hash < list.from || hash > list.to) continue;
      const digest = theirs.get(hash);
      const ours = this.#entry(hash).digest;
      const isEqual = digest !== undefined && digest[0] === ours[0] && digest[1] === ours[1];
      (isEqual ? equal : differing).push(...this.at(hash));
    }
    for (const { hash } of list.entries) if (!this.#groups.has(hash)) unknown.push(hash);
    return { differing, unknown, equal };
  }

  #hashes(): readonly number[] {
    return (this.#sorted ??= [...this.#groups.keys()].sort((a, b) => a - b));
  }

  #entry(hash: number): { readonly hash: number; readonly digest: Digest } {
    let digest = ZERO_DIGEST;
    for (const group of this.at(hash)) digest = addDigest(digest, group.digest());
    return { hash, digest };
  }
}
