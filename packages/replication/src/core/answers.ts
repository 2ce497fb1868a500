import type { VersionVector } from "@coppice/crdt";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import type { Peer } from "./peer.ts";

/** Groups that are read from storage at the same time for one peer. */
const READS_MAX = 32;
/** Questions of one peer that wait here, twice as many as a node has open; further ones are as good as lost. */
const OWED_MAX = 8192;

interface Question {
  readonly epoch: number;
  readonly vector: VersionVector;
}

/** What one peer has asked for and has not got yet. */
export class PeerAnswers {
  /** Questions that wait, by group key, the first one first. */
  readonly owed: Map<string, Question> = new Map();
  /** Those of them that were asked again: someone waits there. They go before all others. */
  readonly urgent: Set<string> = new Set();
  /** Groups being read for it. */
  readonly reading: Set<Group> = new Set();
}

/** How questions are answered. */
interface AnswerWays {
  /** Sends what a peer at `vector` lacks of a group, which is loaded, and ends the answer. */
  bring(peer: Peer, group: Group, vector: VersionVector): void;
  /** The group is in another epoch than the one that was asked about: only tells what is known here. */
  end(peer: Peer, group: Group): void;
}

/**
 * Answers each peer as fast as it takes the answers, in the order of its questions: what it asked for waits as a
 * question, not as bytes, until there is room in its queue. So nothing of an answer is ever dropped, and a node that comes
 * late costs the others a queue of memory, however much it asks for.
 */
export class Answers {
  readonly #core: CoreContext;
  readonly #ways: AnswerWays;

  constructor(core: CoreContext, ways: AnswerWays) {
    this.#core = core;
    this.#ways = ways;
  }

  /** Answers a question now or later. */
  owe(peer: Peer, group: Group, vector: VersionVector): void {
    const { owed, urgent } = peer.answers;
    if (owed.has(group.key)) urgent.add(group.key);
    else if (owed.size >= OWED_MAX) return;
    owed.set(group.key, { epoch: group.epoch, vector });
    this.resume(peer);
  }

  /** A peer has told what it has. True when it was owed an answer that it does not need any more. */
  settle(peer: Peer, group: Group, vector: VersionVector): boolean {
    return peer.answers.owed.size > 0 && vector.includes(group.vector) && peer.answers.owed.delete(group.key);
  }

  /** Goes on with what a peer is owed; call when there may be room for it again. */
  resume(peer: Peer): void {
    const { owed, urgent, reading } = peer.answers;
    if (owed.size === 0) return urgent.clear();
    // Those that could not be read.
    for (const group of reading) if (group.phase !== "loading") reading.delete(group);
    for (const line of [urgent, owed]) {
      for (const key of line.keys()) {
        if (!peer.hasRoom || reading.size >= READS_MAX) return;
        this.#next(peer, key);
      }
    }
  }

  #next(peer: Peer, key: string): void {
    const { owed, urgent } = peer.answers;
    const question = owed.get(key);
    urgent.delete(key);
    owed.delete(key);
    const group = this.#core.groups.get(key);
    if (question !== undefined && group !== undefined) this.#answer(peer, group, question);
  }

  #answer(peer: Peer, group: Group, question: Question): void {
    if (group.epoch !== question.epoch) return this.#ways.end(peer, group);
    const { owed, reading } = peer.answers;
    reading.add(group);
    this.#core.load(group, () => {
      reading.delete(group);
      if (group.epoch !== question.epoch) this.#ways.end(peer, group);
      else if (peer.hasRoom) this.#ways.bring(peer, group, question.vector);
      // What was read at the same time has taken the room.
      else owed.set(group.key, question);
    });
  }
}
