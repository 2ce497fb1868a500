/**
 * What peers say to each other, protocol 1.
 *
 * A frame is at most 256 KiB: `byte 1`, then messages, each `uint length, byte kind, body`. A message that does not fit
 * into a frame travels as fragments.
 *
 * | kind | message   | body                                                                                      |
 * |------|-----------|-------------------------------------------------------------------------------------------|
 * | 1    | hello     | uint protocol, byte heard, byte all, uint n, n * string domain                             |
 * | 2    | heartbeat | uint wall clock in Unix milliseconds, uint n, n * string peer: whom this node hears         |
 * | 3    | events    | group, byte flags, bytes run (`run.ts`)                                                    |
 * | 4    | sums      | byte reply, uint n, n * (string domain, uint groups, digest)                               |
 * | 5    | list      | string domain, hash from, hash to, uint n, n * (hash, digest), in order of hashes          |
 * | 6    | want      | uint n, n * hash: tell me these groups' vectors                                            |
 * | 7    | vector    | group, byte flags, vector                                                                  |
 * | 8    | state     | group, byte whole, vector, uint n, n * actor frontier, uint time, bytes body               |
 * | 9    | ack       | string key, uint epoch, actor, uint seq, byte durable                                      |
 * | 10   | conflict  | group: this is its type here                                                               |
 * | 11   | fragment  | uint id, uint index, uint count, bytes                                                     |
 * | 12   | check     | string key, uint epoch, uint id, byte reply, digest, string hash (hexadecimal, or empty)   |
 * | 13   | presence  | string key, string origin, uint clock, bytes state (at most 4 KiB; empty: gone)            |
 *
 * group: string key, string type, uint epoch. hash: uint of 53 bits. digest: two uint32, little-endian.
 * Unknown kinds are skipped, so that a later minor version may add some.
 */
import { type Actor, Reader, SEQ_MAX, VersionVector, Writer, malformed } from "@coppice/crdt";
import type { Digest } from "@coppice/storage";

export const PROTOCOL_VERSION = 1;
const KEY_BYTES_MAX = 2048;
/** Bytes of one presence state. */
export const PRESENCE_BYTES_MAX = 4096;
const TYPE_NAME = /^[a-z0-9.-]{1,64}$/;

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
  readonly hears: readonly string[];
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

export interface Vector {
  readonly kind: "vector";
  readonly group: GroupRef;
  /** The receiver is asked for its own vector, whatever it finds. */
  readonly wantsReply: boolean;
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

export interface Ack {
  readonly kind: "ack";
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

export type Message =
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
  | Presence;

const KINDS = [
  "hello",
  "heartbeat",
  "events",
  "sums",
  "list",
  "want",
  "vector",
  "state",
  "ack",
  "conflict",
  "fragment",
  "check",
  "presence",
];
const REPAIRED = 1;
const WANTS_APPLIED = 2;
const WANTS_DURABLE = 4;
const HASH_MAX = 2 ** 53 - 1;

/** Encodes one message: `byte kind, body`. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new Writer(128);
  writer.byte(KINDS.indexOf(message.kind) + 1);
  writeBody(writer, message);
  return writer.take();
}

function writeBody(writer: Writer, message: Message): void {
  switch (message.kind) {
    case "hello":
      writer.uint(message.protocol);
      writer.byte(message.heard ? 1 : 0);
      writer.byte(message.domains === undefined ? 1 : 0);
      return writeStrings(writer, message.domains ?? []);
    case "heartbeat":
      writer.uint(Math.max(0, Math.floor(message.now)));
      return writeStrings(writer, message.hears);
    case "events":
      writeGroup(writer, message.group);
      writer.byte((message.repaired ? REPAIRED : 0) | wantsBits(message.wants));
      return writer.bytes(message.run);
    case "sums":
      writer.byte(message.isReply ? 1 : 0);
      writer.uint(message.sums.length);
      for (const { domain, groups, digest } of message.sums) {
        writer.string(domain);
        writer.uint(groups);
        writeDigest(writer, digest);
      }
      return;
    case "list":
      return writeList(writer, message);
    case "want":
      writer.uint(message.hashes.length);
      for (const hash of message.hashes) writer.uint(hash);
      return;
    case "vector":
      writeGroup(writer, message.group);
      writer.byte(message.wantsReply ? 1 : 0);
      return message.vector.encode(writer);
    case "state":
      return writeState(writer, message);
    case "ack":
      writer.string(message.key);
      writer.uint(message.epoch);
      writer.actor(message.actor);
      writer.uint(message.seq);
      return writer.byte(message.durable ? 1 : 0);
    case "conflict":
      return writeGroup(writer, message.group);
    case "check":
      return writeCheck(writer, message);
    case "presence":
      writer.string(message.key);
      writer.string(message.origin);
      writer.uint(message.clock);
      return writer.bytes(message.state);
    case "fragment":
      writer.uint(message.id);
      writer.uint(message.index);
      writer.uint(message.count);
      return writer.bytes(message.bytes);
  }
}

function writeCheck(writer: Writer, check: Check): void {
  writer.string(check.key);
  writer.uint(check.epoch);
  writer.uint(check.id);
  writer.byte(check.isReply ? 1 : 0);
  writeDigest(writer, check.digest);
  writer.string(check.hash);
}

function wantsBits(wants: Events["wants"]): number {
  if (wants === "nothing") return 0;
  return wants === "applied" ? WANTS_APPLIED : WANTS_DURABLE;
}

function writeStrings(writer: Writer, texts: readonly string[]): void {
  writer.uint(texts.length);
  for (const text of texts) writer.string(text);
}

function writeGroup(writer: Writer, group: GroupRef): void {
  writer.string(group.key);
  writer.string(group.type);
  writer.uint(group.epoch);
}

function writeDigest(writer: Writer, [high, low]: Digest): void {
  for (const lane of [high, low]) {
    for (let shift = 0; shift < 32; shift += 8) writer.byte((lane >>> shift) & 255);
  }
}

function writeList(writer: Writer, list: List): void {
  writer.string(list.domain);
  writer.uint(list.from);
  writer.uint(list.to);
  writer.uint(list.entries.length);
  for (const { hash, digest } of list.entries) {
    writer.uint(hash);
    writeDigest(writer, digest);
  }
}

function writeState(writer: Writer, state: State): void {
  writeGroup(writer, state.group);
  writer.byte(state.whole ? 1 : 0);
  state.vector.encode(writer);
  writer.uint(state.frontier.length);
  for (const actor of state.frontier) writer.actor(actor);
  writer.uint(state.time);
  writer.bytes(state.body);
}

/** Reads one message; undefined for a kind that this version does not know. Throws `CrdtError` `MALFORMED`. */
export function decodeMessage(bytes: Uint8Array): Message | undefined {
  const reader = new Reader(bytes);
  const message = readMessage(reader, KINDS[reader.byte() - 1]);
  if (message !== undefined) reader.done();
  return message;
}

function readMessage(reader: Reader, kind: string | undefined): Message | undefined {
  switch (kind) {
    case "hello":
      return readHello(reader);
    case "heartbeat":
      return { kind, now: reader.uint(), hears: readStrings(reader) };
    case "events":
      return readEvents(reader);
    case "sums":
      return { kind, isReply: readFlag(reader), sums: readMany(reader, 10, readSum) };
    case "list":
      return readList(reader);
    case "want":
      return { kind, hashes: readMany(reader, 1, readHash) };
    case "vector":
      return { kind, group: readGroup(reader), wantsReply: readFlag(reader), vector: VersionVector.decode(reader) };
    case "state":
      return readState(reader);
    case "ack":
      return readAck(reader);
    case "conflict":
      return { kind, group: readGroup(reader) };
    case "fragment":
      return readFragment(reader);
    case "check":
      return readCheck(reader);
    case "presence":
      return readPresence(reader);
    default:
      return undefined;
  }
}

function readHello(reader: Reader): Hello {
  const protocol = reader.uint();
  const heard = readFlag(reader);
  const all = readFlag(reader);
  const domains = readStrings(reader);
  return { kind: "hello", protocol, heard, domains: all ? undefined : domains };
}

function readEvents(reader: Reader): Events {
  const group = readGroup(reader);
  const flags = reader.byte();
  let wants: Events["wants"] = "nothing";
  if (flags & WANTS_APPLIED) wants = "applied";
  if (flags & WANTS_DURABLE) wants = "durable";
  return { kind: "events", group, repaired: (flags & REPAIRED) !== 0, wants, run: reader.bytes() };
}

function readSum(reader: Reader): DomainSum {
  return { domain: reader.string(), groups: reader.uint(), digest: readDigest(reader) };
}

function readList(reader: Reader): List {
  const domain = reader.string();
  const from = readHash(reader);
  const to = readHash(reader);
  let last = from - 1;
  const entries = readMany(reader, 9, () => {
    const hash = readHash(reader);
    if (hash <= last || hash > to) throw malformed("the hashes of a list are out of order");
    last = hash;
    return { hash, digest: readDigest(reader) };
  });
  return { kind: "list", domain, from, to, entries };
}

function readState(reader: Reader): State {
  const group = readGroup(reader);
  const whole = readFlag(reader);
  const vector = VersionVector.decode(reader);
  const frontier = readMany(reader, 16, () => reader.actor());
  for (const actor of frontier) if (vector.get(actor) === 0) throw malformed("a frontier beyond its vector");
  return { kind: "state", group, whole, vector, frontier, time: reader.uint(), body: reader.bytes() };
}

function readAck(reader: Reader): Ack {
  return {
    kind: "ack",
    key: reader.string(),
    epoch: reader.uint(),
    actor: reader.actor(),
    seq: reader.uintMax(SEQ_MAX, "a sequence number"),
    durable: readFlag(reader),
  };
}

function readFragment(reader: Reader): Fragment {
  const id = reader.uint();
  const index = reader.uint();
  const count = reader.uint();
  if (index >= count) throw malformed("a fragment beyond its message");
  return { kind: "fragment", id, index, count, bytes: reader.bytes() };
}

function readCheck(reader: Reader): Check {
  const [key, epoch, id] = [reader.string(), reader.uint(), reader.uint()];
  return {
    kind: "check",
    key,
    epoch,
    id,
    isReply: readFlag(reader),
    digest: readDigest(reader),
    hash: reader.string(),
  };
}

function readPresence(reader: Reader): Presence {
  const [key, origin, clock] = [reader.string(), reader.string(), reader.uint()];
  const state = reader.bytes();
  if (state.length > PRESENCE_BYTES_MAX) throw malformed(`a presence state of ${state.length} bytes`);
  return { kind: "presence", key, origin, clock, state };
}

function readMany<Item>(reader: Reader, bytesEach: number, read: (reader: Reader) => Item): Item[] {
  const items: Item[] = [];
  for (let left = reader.count(bytesEach); left > 0; left--) items.push(read(reader));
  return items;
}

function readStrings(reader: Reader): string[] {
  return readMany(reader, 1, () => reader.string());
}

function readFlag(reader: Reader): boolean {
  const byte = reader.byte();
  if (byte > 1) throw malformed("a flag is neither 0 nor 1");
  return byte === 1;
}

function readGroup(reader: Reader): GroupRef {
  const key = reader.string();
  const type = reader.string();
  if (key.length > KEY_BYTES_MAX) throw malformed("a group key is too long");
  if (!TYPE_NAME.test(type)) throw malformed("not a type name");
  return { key, type, epoch: reader.uintMax(SEQ_MAX, "an epoch") };
}

function readHash(reader: Reader): number {
  return reader.uintMax(HASH_MAX, "a hash");
}

function readDigest(reader: Reader): Digest {
  const bytes = reader.raw(8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return [view.getUint32(0, true), view.getUint32(4, true)];
}
