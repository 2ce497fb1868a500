import { nextTurn } from "#platform";
import { type LogRange, PAGE_BYTES, type StorageBackend } from "./backend.ts";
import { orDamaged, throwIfAborted } from "./error.ts";
import { decodeGroupKey, formatGroupId } from "./group-id.ts";
import { corruption } from "./group-reader.ts";
import { decodeApart, decodeRecord, type GroupRecord, slotOf } from "./group-record.ts";
import { scanSlots, type SlotValues } from "./group-records.ts";
import { decodeEntry } from "./journal-entry.ts";
import { decodeNode } from "./node-record.ts";
import { type PackedBody, unpackBody } from "./packed-body.ts";
import { reasonOf } from "./rotten-files.ts";
import {
  APART_SPACE,
  apartKey,
  journalLog,
  NODE_KEYS,
  parseApartKey,
  parseJournalLog,
  QUARANTINE_SPACE,
  RECORD_SPACE,
  recordKey,
  type Slot,
  SLOTS,
  SUPERSEDED_SPACE,
  SWEEP_SPACE,
  TAILS_KEY,
} from "./store-keys.ts";
import { decodeSuperseded } from "./superseded.ts";

/** Something that a check found. */
export interface Finding {
  /** The group as text (see `formatGroupId`); undefined for what belongs to none. */
  readonly group: string | undefined;
  /**
   * "catalogue" (one of a group's two records), "snapshot" (a body that lies apart), "journal", "node": the record is
   * damaged or missing. "engine": a file of the engine has rotted, and writes may be missing. "superseded": a damaged
   * state of a former epoch. "orphan": what no record refers to, and what has the key of nothing. "quarantined": moved
   * aside by an earlier repair; not counted as damage.
   */
  readonly kind: "catalogue" | "snapshot" | "journal" | "node" | "engine" | "superseded" | "orphan" | "quarantined";
  /** The key in the backend, the log with a space and a sequence number, or a file. */
  readonly place: string;
  readonly epoch?: number;
  readonly generation?: number;
  /** Sequence number of the journal record, or of a journal's first one. */
  readonly seq?: number;
  /** Position of the journal record's first event, as far as the journal is whole. */
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
  /** The first 10 000 of them. */
  readonly findings: readonly Finding[];
}

export interface CheckOptions {
  /** Called after each page of groups, and whenever much was read of one. */
  readonly onProgress?: (progress: CheckProgress) => void;
  readonly signal?: AbortSignal;
}

/** Where a check looks elsewhere. */
const SPACES: readonly string[] = [RECORD_SPACE, APART_SPACE, SWEEP_SPACE, SUPERSEDED_SPACE, QUARANTINE_SPACE];
const SINGLE_KEYS: readonly string[] = [...NODE_KEYS, TAILS_KEY];
const MOVED_EARLIER = "moved aside by an earlier repair";
const FIRST_CHARACTER = 0x21;
const LAST_CHARACTER = 0x7e;

/** Findings kept in a report; more are only counted. */
const FINDINGS_MAX = 10_000;

/**
 * Reads everything in an open backend, and changes nothing. A store on it should be closed or idle. Rejects with `CORRUPT`
 * where the engine's own files are damaged so that it cannot read them.
 */
export async function checkStorage(backend: StorageBackend, options: CheckOptions = {}): Promise<CheckReport> {
  return reportOf(await findAll(backend, options));
}

/** The same with every finding, however many there are. */
export async function findAll(backend: StorageBackend, options: CheckOptions): Promise<CheckReport> {
  return await new Check(backend, options).run();
}

/** A report with as many findings as one should have. */
export function reportOf(report: CheckReport): CheckReport {
  return { ...report, findings: report.findings.slice(0, FINDINGS_MAX) };
}

interface Known {
  readonly epoch: number;
  /** Slots of which the body lies apart. */
  readonly apart: readonly Slot[];
}

class Check {
  readonly #backend: StorageBackend;
  readonly #options: CheckOptions;
  /** For everything that reads pages. */
  readonly #reading: { readonly signal?: AbortSignal };
  readonly #findings: Finding[] = [];
  /** Groups that have a whole record. */
  readonly #known = new Map<string, Known>();
  readonly #damagedGroups = new Set<string>();
  /** Looking for the journal of each group, most of which have none, would cost more than all else. */
  readonly #logs = new Map<string, LogRange>();
  #damaged = 0;
  #groups = 0;
  #records = 0;
  #bytes = 0;
  #turnAtBytes = PAGE_BYTES;

  constructor(backend: StorageBackend, options: CheckOptions) {
    this.#backend = backend;
    this.#options = options;
    this.#reading = { ...(options.signal && { signal: options.signal }) };
  }

  async run(): Promise<CheckReport> {
    await this.#backend.checkEngine(this.#reading);
    this.#engineFiles();
    for await (const page of this.#backend.listLogs(this.#reading)) {
      for (const range of page) this.#logs.set(range.log, range);
    }
    await this.#groupRecords();
    await this.#orphanBodies();
    this.#orphanJournals();
    await this.#node();
    await this.#superseded();
    await this.#quarantine();
    await this.#foreignKeys();
    return { ...this.#progress(), damaged: this.#damaged, findings: this.#findings };
  }

  #progress(): CheckProgress {
    return { groups: this.#groups, records: this.#records, bytes: this.#bytes };
  }

  /** Between two reads: not all of them wait, so that nobody else had a turn, and no signal fired. */
  async #turn(): Promise<void> {
    throwIfAborted(this.#options.signal);
    if (this.#bytes < this.#turnAtBytes) return;
    this.#turnAtBytes = this.#bytes + PAGE_BYTES;
    this.#options.onProgress?.(this.#progress());
    await nextTurn();
  }

  #add(finding: Finding): void {
    if (finding.kind !== "quarantined") this.#damaged++;
    this.#findings.push(finding);
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

  #engineFiles(): void {
    for (const file of this.#backend.rottenFiles) {
      const [{ place, bytes }, reason] = [file, reasonOf(file)];
      const kind = reason === undefined ? "quarantined" : "engine";
      this.#add({ group: undefined, kind, place, bytes, reason: reason ?? MOVED_EARLIER });
    }
  }

  async #groupRecords(): Promise<void> {
    const { signal, onProgress } = this.#options;
    for await (const { groups, strays } of scanSlots(this.#backend, "", signal)) {
      for (const { key: place, value } of strays) {
        const reason = "it is no group's";
        this.#add({ group: undefined, kind: "catalogue", place, bytes: value.length, reason });
      }
      for (const slots of groups) await this.#group(slots);
      onProgress?.(this.#progress());
    }
  }

  async #group({ key, values }: SlotValues): Promise<void> {
    await this.#turn();
    const group = nameOf(key);
    this.#groups++;
    const records: GroupRecord[] = [];
    for (const slot of SLOTS) {
      const value = values[slot];
      const about = { group, kind: "catalogue", place: recordKey(key, slot) } as const;
      const record = value && this.#read(value, about, () => decodeRecord(value, key, slot));
      if (record !== undefined) records.push(record);
      else if (value === undefined) this.#add({ ...about, bytes: 0, reason: "the record is missing" });
    }
    const [newest] = records.toSorted((a, b) => b.epoch - a.epoch || b.generation - a.generation);
    if (newest === undefined || group === undefined) {
      this.#damagedGroups.add(key);
      return;
    }
    const { epoch } = newest;
    const current = records.filter((record) => record.epoch === epoch);
    const apart = current.filter(({ isApart }) => isApart).map(({ generation }) => slotOf(generation));
    // A damaged record may have been the one that a body belongs to.
    this.#known.set(key, { epoch, apart: records.length < 2 ? SLOTS : apart });
    for (const record of current) await this.#snapshot(key, group, record);
    await this.#journal(key, group, epoch, Math.min(...current.map(({ seq }) => seq)));
  }

  async #snapshot(key: string, group: string, record: GroupRecord): Promise<void> {
    const { epoch, generation } = record;
    const slot = slotOf(generation);
    if (!record.isApart) {
      await this.#body(record.body(), { group, kind: "catalogue", place: recordKey(key, slot) }, record.bytes.length);
      return;
    }
    const about = { group, kind: "snapshot", place: apartKey(key, epoch, slot), epoch, generation } as const;
    const bytes = await this.#backend.get(about.place);
    if (bytes === undefined) {
      this.#add({ ...about, bytes: 0, reason: "the record is missing" });
      return;
    }
    const apart = this.#read(bytes, about, () => decodeApart(bytes, key, { epoch, slot }));
    if (apart === undefined) return;
    if (apart.generation === generation) await this.#body(apart.body(), about, bytes.length);
    else this.#add({ ...about, bytes: bytes.length, reason: `it is of generation ${apart.generation}` });
  }

  async #body(body: PackedBody | undefined, about: Omit<Finding, "reason" | "bytes">, bytes: number): Promise<void> {
    try {
      if (body !== undefined) await unpackBody(body);
    } catch (error) {
      this.#add({ ...about, bytes, reason: corruption(error) });
    }
  }

  async #journal(key: string, group: string, epoch: number, first: number): Promise<void> {
    const log = journalLog(key, epoch);
    if (!this.#logs.has(log)) return;
    let expected: number | undefined;
    let position: number | undefined;
    for await (const page of this.#backend.readLog(log, 0, this.#reading)) {
      await this.#turn();
      for (const { seq, value } of page) {
        const about = { group, kind: "journal", place: `${log} ${seq}`, epoch, seq } as const;
        const start = position === undefined ? {} : { position };
        const next = expected ?? Math.min(first, seq);
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

  /** Adds the group's records as missing when nothing else has told of it yet. */
  #withoutRecords(key: string, place: string): boolean {
    if (this.#known.has(key) || this.#damagedGroups.has(key)) return false;
    this.#damagedGroups.add(key);
    const reason = `there are no records of the group, but ${place}`;
    this.#add({ group: nameOf(key), kind: "catalogue", place: recordKey(key, 0), bytes: 0, reason });
    return true;
  }

  async #orphanBodies(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: APART_SPACE, values: false, ...this.#reading })) {
      for (const { key: place } of page) {
        const parts = orDamaged(() => parseApartKey(place));
        if (parts === undefined) {
          this.#add({ group: undefined, kind: "orphan", place, bytes: 0, reason: "it is the key of no body" });
          continue;
        }
        const { group: key, epoch, slot } = parts;
        const known = this.#known.get(key);
        if (this.#withoutRecords(key, place) || known === undefined) continue;
        if (epoch === known.epoch && known.apart.includes(slot)) continue;
        const reason = `a body of epoch ${epoch}, which no record refers to`;
        this.#add({ group: nameOf(key), kind: "orphan", place, epoch, bytes: 0, reason });
      }
    }
  }

  #orphanJournals(): void {
    for (const { log, first, last } of this.#logs.values()) {
      const parts = orDamaged(() => parseJournalLog(log));
      const place = `${log} ${first}`;
      if (parts === undefined) {
        const reason = "it is the log of no journal";
        this.#add({ group: undefined, kind: "orphan", place, seq: first, bytes: 0, reason });
        continue;
      }
      const { group: key, epoch } = parts;
      const known = this.#known.get(key);
      if (this.#withoutRecords(key, place) || known === undefined || known.epoch === epoch) continue;
      const reason = `the journal of epoch ${epoch}, records ${first} to ${last}`;
      this.#add({ group: nameOf(key), kind: "orphan", place, epoch, seq: first, bytes: 0, reason });
    }
  }

  async #node(): Promise<void> {
    for (const place of NODE_KEYS) {
      const bytes = await this.#backend.get(place);
      if (bytes !== undefined)
        this.#read(bytes, { group: undefined, kind: "node", place }, () => decodeNode(bytes, place));
    }
  }

  async #superseded(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: SUPERSEDED_SPACE, ...this.#reading })) {
      for (const { key: place, value } of page) {
        const group = nameOf(place.slice(SUPERSEDED_SPACE.length, place.lastIndexOf("!") + 1));
        this.#read(value, { group, kind: "superseded", place }, () => decodeSuperseded(value, place));
      }
    }
  }

  /** Keys in no space of a store: one look for each character that they may begin with. */
  async #foreignKeys(): Promise<void> {
    for (let code = FIRST_CHARACTER; code <= LAST_CHARACTER; code++) {
      const prefix = String.fromCharCode(code);
      if (SPACES.includes(prefix)) continue;
      for await (const page of this.#backend.scan({ prefix, values: false, ...this.#reading })) {
        for (const { key: place } of page) {
          if (SINGLE_KEYS.includes(place)) continue;
          this.#add({ group: undefined, kind: "orphan", place, bytes: 0, reason: "it is no key of a store" });
        }
      }
    }
  }

  async #quarantine(): Promise<void> {
    for await (const page of this.#backend.scan({ prefix: QUARANTINE_SPACE, ...this.#reading })) {
      for (const { key: place, value } of page) {
        const body = place.slice(1, place.lastIndexOf("!"));
        const group = nameOf(body.slice(0, body.lastIndexOf("!") + 1));
        this.#add({ group, kind: "quarantined", place, bytes: value.length, reason: MOVED_EARLIER });
      }
    }
  }
}

function nameOf(key: string): string | undefined {
  try {
    return formatGroupId(decodeGroupKey(key));
  } catch {
    return undefined;
  }
}
