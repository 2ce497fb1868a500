/**
 * What a node keeps in memory of a group whose state is not: one record in a `ByteArena`.
 *
 * | field          | bytes                                                                      |
 * |----------------|----------------------------------------------------------------------------|
 * | key            | string                                                                     |
 * | type           | uint: its number among the types that this process has seen                |
 * | epoch, time    | uint, uint                                                                 |
 * | snapshot       | uint when it was taken (Unix ms), uint its bytes                           |
 * | journal bytes  | uint                                                                       |
 * | issued         | byte: 1 when this process issued something; then actor, uint seq: the last |
 * | history        | a version vector, uint count, that many actors of the frontier             |
 *
 * Digest, domain, hash and flags stand beside it, in columns (`group-rows.ts`). Nothing of this is stored or sent.
 */
import { type Actor, type HybridTime, Reader, VersionVector, Writer } from "@coppice/crdt";
import { type Digest, type GroupId, type GroupMeta, decodeGroupKey } from "@coppice/storage";
import type { Issued } from "./incarnation.ts";

/** A group without its state. */
export interface RestingGroup {
  readonly key: string;
  /** With the vector and the frontier as they are encoded, where that is known. */
  readonly meta: GroupMeta & { readonly history?: Uint8Array };
  /** See the fields of the same names of `Group`. */
  readonly snapshotAt: number;
  readonly snapshotBytes: number;
  readonly journalBytes: number;
  readonly issued: Issued | undefined;
}

/** Meta data whose id, vector and frontier are decoded when they are asked for. */
class RestingMeta implements GroupMeta {
  readonly type: string;
  readonly epoch: number;
  readonly time: HybridTime;
  readonly digest: Digest;
  readonly #key: string;
  readonly history: Uint8Array;
  #id: GroupId | undefined;
  #decoded: { readonly vector: VersionVector; readonly frontier: readonly Actor[] } | undefined;

  constructor(key: string, fixed: Pick<GroupMeta, "type" | "epoch" | "time" | "digest">, history: Uint8Array) {
    this.#key = key;
    this.type = fixed.type;
    this.epoch = fixed.epoch;
    this.time = fixed.time;
    this.digest = fixed.digest;
    this.history = history;
  }

  get id(): GroupId {
    return (this.#id ??= decodeGroupKey(this.#key));
  }

  get vector(): VersionVector {
    return this.#history.vector;
  }

  get frontier(): readonly Actor[] {
    return this.#history.frontier;
  }

  get #history(): { readonly vector: VersionVector; readonly frontier: readonly Actor[] } {
    if (this.#decoded !== undefined) return this.#decoded;
    const reader = new Reader(this.history);
    const vector = VersionVector.decode(reader);
    const frontier = Array.from({ length: reader.uint() }, () => reader.actor());
    return (this.#decoded = { vector, frontier });
  }
}

/** Writes and reads the records of one node. */
export class RestingCodec {
  readonly #types: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #record = new Writer(256);

  /** Writes the record of a group; valid until the next one. */
  encode({ key, meta, snapshotAt, snapshotBytes, journalBytes, issued }: RestingGroup): Writer {
    const body = this.#record;
    body.reset();
    body.string(key);
    body.uint(this.#number(meta.type));
    body.uint(meta.epoch);
    body.uint(meta.time);
    body.uint(snapshotAt);
    body.uint(snapshotBytes);
    body.uint(journalBytes);
    body.byte(issued === undefined ? 0 : 1);
    if (issued !== undefined) {
      body.actor(issued.actor);
      body.uint(issued.seq);
    }
    if (meta.history !== undefined) body.raw(meta.history);
    else {
      meta.vector.encode(body);
      body.uint(meta.frontier.length);
      for (const actor of meta.frontier) body.actor(actor);
    }
    return body;
  }

  #number(type: string): number {
    let number = this.#numbers.get(type);
    if (number === undefined) {
      number = this.#types.push(type) - 1;
      this.#numbers.set(type, number);
    }
    return number;
  }

  decode(record: Uint8Array, digest: Digest): RestingGroup {
    const reader = new Reader(record);
    const key = reader.string();
    const fixed = {
      type: this.#types[reader.uint()] as string,
      epoch: reader.uint(),
      time: reader.uint(),
      digest,
    };
    const [snapshotAt, snapshotBytes, journalBytes] = [reader.uint(), reader.uint(), reader.uint()];
    const issued = reader.byte() === 0 ? undefined : { actor: reader.actor(), seq: reader.uint() };
    // A copy: the arena may be left behind meanwhile, and must not be kept alive.
    const meta = new RestingMeta(key, fixed, reader.raw(reader.left).slice());
    return { key, meta, snapshotAt, snapshotBytes, journalBytes, issued };
  }
}

/** The key of the group that a record is of. */
export function recordKey(record: Uint8Array): string {
  return new Reader(record).string();
}

/** Whether a record is that of the group with this key. */
export function isRecordOf(record: Uint8Array, key: string): boolean {
  const reader = new Reader(record);
  if (reader.uint() !== key.length) return false;
  const start = reader.at;
  for (let index = 0; index < key.length; index++) if (record[start + index] !== key.charCodeAt(index)) return false;
  return true;
}
