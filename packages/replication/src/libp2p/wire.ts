/**
 * What travels on a `/coppice/replication/1` stream: frames, each a header of four bytes and a body.
 *
 * | header  | bytes | meaning                       |
 * |---------|-------|-------------------------------|
 * | type    | 1     | see below                     |
 * | length  | 3     | of the body, big-endian       |
 *
 * | type      | body                                                   | limit in bytes |
 * |-----------|--------------------------------------------------------|----------------|
 * | 1 HELLO   | "COPI", version u8, incarnation 8, address count u8,   | 8 192          |
 * |           | then for each address its length u16 and its UTF-8     |                |
 * | 2 ACCEPT  | number of the decision u32: this stream is the link    | 4              |
 * | 3 REJECT  | reason u8: this stream will not be the link            | 1              |
 * | 4 DATA    | one frame of the transport's user                      | 262 144        |
 * | 5 PROBE   | empty; asks for an ALIVE                               | 0              |
 * | 6 ALIVE   | empty; the answer to a probe, or a sign of life        | 0              |
 * | 7 BYE     | reason u8: the link ends here                          | 1              |
 *
 * Numbers are big-endian. Each side opens with HELLO. The side with the smaller peer id then sends ACCEPT or REJECT;
 * only after ACCEPT may DATA follow. The other side may send REJECT too. A frame over its type's limit, an unknown
 * type or a body that does not parse resets the stream. A change that older nodes cannot read takes a new version
 * and a new protocol name.
 */
import { allocate } from "#platform";
import { FRAME_BYTES_MAX } from "../transport.ts";

/** The libp2p protocol that this file describes. */
export const PROTOCOL = "/coppice/replication/1";

export const HEADER_BYTES = 4;

export const FrameType = { hello: 1, accept: 2, reject: 3, data: 4, probe: 5, alive: 6, bye: 7 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** Why a stream will not be the link. */
export const RejectReason = { duplicateLink: 1, duplicateIdentity: 2, version: 3 } as const;

/** Why a link ends. */
export const ByeReason = { closed: 1, otherIncarnation: 2 } as const;

const BODY_BYTES_MAX: ReadonlyMap<number, number> = new Map([
  [FrameType.hello, 8_192],
  [FrameType.accept, 4],
  [FrameType.reject, 1],
  [FrameType.data, FRAME_BYTES_MAX],
  [FrameType.probe, 0],
  [FrameType.alive, 0],
  [FrameType.bye, 1],
]);

const MAGIC = "COPI";
const VERSION = 1;
/** Magic, version, incarnation, and how many addresses follow. */
const HELLO_HEAD_BYTES = 14;
const ADDRESSES_MAX = 16;
const ADDRESS_BYTES_MAX = 480;

/** The peer does not keep to the format above. */
export class WireError extends Error {
  override readonly name = "WireError";
}

export interface Frame {
  readonly type: FrameType;
  readonly body: Uint8Array;
}

export interface Hello {
  /** Undefined if the other side speaks a version that this one does not; nothing else is known then. */
  readonly incarnation: string | undefined;
  readonly addresses: readonly string[];
}

/** Leaves out addresses beyond what fits. */
export function encodeHello(incarnation: string, addresses: readonly string[]): Uint8Array {
  const encoder = new TextEncoder();
  const texts = addresses
    .map((address) => encoder.encode(address))
    .filter((text) => text.length <= ADDRESS_BYTES_MAX)
    .slice(0, ADDRESSES_MAX);
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 2 + text.length, HELLO_HEAD_BYTES));
  encoder.encodeInto(MAGIC, bytes);
  bytes[4] = VERSION;
  for (let index = 0; index < 8; index++) {
    bytes[5 + index] = Number.parseInt(incarnation.slice(2 * index, 2 * index + 2), 16);
  }
  bytes[13] = texts.length;
  let offset = HELLO_HEAD_BYTES;
  for (const text of texts) {
    bytes.set([text.length >> 8, text.length & 0xff], offset);
    bytes.set(text, offset + 2);
    offset += 2 + text.length;
  }
  return bytes;
}

/** Throws {@link WireError}. */
export function decodeHello(bytes: Uint8Array): Hello {
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (bytes.length < 5 || magic !== MAGIC) throw new WireError("a hello without its magic");
  if (bytes[4] !== VERSION) return { incarnation: undefined, addresses: [] };
  const count = bytes[13];
  if (count === undefined || count > ADDRESSES_MAX) throw new WireError("a hello with a bad number of addresses");
  const addresses: string[] = [];
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let offset = HELLO_HEAD_BYTES;
  for (let index = 0; index < count; index++) {
    if (offset + 2 > bytes.length) throw new WireError("a hello that ends within an address");
    const length = view.getUint16(offset);
    offset += 2;
    if (length > ADDRESS_BYTES_MAX || offset + length > bytes.length) throw new WireError("a hello with a bad address");
    addresses.push(decoder.decode(bytes.subarray(offset, offset + length)));
    offset += length;
  }
  if (offset !== bytes.length) throw new WireError("a hello with bytes left over");
  const incarnation = Array.from(bytes.subarray(5, 13), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { incarnation, addresses };
}

export function encodeDecision(decision: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, decision);
  return bytes;
}

/** Throws {@link WireError}. */
export function decodeDecision(body: Uint8Array): number {
  if (body.length !== 4) throw new WireError("an acceptance without its number");
  return new DataView(body.buffer, body.byteOffset, 4).getUint32(0);
}

/** One buffer with headers and bodies of all frames. */
export function encodeFrames(frames: readonly Frame[], bytes: number): Uint8Array {
  const batch = allocate(bytes);
  let offset = 0;
  for (const { type, body } of frames) {
    batch[offset] = type;
    batch[offset + 1] = body.length >> 16;
    batch[offset + 2] = body.length >> 8;
    batch[offset + 3] = body.length;
    batch.set(body, offset + HEADER_BYTES);
    offset += HEADER_BYTES + body.length;
  }
  return batch;
}

/** Cuts a stream of bytes into frames; their bodies are copies of their own. */
export class FrameReader {
  #chunks: Uint8Array[] = [];
  #chunkIndex = 0;
  /** Within the first chunk. */
  #offset = 0;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  #body: Uint8Array | undefined;
  #bodyFilled = 0;

  push(chunk: Uint8Array): void {
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /** The next whole frame, or undefined until more is pushed. Throws {@link WireError} before allocating too much. */
  next(): Frame | undefined {
    for (;;) {
      if (this.#headerFilled === HEADER_BYTES) {
        this.#body ??= new Uint8Array(this.#checkedLength());
        if (this.#bodyFilled === this.#body.length) return this.#finish(this.#body);
      }
      const chunk = this.#chunks[this.#chunkIndex];
      if (chunk === undefined) {
        this.#chunks = [];
        this.#chunkIndex = 0;
        return undefined;
      }
      if (this.#body === undefined) this.#fillHeader(chunk);
      else this.#fillBody(chunk, this.#body);
      if (this.#offset === chunk.length) {
        this.#chunkIndex++;
        this.#offset = 0;
      }
    }
  }

  #fillHeader(chunk: Uint8Array): void {
    while (this.#headerFilled < HEADER_BYTES && this.#offset < chunk.length) {
      this.#header[this.#headerFilled++] = chunk[this.#offset++] ?? 0;
    }
  }

  #fillBody(chunk: Uint8Array, body: Uint8Array): void {
    const count = Math.min(body.length - this.#bodyFilled, chunk.length - this.#offset);
    body.set(chunk.subarray(this.#offset, this.#offset + count), this.#bodyFilled);
    this.#bodyFilled += count;
    this.#offset += count;
  }

  #checkedLength(): number {
    const [type = 0, high = 0, middle = 0, low = 0] = this.#header;
    const length = (high << 16) | (middle << 8) | low;
    const max = BODY_BYTES_MAX.get(type);
    if (max === undefined) throw new WireError(`a frame of unknown type ${type}`);
    if (length > max) throw new WireError(`a frame of type ${type} with ${length} bytes, over ${max}`);
    return length;
  }

  #finish(body: Uint8Array): Frame {
    this.#headerFilled = 0;
    this.#body = undefined;
    this.#bodyFilled = 0;
    return { type: (this.#header[0] ?? 0) as FrameType, body };
  }
}
