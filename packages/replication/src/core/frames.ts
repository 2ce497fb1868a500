/**
 * Frames: `byte 1`, then messages, each `uint length, byte kind, body` (`messages.ts`). A message that does not fit into a
 * frame travels as fragments.
 */
import { Reader, Writer, malformed } from "@coppice/crdt";
import { FRAME_BYTES_MAX } from "../transport.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Fragment } from "./messages.ts";

const FRAME_FORMAT = 1;
/** Bytes of the frame and message headers around one message. */
const FRAME_OVERHEAD = 8;
/** Bytes of the headers around one fragment, at most. */
const FRAGMENT_OVERHEAD = 64;

/** Packs encoded messages into frames, cutting those that do not fit into fragments. */
export function packFrames(messages: readonly Uint8Array[], nextFragmentId: () => number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const writer = new Writer(1024);
  const room = FRAME_BYTES_MAX - FRAME_OVERHEAD;
  const add = (message: Uint8Array): void => {
    if (writer.length > 0 && writer.length + message.length > room) {
      frames.push(writer.take());
      writer.reset();
    }
    if (writer.length === 0) writer.byte(FRAME_FORMAT);
    writer.bytes(message);
  };
  for (const message of messages) {
    if (message.length <= room) add(message);
    else for (const fragment of fragments(message, nextFragmentId())) add(fragment);
  }
  if (writer.length > 0) frames.push(writer.take());
  return frames;
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
  while (reader.left > 0) messages.push(reader.bytes());
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
