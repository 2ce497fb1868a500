import { type Actor, SEQ_MAX, type VersionVector } from "@coppice/crdt";
import { type GroupId, formatGroupId } from "@coppice/storage";
import type { NoticeSubject } from "./context.ts";

/** The last event that this process issued in a group. */
export interface Issued {
  readonly actor: Actor;
  readonly seq: number;
}

/** What an incarnation needs of its node. */
export interface ActorSource {
  /** The actor of this process, or with `fresh` a new incarnation that was never used. */
  actor(fresh: boolean): Actor;
  /** Throws `NO_MEMBERSHIP` unless the group's domain has a roster. */
  checkMembership(group: GroupId): void;
  notice(code: string, message: string, about: NoticeSubject): void;
}

/**
 * Under which actor this process writes in one group: one whose every event it issued itself. Whenever that is in doubt
 * (a copy of the data writes elsewhere, or less was found again than was issued), it takes a new one.
 */
export class Incarnation {
  readonly #group: GroupId;
  readonly #source: ActorSource;
  #actor: Actor | undefined;
  #seq = 0;
  #publishedSeq = 0;

  constructor(group: GroupId, source: ActorSource) {
    this.#group = group;
    this.#source = source;
  }

  /** The last event issued; undefined before the first. */
  get issued(): Issued | undefined {
    return this.#actor === undefined ? undefined : { actor: this.#actor, seq: this.#seq };
  }

  /** The actor of the last event; undefined before the first. */
  get issuer(): Actor | undefined {
    return this.#actor;
  }

  /** The number of the last event; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  /** The actor to write under, now that `vector` is known. */
  actor(vector: VersionVector): Actor {
    return this.#actor ?? this.#take(vector, false);
  }

  /** Throws `NO_MEMBERSHIP` unless it is known who else may write. */
  checkMembership(): void {
    this.#source.checkMembership(this.#group);
  }

  /** Event `seq` was issued. */
  issue(seq: number): void {
    this.#seq = seq;
  }

  /** Event `seq` of `actor` has left this node. */
  published(actor: Actor, seq: number): void {
    if (actor === this.#actor) this.#publishedSeq = seq;
  }

  /** Whether the last event was issued, and has not left this node yet. */
  get hasUnpublished(): boolean {
    return this.#seq > this.#publishedSeq;
  }

  /** Writes on under the actor of an earlier load, unless `vector`, as found again, holds less than that issued. */
  resume({ actor, seq }: Issued, vector: VersionVector): void {
    if (vector.get(actor) === seq) {
      this.#actor = actor;
      this.#seq = seq;
      this.#publishedSeq = seq;
    } else if (seq > 0) {
      this.#alarm(`${seq} events were issued, ${vector.get(actor)} found`);
      this.#take(vector, true);
    }
  }

  /** Whether a peer claims more of this incarnation than was issued here: then the next write is a new actor's. */
  isReused(actor: Actor, seq: number): boolean {
    return actor === this.#actor && seq > this.#seq;
  }

  /** Takes a new actor: a peer knows event `seq` of this one. */
  replace(vector: VersionVector, seq: number): void {
    this.#alarm(`a peer knows event ${seq} of this process, which issued ${this.#seq}`);
    this.#take(vector, true);
  }

  /** Whether the current actor has no sequence numbers left. */
  get isExhausted(): boolean {
    return this.#seq >= SEQ_MAX - 1;
  }

  /** Takes a new actor: the sequence of this one is used up. */
  renew(vector: VersionVector): void {
    this.#take(vector, true);
  }

  #take(vector: VersionVector, fresh: boolean): Actor {
    let actor = this.#source.actor(fresh);
    if (vector.get(actor) !== 0) actor = this.#source.actor(true);
    this.#actor = actor;
    this.#seq = 0;
    this.#publishedSeq = 0;
    return actor;
  }

  #alarm(what: string): void {
    this.#source.notice(
      "INCARNATION_REUSED",
      `group ${formatGroupId(this.#group)}: ${what}; writing on as a new actor`,
      {
        group: this.#group,
      },
    );
  }
}
