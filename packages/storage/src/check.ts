import type { StorageBackend } from "./backend.ts";
import { decodeRow, type StoredRow } from "./catalogue-row.ts";
import { throwIfAborted } from "./error.ts";
import { decodeGroupKey, decodeUint, formatGroupId, type GroupId } from "./group-id.ts";
import { corruption } from "./group-reader.ts";
import { decodeEntry } from "./journal-entry.ts";
import { decodeNode } from "./node-record.ts";
import { unpackBody } from "./packed-body.ts";
import { decodeSnapshot } from "./snapshot-record.ts";
import {
  COPY_SPACE,
  copyKey,
  journalLog,
  NODE_KEYS,
  parseJournalLog,
  QUARANTINE_SPACE,
  ROW_SPACE,
  rowKey,
  SNAPSHOT_SPACE,
  snapshotKey,
} from "./store-keys.ts";

/** Something that a check found. */
export interface Finding {
  /** The group as text (see `formatGroupId`); undefined for what belongs to none. */
  readonly group: string | undefined;
  /**
   * "catalogue", "copy", "snapshot", "journal", "node": the record is damaged or missing. "orphan": a whole record
   * that no row refers to. "quarantined": moved aside by an earlier repair; not counted as damage.
   */
  readonly kind: "catalogue" | "copy" | "snapshot" | "journal" | "node" | "orphan" | "quarantined";
  /** The key in the backend, or the log with a sequence number. */
  readonly place: string;
  readonly epoch?: number;
  readonly generation?: number;
  /** Sequence number of the journal record, and the position of its first event, as far as the journal is whole. */
  readonly seq?: number;
  readonly position?: number;
  readonly bytes: number;
  readonly reason: string;
}

export interface CheckProgress {
  readonly groups: number;
  readonly records: number;
  readonly bytes: number;
}

export interface CheckReport extends CheckProgress {
  /** Findings other than "quarantined". */
  readonly damaged: number;
  readonly findings: readonly Finding[];
}

export interface CheckOptions {
  /** Called after each page of groups. */
  readonly onProgress?: (progress: CheckProgress) => void;
  readonly signal?: AbortSignal;
}

/** Findings kept in a report; more are only counted. */
const FINDINGS_MAX = 10_000;

/** Reads everything in an open backend, and changes nothing. A store on it should be closed or idle. */
export async function checkStorage(backend: StorageBackend, options: CheckOptions = {}): Promise<CheckReport> {
  return await new Check(backend, options).run();
}

class Check {
  readonly #backend: StorageBackend;
  readonly #options: CheckOptions;
  readonly #findings: Finding[] = [];
  /** Epochs of the groups that have a whole row. */
  readonly #epochs = new Map<string, number>();
  readonly #damagedRows = new Set<string>();
  #damaged = 0;
  #groups = 0;
  #records = 0;
  #bytes = 0;

  constructor(backend: StorageBackend, options: CheckOptions) {
    this.#backend = backend;
    this.#options = options;
  }

  async run(): Promise<CheckReport> {
    await this.#rows();
    await this.#copies();
    await this.#orphanSnapshots();
    await this.#orphanJournals();
    await this.#node();
    await this.#quarantine();
    return { ...this.#progress(), damaged: this.#damaged, findings: this.#findings };
  }

  #progress(): CheckProgress {
    return { groups: this.#groups, records: this.#records, bytes: this.#bytes };
  }

  #add(finding: Finding): void {
    if (finding.kind !== "quarantined") this.#damaged++;
    if (this.#findings.length < FINDINGS_MAX) this.#findings.push(finding);
  }

  /** Decodes a record, counts it, and adds a finding when it is damaged. */
  #read<Result>(bytes: Uint8Array, about: Omit<Finding, "reason" | "bytes">, decode: () => Result): Result | undefined {
    this.#records++;
    this.#bytes += bytes.length;
    try {
      return decode();
    } catch (error) {
      this.#add({ ...about, bytes: bytes.length, reason: corruption(error) });
      return undefined;
    }
  }

  async #rows(): Promise<void> {
    const { signal, onProgress } = this.#options;
    for await (const page of this.#backend.scan({ prefix: ROW_SPACE, ...(signal && { signal }) })) {
      for (const { key: place, value } of page) {
        const key = place.slice(ROW_SPACE.length);
        const group = nameOf(key);
        const row = this.#read(value, { group, kind: "catalogue", place }, () => decodeRow(value, place));
        this.#groups++;
        if (row === undefined || group === undefined) {
          this.#damagedRows.add(key);
          continue;
        }
        this.#epochs.set(key, row.meta.epoch);
        await this.#snapshots(key, group, row);
        await this.#journal(key, group, row);
      }
      onProgress?.(this.#progress());
    }
  }

  async #snapshots(key: string, group: string, row: StoredRow): Promise<void> {
    const { epoch } = row.meta;
    for (const { generation } of [row.newest, row.previous]) {
      if (generation === 0) continue;
      const place = snapshotKey(key, epoch, generation);
      const about = { group, kind: "snapshot", place, epoch, generation } as const;
      const bytes = await this.#backend.get(place);
      if (bytes === undefined) {
        this.#add({ ...about, bytes: 0, reason: "the record is missing" });
        continue;
      }
      const snapshot = this.#read(bytes, about, () => decodeSnapshot(bytes, place));
      if (snapshot === undefined) continue;
      try {
        await unpackBody(snapshot.body);
      } catch (error) {
        this.#add({ ...about, bytes: bytes.length, reason: corruption(error) });
      }
    }
  }

  async #journal(key: string, group: string, row: StoredRow): Promise<void> {
    const { epoch } = row.meta;
    const log = journalLog(key, epoch);
    let expected: number | undefined;
    let position: number | undefined;
    for await (const page of this.#backend.readLog(log, 0)) {
      throwIfAborted(this.#options.signal);
      for (const { seq, value } of page) {
        const about = { group, kind: "journal", place: `${log} ${seq}`, epoch, seq } as const;
        const start = position === undefined ? {} : { position };
        const next = expected ?? Math.min(row.logStart, seq);
        if (seq !== next)
          this.#add({ ...about, ...start, bytes: 0, reason: `records ${next} to ${seq - 1} are missing` });
        const entry = this.#read(value, { ...about, ...start }, () => decodeEntry(value, log, seq));
        if (entry !== undefined && seq === next && position !== undefined && entry.position !== position) {
          const reason = `it has position ${entry.position} instead of ${position}`;
          this.#add({ ...about, ...start, bytes: value.length, reason });
        }
        expected = seq + 1;
        position = entry && entry.position + entry.count;
      }
    }
  }

  /** A row's copy matters while no two snapshots could replace the row. */
  async #copies(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: COPY_SPACE })) {
      throwIfAborted(this.#options.signal);
      for (const { key: place, value } of page) {
        const key = place.slice(COPY_SPACE.length);
        const group = nameOf(key);
        this.#read(value, { group, kind: "copy", place }, () => decodeRow(value, copyKey(key)));
        this.#withoutRow(key, place, value.length);
      }
    }
  }

  /** Adds the row as missing when nothing else has told of it yet. */
  #withoutRow(key: string, place: string, bytes: number): boolean {
    if (this.#epochs.has(key) || this.#damagedRows.has(key)) return false;
    this.#damagedRows.add(key);
    const reason = `there is no row, but ${place}`;
    this.#add({ group: nameOf(key), kind: "catalogue", place: rowKey(key), bytes, reason });
    return true;
  }

  async #orphanSnapshots(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: SNAPSHOT_SPACE, values: false })) {
      throwIfAborted(this.#options.signal);
      for (const { key: place } of page) {
        const { group: key, epoch, generation } = parseSnapshotKey(place);
        if (this.#withoutRow(key, place, 0) || !this.#epochs.has(key)) continue;
        const row = decodeRow((await this.#backend.get(rowKey(key))) as Uint8Array, rowKey(key));
        const known =
          epoch === row.meta.epoch && [row.newest, row.previous].some((mark) => mark.generation === generation);
        if (known) continue;
        const reason = `generation ${generation} of epoch ${epoch}, which the row does not know`;
        this.#add({ group: nameOf(key), kind: "orphan", place, epoch, generation, bytes: 0, reason });
      }
    }
  }

  async #orphanJournals(): Promise<void> {
    for await (const page of this.#backend.listLogs()) {
      throwIfAborted(this.#options.signal);
      for (const { log, first, last } of page) {
        const { group: key, epoch } = parseJournalLog(log);
        if (this.#withoutRow(key, log, 0) || this.#epochs.get(key) === epoch || !this.#epochs.has(key)) continue;
        const reason = `the journal of epoch ${epoch}, records ${first} to ${last}`;
        this.#add({ group: nameOf(key), kind: "orphan", place: log, epoch, bytes: 0, reason });
      }
    }
  }

  async #node(): Promise<void> {
    for (const place of NODE_KEYS) {
      const bytes = await this.#backend.get(place);
      if (bytes !== undefined)
        this.#read(bytes, { group: undefined, kind: "node", place }, () => decodeNode(bytes, place));
    }
  }

  async #quarantine(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: QUARANTINE_SPACE })) {
      for (const { key: place, value } of page) {
        const body = place.slice(1, place.lastIndexOf("!"));
        const group = nameOf(body.slice(0, body.lastIndexOf("!") + 1));
        this.#add({
          group,
          kind: "quarantined",
          place,
          bytes: value.length,
          reason: "moved aside by an earlier repair",
        });
      }
    }
  }
}

/** The parts of a snapshot's key. Throws `CORRUPT`. */
export function parseSnapshotKey(place: string): { group: string; epoch: number; generation: number } {
  const end = place.lastIndexOf("!") + 1;
  const epoch = decodeUint(place, end);
  return { group: place.slice(1, end), epoch: epoch.value, generation: decodeUint(place, epoch.end).value };
}

function nameOf(key: string): string | undefined {
  try {
    return formatGroupId(decodeGroupKey(key) as GroupId);
  } catch {
    return undefined;
  }
}
