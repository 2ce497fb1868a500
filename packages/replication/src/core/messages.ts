/**
 * What peers say to each other, protocol 1.
 *
 * A frame is at most 256 KiB and holds messages, each `byte kind, body` (`frames.ts`). A message that does not fit into a
 * frame travels as fragments.
 *
 * | kind | message   | body                                                                                      |
 * |------|-----------|-------------------------------------------------------------------------------------------|
 * | 1    | hello     | uint protocol, byte heard, byte all, uint n, n * string domain                             |
 * | 2    | heartbeat | uint wall clock in Unix milliseconds, hash, uint n, n * string peer: whom this node hears; none: those of the hash |
 * | 3    | events    | byte flags, group, bytes run (`run.ts`)                                                    |
 * | 4    | sums      | byte reply, uint n, n * (string domain, uint groups, digest)                               |
 * | 5    | list      | string domain, hash from, hash to, uint n, n * (uint hashes left out before, digest)       |
 * | 6    | want      | uint n, n * hash: I know nothing of these groups                                       |
 * | 7    | vector    | uint n, n * actor, group, n * uint seq, byte intent (0 ask, 1 answer, 2 tell)              |
 * | 8    | state     | group, byte whole, vector, uint n, n * actor frontier, uint time, bytes body               |
 * | 9    | ack       | string key, uint epoch, actor, uint seq, byte durable                                      |
 * | 10   | conflict  | group: this is its type here                                                               |
 * | 11   | fragment  | uint id, uint index, uint count, bytes                                                     |
 * | 12   | check     | string key, uint epoch, uint id, byte reply, digest, string hash (hexadecimal, or empty)   |
 * | 13   | presence  | string key, string origin, uint clock, bytes state (at most 4 KiB; empty: gone)            |
 * | 14   | sketch    | string domain, uint version, uint from, uint n, n * cell (`sketch.ts`)                      |
 * | 15   | more      | string domain, uint version, uint from, uint upto: these cells were too few, send so many; from 0: send the list |
 * | 16   | members   | uint n, n * (string peer, strings addresses, strings domains): linked here (`peer-exchange.ts`) |
 * | 17   | point     | string key, uint epoch, uint id, byte reply, vector: the frontier; empty in a question       |
 * | 18   | broadcast | string key, string origin, uint clock, bytes message (at most 64 KiB)                       |
 * | 19   | remind    | as ack: acknowledge this event, if it is there                                              |
 *
 * cell: four uint32, little-endian. group: string type, uint epoch, string key. hash: uint of 32 bits. digest: two uint32,
 * little-endian. What changes least from one group to the next stands first: see `frames.ts`.
 * Unknown kinds are skipped, so that a later minor version may add some.
 */
import type { Actor, VersionVector } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";
import type { PeerId } from "../transport.ts";

export const PROTOCOL_VERSION = 1;
/** Bytes of one presence state. */
export const PRESENCE_BYTES_MAX = 4096;

/** Bytes of one broadcast. */
export const BROADCAST_BYTES_MAX: number = 64 * 1024;

/** Which group, of which type, in which epoch. */
export interface GroupRef {
  readonly key: string;
  readonly type: string;
  readonly epoch: number;
}

export interface Hello {
  readonly kind: "hello";
  readonly protocol: number;
  /** Whether the sender has the receiver's hello already; if not, it is sent again. */
  readonly heard: boolean;
  /** The domains this node is interested in; undefined means all. */
  readonly domains: readonly string[] | undefined;
}

export interface Heartbeat {
  readonly kind: "heartbeat";
  /** The sender's wall clock, in Unix milliseconds. */
  readonly now: number;
  /** Whom the sender hears, and a hash of all their names. Undefined: those of whom it told before, with this hash. */
  readonly hears: readonly PeerId[] | undefined;
  readonly hash: number;
}

export interface Events {
  readonly kind: "events";
  readonly group: GroupRef;
  /** Sent to repair, not as gossip. */
  readonly repaired: boolean;
  /** Which acknowledgement the sender waits for. */
  readonly wants: "nothing" | "applied" | "durable";
  readonly run: Uint8Array;
}

export interface DomainSum {
  readonly domain: string;
  readonly groups: number;
  readonly digest: Digest;
}

export interface Sums {
  readonly kind: "sums";
  /** Of a reply: these domains were found equal. */
  readonly isReply: boolean;
  readonly sums: readonly DomainSum[];
}

export interface List {
  readonly kind: "list";
  readonly domain: string;
  /** The page covers every group of the domain whose hash is in `from` to `to`, both included. */
  readonly from: number;
  readonly to: number;
  readonly entries: readonly { readonly hash: number; readonly digest: Digest }[];
}

export interface Want {
  readonly kind: "want";
  readonly hashes: readonly number[];
}

/**
 * Why a vector is told. `ask`: send me what I lack, then answer. `answer`: that was what I was asked for, and this is what
 * I know. `tell`: this is what I know; ask, if you lack something.
 */
export type VectorIntent = "ask" | "answer" | "tell";

export interface Vector {
  readonly kind: "vector";
  readonly group: GroupRef;
  readonly intent: VectorIntent;
  readonly vector: VersionVector;
}

export interface State {
  readonly kind: "state";
  readonly group: GroupRef;
  readonly vector: VersionVector;
  readonly frontier: readonly Actor[];
  readonly time: number;
  /** Whether the body is the complete state, not only what the receiver was thought to lack. */
  readonly whole: boolean;
  readonly body: Uint8Array;
}

/** `ack`: the sender has this event. `remind`: the receiver is to say so, as soon as it has. */
export interface Ack {
  readonly kind: "ack" | "remind";
  readonly key: string;
  readonly epoch: number;
  readonly actor: Actor;
  readonly seq: number;
  readonly durable: boolean;
}

export interface Conflict {
  readonly kind: "conflict";
  readonly group: GroupRef;
}

export interface Fragment {
  readonly kind: "fragment";
  readonly id: number;
  readonly index: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

/** A question what the receiver holds of a group, or the answer. */
export interface Check {
  readonly kind: "check";
  readonly key: string;
  readonly epoch: number;
  readonly id: number;
  readonly isReply: boolean;
  readonly digest: Digest;
  readonly hash: string;
}

export interface Presence {
  readonly kind: "presence";
  readonly key: string;
  readonly origin: string;
  readonly clock: number;
  readonly state: Uint8Array;
}

/** A message of one node to all others of a group, never stored. */
export interface Broadcast {
  readonly kind: "broadcast";
  readonly key: string;
  readonly origin: string;
  readonly clock: number;
  readonly message: Uint8Array;
}

/** Cells of the sketch of a domain. Those of one version belong together. */
export interface Sketch {
  readonly kind: "sketch";
  readonly domain: string;
  readonly version: number;
  readonly from: number;
  /** See `sketch.ts`. */
  readonly cells: Uint32Array;
}

/** The cells of that version were too few: more of them, `from` to `upto`. From 0: the whole list instead. */
export interface More {
  readonly kind: "more";
  readonly domain: string;
  readonly version: number;
  readonly from: number;
  readonly upto: number;
}

/** A peer linked to the sender, for those that are not linked to it yet. */
export interface Member {
  readonly peer: PeerId;
  /** Where it says it can be dialled. */
  readonly addresses: readonly string[];
  /** Domains that it shares with the receiver; none stands for all. */
  readonly domains: readonly string[];
}

export interface Members {
  readonly kind: "members";
  readonly members: readonly Member[];
}

/** A question at which point of a group's history the receiver is, or the answer: its frontier. */
export interface PointMessage {
  readonly kind: "point";
  readonly key: string;
  readonly epoch: number;
  readonly id: number;
  readonly isReply: boolean;
  readonly vector: VersionVector;
}

export type Message =
  | Members
  | PointMessage
  | Sketch
  | More
  | Hello
  | Heartbeat
  | Events
  | Sums
  | List
  | Want
  | Vector
  | State
  | Ack
  | Conflict
  | Fragment
  | Check
  | Presence
  | Broadcast;
