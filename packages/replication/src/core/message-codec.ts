/** The bytes of each message: the table stands at the head of `messages.ts`. */
import { ACTOR_BYTES, Reader, SEQ_MAX, VersionVector, Writer, malformed } from "@coppice/crdt";
import { type Digest, GROUP_KEY_BYTES_MAX } from "@coppice/storage";
import {
  type VectorIntent,
  type Ack,
  type Check,
  type DomainSum,
  type Events,
  type Fragment,
  type GroupRef,
  type Heartbeat,
  type Hello,
  type List,
  type Member,
  type Message,
  type PointMessage,
  type Broadcast,
  type Presence,
  type Sketch,
  type State,
  type Vector,
  BROADCAST_BYTES_MAX,
  PRESENCE_BYTES_MAX,
} from "./messages.ts";
import { CELL_WORDS, SKETCH_CELLS_MAX } from "./sketch.ts";

const KEY_BYTES_MAX = 2048;
const TYPE_NAME = /^[a-z0-9.-]{1,64}$/;
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
  "sketch",
  "more",
  "members",
  "point",
  "broadcast",
  "remind",
];
const INTENTS: readonly VectorIntent[] = ["ask", "answer", "tell"];
const REPAIRED = 1;
const WANTS_APPLIED = 2;
const WANTS_DURABLE = 4;
const HASH_MAX = 2 ** 32 - 1;

/** Bytes up to which the writer of one message serves for the next. */
const KEPT_BYTES_MAX = 64 * 1024;
let kept = new Writer(1024);

/** Encodes one message: `byte kind, body`. */
export function encodeMessage(message: Message): Uint8Array {
  const writer = kept;
  writer.reset();
  writer.byte(KINDS.indexOf(message.kind) + 1);
  writeBody(writer, message);
  if (writer.capacity > KEPT_BYTES_MAX) kept = new Writer(1024);
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
      writer.uint(message.hash);
      return writeStrings(writer, message.hears ?? []);
    case "events":
      writer.byte((message.repaired ? REPAIRED : 0) | wantsBits(message.wants));
      writeGroup(writer, message.group);
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
      return writeVector(writer, message);
    case "state":
      return writeState(writer, message);
    case "ack":
    case "remind":
      writer.string(message.key);
      writer.uint(message.epoch);
      writer.actor(message.actor);
      writer.uint(message.seq);
      return writer.byte(message.durable ? 1 : 0);
    case "conflict":
      return writeGroup(writer, message.group);
    case "check":
      return writeCheck(writer, message);
    case "sketch":
      return writeSketch(writer, message);
    case "more":
      writer.string(message.domain);
      writer.uint(message.version);
      writer.uint(message.from);
      return writer.uint(message.upto);
    case "members":
      return writeMembers(writer, message.members);
    case "point":
      return writePoint(writer, message);
    case "presence":
      return writeTold(writer, message, message.state);
    case "broadcast":
      return writeTold(writer, message, message.message);
    case "fragment":
      writer.uint(message.id);
      writer.uint(message.index);
      writer.uint(message.count);
      return writer.bytes(message.bytes);
  }
}

function writeTold(writer: Writer, { key, origin, clock }: Presence | Broadcast, bytes: Uint8Array): void {
  writer.string(key);
  writer.string(origin);
  writer.uint(clock);
  writer.bytes(bytes);
}

function writePoint(writer: Writer, { key, epoch, id, isReply, vector }: PointMessage): void {
  writer.string(key);
  writer.uint(epoch);
  writer.uint(id);
  writer.byte(isReply ? 1 : 0);
  vector.encode(writer);
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

function writeMembers(writer: Writer, members: readonly Member[]): void {
  writer.uint(members.length);
  for (const { peer, addresses, domains } of members) {
    writer.string(peer);
    writeStrings(writer, addresses);
    writeStrings(writer, domains);
  }
}

function writeStrings(writer: Writer, texts: readonly string[]): void {
  writer.uint(texts.length);
  for (const text of texts) writer.string(text);
}

function writeGroup(writer: Writer, group: GroupRef): void {
  writer.string(group.type);
  writer.uint(group.epoch);
  writer.string(group.key);
}

function writeVector(writer: Writer, { group, intent, vector }: Vector): void {
  const entries = [...vector].filter(([, seq]) => seq > 0).sort(([a], [b]) => (a < b ? -1 : 1));
  writer.uint(entries.length);
  for (const [actor] of entries) writer.actor(actor);
  writeGroup(writer, group);
  for (const [, seq] of entries) writer.uint(seq);
  writer.byte(INTENTS.indexOf(intent));
}

function writeDigest(writer: Writer, [high, low]: Digest): void {
  writeWord(writer, high);
  writeWord(writer, low);
}

function writeWord(writer: Writer, word: number): void {
  for (let shift = 0; shift < 32; shift += 8) writer.byte((word >>> shift) & 255);
}

function writeSketch(writer: Writer, { domain, version, from, cells }: Sketch): void {
  writer.string(domain);
  writer.uint(version);
  writer.uint(from);
  writer.uint(cells.length / CELL_WORDS);
  for (const word of cells) writeWord(writer, word);
}

function writeList(writer: Writer, list: List): void {
  writer.string(list.domain);
  writer.uint(list.from);
  writer.uint(list.to);
  writer.uint(list.entries.length);
  let last = list.from - 1;
  for (const { hash, digest } of list.entries) {
    writer.uint(hash - last - 1);
    writeDigest(writer, digest);
    last = hash;
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
      return readHeartbeat(reader);
    case "events":
      return readEvents(reader);
    case "sums":
      return { kind, isReply: readFlag(reader), sums: readMany(reader, 10, readSum) };
    case "list":
      return readList(reader);
    case "want":
      return { kind, hashes: readMany(reader, 1, readHash) };
    case "vector":
      return readVector(reader);
    case "state":
      return readState(reader);
    case "ack":
    case "remind":
      return readAck(reader, kind);
    case "conflict":
      return { kind, group: readGroup(reader) };
    case "fragment":
      return readFragment(reader);
    case "check":
      return readCheck(reader);
    case "presence":
      return readPresence(reader);
    case "broadcast":
      return readBroadcast(reader);
    case "point":
      return readPoint(reader);
    case "sketch":
      return readSketch(reader);
    case "more":
      return { kind, domain: readDomain(reader), version: reader.uint(), from: reader.uint(), upto: reader.uint() };
    case "members":
      return { kind, members: readMany(reader, 3, readMember) };
    default:
      return undefined;
  }
}

function readHeartbeat(reader: Reader): Heartbeat {
  const [now, hash, hears] = [reader.uint(), readHash(reader), readStrings(reader)];
  return { kind: "heartbeat", now, hash, hears: hears.length === 0 ? undefined : hears };
}

function readMember(reader: Reader): Member {
  return { peer: reader.string(), addresses: readStrings(reader), domains: readStrings(reader) };
}

function readHello(reader: Reader): Hello {
  const protocol = reader.uint();
  const heard = readFlag(reader);
  const all = readFlag(reader);
  const domains = readStrings(reader);
  return { kind: "hello", protocol, heard, domains: all ? undefined : domains };
}

function readEvents(reader: Reader): Events {
  const flags = reader.byte();
  const group = readGroup(reader);
  let wants: Events["wants"] = "nothing";
  if (flags & WANTS_APPLIED) wants = "applied";
  if (flags & WANTS_DURABLE) wants = "durable";
  return { kind: "events", group, repaired: (flags & REPAIRED) !== 0, wants, run: reader.bytes() };
}

function readSum(reader: Reader): DomainSum {
  return { domain: readDomain(reader), groups: reader.uint(), digest: readDigest(reader) };
}

function readList(reader: Reader): List {
  const domain = readDomain(reader);
  const from = readHash(reader);
  const to = readHash(reader);
  let last = from - 1;
  const entries = readMany(reader, 9, () => {
    const hash = last + 1 + readHash(reader);
    if (hash > to) throw malformed("a list has a hash beyond its page");
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

function readAck(reader: Reader, kind: Ack["kind"]): Ack {
  return {
    kind,
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

function readPoint(reader: Reader): PointMessage {
  const key = reader.string();
  if (key.length > KEY_BYTES_MAX) throw malformed("a group key is too long");
  const epoch = reader.uintMax(SEQ_MAX, "an epoch");
  const id = reader.uint();
  const isReply = readFlag(reader);
  return { kind: "point", key, epoch, id, isReply, vector: VersionVector.decode(reader) };
}

function readPresence(reader: Reader): Presence {
  const [key, origin, clock] = [reader.string(), reader.string(), reader.uint()];
  const state = reader.bytes();
  if (state.length > PRESENCE_BYTES_MAX) throw malformed(`a presence state of ${state.length} bytes`);
  return { kind: "presence", key, origin, clock, state };
}

function readBroadcast(reader: Reader): Broadcast {
  const [key, origin, clock] = [reader.string(), reader.string(), reader.uint()];
  const message = reader.bytes();
  if (message.length > BROADCAST_BYTES_MAX) throw malformed(`a broadcast of ${message.length} bytes`);
  return { kind: "broadcast", key, origin, clock, message };
}

function readMany<Item>(reader: Reader, bytesEach: number, read: (reader: Reader) => Item): Item[] {
  const items: Item[] = [];
  for (let left = reader.count(bytesEach); left > 0; left--) items.push(read(reader));
  return items;
}

function readStrings(reader: Reader): string[] {
  return readMany(reader, 1, () => reader.string());
}

/** A domain stands in the keys of its groups, so it is no longer than they may be. */
function readDomain(reader: Reader): string {
  const domain = reader.string();
  if (domain.length > GROUP_KEY_BYTES_MAX) throw malformed("the name of a domain is too long");
  return domain;
}

function readFlag(reader: Reader): boolean {
  const byte = reader.byte();
  if (byte > 1) throw malformed("a flag is neither 0 nor 1");
  return byte === 1;
}

function readIntent(reader: Reader): VectorIntent {
  const intent = INTENTS[reader.byte()];
  if (intent === undefined) throw malformed("a vector without a known intent");
  return intent;
}

function readGroup(reader: Reader): GroupRef {
  const type = reader.string();
  if (!TYPE_NAME.test(type)) throw malformed("not a type name");
  const epoch = reader.uintMax(SEQ_MAX, "an epoch");
  const key = reader.string();
  if (key.length > KEY_BYTES_MAX) throw malformed("a group key is too long");
  return { key, type, epoch };
}

function readVector(reader: Reader): Vector {
  const actors = readMany(reader, ACTOR_BYTES, () => reader.actor());
  const group = readGroup(reader);
  const vector = new VersionVector();
  let last = "";
  for (const actor of actors) {
    const seq = reader.uintMax(SEQ_MAX, "a sequence number");
    if (actor <= last || seq === 0) throw malformed("the entries of a version vector are out of order");
    last = actor;
    vector.set(actor, seq);
  }
  return { kind: "vector", group, intent: readIntent(reader), vector };
}

function readHash(reader: Reader): number {
  return reader.uintMax(HASH_MAX, "a hash");
}

function readDigest(reader: Reader): Digest {
  return [readWord(reader), readWord(reader)];
}

function readWord(reader: Reader): number {
  const [a = 0, b = 0, c = 0, d = 0] = reader.raw(4);
  return (a | (b << 8) | (c << 16) | (d << 24)) >>> 0;
}

function readSketch(reader: Reader): Sketch {
  const [domain, version, from] = [readDomain(reader), reader.uint(), reader.uint()];
  const count = reader.count(4 * CELL_WORDS);
  if (from + count > SKETCH_CELLS_MAX) throw malformed("a sketch of too many cells");
  const cells = Uint32Array.from({ length: count * CELL_WORDS }, () => readWord(reader));
  return { kind: "sketch", domain, version, from, cells };
}
