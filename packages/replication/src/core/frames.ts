/**
 * Frames: `byte 1`, then messages, each `byte kind, byte n, uint length, rest`: the message begins as the last one of its
 * kind in this frame does, with n bytes behind the kind, and goes on with the rest (front coding: what is said of one group
 * after another begins alike). A message that does not fit into a frame travels as fragments.
 */
import { Reader, Writer, malformed } from "@coppice/crdt";
import { FRAME_BYTES_MAX } from "../transport.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Fragment } from "./messages.ts";

const FRAME_FORMAT = 1;
/** Bytes after which no other message goes into a frame: a receiver reads one as a whole, and very many small ones take long. */
const PACKED_BYTES_MAX = 16 * 1024;
/** Bytes of the frame and message headers around one message. */
const FRAME_OVERHEAD = 8;
/** Bytes of the headers around one fragment, at most. */
const FRAGMENT_OVERHEAD = 64;
/** A message may have a fragment for each so many bytes that it may have: each takes memory, however little is in it. */
const FRAGMENT_BYTES_MIN = 1024;
/** Bytes that a message can share with the one before it: also bounds what a frame can unpack to. */
const SHARED_BYTES_MAX = 255;
/** Sharing fewer than these saves less than copying them costs. */
const SHARED_BYTES_MIN = 4;

/** Used again for each frame, and no longer than one. */
const writer = new Writer(1024);

/** Packs encoded messages into frames, cutting those that do not fit into fragments. */
export function packFrames(messages: readonly Uint8Array[], nextFragmentId: () => number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  writer.reset();
  const room = FRAME_BYTES_MAX - FRAME_OVERHEAD;
  let formers: (Uint8Array | undefined)[] = [];
  const add = (message: Uint8Array): void => {
    if (writer.length > 0 && writer.length + message.length > PACKED_BYTES_MAX) {
      frames.push(writer.take());
      writer.reset();
      formers = [];
    }
    if (writer.length === 0) writer.byte(FRAME_FORMAT);
    const kind = message[0] as number;
    const shared = sharedBytes(formers[kind], message);
    writer.byte(kind);
    writer.byte(shared);
    writer.bytes(message.subarray(1 + shared));
    formers[kind] = message;
  };
  for (const message of messages) {
    if (message.length <= room) add(message);
    else for (const fragment of fragments(message, nextFragmentId())) add(fragment);
  }
  if (writer.length > 0) frames.push(writer.take());
  return frames;
}

/** How many bytes behind their kind two messages share, as far as that is worth while. */
function sharedBytes(former: Uint8Array | undefined, message: Uint8Array): number {
  if (former === undefined) return 0;
  const end = Math.min(former.length, message.length, 1 + SHARED_BYTES_MAX);
  let at = 1;
  while (at < end && former[at] === message[at]) at++;
  return at <= SHARED_BYTES_MIN ? 0 : at - 1;
}

function fragments(message: Uint8Array, id: number): Uint8Array[] {
  const size = FRAME_BYTES_MAX - FRAGMENT_OVERHEAD;
  const count = Math.ceil(message.length / size);
  return Array.from({ length: count }, (_, index) =>
    encodeMessage({ kind: "fragment", id, index, count, bytes: message.subarray(index * size, (index + 1) * size) }),
  );
}

/** The messages of a frame, still encoded. Throws `CrdtError` `MALFORMED`. */
export function unpackFrame(frame: Uint8Array): Uint8Array[] {
  const reader = new Reader(frame);
  if (reader.byte() !== FRAME_FORMAT) throw malformed("not a frame of protocol 1");
  const messages: Uint8Array[] = [];
  const formers: (Uint8Array | undefined)[] = [];
  while (reader.left > 0) {
    const kind = reader.byte();
    const shared = reader.byte();
    const rest = reader.bytes();
    const former = formers[kind];
    if (shared > 0 && (former === undefined || former.length <= shared)) {
      throw malformed("a message begins with more than the last one of its kind has");
    }
    const message = new Uint8Array(1 + shared + rest.length);
    message[0] = kind;
    if (former !== undefined) message.set(former.subarray(1, 1 + shared), 1);
    message.set(rest, 1 + shared);
    formers[kind] = message;
    messages.push(message);
  }
  return messages;
}

/** Puts one peer's fragments together again, one message at a time, under a byte limit. */
export class Reassembly {
  readonly #bytesMax: number;
  #id = -1;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The whole message once its last fragment is here. A hole drops it: anti-entropy sends it again. */
  add(fragment: Fragment): Uint8Array | undefined {
    const countMax = Math.ceil(this.#bytesMax / FRAGMENT_BYTES_MIN);
    if (fragment.count > countMax)
      throw malformed(`a message of ${fragment.count} fragments, for ${this.#bytesMax} bytes at most`);
    if (fragment.index === 0) {
      this.#id = fragment.id;
      this.#parts = [];
      this.#bytes = 0;
    }
    if (fragment.id !== this.#id || fragment.index !== this.#parts.length) return undefined;
    this.#bytes += fragment.bytes.length;
    if (this.#bytes > this.#bytesMax) throw malformed(`a message of more than ${this.#bytesMax} bytes`);
    this.#parts.push(fragment.bytes);
    if (this.#parts.length < fragment.count) return undefined;
    const whole = new Writer(this.#bytes);
    for (const part of this.#parts) whole.raw(part);
    this.#parts = [];
    this.#id = -1;
    return whole.take();
  }
}
