/**
 * Bodies of records, compressed when that pays.
 *
 * | field   | bytes                                                        |
 * |---------|--------------------------------------------------------------|
 * | codec   | 1: 0 none, 1 raw deflate (RFC 1951), 2 zstd (RFC 8878)       |
 * | length  | uint, of the body before compression; absent with codec 0    |
 * | body    | all that is left                                             |
 */
import type { Reader, Writer } from "@coppice/crdt";
import { CODEC_DEFLATE, CODEC_NONE, CODEC_ZSTD, type Codec, compress, decompress, supportsCodec } from "#platform";
import { StorageError } from "./error.ts";

/** Bodies below this are stored as they are. */
export const COMPRESS_BYTES_MIN = 1024;
/** A body is stored compressed only when that saves at least one part in so many. */
const SAVING_MIN = 8;

/** How to store bodies; "auto" is zstd where the runtime has it, else deflate. */
export type Compression = "auto" | "none" | "deflate" | "zstd";

export interface PackedBody {
  readonly codec: Codec;
  readonly length: number;
  readonly bytes: Uint8Array;
}

/** The codec for an option. Throws `INVALID_OPTIONS` for one that this runtime lacks. */
export function codecOf(compression: Compression): Codec {
  const codecs = { auto: supportsCodec(CODEC_ZSTD) ? CODEC_ZSTD : CODEC_DEFLATE, none: CODEC_NONE } as const;
  const codec = { ...codecs, deflate: CODEC_DEFLATE, zstd: CODEC_ZSTD }[compression] as Codec | undefined;
  if (codec === undefined || !supportsCodec(codec)) {
    throw new StorageError("INVALID_OPTIONS", `this runtime has no compression ${JSON.stringify(compression)}`);
  }
  return codec;
}

/** Compresses `bytes`, unless they are few or it saves little. */
export function packBody(bytes: Uint8Array, codec: Codec): PackedBody | Promise<PackedBody> {
  // Most bodies are small, and a promise for each would cost more than storing it.
  if (codec === CODEC_NONE || bytes.length < COMPRESS_BYTES_MIN) {
    return { codec: CODEC_NONE, length: bytes.length, bytes };
  }
  return packLarge(bytes, codec);
}

async function packLarge(bytes: Uint8Array, codec: Codec): Promise<PackedBody> {
  const smaller = await compress(codec, bytes);
  const pays = smaller.length <= bytes.length - bytes.length / SAVING_MIN;
  return pays ? { codec, length: bytes.length, bytes: smaller } : { codec: CODEC_NONE, length: bytes.length, bytes };
}

/** How many bytes {@link writePackedBody} writes. */
export function packedBytes({ codec, length, bytes }: PackedBody): number {
  return 1 + (codec === CODEC_NONE ? 0 : uintBytes(length)) + bytes.length;
}

function uintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) count++;
  return count;
}

export function writePackedBody(writer: Writer, body: PackedBody): void {
  writer.byte(body.codec);
  if (body.codec !== CODEC_NONE) writer.uint(body.length);
  writer.raw(body.bytes);
}

/** Reads up to the end of `reader`. Throws `UNSUPPORTED_FORMAT` for a codec that this runtime lacks. */
export function readPackedBody(reader: Reader): PackedBody {
  const codec = reader.byte();
  if (!supportsCodec(codec)) {
    const advice = codec === CODEC_ZSTD ? "zstd needs a newer Node.js" : "it was written by a newer version";
    throw new StorageError("UNSUPPORTED_FORMAT", `unknown compression ${codec}: ${advice}`);
  }
  const length = codec === CODEC_NONE ? reader.left : reader.uint();
  return { codec: codec as Codec, length, bytes: reader.raw(reader.left) };
}

/** Throws `CORRUPT` for anything that {@link packBody} did not make. */
export async function unpackBody(body: PackedBody): Promise<Uint8Array> {
  if (body.codec === CODEC_NONE) return body.bytes;
  try {
    const bytes = await decompress(body.codec, body.bytes, body.length);
    if (bytes.length === body.length) return bytes;
  } catch (cause) {
    throw new StorageError("CORRUPT", "the body cannot be decompressed", { cause });
  }
  throw new StorageError("CORRUPT", `the body has not the ${body.length} bytes it should have`);
}
