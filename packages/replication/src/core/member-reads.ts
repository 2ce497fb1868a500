import { VersionVector } from "@coppice/crdt";
import type { PeerId } from "../transport.ts";
import type { CatchUp } from "./catch-up.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { PointMessage } from "./messages.ts";
import type { Peer } from "./peer.ts";

/** Which peers a read hears before it is answered. */
export interface ReadLevel {
  /** How many distinct peers must be heard. */
  readonly replicas: number;
  /** The peers that count; undefined means all. */
  readonly among: ReadonlySet<PeerId> | undefined;
}

/** A read that waits; `cancel` stops waiting, `answered` names the peers heard so far. */
export interface ReadHandle {
  answered(): readonly PeerId[];
  cancel(): void;
}

interface Question extends ReadLevel {
  readonly group: Group;
  readonly answered: Set<PeerId>;
  /** Of those that answered, the ones that know nothing more than is known here. */
  readonly reached: Set<PeerId>;
  readonly stops: (() => void)[];
  readonly done: () => void;
}

/**
 * Reads that see what a number of members have: asks each for the point it is at, and catches up to as many as are
 * wanted. Every question has a number, and only answers to it count: a vector that was on its way before the read began
 * may be older than a write that was acknowledged before it.
 */
export class MemberReads {
  readonly #core: CoreContext;
  readonly #catchUp: CatchUp;
  readonly #questions = new Map<number, Question>();
  #lastId = 0;

  constructor(core: CoreContext, catchUp: CatchUp) {
    this.#core = core;
    this.#catchUp = catchUp;
  }

  /** Calls `done` once everything is here that `replicas` of the peers had when they were asked. */
  ask(group: Group, level: ReadLevel, done: () => void): ReadHandle {
    const question: Question = { ...level, group, answered: new Set(), reached: new Set(), stops: [], done };
    const id = ++this.#lastId;
    if (level.replicas === 0) {
      done();
    } else {
      this.#questions.set(id, question);
      for (const peer of this.#core.peers.values()) this.#post(peer, id, question);
    }
    return { answered: () => [...question.answered], cancel: () => this.#end(id) };
  }

  /** A peer has come: it is asked what is still open. */
  greet(peer: Peer): void {
    for (const [id, question] of this.#questions) this.#post(peer, id, question);
  }

  /** Asks once more whoever has not answered: the question or the answer may have been lost. */
  tick(): void {
    for (const peer of this.#core.peers.values()) this.greet(peer);
  }

  #post(peer: Peer, id: number, { group, among, answered }: Question): void {
    if (!peer.isInterestedIn(group.domain) || among?.has(peer.id) === false || answered.has(peer.id)) return;
    peer.post(encodeMessage({ ...NOTHING, key: group.key, id }));
  }

  onPoint(peer: Peer, message: PointMessage): void {
    if (!message.isReply) return this.#answer(peer, message);
    const question = this.#questions.get(message.id);
    if (question === undefined || question.group.key !== message.key) return;
    if (question.among?.has(peer.id) === false || question.answered.has(peer.id)) return;
    question.answered.add(peer.id);
    const done = (): void => {
      question.reached.add(peer.id);
      if (question.reached.size < question.replicas || !this.#questions.has(message.id)) return;
      this.#end(message.id);
      question.done();
    };
    question.stops.push(this.#catchUp.reach(question.group, message, done, peer.id));
  }

  #answer(peer: Peer, { key, id }: PointMessage): void {
    const group = this.#core.groups.get(key);
    if (group === undefined) return peer.post(encodeMessage({ ...NOTHING, key, id, isReply: true }));
    if (group.phase === "failed") return;
    if (group.isUnsettled) {
      return this.#core.load(group, () => this.#answer(peer, { ...NOTHING, key, id }));
    }
    this.#core.respond(group, () => {
      const vector = new VersionVector();
      for (const actor of group.frontier) vector.set(actor, group.vector.get(actor));
      const reply = encodeMessage({ ...NOTHING, key, epoch: group.epoch, id, isReply: true, vector });
      return () => peer.post(reply);
    });
  }

  #end(id: number): void {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    for (const stop of question?.stops ?? []) stop();
  }
}

const NOTHING: PointMessage = {
  kind: "point",
  key: "",
  epoch: 0,
  id: 0,
  isReply: false,
  vector: new VersionVector(),
};
