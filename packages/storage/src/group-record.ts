/**
 * A group's record: its catalogue row and its snapshot in one. Every group has two, in the slots 0 and 1 (the value
 * under `c` + group key + slot). The snapshot of generation n is in slot n mod 2, so that writing one replaces the older
 * of the two and leaves the newer one alone.
 *
 * | field      | bytes                                                                                   |
 * |------------|-----------------------------------------------------------------------------------------|
 * | version    | 1: 1                                                                                    |
 * | flags      | 1: bit 0 degraded, bit 1 the body lies apart                                            |
 * | epoch      | 4                                                                                       |
 * | generation | 4: number of the snapshot within its epoch, from 1 on; 0: there is none, and no body    |
 * | sequence   | 6: number of the first journal record at or behind the position                         |
 * | taken at   | 6: Unix ms                                                                              |
 * | position   | uint: events of the journal that the body holds                                         |
 * | facts      | see group-meta.ts                                                                       |
 * | body       | bytes of packed body (packed-body.ts), none with generation 0; apart: uint, the bytes   |
 * |            | of the record there                                                                     |
 * | history    | see group-meta.ts                                                                       |
 * | seal       | 4: CRC-32 over group key, then these bytes; see sealed.ts                               |
 *
 * Numbers of fixed width are little-endian. A body of more than {@link INLINE_BYTES_MAX} bytes lies apart, so that
 * listing groups does not read it: in the same record once more, with its body, under `s` + group key + uint(epoch) +
 * slot; the seal of that one is over `s`, group key, then its bytes. Later versions keep version and seal where they are.
 */
import { type Actor, type HybridTime, Reader, VersionVector } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import { decodeGroupKey, type GroupId } from "./group-id.ts";
import { type History, type Meta, readFacts, readHistory, writeFacts, writeHistory } from "./group-meta.ts";
import type { CatalogueRow, Digest, GroupSnapshot } from "./group-storage.ts";
import { type PackedBody, packedBytes, readPackedBody, writePackedBody } from "./packed-body.ts";
import { decodeSealed, isSealed, NO_SEAL, placeSeed, recordWriter, SEAL_BYTES, writeSeal } from "./sealed.ts";
import type { Slot } from "./store-keys.ts";

/** Packed bodies of more bytes than this lie apart. */
export const INLINE_BYTES_MAX = 512;
/** Highest epoch, and highest generation. */
export const EPOCH_MAX: number = 2 ** 32 - 1;

const VERSION = 1;
const DEGRADED = 1;
const APART = 2;
const EPOCH_AT = 2;
const GENERATION_AT = 6;
const SEQ_AT = 10;
const TAKEN_AT = 16;
const HEAD_BYTES = 22;
const RECORD_BYTES_MIN = HEAD_BYTES + 14 + SEAL_BYTES;

/** A point in a group's journal at which a snapshot was taken. */
export interface Mark {
  /** Number of the snapshot within its epoch, from 1 on; 0 where there is none. */
  readonly generation: number;
  readonly position: number;
  readonly seq: number;
  readonly isApart: boolean;
}

/** What of a record is known only when it is written. */
export interface RecordHead {
  readonly generation: number;
  readonly seq: number;
  readonly takenAt: number;
  readonly isDegraded: boolean;
}

/** Generation, sequence and time, while they are not known. */
const OPEN = new Uint8Array(HEAD_BYTES - GENERATION_AT);
const NO_VECTOR = new VersionVector();
const NO_DIGEST: Digest = [0, 0];
const NO_ACTORS: readonly Actor[] = [];

/** Bytes of a record beside its body and its vector; more only makes the buffer grow. */
const RECORD_BYTES = 128;
const VECTOR_ENTRY_BYTES = 40;

/** A record for {@link finishRecord} to finish. `body`: its packed bytes, or how many bytes lie apart. */
export function draftRecord(
  place: { readonly epoch: number; readonly position: number },
  meta: Meta,
  body: PackedBody | number | undefined,
): Uint8Array {
  const bodyBytes = typeof body === "object" ? body.bytes.length : 0;
  const writer = recordWriter(RECORD_BYTES + VECTOR_ENTRY_BYTES * meta.vector.size + bodyBytes);
  const start = writer.length;
  writer.byte(VERSION);
  writer.byte(typeof body === "number" ? APART : 0);
  writer.uint32(place.epoch);
  writer.raw(OPEN);
  writer.uint(place.position);
  writeFacts(writer, meta);
  if (typeof body === "number" || body === undefined) writer.uint(body ?? 0);
  else {
    writer.uint(packedBytes(body));
    writePackedBody(writer, body);
  }
  writeHistory(writer, meta);
  writer.uint32(NO_SEAL);
  return writer.peek(start);
}

/** Fills in what was left open, and seals the record. */
export function finishRecord(record: Uint8Array, fields: RecordHead, seed: number): void {
  record[1] = ((record[1] as number) & APART) | (fields.isDegraded ? DEGRADED : 0);
  putUint32(record, GENERATION_AT, fields.generation);
  putUint48(record, SEQ_AT, fields.seq);
  putUint48(record, TAKEN_AT, fields.takenAt);
  writeSeal(record, seed);
}

/** The record of a group of which no snapshot is known: without a body, its journal begins at `seq`. */
export function emptyRecord(
  seed: number,
  about: { readonly epoch: number; readonly type: string; readonly time: HybridTime },
  journal: { readonly seq: number; readonly isDegraded: boolean },
): Uint8Array {
  // Its digest is no group's, so peers send all they have.
  const meta = { type: about.type, time: about.time, digest: NO_DIGEST, vector: NO_VECTOR, frontier: NO_ACTORS };
  const record = draftRecord({ epoch: about.epoch, position: 0 }, meta, undefined);
  finishRecord(record, { generation: 0, seq: journal.seq, takenAt: 0, isDegraded: journal.isDegraded }, seed);
  return record;
}

/** A copy of a record with another flag. */
export function withDegraded(record: Uint8Array, key: string, isDegraded: boolean): Uint8Array {
  const copy = Uint8Array.from(record);
  copy[1] = ((copy[1] as number) & APART) | (isDegraded ? DEGRADED : 0);
  writeSeal(copy, recordSeed(key));
  return copy;
}

/** The record for a snapshot that lies apart. */
export function recordOfApart(apart: GroupRecord): GroupRecord {
  const { key, bytes, epoch, journalPosition: position, generation, snapshotAt: takenAt } = apart;
  const record = draftRecord({ epoch, position }, apart, bytes.length);
  finishRecord(record, { generation, seq: apart.seq, takenAt, isDegraded: false }, recordSeed(key));
  return new GroupRecord(key, record);
}

/** Throws `CORRUPT` for what is not whole or not in its place, `UNSUPPORTED_FORMAT` for what is of a newer version. */
export function decodeRecord(bytes: Uint8Array, key: string, slot: Slot): GroupRecord {
  const fault = recordFault(bytes, slot, recordSeed(key));
  if (fault !== undefined) throw new StorageError("CORRUPT", fault);
  return decodeSealed(() => new GroupRecord(key, bytes));
}

/** The same for a record with a body that lies apart. */
export function decodeApart(bytes: Uint8Array, key: string, place: { epoch: number; slot: Slot }): GroupRecord {
  const fault = recordFault(bytes, place.slot, apartSeed(key));
  if (fault !== undefined) throw new StorageError("CORRUPT", fault);
  const record = decodeSealed(() => new GroupRecord(key, bytes));
  if (record.epoch === place.epoch && record.generation > 0 && !record.isApart) return record;
  throw new StorageError("CORRUPT", `it is of epoch ${record.epoch} and generation ${record.generation}`);
}

/** What the seal of a group's records starts from. */
export function recordSeed(key: string): number {
  return placeSeed(key);
}

/** The same for the record that holds a body apart. */
export function apartSeed(key: string): number {
  return placeSeed(`s${key}`);
}

/** The slot of a generation. */
export function slotOf(generation: number): Slot {
  return (generation & 1) as Slot;
}

/**
 * Whether a record is whole and in its slot; a string says what is wrong. Throws `UNSUPPORTED_FORMAT` for a whole one
 * of a newer version.
 */
export function recordFault(bytes: Uint8Array, slot: Slot, seed: number): string | undefined {
  if (bytes.length < RECORD_BYTES_MIN) return `only ${bytes.length} bytes`;
  if (!isSealed(bytes, seed)) return "the checksum does not match";
  if (bytes[0] !== VERSION) {
    throw new StorageError("UNSUPPORTED_FORMAT", `a group's record of format ${bytes[0]}, written by a newer version`);
  }
  const generation = generationOf(bytes);
  return generation > 0 && slotOf(generation) !== slot ? "it belongs into the other slot" : undefined;
}

/** Orders whole records of one group: positive when `a` is newer than `b`. */
export function compareAge(a: Uint8Array, b: Uint8Array): number {
  return epochOf(a) - epochOf(b) || generationOf(a) - generationOf(b);
}

export function epochOf(record: Uint8Array): number {
  return getUint32(record, EPOCH_AT);
}

export function generationOf(record: Uint8Array): number {
  return getUint32(record, GENERATION_AT);
}

/** The mark of a whole record, without reading more of it. */
export function markOf(record: Uint8Array): Mark {
  const isApart = ((record[1] as number) & APART) !== 0;
  const position = new Reader(record, HEAD_BYTES).uint();
  return { generation: generationOf(record), position, seq: getUint48(record, SEQ_AT), isApart };
}

/** A whole record, as a row of the catalogue; what costs most is decoded when it is asked for. */
export class GroupRecord implements CatalogueRow {
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly epoch: number;
  readonly type: string;
  readonly time: HybridTime;
  readonly digest: Digest;
  readonly snapshotBytes: number;
  readonly snapshotAt: number;
  readonly journalPosition: number;
  readonly degraded: boolean;
  isJournalled?: boolean;
  readonly generation: number;
  readonly seq: number;
  readonly isApart: boolean;
  readonly #bodyAt: number;
  readonly #historyAt: number;
  #id: GroupId | undefined;
  #historyBytes: Uint8Array | undefined;
  #history: History | undefined;

  /** @param bytes for which {@link recordFault} finds nothing */
  constructor(key: string, bytes: Uint8Array) {
    const reader = new Reader(bytes, HEAD_BYTES, bytes.length - SEAL_BYTES);
    this.key = key;
    this.bytes = bytes;
    this.epoch = epochOf(bytes);
    this.generation = generationOf(bytes);
    this.seq = getUint48(bytes, SEQ_AT);
    this.degraded = ((bytes[1] as number) & DEGRADED) !== 0;
    this.isApart = ((bytes[1] as number) & APART) !== 0;
    this.snapshotAt = getUint48(bytes, TAKEN_AT);
    this.journalPosition = reader.uint();
    const { type, time, digest } = readFacts(reader);
    this.type = type;
    this.time = time;
    this.digest = digest;
    const bodyBytes = reader.uint();
    this.#bodyAt = reader.at;
    this.#historyAt = this.isApart ? reader.at : reader.at + bodyBytes;
    if (this.isApart) this.snapshotBytes = bodyBytes;
    else this.snapshotBytes = this.generation === 0 ? 0 : bytes.length;
  }

  get id(): GroupId {
    return (this.#id ??= decodeGroupKey(this.key));
  }

  get history(): Uint8Array {
    return (this.#historyBytes ??= this.bytes.subarray(this.#historyAt, this.bytes.length - SEAL_BYTES));
  }

  get vector(): VersionVector {
    return (this.#history ??= this.#readHistory()).vector;
  }

  get frontier(): readonly Actor[] {
    return (this.#history ??= this.#readHistory()).frontier;
  }

  /** The snapshot's body; undefined when it lies apart, and when there is none. */
  body(): PackedBody | undefined {
    if (this.isApart || this.generation === 0) return undefined;
    return decodeSealed(() => readPackedBody(new Reader(this.bytes, this.#bodyAt, this.#historyAt)));
  }

  /** The snapshot of which `body` is the unpacked body. It shares nothing with the row but bytes. */
  snapshot(body: Uint8Array): GroupSnapshot {
    const { id, type, epoch, time, digest, journalPosition } = this;
    const { vector, frontier } = this.#readHistory();
    return { id, type, epoch, vector, frontier, time, digest, journalPosition, body };
  }

  #readHistory(): History {
    return decodeSealed(() => {
      const reader = new Reader(this.bytes, this.#historyAt, this.bytes.length - SEAL_BYTES);
      const history = readHistory(reader);
      reader.done();
      return history;
    });
  }
}

function putUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 255;
  bytes[at + 1] = (value >>> 8) & 255;
  bytes[at + 2] = (value >>> 16) & 255;
  bytes[at + 3] = value >>> 24;
}

function putUint48(bytes: Uint8Array, at: number, value: number): void {
  putUint32(bytes, at, value >>> 0);
  const high = Math.floor(value / 2 ** 32);
  bytes[at + 4] = high & 255;
  bytes[at + 5] = (high >>> 8) & 255;
}

function getUint32(bytes: Uint8Array, at: number): number {
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16);
  return (low | ((bytes[at + 3] as number) << 24)) >>> 0;
}

function getUint48(bytes: Uint8Array, at: number): number {
  const high = (bytes[at + 4] as number) | ((bytes[at + 5] as number) << 8);
  return getUint32(bytes, at) + high * 2 ** 32;
}
