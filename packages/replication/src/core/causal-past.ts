import { type Actor, VersionVector } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";
import { addDigest, entryHash, subtractDigest, vectorDigest } from "./digest.ts";
import type { Dependency } from "./run.ts";

const NONE: readonly Dependency[] = [];

/**
 * Which events a replica knows: the version vector, contiguous for each actor and closed under causality; its frontier,
 * the actors whose latest event no known event follows; and the digest of both, kept up with each event in O(1).
 */
export class CausalPast {
  readonly #seed: Digest;
  readonly #vector: VersionVector;
  #frontier: Set<Actor>;
  #digest: Digest;
  /** Actors whose entry rose since the digest was last worked out, with the entry that it counts. */
  readonly #uncounted = new Map<Actor, number>();

  /** @param seed the digest of knowing nothing: it stands for group, type and epoch */
  constructor(seed: Digest, vector: VersionVector = new VersionVector(), frontier: Iterable<Actor> = []) {
    this.#seed = seed;
    this.#vector = vector.clone();
    this.#frontier = new Set(frontier);
    this.#digest = vectorDigest(seed, vector);
  }

  /** Not to be changed by callers. */
  get vector(): VersionVector {
    return this.#vector;
  }

  get frontier(): readonly Actor[] {
    return [...this.#frontier];
  }

  digest(): Digest {
    for (const [actor, counted] of this.#uncounted) {
      if (counted > 0) this.#digest = subtractDigest(this.#digest, entryHash(this.#seed, actor, counted));
      this.#digest = addDigest(this.#digest, entryHash(this.#seed, actor, this.#vector.get(actor)));
    }
    this.#uncounted.clear();
    return this.#digest;
  }

  covers(dependencies: readonly Dependency[]): boolean {
    for (const { actor, seq } of dependencies) if (this.#vector.get(actor) < seq) return false;
    return true;
  }

  /** An own event that follows everything known; returns its dependencies: the frontier without its actor's own. */
  extend(actor: Actor, seq: number): readonly Dependency[] {
    const dependencies = this.#frontierWithout(actor);
    this.#advance(actor, seq);
    return dependencies;
  }

  #frontierWithout(actor: Actor): readonly Dependency[] {
    const frontier = this.#frontier;
    if (frontier.size === 1 && frontier.has(actor)) return NONE;
    const dependencies: Dependency[] = [];
    for (const other of frontier) {
      if (other !== actor) dependencies.push({ actor: other, seq: this.#vector.get(other) });
    }
    frontier.clear();
    frontier.add(actor);
    return dependencies;
  }

  /** Another replica's event, next in its actor's sequence, whose dependencies are covered. */
  follow(actor: Actor, seq: number, dependencies: readonly Dependency[]): void {
    for (const dependency of dependencies) {
      if (this.#vector.get(dependency.actor) === dependency.seq) this.#frontier.delete(dependency.actor);
    }
    this.#frontier.add(actor);
    this.#advance(actor, seq);
  }

  /**
   * Everything that another replica knows. An event is in the union's frontier unless the other side knows it and has
   * one that follows it.
   */
  join(vector: VersionVector, frontier: readonly Actor[]): void {
    const theirs = new Set(frontier);
    const union = new Set<Actor>();
    for (const actor of this.#frontier) {
      const lead = this.#vector.get(actor) - vector.get(actor);
      if (lead > 0 || (lead === 0 && theirs.has(actor))) union.add(actor);
    }
    for (const actor of theirs) if (vector.get(actor) > this.#vector.get(actor)) union.add(actor);
    this.#frontier = union;
    for (const [actor, seq] of vector) if (this.#vector.get(actor) < seq) this.#advance(actor, seq);
  }

  #advance(actor: Actor, seq: number): void {
    if (!this.#uncounted.has(actor)) this.#uncounted.set(actor, this.#vector.get(actor));
    this.#vector.set(actor, seq);
  }
}
