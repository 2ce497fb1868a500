import { ReplicationError } from "../error.ts";
import type { PeerId } from "../transport.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import type { Broadcast } from "./messages.ts";
import type { Peer } from "./peer.ts";
import { Bucket, MESSAGE_OVERHEAD_BYTES } from "./peer-meter.ts";
import { relay } from "./relay.ts";

/** Bytes that this node broadcasts in a second, in all groups together. */
const BYTES_PER_SECOND_MAX = 4 * 1024 * 1024;
/** How long it is remembered how far an origin was heard. */
const REMEMBER_MS = 60_000;
/** Origins remembered in one group; what further ones say is dropped. */
const ORIGINS_MAX = 256;

export interface BroadcastOptions {
  readonly self: PeerId;
  readonly heartbeatMs: number;
  /** A message of another node, once. */
  received(group: Group, message: Uint8Array, origin: PeerId): void;
  /** Something is to be sent. */
  wake(): void;
}

interface Heard {
  readonly clock: number;
  readonly expiresAt: number;
}

/**
 * Messages to all nodes of a group that nobody stores or repeats: each arrives at most once, those of one node in their
 * order, and one that is lost is lost. They travel as events do (`gossip.ts`): to every interested neighbour, and
 * from there to those that do not hear the sender themselves. What a queue or a limit has no room for is dropped.
 *
 * A clock numbers the messages of a node and starts at the wall clock, so that a node that restarted is believed.
 */
export class Broadcasts {
  readonly #core: CoreContext;
  readonly #options: BroadcastOptions;
  readonly #rate = new Bucket(BYTES_PER_SECOND_MAX / 1000, BYTES_PER_SECOND_MAX);
  /** How far each origin was heard, by the group's key. */
  readonly #heard = new Map<string, Map<PeerId, Heard>>();
  #clock = 0;

  constructor(core: CoreContext, options: BroadcastOptions) {
    this.#core = core;
    this.#options = options;
  }

  /** False, and nobody is told, when this node has broadcast as much as it may for now. */
  send(group: Group, message: Uint8Array): boolean {
    const { counts } = this.#core;
    const now = this.#core.now();
    if (!this.#rate.take(message.length + MESSAGE_OVERHEAD_BYTES, now)) {
      counts.broadcastsDropped++;
      return false;
    }
    counts.broadcastsSent++;
    this.#clock = Math.max(this.#clock + 1, now);
    const { key, domain } = group;
    this.#tell(domain, { kind: "broadcast", key, origin: this.#options.self, clock: this.#clock, message });
    this.#options.wake();
    return true;
  }

  onBroadcast(from: Peer, broadcast: Broadcast): void {
    const { counts } = this.#core;
    const now = this.#core.now();
    const judgement = from.meter.judgeMessage(broadcast.message.length, now);
    if (judgement === "abuse") {
      throw new ReplicationError("LIMIT_EXCEEDED", "it keeps broadcasting more than it may (eventsPerSecondMax)");
    }
    const group = this.#core.groups.get(broadcast.key);
    if (group === undefined || broadcast.origin === this.#options.self) return;
    if (judgement === "later" || !this.#isRoomFor(broadcast)) {
      counts.broadcastsDropped++;
      return;
    }
    if (!this.#hear(broadcast, now)) return;
    counts.broadcastsReceived++;
    this.#tell(group.domain, broadcast, from);
    // A copy: it must not keep the whole frame alive.
    this.#options.received(group, broadcast.message.slice(), broadcast.origin);
  }

  /** Forgets who has not been heard for long. */
  tick(): void {
    const now = this.#core.now();
    for (const [key, origins] of this.#heard) {
      for (const [origin, { expiresAt }] of origins) if (expiresAt <= now) origins.delete(origin);
      if (origins.size === 0) this.#heard.delete(key);
    }
  }

  #isRoomFor({ key, origin }: Broadcast): boolean {
    const origins = this.#heard.get(key);
    return origins === undefined || origins.size < ORIGINS_MAX || origins.has(origin);
  }

  /** Whether the message is new here. */
  #hear({ key, origin, clock }: Broadcast, now: number): boolean {
    const origins = this.#heard.get(key) ?? new Map<PeerId, Heard>();
    if ((origins.get(origin)?.clock ?? -1) >= clock) return false;
    origins.set(origin, { clock, expiresAt: now + REMEMBER_MS });
    this.#heard.set(key, origins);
    return true;
  }

  #tell(domain: string, broadcast: Broadcast, from?: Peer): void {
    const { heartbeatMs } = this.#options;
    this.#core.counts.broadcastsDropped += relay(this.#core, domain, broadcast, { heartbeatMs, from });
  }
}
