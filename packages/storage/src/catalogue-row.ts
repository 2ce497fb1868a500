/**
 * The catalogue row of a group: its value under `c` + group key (and its copy under `b` + group key).
 *
 * | field        | bytes                                                                          |
 * |--------------|--------------------------------------------------------------------------------|
 * | version      | 1: 1                                                                           |
 * | flags        | 1: bit 0 degraded                                                              |
 * | meta         | see group-meta.ts; as of the newest snapshot                                   |
 * | bytes, at    | uint, uint: length of the newest snapshot record, Unix ms when it was taken    |
 * | generations  | uint: number of the last generation ever written in this epoch                 |
 * | newest       | mark of the newest snapshot                                                    |
 * | previous     | mark of the generation before it                                               |
 * | log start    | uint: sequence number of the first record that the journal still has           |
 * | seal         | 4: CRC-32, see sealed.ts                                                       |
 *
 * A mark: uint generation (0: there is none), uint journal position, uint sequence number of the first record at or
 * behind that position.
 */
import { Reader, Writer } from "@coppice/crdt";
import { StorageError } from "./error.ts";
import type { GroupId } from "./group-id.ts";
import { encodeMeta, type Meta, readMeta } from "./group-meta.ts";
import type { CatalogueRow } from "./group-storage.ts";
import { checkSeal, decodeSealed, seal } from "./sealed.ts";

const VERSION = 1;
const DEGRADED = 1;

/** A point in a group's journal at which a snapshot was taken. */
export interface Mark {
  /** Number of the snapshot within its epoch, from 1 on; 0 where there is none. */
  readonly generation: number;
  readonly position: number;
  readonly seq: number;
}

/** The journal's start: what a group has that was never snapshotted. */
export const NO_MARK: Mark = { generation: 0, position: 0, seq: 0 };

/** What a row holds beside the meta data. */
export interface RowFields {
  readonly snapshotBytes: number;
  readonly snapshotAt: number;
  readonly degraded: boolean;
  readonly generations: number;
  readonly newest: Mark;
  readonly previous: Mark;
  readonly logStart: number;
}

export interface StoredRow extends RowFields {
  readonly meta: Meta;
}

const scratch = new Writer(256);

/** The fields of a group without snapshot and journal. */
export const EMPTY_FIELDS: RowFields = {
  snapshotBytes: 0,
  snapshotAt: 0,
  degraded: false,
  generations: 0,
  newest: NO_MARK,
  previous: NO_MARK,
  logStart: 0,
};

export function encodeRow(row: StoredRow, key: string): Uint8Array {
  return encodeRowFields(row, encodeMeta(row.meta), key);
}

/** @param meta as `encodeMeta` makes it */
export function encodeRowFields(row: RowFields, meta: Uint8Array, key: string): Uint8Array {
  scratch.reset();
  scratch.byte(VERSION);
  scratch.byte(row.degraded ? DEGRADED : 0);
  scratch.raw(meta);
  scratch.uint(row.snapshotBytes);
  scratch.uint(row.snapshotAt);
  scratch.uint(row.generations);
  writeMark(row.newest);
  writeMark(row.previous);
  scratch.uint(row.logStart);
  return seal(scratch, key);
}

/** Throws `CORRUPT`, or `UNSUPPORTED_FORMAT` for a whole row of a newer version. */
export function decodeRow(bytes: Uint8Array, key: string): StoredRow {
  const end = checkSeal(bytes, key);
  if (bytes[0] !== VERSION) {
    throw new StorageError("UNSUPPORTED_FORMAT", `a catalogue row of format ${bytes[0]}, written by a newer version`);
  }
  return decodeSealed(() => {
    const reader = new Reader(bytes, 1, end);
    const degraded = (reader.byte() & DEGRADED) !== 0;
    const meta = readMeta(reader);
    const row = {
      meta,
      degraded,
      snapshotBytes: reader.uint(),
      snapshotAt: reader.uint(),
      generations: reader.uint(),
      newest: readMark(reader),
      previous: readMark(reader),
      logStart: reader.uint(),
    };
    reader.done();
    return row;
  });
}

function writeMark(mark: Mark): void {
  scratch.uint(mark.generation);
  scratch.uint(mark.position);
  scratch.uint(mark.seq);
}

function readMark(reader: Reader): Mark {
  return { generation: reader.uint(), position: reader.uint(), seq: reader.uint() };
}

/** The row as listings show it. */
export function catalogueRow(id: GroupId, row: StoredRow): CatalogueRow {
  const { meta, newest } = row;
  // Spelled out: a spread costs several times as much, and listings make very many of these.
  return {
    id,
    type: meta.type,
    epoch: meta.epoch,
    vector: meta.vector,
    frontier: meta.frontier,
    time: meta.time,
    digest: meta.digest,
    snapshotBytes: row.snapshotBytes,
    snapshotAt: row.snapshotAt,
    journalPosition: newest.position,
    degraded: row.degraded,
  };
}
