import { ReplicationError } from "../error.ts";
import type { PeerId } from "../transport.ts";
import type { CoreContext } from "./context.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Presence as PresenceMessage } from "./messages.ts";
import type { Peer } from "./peer.ts";

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

/**
 * Ephemeral state of each node in a group (a cursor, a selection): told to every interested node, repeated, forgotten
 * when it is not, never stored. The newest clock of an origin wins; a clock starts at the wall clock, so that a node
 * that restarted is believed.
 */
export class PresenceTable {
  readonly #core: CoreContext;
  readonly #self: PeerId;
  readonly #changed: (group: Group) => void;
  readonly #wake: () => void;
  readonly #entries = new Map<Group, Map<PeerId, Entry>>();
  readonly #own = new Map<Group, Uint8Array>();
  #clock = 0;
  #nextRepeatAt = 0;

  constructor(core: CoreContext, self: PeerId, changed: (group: Group) => void, wake: () => void) {
    this.#core = core;
    this.#self = self;
    this.#changed = changed;
    this.#wake = wake;
  }

  /** This node's state in a group; undefined to leave. */
  set(group: Group, state: Uint8Array | undefined): void {
    if (state === undefined && !this.#own.delete(group)) return;
    if (state !== undefined) this.#own.set(group, state);
    this.#say(group, state ?? GONE);
    this.#changed(group);
    this.#wake();
  }

  /** The states of all nodes in a group, this one's included. */
  states(group: Group): Map<PeerId, Uint8Array> {
    const states = new Map<PeerId, Uint8Array>();
    const own = this.#own.get(group);
    if (own !== undefined) states.set(this.#self, own);
    for (const [origin, { state }] of this.#entries.get(group) ?? []) if (state.length > 0) states.set(origin, state);
    return states;
  }

  #say(group: Group, state: Uint8Array): void {
    this.#clock = Math.max(this.#clock + 1, this.#core.now());
    const message = encodeMessage({ kind: "presence", key: group.key, origin: this.#self, clock: this.#clock, state });
    for (const peer of this.#core.peers.values()) if (peer.isInterestedIn(group.domain)) peer.post(message);
  }

  onPresence(from: Peer, message: PresenceMessage): void {
    const judgement = from.meter.judge(1, undefined, this.#core.now());
    if (judgement === "abuse")
      throw new ReplicationError("LIMIT_EXCEEDED", "it keeps sending more presence than it may");
    if (judgement === "later") return;
    const group = this.#core.groups.get(message.key);
    if (group === undefined || message.origin === this.#self) return;
    const entries = this.#entries.get(group) ?? new Map<PeerId, Entry>();
    this.#entries.set(group, entries);
    const known = entries.get(message.origin);
    if (known === undefined ? isFull(entries) : known.clock >= message.clock) return;
    const state = message.state.slice();
    entries.set(message.origin, { clock: message.clock, state, expiresAt: this.#core.now() + EXPIRE_MS });
    const encoded = encodeMessage(message);
    for (const peer of this.#core.peers.values()) {
      if (peer !== from && peer.id !== message.origin && peer.isInterestedIn(group.domain)) peer.post(encoded);
    }
    if (known === undefined || !equalBytes(known.state, state)) this.#changed(group);
  }

  /** Tells a peer that has just come what is known. */
  greet(peer: Peer): void {
    for (const [group, entries] of this.#entries) {
      if (!peer.isInterestedIn(group.domain)) continue;
      for (const [origin, { clock, state }] of entries) {
        peer.post(encodeMessage({ kind: "presence", key: group.key, origin, clock, state }));
      }
    }
    for (const [group, state] of this.#own) this.#say(group, state);
  }

  tick(): void {
    const now = this.#core.now();
    for (const [group, entries] of this.#entries) {
      for (const [origin, { clock, state, expiresAt }] of entries) {
        if (expiresAt > now) continue;
        entries.delete(origin);
        if (state.length === 0) continue;
        entries.set(origin, { clock, state: GONE, expiresAt: now + REMEMBER_MS });
        this.#changed(group);
      }
      if (entries.size === 0) this.#entries.delete(group);
    }
    if (now < this.#nextRepeatAt) return;
    this.#nextRepeatAt = now + REPEAT_MS;
    for (const [group, state] of this.#own) this.#say(group, state);
  }
}

const GONE = new Uint8Array(0);

/** Whether there is no room for another node, those that are gone counted half. */
function isFull(entries: ReadonlyMap<PeerId, Entry>): boolean {
  if (entries.size < ORIGINS_MAX) return false;
  const living = [...entries.values()].filter(({ state }) => state.length > 0).length;
  return living >= ORIGINS_MAX || entries.size >= 2 * ORIGINS_MAX;
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
