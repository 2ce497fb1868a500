import type { Actor, VersionVector } from "@coppice/crdt";
import { formatGroupId } from "@coppice/storage";
import type { PeerId } from "../transport.ts";
import type { NoticeSubject } from "./context.ts";
import { HASH_MAX } from "./domain-index.ts";
import type { Group, GroupView } from "./group.ts";
import type { Peer } from "./peer.ts";
import type { Dependency } from "./run.ts";

/** Comparisons with one peer that find a group differing, and nothing moved, before that is an alarm. */
const STUCK_COMPARISONS = 5;
/** Heartbeats that events wait without any progress before that is an alarm. */
const STUCK_HEARTBEATS = 30;
/** Heartbeats that events wait for something no linked peer has, before they are given up. */
const ORPHANED_HEARTBEATS = 10;
/** Differing groups remembered of one peer: a first comparison may find very many. */
const DIFFERENCES_MAX = 10_000;
/** Missing events that a message names. */
const NAMED_MAX = 5;

/** A group that a peer was last known to hold otherwise than this node. */
interface Difference {
  readonly group: Group;
  readonly epoch: number;
  /** What it last told; undefined while only the digest is known to differ. */
  theirs: VersionVector | undefined;
  /** Since when something is missing here, and since when there is a difference, in steady milliseconds. */
  behindSince: number | undefined;
  readonly since: number;
  /** Comparisons in which nothing moved, and what there was at the last one. */
  rounds: number;
  oursTotal: number;
  theirsTotal: number;
  isStuck: boolean;
}

/** What is noted of a loaded group. */
interface Facts {
  comparedAt: number;
  bytesIn: number;
  bytesOut: number;
  orphaned: number;
  /** Heartbeats that events wait without progress, the events known at the last, and the peers heard meanwhile. */
  waits: number;
  waitedAt: number;
  heard: Map<PeerId, VersionVector> | undefined;
  isStuck: boolean;
}

/** How far one peer and this node are apart in one group. */
export interface PeerLag {
  readonly group: Group;
  readonly peer: PeerId;
  /** Events that it has and this node lacks, as far as it has told. */
  readonly missingHere: number;
  /** Events that it lacked when it last told what it has. */
  readonly missingThere: number;
  /** For how long they have differed, in milliseconds. */
  readonly ms: number;
  readonly isStuck: boolean;
}

/** How far a group is behind what its linked peers have told. */
export interface GroupLag {
  readonly events: number;
  readonly ms: number;
  readonly isStuck: boolean;
}

/** What a sync watch needs of its core. */
export interface WatchParts {
  readonly peers: ReadonlyMap<PeerId, Peer>;
  /** Milliseconds that never go back. */
  now(): number;
  notice(code: string, message: string, about?: NoticeSubject): void;
}

/**
 * Sees whether replicas come together: what is known to differ between this node and each peer, since when, and whether
 * it moves. What does not move for several comparisons is reported as `STUCK`, what it waits for in vain is given up
 * as orphaned. It only watches: nothing that the protocol does depends on it, but for the giving up.
 */
export class SyncWatch {
  readonly #parts: WatchParts;
  readonly #differences = new Map<PeerId, Map<string, Difference>>();
  readonly #facts = new Map<string, Facts>();
  readonly #domainsComparedAt = new Map<string, number>();
  /** Events given up since the start. */
  orphaned = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  // What is seen

  /** A comparison found that a peer's digest of a group is another. */
  differs(peer: Peer, group: Group): void {
    const difference = this.#difference(peer, group);
    if (difference === undefined) return;
    const { theirs } = difference;
    const [oursTotal, theirsTotal] = [group.vector.total(), theirs?.total() ?? 0];
    const isBehind = theirs === undefined || !group.vector.includes(theirs);
    const hasMoved = isBehind ? oursTotal !== difference.oursTotal : theirsTotal !== difference.theirsTotal;
    difference.rounds = hasMoved ? 0 : difference.rounds + 1;
    difference.oursTotal = oursTotal;
    difference.theirsTotal = theirsTotal;
    if (hasMoved) return this.#moves(peer.id, difference);
    if (difference.rounds < STUCK_COMPARISONS || difference.isStuck) return;
    difference.isStuck = true;
    const what = theirs === undefined ? "it has told nothing of it" : describeGap(group.vector, theirs);
    this.#parts.notice("STUCK", `group ${formatGroupId(group.id)} stays different from ${peer.id}'s: ${what}`, {
      peer: peer.id,
      group: group.id,
    });
  }

  /** A peer told its vector of a group, in this node's epoch. */
  told(peer: Peer, group: Group, vector: VersionVector): void {
    this.#facts.get(group.key)?.heard?.set(peer.id, vector);
    const isBehind = !group.vector.includes(vector);
    if (!isBehind && vector.includes(group.vector)) return this.equal(peer, group);
    const difference = this.#difference(peer, group);
    if (difference === undefined) return;
    difference.theirs = vector;
    difference.behindSince = isBehind ? (difference.behindSince ?? this.#parts.now()) : undefined;
  }

  /** A peer holds the same of a group. */
  equal(peer: Peer, group: Group): void {
    if (group.phase === "active") this.#factsOf(group).comparedAt = this.#parts.now();
    const differences = this.#differences.get(peer.id);
    const difference = differences?.get(group.key);
    if (difference === undefined) return;
    differences?.delete(group.key);
    this.#moves(peer.id, difference);
  }

  /** A peer holds the same of a whole domain, or of the hashes `from` to `to`, but for the groups of some hashes. */
  equalDomain(peer: Peer, domain: string, except?: ReadonlySet<number>, from: number = 0, to: number = HASH_MAX): void {
    if (to === HASH_MAX) this.#domainsComparedAt.set(domain, this.#parts.now());
    for (const { group } of this.#differences.get(peer.id)?.values() ?? []) {
      const { hash } = group;
      if (group.domain === domain && hash >= from && hash <= to && !except?.has(hash)) this.equal(peer, group);
    }
  }

  received(group: Group, bytes: number): void {
    this.#factsOf(group).bytesIn += bytes;
  }

  sent(group: Group, bytes: number): void {
    this.#factsOf(group).bytesOut += bytes;
  }

  /** The link to a peer is gone: what it reported may no longer be so. */
  forgetPeer(peer: PeerId): void {
    this.#differences.delete(peer);
    for (const { heard } of this.#facts.values()) heard?.delete(peer);
  }

  /** The group's state has left the memory, or its epoch is over. */
  forget(group: Group): void {
    this.#facts.delete(group.key);
  }

  /** A heartbeat has passed while events of the group wait for others. */
  waits(group: Group): void {
    const { server } = group;
    if (server === undefined) return;
    const facts = this.#factsOf(group);
    const known = group.vector.total();
    if (facts.waitedAt !== known) {
      facts.heard = new Map();
      facts.waits = 0;
      this.#flows(group, facts);
    }
    facts.waitedAt = known;
    facts.waits++;
    if (facts.waits >= ORPHANED_HEARTBEATS && this.#giveUp(group, facts) > 0) return;
    if (facts.waits < STUCK_HEARTBEATS || facts.isStuck) return;
    facts.isStuck = true;
    const missing = server.pending.missing(server.vector);
    const message = `group ${formatGroupId(group.id)}: ${server.pending.events} events wait for ${describe(missing)}`;
    this.#parts.notice("STUCK", message, { group: group.id });
  }

  /** Nothing of the group waits any more. */
  flows(group: Group): void {
    const facts = this.#facts.get(group.key);
    if (facts === undefined || facts.waits === 0) return;
    facts.waits = 0;
    facts.heard = undefined;
    this.#flows(group, facts);
  }

  #flows(group: Group, facts: Facts): void {
    if (!facts.isStuck) return;
    facts.isStuck = false;
    this.#parts.notice("UNSTUCK", `group ${formatGroupId(group.id)}: events move on again`, { group: group.id });
  }

  #moves(peer: PeerId, difference: Difference): void {
    if (!difference.isStuck) return;
    difference.isStuck = false;
    const message = `group ${formatGroupId(difference.group.id)} comes together with ${peer}'s again`;
    this.#parts.notice("UNSTUCK", message, { peer, group: difference.group.id });
  }

  /** Gives up events that wait for something which no interested peer has, when each has been heard meanwhile. */
  #giveUp(group: Group, facts: Facts): number {
    const interested = [...this.#parts.peers.values()].filter((peer) => peer.isInterestedIn(group.domain));
    const answers = facts.heard ?? new Map<PeerId, VersionVector>();
    if (interested.length === 0 || !interested.every(({ id }) => answers.has(id))) return 0;
    const heard = [...answers.values()];
    const isNowhere = ({ actor, seq }: Dependency): boolean => heard.every((vector) => vector.get(actor) < seq);
    const missing = group.server?.pending.missing(group.vector).filter(isNowhere) ?? [];
    const events = group.server?.pending.giveUp(group.vector, isNowhere) ?? 0;
    if (events === 0) return 0;
    facts.orphaned += events;
    this.orphaned += events;
    const message = `group ${formatGroupId(group.id)}: ${events} events were given up: no peer has ${describe(missing)}, which they follow`;
    this.#parts.notice("ORPHANED", message, { group: group.id });
    return events;
  }

  // What there is to see

  /** Every group that is known to differ from a peer's; of one group, or of all. */
  *lags(only?: Group): Generator<PeerLag> {
    for (const [peer, differences] of this.#differences) {
      const chosen = only === undefined ? differences.values() : [differences.get(only.key)];
      for (const difference of chosen) {
        if (difference === undefined || difference.epoch !== difference.group.epoch) continue;
        const { group, theirs, since, isStuck } = difference;
        const missingHere = theirs === undefined ? 0 : lacking(group.vector, theirs);
        const missingThere = theirs === undefined ? 0 : lacking(theirs, group.vector);
        yield { group, peer, missingHere, missingThere, ms: this.#parts.now() - since, isStuck };
      }
    }
  }

  lag(group: GroupView): GroupLag {
    let [events, since, isStuck] = [0, Number.POSITIVE_INFINITY, this.#facts.get(group.key)?.isStuck ?? false];
    for (const differences of this.#differences.values()) {
      const difference = differences.get(group.key);
      if (difference?.epoch !== group.epoch) continue;
      isStuck ||= difference.isStuck;
      const missing = difference.theirs === undefined ? 0 : lacking(group.vector, difference.theirs);
      if (missing === 0) continue;
      events = Math.max(events, missing);
      since = Math.min(since, difference.behindSince ?? difference.since);
    }
    return { events, ms: events === 0 ? 0 : this.#parts.now() - since, isStuck };
  }

  /** When some peer was last found to hold the same of the group; 0 for not yet. */
  comparedAt(group: GroupView): number {
    const own = this.#facts.get(group.key)?.comparedAt ?? 0;
    for (const differences of this.#differences.values()) if (differences.has(group.key)) return own;
    return Math.max(own, this.#domainsComparedAt.get(group.domain) ?? 0);
  }

  /** Bytes of events and states of the group exchanged, and events given up, since it was loaded. */
  traffic(group: GroupView): { readonly bytesIn: number; readonly bytesOut: number; readonly orphaned: number } {
    return this.#facts.get(group.key) ?? { bytesIn: 0, bytesOut: 0, orphaned: 0 };
  }

  #difference(peer: Peer, group: Group): Difference | undefined {
    // What it said may have waited until the group was loaded.
    if (this.#parts.peers.get(peer.id) !== peer) return undefined;
    const differences = this.#differences.get(peer.id) ?? new Map<string, Difference>();
    this.#differences.set(peer.id, differences);
    const known = differences.get(group.key);
    if (known?.epoch === group.epoch) return known;
    if (known === undefined && differences.size >= DIFFERENCES_MAX) return undefined;
    const difference: Difference = {
      group,
      epoch: group.epoch,
      theirs: undefined,
      behindSince: undefined,
      since: this.#parts.now(),
      rounds: 0,
      oursTotal: -1,
      theirsTotal: -1,
      isStuck: false,
    };
    differences.set(group.key, difference);
    return difference;
  }

  #factsOf(group: Group): Facts {
    let facts = this.#facts.get(group.key);
    if (facts === undefined) {
      facts = {
        comparedAt: 0,
        bytesIn: 0,
        bytesOut: 0,
        orphaned: 0,
        waits: 0,
        waitedAt: -1,
        heard: undefined,
        isStuck: false,
      };
      this.#facts.set(group.key, facts);
    }
    return facts;
  }
}

/** How many events of `other` are missing in `vector`. */
function lacking(vector: VersionVector, other: VersionVector): number {
  let events = 0;
  for (const [actor, seq] of other) events += Math.max(0, seq - vector.get(actor));
  return events;
}

function describeGap(ours: VersionVector, theirs: VersionVector): string {
  const here = gaps(ours, theirs);
  const there = gaps(theirs, ours);
  if (here.length === 0 && there.length === 0) return "the events are the same, the digest is another";
  return [
    ...(here.length === 0 ? [] : [`missing here: ${describe(here)}`]),
    ...(there.length === 0 ? [] : [`missing there: ${describe(there)}`]),
  ].join("; ");
}

/** The first event of each actor that `vector` lacks of `other`. */
function gaps(vector: VersionVector, other: VersionVector): Dependency[] {
  const found: Dependency[] = [];
  for (const [actor, seq] of other) {
    const known = vector.get(actor);
    if (known < seq) found.push({ actor, seq: known + 1 });
  }
  return found;
}

function describe(events: readonly { readonly actor: Actor; readonly seq: number }[]): string {
  const named = events.slice(0, NAMED_MAX).map(({ actor, seq }) => `event ${seq} of ${actor}`);
  if (events.length > NAMED_MAX) named.push(`${events.length - NAMED_MAX} more`);
  return named.join(", ");
}
