import { formatGroupId } from "@coppice/storage";
import { ReplicationError } from "../error.ts";
import type { AntiEntropy } from "./anti-entropy.ts";
import { type Acknowledgements, encodeEvents } from "./acknowledgements.ts";
import type { CoreContext } from "./context.ts";
import { hashText } from "./digest.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Events, Heartbeat } from "./messages.ts";
import type { Peer } from "./peer.ts";
import { Run } from "./run.ts";
import type { FreshRun } from "./transfer.ts";

/** How often a heartbeat names again those whom the node hears. */
const NAMED_BEATS = 10;
/** Alarms of conflicting events given at most. */
const ALARMS_MAX = 1000;

/**
 * Eager push. The gossip rule: own events go to every interested neighbour; a new event from a neighbour is passed on
 * to every other interested one, except those that themselves reported hearing that neighbour within two heartbeats.
 * A full mesh so carries each event once to each node, while a sparse graph still floods. What gets lost on the way is
 * repaired by anti-entropy.
 */
export class Gossip {
  readonly #core: CoreContext;
  readonly #antiEntropy: AntiEntropy;
  readonly #acknowledgements: Acknowledgements;
  readonly #heartbeatMs: number;
  #beats = 0;
  /** Groups and actors of which an alarm was given. */
  readonly #alarmed = new Set<string>();

  constructor(
    core: CoreContext,
    antiEntropy: AntiEntropy,
    acknowledgements: Acknowledgements,
    options: { readonly heartbeatMs: number },
  ) {
    this.#core = core;
    this.#antiEntropy = antiEntropy;
    this.#acknowledgements = acknowledgements;
    this.#heartbeatMs = options.heartbeatMs;
  }

  /** Tells every peer whom this node hears: by name when it has changed, and now and then, since a message may be lost. */
  heartbeat(): void {
    const hears = [...this.#core.peers.keys()];
    const [hash] = hashText(hears.join("\n"));
    const beat = { kind: "heartbeat", now: this.#core.wallNow(), hash } as const;
    const [short, named] = [encodeMessage({ ...beat, hears: undefined }), encodeMessage({ ...beat, hears })];
    const isNamed = ++this.#beats % NAMED_BEATS === 0;
    for (const peer of this.#core.peers.values()) {
      if (peer.hello === undefined) continue;
      peer.post(isNamed || peer.toldHearsHash !== hash ? named : short);
      peer.toldHearsHash = hash;
    }
  }

  onHeartbeat(peer: Peer, message: Heartbeat): void {
    peer.setHears(message.hears, message.hash, this.#core.now());
    peer.clockAheadMs = message.now - this.#core.wallNow();
  }

  /** Sends runs that are committed here to whom the gossip rule names. */
  publish(group: Group, fresh: readonly FreshRun[]): void {
    this.#count(group, fresh);
    const interested = [...this.#core.peers.values()].filter((peer) => peer.isInterestedIn(group.domain));
    if (interested.length === 0) return;
    const since = this.#core.now() - 2 * this.#heartbeatMs;
    for (const { run, source, repaired } of fresh) {
      // The neighbours are told when the whole answer is here.
      if (repaired) continue;
      let message: Uint8Array | undefined;
      for (const peer of interested) {
        if (peer.id === source || (source !== undefined && peer.hears(source, since))) continue;
        message ??= this.#encode(group, run);
        peer.post(message, group.key);
        this.#core.watch.sent(group, message.length);
      }
    }
  }

  #count(group: Group, fresh: readonly FreshRun[]): void {
    const { counts } = this.#core;
    for (const { run, source, repaired } of fresh) {
      if (source === undefined && !repaired) {
        counts.eventsWritten += run.count;
        this.#core.unseen.wrote(group, run);
      } else if (repaired) counts.eventsRepaired += run.count;
      else counts.eventsReceived += run.count;
    }
  }

  #encode(group: Group, run: Run): Uint8Array {
    return encodeEvents(group, run, false, this.#acknowledgements.wanted(group, run));
  }

  onEvents(peer: Peer, message: Events): void {
    // It may be kept for long: its bytes are a part of the message's own, not of the frame's.
    const run = Run.decode(message.run);
    const group = this.#antiEntropy.groupFor(message.group, true);
    if (group === undefined) return;
    if (group.epoch < message.group.epoch && !this.#core.enterEpoch(group, message.group)) {
      return this.#core.load(group, () => this.onEvents(peer, message));
    }
    if (group.epoch > message.group.epoch || group.phase === "deleted") {
      return this.#antiEntropy.tell(peer, group, "tell");
    }
    if (!this.#antiEntropy.checkType(peer, group, message.group)) return;
    if (!this.#admits(peer, group, run)) return;
    this.#core.load(group, () => this.#receive(peer, group, message, run));
  }

  /** Whether limits let a run in. What is too fast is asked for again later; a group over its cap pauses as a whole. */
  #admits(peer: Peer, group: Group, run: Run): boolean {
    const isNewInGroup = group.vector.get(run.actor) === 0;
    if (isNewInGroup && this.#antiEntropy.isFull(group, group.vector.size + 1)) return false;
    const judgement = peer.meter.judge(run.count, isNewInGroup ? run.actor : undefined, this.#core.now());
    if (judgement === "abuse") {
      throw new ReplicationError("LIMIT_EXCEEDED", "it keeps sending more events than it may (eventsPerSecondMax)");
    }
    if (judgement === "later") peer.deferred.add(group.key);
    return judgement === "take";
  }

  /** Asks again for what came too fast. */
  pullDeferred(): void {
    for (const peer of this.#core.peers.values()) {
      for (const key of peer.deferred) {
        peer.deferred.delete(key);
        const group = this.#core.groups.get(key);
        if (group !== undefined) this.#antiEntropy.ask(peer, group);
      }
    }
  }

  /** The same dots with other content: replicas that hold one or the other never come together. */
  #alarm(peer: Peer, group: Group, run: Run): void {
    const what = `${group.key} ${run.actor}`;
    if (this.#alarmed.has(what) || this.#alarmed.size >= ALARMS_MAX) return;
    this.#alarmed.add(what);
    const message = `group ${formatGroupId(group.id)}: event ${run.firstSeq} of ${run.actor} is another at ${peer.id} than here; two processes write under one actor`;
    this.#core.notice("DOT_CONFLICT", message, { peer: peer.id, group: group.id });
  }

  #receive(peer: Peer, group: Group, message: Events, run: Run): void {
    const server = group.server;
    if (server === undefined || server.epoch !== message.group.epoch) return;
    const { isNew, hasGap } = server.receive(run, peer.id, message.repaired);
    this.#core.watch.received(group, run.bytes.length);
    if (isNew) peer.counts.events += run.count;
    if (isNew && message.repaired) this.#antiEntropy.learnt(group, peer);
    if (!isNew && server.contradicts(run)) this.#alarm(peer, group, run);
    if (hasGap) this.#antiEntropy.pull(peer, group);
    if (message.wants !== "nothing") this.#acknowledgements.answer(peer, group, run, message.wants === "durable");
  }
}
