import { type Actor, VersionVector, soleActor } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";
import { addDigest, entryHash, subtractDigest, vectorDigest } from "./digest.ts";
import type { Dependency, DependencyRow, Run } from "./run.ts";

const NONE: readonly Dependency[] = [];
const NOBODY = "" as Actor;
const NOWHERE: readonly Actor[] = [];
/** Shared by all groups of which nothing is known, or only the head; never changed. */
const EMPTY = new VersionVector();

/**
 * Which events a replica knows: the version vector, contiguous for each actor and closed under causality; its frontier,
 * the actors whose latest event no known event follows; and the digest of both, kept up with each event in O(1).
 *
 * Nearly always one actor adds many events in a row. So the entry of the actor that was heard last, the head, is kept
 * beside the vector and the digest, and entered when somebody looks or another actor comes.
 */
export class CausalPast {
  /**
   * The digest of knowing nothing, and the present one but for the head's entry, as signed lanes: a list each would take
   * more than all else here.
   */
  readonly #seedHigh: number;
  readonly #seedLow: number;
  #digestHigh: number;
  #digestLow: number;
  #vector: VersionVector;
  /** Few, and nearly always one. */
  #frontier: readonly Actor[];
  #head: Actor = NOBODY;
  #headSeq = 0;

  /** @param seed the digest of knowing nothing: it stands for group, type and epoch */
  constructor(seed: Digest) {
    this.#seedHigh = seed[0] | 0;
    this.#seedLow = seed[1] | 0;
    this.#digestHigh = this.#seedHigh;
    this.#digestLow = this.#seedLow;
    this.#vector = EMPTY;
    this.#frontier = NOWHERE;
  }

  /** Begins with what is known already. */
  load(vector: VersionVector, frontier: readonly Actor[]): void {
    this.#head = NOBODY;
    this.#headSeq = 0;
    this.#vector = vector.clone();
    this.#frontier = listOf(new Set(frontier));
    this.#setDigest(vectorDigest(this.#seed(), vector));
  }

  /** Not to be changed by callers. */
  get vector(): VersionVector {
    if (this.#head !== NOBODY && this.#vector.get(this.#head) !== this.#headSeq) this.#enterHead();
    return this.#vector;
  }

  #enterHead(): void {
    if (this.#vector === EMPTY) this.#vector = new VersionVector();
    this.#vector.set(this.#head, this.#headSeq);
  }

  /** Whether nothing is known. */
  get isEmpty(): boolean {
    return this.#headSeq === 0 && this.#vector.size === 0;
  }

  /** How many events of an actor are known. */
  known(actor: Actor): number {
    return actor === this.#head ? this.#headSeq : this.#vector.get(actor);
  }

  get frontier(): readonly Actor[] {
    return this.#frontier;
  }

  digest(): Digest {
    const others: Digest = [this.#digestHigh >>> 0, this.#digestLow >>> 0];
    return this.#headSeq === 0 ? others : addDigest(others, entryHash(this.#seed(), this.#head, this.#headSeq));
  }

  #setDigest([high, low]: Digest): void {
    this.#digestHigh = high | 0;
    this.#digestLow = low | 0;
  }

  #seed(): Digest {
    return [this.#seedHigh >>> 0, this.#seedLow >>> 0];
  }

  covers(dependencies: readonly Dependency[]): boolean {
    for (const { actor, seq } of dependencies) if (this.known(actor) < seq) return false;
    return true;
  }

  /** The first event of a run, from index `from` on, that may not follow yet; the run's count when all may. */
  uncovered(run: Run, from: number): number {
    for (const { index, list } of run.dependencies) if (index >= from && !this.covers(list)) return index;
    return run.count;
  }

  /** An own event that follows everything known; returns its dependencies: the frontier without its actor's own. */
  extend(actor: Actor, seq: number): readonly Dependency[] {
    const frontier = this.#frontier;
    if (frontier.length === 1 && frontier[0] === actor) {
      this.#advance(actor, seq);
      return NONE;
    }
    const dependencies: Dependency[] = [];
    for (const other of frontier) {
      if (other !== actor) dependencies.push({ actor: other, seq: this.known(other) });
    }
    this.#frontier = soleActor(actor);
    this.#advance(actor, seq);
    return dependencies;
  }

  /** The events of a run from index `from` up to `to`: next in their actor's sequence, their dependencies covered. */
  follow(run: Run, from: number, to: number): void {
    const { actor } = run;
    for (const row of run.dependencies) if (row.index >= from && row.index < to) this.#passBy(row);
    const frontier = this.#frontier;
    if (frontier.length === 0) this.#frontier = soleActor(actor);
    else if (!frontier.includes(actor)) this.#frontier = frontier.concat([actor]);
    this.#advance(actor, run.firstSeq + to - 1);
  }

  #passBy({ list }: DependencyRow): void {
    const isFollowed = (actor: Actor): boolean =>
      list.some((dependency) => dependency.actor === actor && dependency.seq === this.known(actor));
    this.#frontier = this.#frontier.filter((actor) => !isFollowed(actor));
  }

  /**
   * Everything that another replica knows. An event is in the union's frontier unless the other side knows it and has
   * one that follows it.
   */
  join(vector: VersionVector, frontier: readonly Actor[]): void {
    const theirs = new Set(frontier);
    const union = new Set<Actor>();
    for (const actor of this.#frontier) {
      const lead = this.known(actor) - vector.get(actor);
      if (lead > 0 || (lead === 0 && theirs.has(actor))) union.add(actor);
    }
    for (const actor of theirs) if (vector.get(actor) > this.known(actor)) union.add(actor);
    this.#frontier = listOf(union);
    for (const [actor, seq] of vector) if (this.known(actor) < seq) this.#advance(actor, seq);
  }

  #advance(actor: Actor, seq: number): void {
    if (actor !== this.#head) this.#behead(actor);
    this.#headSeq = seq;
  }

  #behead(next: Actor): void {
    let digest = this.digest();
    if (this.#head !== NOBODY) this.#enterHead();
    this.#head = next;
    this.#headSeq = this.#vector.get(next);
    if (this.#headSeq > 0) digest = subtractDigest(digest, entryHash(this.#seed(), next, this.#headSeq));
    this.#setDigest(digest);
  }
}

function listOf(actors: ReadonlySet<Actor>): readonly Actor[] {
  const list = [...actors];
  const [only] = list;
  return list.length === 1 && only !== undefined ? soleActor(only) : list;
}
