import type { VersionVector } from "@coppice/crdt";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import type { Peer } from "./peer.ts";

/** Questions to one peer that wait for an answer; what more it offers waits for a place, or for another peer. */
const QUESTIONS_MAX = 256;
/** The same while there is no other peer: then there is nothing to share out, and waiting would cost round trips. */
const QUESTIONS_MAX_ALONE = 4096;
/** A question is as good as lost when nothing of any answer comes for so long; one that brought nothing rests so long. */
export const AGAIN_MS = 1000;
/** And when its own answer has not ended after this, whatever else comes. */
const LOST_MS = 60_000;
/** Open questions to a peer among which one may wait for long. */
const MANY = 32;
/** Offers looked at when a place is free. */
const LOOKS_MAX = 32;

/** What passes between this node and one peer, by group key. */
export class PeerPulls {
  /** Questions without the end of an answer, and when they were asked. */
  readonly asked: Map<string, number> = new Map();
  /** Those of them that were asked twice. */
  readonly hurried: Set<string> = new Set();
  /** When a part of an answer to any of them came: the others wait for their turn. */
  progressAt: number = Number.NEGATIVE_INFINITY;
  /** Answered without bringing what the peer said it had. */
  readonly rested: Map<string, number> = new Map();
  /** What the peer knows of groups of which something is missing here; undefined when that is not known. */
  readonly offers: Map<string, VersionVector | undefined> = new Map();
  /** Hashes of groups that it has and this node does not know, with their domains: still to be asked for, in its order. */
  readonly listed: Map<number, string> = new Map();
  /** And those that it was asked for, without the end of an answer, with when that was. */
  readonly wanted: Map<number, number> = new Map();
  #round = this.listed.entries();
  /** Whether some that it listed were left out, so that the two are to compare again when the others are here. */
  hasSkipped = false;

  /** Questions without the end of an answer. */
  get open(): number {
    return this.asked.size + this.wanted.size;
  }

  /** One of `listed` after the other, again and again: from the first on, each look would pass by all that are gone. */
  nextListed(): readonly [hash: number, domain: string] | undefined {
    const next = this.#round.next();
    if (next.done !== true) return next.value;
    this.#round = this.listed.entries();
    const again = this.#round.next();
    return again.done === true ? undefined : again.value;
  }
}

/** Questions that may be open to one of so many peers. */
export function questionsMax(peers: number): number {
  return peers > 1 ? QUESTIONS_MAX : QUESTIONS_MAX_ALONE;
}

/** Whether there is no use in waiting for the answer to a question that was asked then. */
export function isLost({ progressAt }: PeerPulls, askedAt: number, now: number): boolean {
  const since = now - AGAIN_MS;
  return askedAt <= since && (progressAt <= since || askedAt <= now - LOST_MS);
}

/**
 * Who is asked for what is missing. Several peers often offer the same: each group is asked of one at a time, and of the
 * next only what is missing then. With a bounded number of questions to each, a node that comes late gets its groups from
 * all its peers, a part from each. Whoever is told that something has come from another need not send it any more.
 */
export class Pulls {
  readonly #core: CoreContext;
  readonly #send: (peer: Peer, group: Group) => void;
  /** Whose answer is under way, by group key. */
  readonly #sources = new Map<string, Peer>();

  /** @param send tells a peer what is known here of a group, as a question for the rest */
  constructor(core: CoreContext, send: (peer: Peer, group: Group) => void) {
    this.#core = core;
    this.#send = send;
  }

  /** Asks a peer at once, whatever else is under way. */
  ask(peer: Peer, group: Group): void {
    const { asked, rested, offers } = peer.pulls;
    offers.delete(group.key);
    rested.delete(group.key);
    asked.set(group.key, this.#core.now());
    this.#sources.set(group.key, peer);
    this.#send(peer, group);
  }

  /**
   * Someone waits for a group: if nobody was asked for it, some peer is, and if it was asked for among many others, it is
   * asked for again, which brings it first.
   */
  hurry(group: Group): void {
    const source = this.#sources.get(group.key);
    if (source === undefined) return this.#askSomeone(group);
    const { asked, hurried } = source.pulls;
    if (asked.size <= MANY || !asked.has(group.key) || hurried.has(group.key)) return;
    hurried.add(group.key);
    this.#send(source, group);
  }

  #askSomeone(group: Group): void {
    const { key, domain } = group;
    for (const peer of this.#core.peers.values()) {
      if (!peer.isInterestedIn(domain) || peer.deferred.has(key) || peer.pulls.rested.has(key)) continue;
      return this.ask(peer, group);
    }
  }

  /** A peer has something of a group that is missing here: all of `vector`, if that is known. */
  offered(peer: Peer, group: Group, vector?: VersionVector): void {
    peer.pulls.offers.set(group.key, vector);
    this.#take(peer, group);
  }

  /** Part of an answer has come: the rest, and the other answers, are on their way. */
  progress(peer: Peer): void {
    peer.pulls.progressAt = this.#core.now();
  }

  /** An answer has ended. `isGood`: it brought something, or all that the peer has. */
  answered(peer: Peer, group: Group, isGood: boolean): void {
    peer.pulls.hurried.delete(group.key);
    if (peer.pulls.asked.delete(group.key) && !isGood) peer.pulls.rested.set(group.key, this.#core.now());
    this.#ended(peer, group.key);
    this.#fill(peer);
  }

  /** A peer has gone: the others are asked for what it owes. */
  left(peer: Peer): void {
    for (const key of peer.pulls.asked.keys()) this.#ended(peer, key);
  }

  /** Gives up questions that got lost, and shares out those that wait for a slow peer. */
  tick(): void {
    const now = this.#core.now();
    const since = now - AGAIN_MS;
    for (const peer of this.#core.peers.values()) {
      const { asked, hurried, rested } = peer.pulls;
      for (const [key, at] of rested) if (at <= since) rested.delete(key);
      for (const [key, at] of asked) {
        if (!isLost(peer.pulls, at, now)) continue;
        asked.delete(key);
        hurried.delete(key);
        this.#ended(peer, key);
      }
      this.#fill(peer);
      if (peer.pulls.open === 0 && peer.pulls.offers.size > 0) this.#takeOver(peer, since);
    }
  }

  /** Asks a peer that has nothing to do for half of what another one has not come to since then: for the last ones. */
  #takeOver(peer: Peer, since: number): void {
    const waiting = [...this.#core.peers.values()].map((other) =>
      [...other.pulls.asked]
        .filter(([key, at]) => at <= since && this.#sources.get(key) === other && peer.pulls.offers.has(key))
        .map(([key]) => key),
    );
    const most = waiting.reduce((longest, keys) => (keys.length > longest.length ? keys : longest), []);
    for (const key of most.slice(Math.ceil(most.length / 2)).slice(-QUESTIONS_MAX)) {
      const group = this.#core.groups.get(key);
      if (group !== undefined) this.ask(peer, group);
    }
  }

  /** Nothing more is expected of a peer: the others' offers of the group are free. */
  #ended(peer: Peer, key: string): void {
    if (this.#sources.get(key) !== peer) return;
    this.#sources.delete(key);
    const group = this.#core.groups.get(key);
    for (const other of this.#core.peers.values()) {
      if (!other.pulls.offers.has(key)) continue;
      if (group === undefined) other.pulls.offers.delete(key);
      else if (this.#take(other, group)) return;
    }
  }

  /** Takes offers of a peer as long as it has a place. */
  #fill(peer: Peer): void {
    const { offers } = peer.pulls;
    let looks = 0;
    for (const [key, vector] of offers) {
      if (peer.pulls.open >= questionsMax(this.#core.peers.size) || ++looks > LOOKS_MAX) return;
      const group = this.#core.groups.get(key);
      // What must wait goes to the end, so that the others have a turn.
      offers.delete(key);
      if (group === undefined) continue;
      offers.set(key, vector);
      this.#take(peer, group);
    }
  }

  /** Asks for what a peer offers, unless it is here by now or must wait. */
  #take(peer: Peer, group: Group): boolean {
    const { key } = group;
    const { asked, rested, offers } = peer.pulls;
    const vector = offers.get(key);
    if (vector !== undefined && group.vector.includes(vector)) {
      offers.delete(key);
      return false;
    }
    // It has to slow down: asked again when that is over.
    if (peer.deferred.has(key) || asked.has(key) || rested.has(key)) {
      offers.delete(key);
      return false;
    }
    const source = this.#sources.get(key);
    const isAsked = source !== undefined && this.#core.peers.get(source.id) === source;
    if (isAsked || peer.pulls.open >= questionsMax(this.#core.peers.size)) return false;
    this.ask(peer, group);
    return true;
  }
}
