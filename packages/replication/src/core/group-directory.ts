import { type CatalogueRow, type Digest, type GroupId, decodeGroupKey, domainOf } from "@coppice/storage";
import { equalDigest } from "./digest.ts";
import { DomainIndex } from "./domain-index.ts";
import { Group, type GroupView, emptyMeta } from "./group.ts";
import { DEGRADED, DELETED, GroupRows, type RowNumber, STORED, UNSETTLED, VACANT } from "./group-rows.ts";
import { RestingCodec, type RestingGroup, recordKey } from "./resting-group.ts";

/** What is known of the groups of a node, by key. */
export interface Groups {
  readonly size: number;
  /** Rises whenever a group comes to be known, or is known no more. */
  readonly version: number;
  has(key: string): boolean;
  get(key: string): Group | undefined;
  /** Of every group, in no order. */
  keys(): Iterable<string>;
  /** A group to look at: one that rests goes on resting. */
  view(key: string): GroupView | undefined;
  /** Every group; each is woken. */
  values(): Iterable<Group>;
  /** Every group, to look at: those that rest go on resting. */
  views(): Iterable<GroupView>;
  /** How many groups of each domain are not deleted. */
  counts(): ReadonlyMap<string, number>;
}

/**
 * Every group that a node knows, by key and by domain. Most of them rest: they are a row of bytes, and become an object
 * (wake) when someone asks for them. A group that nobody uses goes back to rest with the next `rest`.
 *
 * There is never more than one object of a group: whoever still holds one that went to rest holds the very one that is
 * woken again. So a resting group's object is referred to weakly, and what the row keeps is all that counts of it.
 */
export class GroupDirectory implements Groups {
  readonly #isInterestedIn: (domain: string) => boolean;
  readonly #rows = new GroupRows();
  readonly #codec = new RestingCodec();
  readonly #awake = new Map<string, Group>();
  readonly #dozing = new Map<string, WeakRef<Group>>();
  /** Rows flagged `VACANT` that are still to be removed. */
  readonly #vacant = new Set<RowNumber>();
  /** Every domain there is a group of, by the number that the rows call it. */
  readonly #indexes: DomainIndex[] = [];
  /** That number, by what the keys of the domain begin with. */
  readonly #numbers = new Map<string, number>();
  readonly #domains = new Map<string, DomainIndex>();
  #version = 0;

  constructor(isInterestedIn: (domain: string) => boolean) {
    this.#isInterestedIn = isInterestedIn;
  }

  get size(): number {
    return this.#rows.size - this.#vacant.size;
  }

  get version(): number {
    return this.#version;
  }

  /** The domains that this node replicates. */
  get domains(): ReadonlyMap<string, DomainIndex> {
    return this.#domains;
  }

  has(key: string): boolean {
    return this.#awake.has(key) || this.#find(key) !== undefined;
  }

  get(key: string): Group | undefined {
    const awake = this.#awake.get(key);
    if (awake !== undefined) return awake;
    const row = this.#find(key);
    return row === undefined ? undefined : this.#wake(row, key);
  }

  view(key: string): GroupView | undefined {
    const awake = this.#awake.get(key);
    if (awake !== undefined) return awake;
    const row = this.#find(key);
    return row === undefined ? undefined : this.#read(row);
  }

  #find(key: string): RowNumber | undefined {
    const row = this.#rows.find(key);
    return row === undefined || this.#rows.has(row, VACANT) ? undefined : row;
  }

  /** The groups whose keys have this hash; mostly one or none. */
  withHash(hash: number): Group[] {
    const rows = this.#rows.withHash(hash).filter((row) => !this.#rows.has(row, VACANT));
    return rows.map((row) => this.#wake(row));
  }

  *values(): Generator<Group> {
    for (const row of this.#rows.taken()) yield this.#wake(row);
  }

  *keys(): Generator<string> {
    for (const row of this.#rows.taken()) yield recordKey(this.#rows.record(row));
  }

  *views(): Generator<GroupView> {
    for (const row of this.#rows.taken()) {
      const awake = this.#awake.size === 0 ? undefined : this.#awake.get(recordKey(this.#rows.record(row)));
      yield awake ?? this.#read(row);
    }
  }

  counts(): ReadonlyMap<string, number> {
    const counts = this.#indexes.map(() => 0);
    for (const row of this.#rows.taken()) {
      if (!this.#rows.has(row, DELETED)) (counts[this.#rows.domain(row)] as number)++;
    }
    return new Map(this.#indexes.map(({ name }, number) => [name, counts[number] ?? 0]));
  }

  /** Whether the digests of all groups of a domain are known. */
  isSettled(domain: string): boolean {
    return this.#rows.unsettled === 0 || this.#domains.get(domain)?.some(UNSETTLED) !== true;
  }

  /** The one object of a group that rests; to be used by whoever changes a group that may have gone to rest meanwhile. */
  keepAwake(group: Group): void {
    if (!this.#awake.has(group.key)) this.#wake(group.row, group.key);
  }

  #wake(row: RowNumber, key: string = recordKey(this.#rows.record(row))): Group {
    const awake = this.#awake.get(key);
    if (awake !== undefined) return awake;
    const group = this.#dozing.get(key)?.deref() ?? this.#read(row);
    this.#dozing.delete(key);
    this.#awake.set(key, group);
    if (this.#vacant.delete(row)) {
      this.#rows.set(row, VACANT, false);
      this.#version++;
    }
    return group;
  }

  #read(row: RowNumber): Group {
    const resting = this.#codec.decode(this.#rows.record(row), this.#rows.digest(row));
    return new Group(this.#rows, row, this.#indexOf(row).name, resting);
  }

  #indexOf(row: RowNumber): DomainIndex {
    return this.#indexes[this.#rows.domain(row)] as DomainIndex;
  }

  /** A group found in the catalogue. `isUnsettled`: its journal holds more than the row says. */
  addStored(catalogued: CatalogueRow, isUnsettled: boolean): void {
    const { key, snapshotAt, snapshotBytes, digest, epoch } = catalogued;
    // Spelled out: there are very many of these, and a spread costs several times as much.
    const row = this.#add({
      key,
      meta: catalogued,
      snapshotAt,
      snapshotBytes,
      journalBytes: 0,
      issued: undefined,
    });
    this.#rows.set(row, STORED, true);
    if (epoch > 1 || knowsEvents(catalogued)) this.#count(row, digest);
    if (isUnsettled && epoch % 2 === 1) this.#rows.set(row, UNSETTLED, true);
    if (catalogued.degraded) this.#rows.set(row, DEGRADED, true);
  }

  /** A group that was not known so far, with no events. */
  add(id: GroupId, key: string, type: string, epoch: number): Group {
    const vacant = this.#rows.find(key);
    const group = vacant === undefined ? this.#added(id, key, type, epoch) : this.#wake(vacant, key);
    if (vacant !== undefined) group.restart(epoch, type);
    this.update(group);
    return group;
  }

  #added(id: GroupId, key: string, type: string, epoch: number): Group {
    const meta = emptyMeta(id, key, type, epoch);
    const resting = { key, meta, snapshotAt: 0, snapshotBytes: 0, journalBytes: 0, issued: undefined };
    const row = this.#add(resting);
    const group = new Group(this.#rows, row, this.#indexOf(row).name, resting);
    this.#awake.set(key, group);
    return group;
  }

  #add(resting: RestingGroup): RowNumber {
    this.#version++;
    const number = this.#domainOf(resting.key);
    const row = this.#rows.add(resting.key, number, this.#codec.encode(resting), resting.meta.digest);
    if (resting.meta.epoch % 2 === 0) this.#rows.set(row, DELETED, true);
    return row;
  }

  /** What the rows call the domain of a key. All keys of a domain that is not the default one begin alike. */
  #domainOf(key: string): number {
    const prefix = key.startsWith("ts") ? key.slice(0, key.indexOf("!", 2)) : "";
    let number = this.#numbers.get(prefix);
    if (number === undefined) {
      const domain = domainOf(decodeGroupKey(key));
      number = this.#indexes.length;
      const index = new DomainIndex(domain, number, this.#rows);
      this.#indexes.push(index);
      this.#numbers.set(prefix, number);
      if (this.#isInterestedIn(domain)) this.#domains.set(domain, index);
    }
    return number;
  }

  /** Keeps row and domain in step with the group's digest; returns whether it had changed. */
  update(group: Group): boolean {
    const index = this.#domains.get(group.domain);
    if (index !== undefined) return index.update(group);
    const digest = group.digest();
    const isChanged = !equalDigest(this.#rows.digest(group.row), digest);
    if (isChanged) this.#rows.setDigest(group.row, digest);
    return isChanged;
  }

  /**
   * A group that nobody has open, and nobody ever wrote to, is known no more. Its row is removed once nothing refers to
   * its object, which would be that of the group if somebody opened it anew before.
   */
  leave(group: Group): void {
    const { key, row } = group;
    this.#version++;
    this.#rows.set(row, VACANT, true);
    this.#vacant.add(row);
    this.#awake.delete(key);
    this.#dozing.set(key, new WeakRef(group));
  }

  #count(row: RowNumber, digest: Digest): void {
    const index = this.#indexOf(row);
    if (this.#isInterestedIn(index.name)) index.count(row, digest);
  }

  /** Lets the groups that nobody uses rest. */
  rest(): void {
    for (const [key, reference] of this.#dozing) if (reference.deref() === undefined) this.#dozing.delete(key);
    for (const row of this.#vacant) {
      if (this.#dozing.has(recordKey(this.#rows.record(row)))) continue;
      this.#vacant.delete(row);
      this.#rows.remove(row);
    }
    for (const [key, group] of this.#awake) {
      if (!group.canRest) continue;
      const { row } = group;
      this.update(group);
      this.#rows.replace(row, this.#codec.encode(group.resting()));
      this.#awake.delete(key);
      this.#dozing.set(key, new WeakRef(group));
    }
  }
}

/** Whether a row's vector has an entry; found out without decoding it. */
function knowsEvents(row: CatalogueRow): boolean {
  return row.history === undefined ? row.vector.size > 0 : row.history[0] !== 0;
}
