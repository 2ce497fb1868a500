import { VersionVector } from "@coppice/crdt";
import { decodeGroupKey, formatGroupId } from "@coppice/storage";
import type { PeerId } from "../transport.ts";
import { type Acknowledgements, encodeEvents } from "./acknowledgements.ts";
import { Answers } from "./answers.ts";
import { type CoreContext, refOf } from "./context.ts";
import { ZERO_DIGEST, equalDigest } from "./digest.ts";
import { type DomainIndex, HASH_MAX } from "./domain-index.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { DomainSum, GroupRef, List, State, Sums, Vector, VectorIntent, Want, More, Sketch } from "./messages.ts";
import type { Peer, PeerSketch } from "./peer.ts";
import { Pulls } from "./pulls.ts";
import { CELL_WORDS, SKETCH_CELLS_MAX } from "./sketch.ts";
import { Wants } from "./wants.ts";

/** Domains of fewer groups are compared by list. */
const SKETCH_GROUPS_MIN = 256;
/** Groups up to this are sent to whoever does not know them. Of others it hears first, and shares them out among its peers. */
const SMALL_BYTES_MAX = 1024;
/** Of so many comparisons by list, one is made by the side that has more groups. */
const TURNED_ROUND = 8;
/** Cells sent at first: enough for about ten differing groups. */
const SKETCH_CELLS = 32;

/**
 * Anti-entropy: finds and repairs every difference between two peers, whatever caused it.
 *
 * Two peers compare the sum of each common domain. Where it differs, the one that sees so sends a sketch of the domain's
 * groups (`sketch.ts`), or lists them by hash and digest, in pages; for each group that differs the vectors are exchanged, and each side sends what the other
 * lacks: events from its tail, or else its state.
 */
export class AntiEntropy {
  readonly #core: CoreContext;
  readonly #acknowledgements: Acknowledgements;
  readonly #pulls: Pulls;
  readonly #wants: Wants;
  readonly #answers: Answers;
  #comparisons = 0;
  /** Groups of which something was learnt by repair that the other neighbours have not been told of, with its source. */
  readonly #learnt = new Map<Group, PeerId>();

  constructor(core: CoreContext, acknowledgements: Acknowledgements) {
    this.#core = core;
    this.#acknowledgements = acknowledgements;
    this.#pulls = new Pulls(core, (peer, group) => this.tell(peer, group, "ask"));
    this.#wants = new Wants(core, (peer) => this.begin(peer));
    this.#answers = new Answers(core, {
      bring: (peer, group, vector) => this.#bring(peer, group, vector),
      end: (peer, group) => this.tell(peer, group, "answer"),
    });
  }

  /** Starts a comparison of everything that both are interested in. */
  begin(peer: Peer): void {
    const sums = [...this.#core.groups.domains.values()]
      .filter(({ name }) => peer.isInterestedIn(name) && this.#core.groups.isSettled(name))
      .map((domain) => domain.sum());
    peer.lastSyncAt = this.#core.now();
    peer.post(encodeMessage({ kind: "sums", isReply: false, sums }));
  }

  onSums(peer: Peer, { isReply, sums }: Sums): void {
    peer.lastSyncAt = this.#core.now();
    const theirs = new Map(sums.map((sum) => [sum.domain, sum]));
    const equal: DomainSum[] = [];
    for (const name of new Set([...this.#core.groups.domains.keys(), ...theirs.keys()])) {
      if (!peer.isInterestedIn(name) || !this.#core.isInterestedIn(name)) continue;
      const domain = this.#core.groups.domains.get(name);
      const ours = domain?.sum() ?? { domain: name, groups: 0, digest: ZERO_DIGEST };
      const sum = theirs.get(name);
      if (sum !== undefined && sum.groups === ours.groups && equalDigest(sum.digest, ours.digest)) {
        equal.push(ours);
        if (domain === undefined) continue;
        this.#core.comparedDomain(name);
        this.#core.watch.equalDomain(peer, name);
        // A journal that is still to be read may hold own writes that are not in the sum.
        if (this.#core.groups.isSettled(name)) this.#core.unseen.sawDomain(name);
      } else if (!isReply) this.#begin(peer, ours, sum?.groups ?? 0);
    }
    if (!isReply) peer.post(encodeMessage({ kind: "sums", isReply: true, sums: equal }));
  }

  /** Has a domain compared that a peer has otherwise. */
  #begin(peer: Peer, { domain, groups: ours }: DomainSum, theirs: number): void {
    if (Math.min(ours, theirs) >= SKETCH_GROUPS_MIN) return this.#sketch(peer, domain, 0, SKETCH_CELLS);
    // Of few groups a list is as short. Whoever has fewer compares: it learns at once what it may want. Now and then the
    // other one does: only who has two groups of the same hash sees that they are two.
    if (ours >= theirs || ++this.#comparisons % TURNED_ROUND === 0) return this.#list(peer, domain);
    peer.post(encodeMessage({ kind: "more", domain, version: 0, from: 0, upto: 0 }));
  }

  #sketch(peer: Peer, name: string, from: number, to: number): void {
    const sketch = this.#core.groups.domains.get(name)?.sketch(from, to);
    if (sketch !== undefined) peer.post(encodeMessage(sketch));
  }

  /** Cells of a peer's sketch: either they tell which groups differ, or there are too few. */
  onSketch(peer: Peer, { domain: name, version, from, cells }: Sketch): void {
    const domain = this.#core.groups.domains.get(name);
    if (domain === undefined) return;
    const former = peer.takeSketch(name);
    const known = from === 0 ? cells : joinCells(former, version, from, cells);
    // Written to meanwhile: the next comparison begins anew.
    if (known === undefined) return;
    const differing = domain.differing(known);
    if (differing === undefined) {
      peer.keepSketch(name, { version, cells: known });
      const [from, upto] = [known.length / CELL_WORDS, domain.enough(known)];
      return peer.post(encodeMessage({ kind: "more", domain: name, version, from, upto }));
    }
    this.#inquire(peer, domain, differing);
    this.#core.comparedDomain(name, differing);
    this.#core.watch.equalDomain(peer, name, differing);
  }

  /** Asks a peer for what may be missing of the groups with these hashes. */
  #inquire(peer: Peer, domain: DomainIndex, hashes: Iterable<number>): void {
    const unknown: number[] = [];
    for (const hash of hashes) {
      const groups = this.#core.groups.withHash(hash).filter((group) => group.domain === domain.name);
      if (groups.length === 0) unknown.push(hash);
      for (const group of groups) this.#differs(peer, group);
    }
    this.#wants.listed(peer, domain.name, unknown);
  }

  /** The peer needs more cells, or the whole list where that would be shorter or there are no more. */
  onMore(peer: Peer, { domain: name, version, from, upto }: More): void {
    const domain = this.#core.groups.domains.get(name);
    if (domain === undefined || !peer.isInterestedIn(name)) return;
    const to = Math.min(upto, 2 * from, SKETCH_CELLS_MAX);
    if (from === 0 || from >= to || to > domain.sum().groups) return this.#list(peer, name);
    this.#sketch(peer, name, version === domain.version ? from : 0, to);
  }

  #list(peer: Peer, name: string): void {
    if (!peer.takesList(name)) return;
    const pages = this.#core.groups.domains.get(name)?.pages();
    if (pages === undefined) {
      return peer.post(encodeMessage({ kind: "list", domain: name, from: 0, to: HASH_MAX, entries: [] }));
    }
    for (const page of pages) peer.post(encodeMessage(page));
  }

  onList(peer: Peer, list: List): void {
    const domain = this.#core.groups.domains.get(list.domain);
    if (domain === undefined) {
      if (!this.#core.isInterestedIn(list.domain)) return;
      const hashes = list.entries.map(({ hash }) => hash);
      return this.#wants.listed(peer, list.domain, hashes);
    }
    const { differing, unknown } = domain.compare(list);
    // What says nothing here yet, such as a group that was just opened, is in no list of ours, so it may be one of the unknown.
    const others = new Set([...differing, ...unknown]);
    this.#core.comparedDomain(list.domain, others, list.from, list.to);
    this.#core.watch.equalDomain(peer, list.domain, others, list.from, list.to);
    this.#inquire(peer, domain, others);
  }

  #differs(peer: Peer, group: Group): void {
    this.#core.watch.differs(peer, group);
    this.pull(peer, group);
  }

  /** A peer knows nothing of these groups. It gets small ones at once; of the others it is told, and asks for them. */
  onWant(peer: Peer, { hashes }: Want): void {
    const nothing = new VersionVector();
    for (const hash of new Set(hashes)) {
      for (const group of this.#core.groups.withHash(hash)) {
        if (!peer.isInterestedIn(group.domain)) continue;
        if (group.bytes <= SMALL_BYTES_MAX) this.#answer(peer, group, nothing);
        else this.tell(peer, group, "tell");
      }
    }
  }

  /** Tells a peer our vector of a group. */
  tell(peer: Peer, group: Group, intent: VectorIntent): void {
    if (group.isUnsettled) return this.#core.load(group, () => this.tell(peer, group, intent));
    this.#core.respond(group, () => {
      // A tombstone tells what whoever made it knew: who knows more must not drop it unseen.
      const vector = (this.#core.unseen.deleted(group) ?? group.vector).clone();
      const message = encodeMessage({ kind: "vector", group: refOf(group), intent, vector });
      // The end of an answer finds room in a full queue: a question without one is asked again only after a while.
      return () => peer.post(message, intent === "answer" ? undefined : group.key);
    });
  }

  /** Asks a peer for what we lack of a group, whatever else is under way. */
  ask(peer: Peer, group: Group): void {
    this.#pulls.ask(peer, group);
  }

  /** Asks a peer for what we lack of a group (all of `vector`, if known) as soon as it is its turn: see {@link Pulls}. */
  pull(peer: Peer, group: Group, vector?: VersionVector): void {
    this.#pulls.offered(peer, group, vector);
  }

  /** Someone waits for a group. */
  hurry(group: Group): void {
    this.#pulls.hurry(group);
  }

  /** A peer has gone. */
  left(peer: Peer): void {
    this.#pulls.left(peer);
    this.#wants.left();
    peer.answers.owed.clear();
  }

  /** There may be room in the queue of a peer. */
  resume(peer: Peer): void {
    this.#answers.resume(peer);
  }

  /** A part of an answer has come, of whatever group. */
  progress(peer: Peer): void {
    this.#pulls.progress(peer);
  }

  /**
   * An answer has ended. When it brought something but not all, or told of a new epoch, the rest may be asked for at once,
   * else only later.
   */
  #answered(peer: Peer, group: Group, vector: VersionVector, isNewEpoch: boolean): void {
    const hasBrought = peer.brought.delete(group.key);
    this.#pulls.answered(peer, group, isNewEpoch || hasBrought || group.vector.includes(vector));
    this.#spreadLearnt(group);
  }

  onVector(peer: Peer, message: Vector): void {
    const { group: ref, intent, vector } = message;
    if (intent !== "ask") this.#wants.answered(peer, ref.key);
    const group = this.groupFor(ref, vector.size > 0 || ref.epoch > 1);
    if (group === undefined) return this.#tellUnknown(peer, message);
    const isNewEpoch = group.epoch < ref.epoch;
    if (isNewEpoch && !this.#core.enterEpoch(group, ref, vector)) {
      return this.#core.load(group, () => this.onVector(peer, message));
    }
    // It knows an older epoch, or nothing of the group.
    if (group.epoch > ref.epoch) {
      if (intent === "answer") this.#pulls.answered(peer, group, true);
      this.#core.compared(group);
      return this.tell(peer, group, intent === "ask" ? "answer" : "tell");
    }
    if (group.phase === "deleted") {
      if (intent === "ask") this.tell(peer, group, "answer");
      return this.#core.compared(group);
    }
    if (!this.checkType(peer, group, ref)) return;
    if (group.isUnsettled) return this.#core.load(group, () => this.onVector(peer, message));
    this.#core.watch.told(peer, group, vector);
    this.#core.unseen.told(group, vector);
    if (intent === "ask") this.#answer(peer, group, vector);
    else if (this.#answers.settle(peer, group, vector)) this.tell(peer, group, "answer");
    if (intent === "answer") this.#answered(peer, group, vector, isNewEpoch);
    if (group.vector.includes(vector)) this.#core.compared(group, vector.size > 0);
    else this.pull(peer, group, vector);
  }

  /** The group that a peer speaks of; added here when it is new, wanted, and not just asked after. */
  groupFor(ref: GroupRef, exists: boolean): Group | undefined {
    const known = this.#core.groups.get(ref.key);
    if (known !== undefined || !exists || ref.epoch === 0) return known;
    return this.#core.add(decodeGroupKey(ref.key), ref);
  }

  #tellUnknown(peer: Peer, message: Vector): void {
    if (message.intent !== "ask") return;
    const group = { ...message.group, epoch: 0 };
    peer.post(encodeMessage({ ...message, group, intent: "answer", vector: new VersionVector() }));
  }

  /** Whether a peer's type for a group is ours. If not, both sides are told, and nothing is merged. */
  checkType(peer: Peer, group: Group, ref: GroupRef): boolean {
    if (group.typeName === ref.type) return true;
    this.onConflict(peer, ref);
    peer.post(encodeMessage({ kind: "conflict", group: refOf(group) }));
    return false;
  }

  onConflict(peer: Peer, ref: GroupRef): void {
    const ours = this.#core.groups.get(ref.key)?.typeName ?? "unknown";
    const message = `group ${formatGroupId(decodeGroupKey(ref.key))} is of type ${ours} here and ${ref.type} there; delete it on one side`;
    this.#core.notice("TYPE_CONFLICT", message, { peer: peer.id, group: decodeGroupKey(ref.key) });
  }

  #answer(peer: Peer, group: Group, vector: VersionVector): void {
    if (vector.includes(group.vector)) this.tell(peer, group, "answer");
    else this.#answers.owe(peer, group, vector);
  }

  /** Sends what a peer at `vector` lacks, and then what is known here, which ends the answer. */
  #bring(peer: Peer, group: Group, vector: VersionVector): void {
    this.#core.respond(group, () => {
      const messages = this.missing(group, vector);
      return () => {
        for (const message of messages) {
          peer.answer(message, group.key);
          this.#core.watch.sent(group, message.length);
        }
      };
    });
    this.tell(peer, group, "answer");
  }

  /** What a replica at `vector` lacks, as messages: events, or the state. */
  missing(group: Group, vector: VersionVector): Uint8Array[] {
    const server = group.server;
    if (server === undefined) return [];
    const runs = server.runsSince(vector);
    if (runs !== undefined) {
      return runs.map((run) => encodeEvents(group, run, true, this.#acknowledgements.wanted(group, run)));
    }
    const state = server.stateFor(vector);
    if (state === undefined) return [];
    // A state kept without its type's code is as old as it came: the rest follows as events.
    const since = server.runsSince(state.vector) ?? [];
    return [
      encodeMessage({ kind: "state", group: refOf(group), ...state }),
      ...since.map((run) => encodeEvents(group, run, true, this.#acknowledgements.wanted(group, run))),
    ];
  }

  onState(peer: Peer, message: State): void {
    const group = this.groupFor(message.group, true);
    if (group === undefined) return;
    if (group.epoch < message.group.epoch && !this.#core.enterEpoch(group, message.group)) {
      return this.#core.load(group, () => this.onState(peer, message));
    }
    if (group.epoch > message.group.epoch || group.phase === "deleted") return this.tell(peer, group, "tell");
    if (!this.checkType(peer, group, message.group)) return;
    const fresh = [...message.vector].filter(([actor]) => group.vector.get(actor) === 0).length;
    if (fresh > 0 && this.isFull(group, group.vector.size + fresh)) return;
    this.#pulls.progress(peer);
    this.#core.load(group, () => {
      if (group.server?.isOpaque && !message.whole && !group.vector.includes(message.vector)) {
        return this.#askWhole(peer, group);
      }
      this.#core.watch.received(group, message.body.length);
      const isNew = group.server?.joinState(message) === true;
      if (group.vector.includes(message.vector)) this.#core.compared(group, true);
      if (!isNew) return;
      this.#core.counts.statesJoined++;
      this.learnt(group, peer);
    });
  }

  /** Without its type's code a part of a state cannot be joined: asks as if nothing were known here. */
  #askWhole(peer: Peer, group: Group): void {
    const vector = new VersionVector();
    peer.post(encodeMessage({ kind: "vector", group: refOf(group), intent: "ask", vector }), group.key);
  }

  /** Whether a group would have too many actors: then it pauses as a whole, since skipping some would split replicas. */
  isFull(group: Group, actors: number): boolean {
    const max = this.#core.limits.actorsPerGroupMax;
    if (actors <= max) return false;
    if (!group.isPaused) {
      this.#core.notice(
        "LIMIT_EXCEEDED",
        `group ${formatGroupId(group.id)} would have ${actors} actors, over ${max}; it takes no more`,
        { group: group.id },
      );
    }
    group.isPaused = true;
    return true;
  }

  /** Something new came from `source` by repair: the other neighbours are told at the end of its answer. */
  learnt(group: Group, source: Peer): void {
    this.#pulls.progress(source);
    source.brought.add(group.key);
    this.#learnt.set(group, source.id);
  }

  /** What was learnt by repair is told to the other neighbours: healing must not cost an interval a hop. */
  #spreadLearnt(group: Group): void {
    const source = this.#learnt.get(group);
    if (!this.#learnt.delete(group)) return;
    for (const peer of this.#core.peers.values()) {
      if (peer.id !== source && peer.isInterestedIn(group.domain)) this.tell(peer, group, "tell");
    }
  }

  /** Asks one peer at a time for what waiting events miss; `random` gives a number below 1. */
  pullPending(groups: Iterable<Group>, random: () => number): void {
    for (const group of groups) {
      if (!group.server?.hasPending) {
        this.#core.watch.flows(group);
        continue;
      }
      this.#core.watch.waits(group);
      const peers = [...this.#core.peers.values()].filter((peer) => peer.isInterestedIn(group.domain));
      const peer = peers[Math.floor(random() * peers.length)];
      if (peer !== undefined) this.pull(peer, group);
    }
  }

  /** Call at every heartbeat: answers may have been lost, as a whole or their end. */
  tick(): void {
    this.#pulls.tick();
    this.#wants.tick();
    for (const group of this.#learnt.keys()) this.#spreadLearnt(group);
  }
}

/** A peer's cells with those that follow them; undefined when they are of another version, or do not follow. */
function joinCells(
  former: PeerSketch | undefined,
  version: number,
  from: number,
  cells: Uint32Array,
): Uint32Array | undefined {
  if (former?.version !== version || former.cells.length !== from * CELL_WORDS) return undefined;
  const joined = new Uint32Array(former.cells.length + cells.length);
  joined.set(former.cells);
  joined.set(cells, former.cells.length);
  return joined;
}
