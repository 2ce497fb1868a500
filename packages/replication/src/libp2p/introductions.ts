/**
 * How members tell each other whom they admit, on `/coppice/introductions/1` streams. One message a stream:
 *
 * | from     | bytes                                                                                         |
 * |----------|-----------------------------------------------------------------------------------------------|
 * | member   | uint32, big-endian: how many bytes follow, at most 256 KiB                                      |
 * |          | uint n, n * (string peer, uint Unix milliseconds, byte removed, string label): the roll         |
 * |          | uint n, n * string peer: who is linked to it                                                    |
 * | receiver | 1: taken                                                                                        |
 *
 * A message is told soon after a link has come up or something in it has changed, and again until it was taken. The
 * connection has proven who says it, and only admitted peers are listened to.
 */
import { Reader, Writer, malformed } from "@coppice/crdt";
import type { Connection, Stream } from "@libp2p/interface";
import type { Libp2p } from "libp2p";
import type { PeerId } from "../transport.ts";
import { unref } from "#platform";
import { abortQuietly } from "./abort-quietly.ts";
import { ShortReader } from "./admission.ts";

export const INTRODUCTIONS_PROTOCOL = "/coppice/introductions/1";

/** Whom an invite has let in on whatever node, or who was removed again. */
export interface RollEntry {
  readonly peer: PeerId;
  /** When that was decided, in Unix milliseconds: the later decision counts, and of two at once the removal. */
  readonly at: number;
  readonly isRemoved: boolean;
  /** For people. */
  readonly label: string;
}

/** What a member tells. */
export interface Introductions {
  readonly roll: readonly RollEntry[];
  /** Who is linked to it. */
  readonly members: readonly PeerId[];
}

/** What members tell each other of admission, kept by the host. Calls never throw. */
export interface Roll {
  /** Whether a peer was removed: then a link in the last run does not admit it any more. */
  isRemoved(peer: PeerId): boolean;
  entries(): readonly RollEntry[];
  /** An admitted peer tells of others. */
  introduce(by: PeerId, told: Introductions): void;
  /** Which member told of a peer that is not admitted here all the same. */
  introducerOf(peer: PeerId): PeerId | undefined;
  /** Calls back whenever something counts that did not before; returns how to stop. */
  onChange(fn: () => void): () => void;
}

export interface IntroducerOptions {
  readonly self: PeerId;
  readonly roll: Roll;
  admits(peer: PeerId): boolean;
  /** The linked peers. */
  linked(): readonly PeerId[];
  /** Called first when the roll has changed. */
  rollChanged(): void;
}

const TAKEN = 1;
const LENGTH_BYTES = 4;
const MESSAGE_BYTES_MAX = 256 * 1024;
const ENTRIES_MAX = 2000;
const TEXT_LENGTH_MAX = 256;
const TELL_MS_MAX = 10_000;
/** Changes in so long are told together. */
const SETTLE_MS = 1000;
/** Messages taken from one peer in a minute; an honest one sends no more. */
const PER_MINUTE_MAX = 120;

/** Tells the linked peers, and listens to them. */
export class Introducer {
  readonly #options: IntroducerOptions;
  #node: Libp2p | undefined;
  #message: Uint8Array | undefined;
  /** What each linked peer was told last. */
  readonly #told = new Map<PeerId, Uint8Array>();
  /** Messages of each peer in this minute. */
  #counts = new Map<PeerId, number>();
  #countedAt = 0;
  readonly #stop: () => void;
  #settling: NodeJS.Timeout | undefined;

  constructor(options: IntroducerOptions) {
    this.#options = options;
    this.#stop = options.roll.onChange(() => {
      options.rollChanged();
      this.changed();
    });
  }

  async open(node: Libp2p): Promise<void> {
    this.#node = node;
    await node.handle(INTRODUCTIONS_PROTOCOL, (stream, connection) => void this.#receive(stream, connection), {
      maxInboundStreams: 1,
    });
  }

  close(): void {
    this.#stop();
    clearTimeout(this.#settling);
    this.#node = undefined;
  }

  /** The roll, or who is linked, has changed. */
  changed(): void {
    this.#message = undefined;
    const settled = (): void => {
      this.#settling = undefined;
      this.tell();
    };
    this.#settling ??= unref(setTimeout(settled, SETTLE_MS));
  }

  /** Tells whoever has not heard the latest. */
  tell(): void {
    const linked = this.#options.linked();
    for (const peer of this.#told.keys()) if (!linked.includes(peer)) this.#told.delete(peer);
    if (this.#node === undefined || linked.length === 0) return;
    this.#message ??= withLength(encodeIntroductions({ roll: this.#options.roll.entries(), members: linked }));
    for (const peer of linked) if (this.#told.get(peer) !== this.#message) void this.#tell(peer, this.#message);
  }

  async #tell(peer: PeerId, message: Uint8Array): Promise<void> {
    this.#told.set(peer, message);
    const connection = this.#node?.getConnections().find(({ remotePeer }) => remotePeer.toString() === peer);
    const signal = AbortSignal.timeout(TELL_MS_MAX);
    try {
      const stream = await connection?.newStream(INTRODUCTIONS_PROTOCOL, { signal });
      if (stream === undefined) throw new Error("there is no connection");
      const reader = new ShortReader(stream);
      stream.send(message);
      await reader.read(1, signal);
      await stream.close({ signal });
    } catch {
      // The next beat tries again; to ask one that does not speak the protocol costs a few bytes.
      if (this.#told.get(peer) === message) this.#told.delete(peer);
    }
  }

  async #receive(stream: Stream, connection: Connection): Promise<void> {
    const peer = connection.remotePeer.toString();
    // Listened to at once, or bytes are missed.
    const bytes = readMessage(stream);
    try {
      if (!this.#options.admits(peer) || !this.#isWithinRate(peer)) throw new Error("not now");
      const told = decodeIntroductions(await bytes);
      stream.send(Uint8Array.of(TAKEN));
      await stream.close({ signal: AbortSignal.timeout(TELL_MS_MAX) });
      const isOther = (named: PeerId): boolean => named !== this.#options.self && named !== peer;
      this.#options.roll.introduce(peer, {
        roll: told.roll.filter((entry) => isOther(entry.peer)),
        members: told.members.filter(isOther),
      });
    } catch (error) {
      bytes.catch(() => undefined);
      abortQuietly(stream, error instanceof Error ? error : new Error(String(error)));
    }
  }

  #isWithinRate(peer: PeerId): boolean {
    const now = performance.now();
    if (now - this.#countedAt > 60_000) {
      this.#countedAt = now;
      this.#counts = new Map();
    }
    const count = (this.#counts.get(peer) ?? 0) + 1;
    this.#counts.set(peer, count);
    return count <= PER_MINUTE_MAX;
  }
}

export function encodeIntroductions({ roll, members }: Introductions): Uint8Array {
  const writer = new Writer();
  writer.uint(roll.length);
  for (const { peer, at, isRemoved, label } of roll) {
    writer.string(peer);
    writer.uint(at);
    writer.byte(isRemoved ? 1 : 0);
    writer.string(label);
  }
  writer.uint(members.length);
  for (const member of members) writer.string(member);
  return writer.take();
}

/** Throws `MALFORMED` (`CrdtError`) for what is no message. */
export function decodeIntroductions(bytes: Uint8Array): Introductions {
  const reader = new Reader(bytes);
  const roll: RollEntry[] = [];
  for (let left = countOf(reader, 4); left > 0; left--) {
    const [peer, at, removed, label] = [textOf(reader), reader.uint(), reader.byte(), textOf(reader)];
    roll.push({ peer, at, isRemoved: removed !== 0, label });
  }
  const members: PeerId[] = [];
  for (let left = countOf(reader, 1); left > 0; left--) members.push(textOf(reader));
  reader.done();
  return { roll, members };
}

function countOf(reader: Reader, bytesEach: number): number {
  const count = reader.count(bytesEach);
  if (count > ENTRIES_MAX) throw malformed(`${count} entries`);
  return count;
}

function textOf(reader: Reader): string {
  const text = reader.string();
  if (text.length > TEXT_LENGTH_MAX) throw malformed("a text is too long");
  return text;
}

function withLength(bytes: Uint8Array): Uint8Array {
  const message = new Uint8Array(LENGTH_BYTES + bytes.length);
  new DataView(message.buffer).setUint32(0, bytes.length);
  message.set(bytes, LENGTH_BYTES);
  return message;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}

/** The message that a stream brings, without its length. */
function readMessage(stream: Stream): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let bytes = new Uint8Array(0);
    const fail = (reason: string): void => reject(new Error(reason));
    const timer = setTimeout(() => fail("it takes too long"), TELL_MS_MAX);
    stream.addEventListener("message", ({ data }) => {
      const chunk = data.subarray();
      if (bytes.length + chunk.length > LENGTH_BYTES + MESSAGE_BYTES_MAX) return fail("too many bytes");
      bytes = joined(bytes, chunk);
      if (bytes.length < LENGTH_BYTES) return;
      const length = new DataView(bytes.buffer).getUint32(0);
      if (length > MESSAGE_BYTES_MAX) return fail("too many bytes");
      if (bytes.length < LENGTH_BYTES + length) return;
      clearTimeout(timer);
      resolve(bytes.subarray(LENGTH_BYTES));
    });
    stream.addEventListener("close", () => {
      clearTimeout(timer);
      fail("the stream ended early");
    });
  });
}
