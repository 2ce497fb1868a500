import { ReplicationError } from "../error.ts";
import type { PeerId } from "../transport.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Presence as PresenceMessage } from "./messages.ts";
import type { Peer } from "./peer.ts";
import { relay } from "./relay.ts";

/** How often a node repeats its own states, and how long one lives that is not repeated, in milliseconds. */
const REPEAT_MS = 5000;
const EXPIRE_MS = 15_000;
/** How long the clock of a state that expired is remembered, so that a peer that still has it does not bring it back. */
const REMEMBER_MS = 60_000;
/** Nodes with a state in one group; further ones are ignored. */
const ORIGINS_MAX = 256;

interface Entry {
  readonly clock: number;
  /** Empty: the node has left. */
  readonly state: Uint8Array;
  readonly expiresAt: number;
}

/** What this node says of itself in a group. */
interface Own {
  readonly clock: number;
  readonly state: Uint8Array;
}

export interface PresenceOptions {
  readonly self: PeerId;
  readonly heartbeatMs: number;
  /** The states of a group's nodes changed. */
  changed(group: Group): void;
  /** Something is to be sent. */
  wake(): void;
}

/**
 * Ephemeral state of each node in a group (a cursor, a selection): told by the gossip rule (`gossip.ts`), repeated,
 * forgotten when it is not, never stored. What a queue or a limit has no room for is left to the next repeat. The newest
 * clock of an origin wins; a clock starts at the wall clock, so that a node that restarted is believed.
 */
export class PresenceTable {
  readonly #core: CoreContext;
  readonly #options: PresenceOptions;
  readonly #entries = new Map<Group, Map<PeerId, Entry>>();
  readonly #own = new Map<Group, Own>();
  #clock = 0;
  #nextRepeatAt = 0;

  constructor(core: CoreContext, options: PresenceOptions) {
    this.#core = core;
    this.#options = options;
  }

  /** This node's state in a group; undefined to leave. */
  set(group: Group, state: Uint8Array | undefined): void {
    if (state === undefined && !this.#own.delete(group)) return;
    this.#say(group, state ?? GONE);
    this.#options.changed(group);
    this.#options.wake();
  }

  /** The states of all nodes in a group, this one's included. */
  states(group: Group): Map<PeerId, Uint8Array> {
    const states = new Map<PeerId, Uint8Array>();
    const own = this.#own.get(group);
    if (own !== undefined) states.set(this.#options.self, own.state);
    for (const [origin, { state }] of this.#entries.get(group) ?? []) if (state.length > 0) states.set(origin, state);
    return states;
  }

  /** A group was deleted: nobody is in it any more. */
  forget(group: Group): void {
    const hadOwn = this.#own.delete(group);
    if (this.#entries.delete(group) || hadOwn) this.#options.changed(group);
  }

  #say(group: Group, state: Uint8Array): void {
    this.#clock = Math.max(this.#clock + 1, this.#core.now());
    if (state.length > 0) this.#own.set(group, { clock: this.#clock, state });
    this.#tell(group, message(group, this.#options.self, this.#clock, state));
  }

  #tell({ domain }: Group, said: PresenceMessage, from?: Peer): void {
    relay(this.#core, domain, said, { heartbeatMs: this.#options.heartbeatMs, from });
  }

  onPresence(from: Peer, said: PresenceMessage): void {
    const now = this.#core.now();
    const judgement = from.meter.judgeMessage(said.state.length, now);
    if (judgement === "abuse") {
      throw new ReplicationError("LIMIT_EXCEEDED", "it keeps sending more presence than it may (eventsPerSecondMax)");
    }
    const group = this.#core.groups.get(said.key);
    if (judgement === "later" || group === undefined || group.phase === "deleted") return;
    if (said.origin === this.#options.self) return;
    const entries = this.#entries.get(group) ?? new Map<PeerId, Entry>();
    const known = entries.get(said.origin);
    if (known === undefined ? isFull(entries) : known.clock >= said.clock) return;
    const state = said.state.slice();
    entries.set(said.origin, { clock: said.clock, state, expiresAt: now + EXPIRE_MS });
    this.#entries.set(group, entries);
    this.#tell(group, said, from);
    if (known === undefined || !equalBytes(known.state, state)) this.#options.changed(group);
  }

  /** Tells a peer that has just come what is known. */
  greet(peer: Peer): void {
    const tell = (group: Group, origin: PeerId, { clock, state }: Own): void => {
      if (peer.isInterestedIn(group.domain)) peer.postIfRoom(encodeMessage(message(group, origin, clock, state)));
    };
    for (const [group, entries] of this.#entries) for (const [origin, entry] of entries) tell(group, origin, entry);
    for (const [group, own] of this.#own) tell(group, this.#options.self, own);
  }

  tick(): void {
    const now = this.#core.now();
    for (const [group, entries] of this.#entries) {
      for (const [origin, { clock, state, expiresAt }] of entries) {
        if (expiresAt > now) continue;
        entries.delete(origin);
        if (state.length === 0) continue;
        entries.set(origin, { clock, state: GONE, expiresAt: now + REMEMBER_MS });
        this.#options.changed(group);
      }
      if (entries.size === 0) this.#entries.delete(group);
    }
    if (now < this.#nextRepeatAt) return;
    this.#nextRepeatAt = now + REPEAT_MS;
    for (const [group, { state }] of this.#own) this.#say(group, state);
  }
}

const GONE = new Uint8Array(0);

function message({ key }: Group, origin: PeerId, clock: number, state: Uint8Array): PresenceMessage {
  return { kind: "presence", key, origin, clock, state };
}

/** Whether there is no room for another node, those that are gone counted half. */
function isFull(entries: ReadonlyMap<PeerId, Entry>): boolean {
  if (entries.size < ORIGINS_MAX) return false;
  const living = [...entries.values()].filter(({ state }) => state.length > 0).length;
  return living >= ORIGINS_MAX || entries.size >= 2 * ORIGINS_MAX;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
