/**
 * The encoded state of a type that stands on the kernel. Version 1.
 *
 * | item     | bytes                                                                                              |
 * |----------|----------------------------------------------------------------------------------------------------|
 * | state    | 0x01, uint count, the actors in use in order, uint base time, the root's store                     |
 * | map      | uint count of children, each: string key, byte kind, store                                         |
 * | register | uint count of live writes, each: uint 2 * actor + without, uint seq, uint time - base time, and    |
 * |          | the value unless `without` is 1                                                                    |
 * | counter  | uint count of rows, each: uint 2 * actor + cancelled, uint start, uint last - start, total;        |
 * |          | and if `cancelled` is 1: uint cancelled seq, baseline, uint 0 or 1 + remover, uint its seq         |
 * | log      | uint count of entries in order, each: as a live write, with uint index before the value           |
 *
 * An actor is its place in the table. Totals are uints, ints in a counter that also goes down. Values may be left out
 * (`without`) only in a state for a replica that knows the write already: it has the value, or has removed it. The base
 * time is the earliest of all live writes.
 *
 * Limits: keys 1 024 bytes, maps 32 levels, values as in `value.ts`.
 */
import { ACTOR_BYTES } from "../actor.ts";
import { Reader, Writer, malformed } from "../codec.ts";
import { CrdtError } from "../error.ts";
import { SEQ_MAX, type VersionVector } from "../vector.ts";
import { readAmount, writeAmount } from "./counter.ts";
import { SHAPE_COUNTER, SHAPE_MAP, SHAPE_REGISTER, shapeOf } from "./kinds.ts";
import { sortEntries } from "./log.ts";
import { readStored, setDots, writeStored } from "./register.ts";
import { KernelState } from "./state.ts";
import {
  type CounterRow,
  type CounterStore,
  KEY_BYTES_MAX,
  type LogEntry,
  type LogStore,
  type MapStore,
  NO_ACTOR,
  PATH_DEPTH_MAX,
  type RegisterDot,
  type RegisterStore,
  Sealed,
  type Store,
  type Stored,
  attach,
  createStore,
  inChain,
  isLiveRow,
  markIrregular,
} from "./store.ts";
import { type Survey, survey } from "./survey.ts";

const VERSION = 1;
const CHILD_BYTES_MIN = 3;
const DOT_BYTES_MIN = 3;
const ROW_BYTES_MIN = 4;

/** In place of a value that was left out because the receiver knows it. */
export const OMITTED: Sealed = new Sealed(new Uint8Array(0));

/** Encodes a state; without the values of writes that `vector` covers, when given. */
export function encodeState(state: KernelState, vector?: VersionVector): Uint8Array {
  const found = survey(state);
  const writer = new Writer(256);
  writer.byte(VERSION);
  writer.uint(found.actors.length);
  for (const index of found.actors) writer.actor(state.actors.name(index));
  writer.uint(found.baseTime);
  const known = state.actors.names.map((name) => vector?.get(name) ?? 0);
  new StateWriter(writer, found, known).store(state.root);
  return writer.take();
}

class StateWriter {
  readonly #writer: Writer;
  readonly #survey: Survey;
  readonly #known: readonly number[];

  constructor(writer: Writer, found: Survey, known: readonly number[]) {
    this.#writer = writer;
    this.#survey = found;
    this.#known = known;
  }

  store(store: Store): void {
    if (store.shape === SHAPE_MAP) this.#map(store);
    else if (store.shape === SHAPE_REGISTER) this.#register(store);
    else if (store.shape === SHAPE_COUNTER) this.#counter(store);
    else this.#log(store);
  }

  #map(map: MapStore): void {
    const writer = this.#writer;
    writer.uint(childCount(map));
    for (const [key, first] of map.children) {
      for (let child: Store | undefined = first; child !== undefined; child = child.sibling) {
        writer.string(key);
        writer.byte(child.kind);
        this.store(child);
      }
    }
  }

  #register(register: RegisterStore): void {
    const { actor, seq, time, value, more } = register;
    this.#writer.uint(actor === NO_ACTOR ? 0 : 1 + (more?.length ?? 0));
    if (actor === NO_ACTOR) return;
    this.#dot(actor, seq, time, value);
    for (const dot of more ?? []) this.#dot(dot.actor, dot.seq, dot.time, dot.value);
  }

  #log({ entries }: LogStore): void {
    this.#writer.uint(entries.length);
    for (const { actor, seq, time, value, index } of entries) this.#dot(actor, seq, time, value, index);
  }

  #dot(actor: number, seq: number, time: number, value: Stored, index?: number): void {
    const writer = this.#writer;
    const without = (this.#known[actor] ?? 0) >= seq;
    writer.uint(2 * this.#rank(actor) + (without ? 1 : 0));
    writer.uint(seq);
    writer.uint(time - this.#survey.baseTime);
    if (index !== undefined) writer.uint(index);
    if (!without) writeStored(writer, value);
  }

  #counter(counter: CounterStore): void {
    const writer = this.#writer;
    writer.uint(counter.rows.length);
    for (const row of counter.rows) {
      const isCancelled = row.cancelled > 0;
      writer.uint(2 * this.#rank(row.actor) + (isCancelled ? 1 : 0));
      writer.uint(row.start);
      writer.uint(row.last - row.start);
      writeAmount(writer, counter.kind, row.total);
      if (!isCancelled) continue;
      writer.uint(row.cancelled);
      writeAmount(writer, counter.kind, row.baseline);
      writer.uint(row.remover === NO_ACTOR ? 0 : 1 + this.#rank(row.remover));
      writer.uint(row.removerSeq);
    }
  }

  #rank(actor: number): number {
    return this.#survey.ranks[actor] as number;
  }
}

function childCount(map: MapStore): number {
  if (!map.irregular) return map.children.size;
  let count = 0;
  for (const first of map.children.values()) {
    for (let child: Store | undefined = first; child !== undefined; child = child.sibling) count++;
  }
  return count;
}

/** Decodes a state whose root is of `kind`. Throws `MALFORMED`, or `UNSUPPORTED_VERSION`. */
export function decodeState(kind: number, body: Uint8Array, allowOmitted = false): KernelState {
  const reader = new Reader(body);
  const version = reader.byte();
  if (version !== VERSION) throw new CrdtError("UNSUPPORTED_VERSION", `state version ${version} is not known here`);
  const state = new KernelState(kind);
  const count = reader.count(ACTOR_BYTES);
  let last = "";
  for (let index = 0; index < count; index++) {
    const actor = reader.actor();
    if (actor <= last) throw malformed("the actors of a state are out of order");
    last = actor;
    state.actors.intern(actor);
  }
  const baseTime = reader.uint();
  new StateReader(reader, state, baseTime, allowOmitted).store(state.root, 0);
  reader.done();
  return state;
}

class StateReader {
  readonly #reader: Reader;
  readonly #state: KernelState;
  readonly #baseTime: number;
  readonly #allowOmitted: boolean;

  constructor(reader: Reader, state: KernelState, baseTime: number, allowOmitted: boolean) {
    this.#reader = reader;
    this.#state = state;
    this.#baseTime = baseTime;
    this.#allowOmitted = allowOmitted;
  }

  store(store: Store, depth: number): void {
    if (store.shape === SHAPE_MAP) this.#map(store, depth);
    else if (store.shape === SHAPE_REGISTER) this.#register(store, depth);
    else if (store.shape === SHAPE_COUNTER) this.#counter(store, depth);
    else this.#log(store, depth);
  }

  #map(map: MapStore, depth: number): void {
    const reader = this.#reader;
    const count = reader.count(CHILD_BYTES_MIN);
    if (depth > 0 && count === 0) throw malformed("an empty map in a map");
    if (depth >= PATH_DEPTH_MAX) throw malformed("maps are nested too deeply");
    for (let index = 0; index < count; index++) {
      const key = reader.stringOf(reader.uintMax(KEY_BYTES_MAX, "the length of a key"));
      const kind = reader.byte();
      if (shapeOf(kind) === undefined) throw malformed(`unknown kind ${kind}`);
      if (inChain(map.children.get(key), kind) !== undefined) throw malformed("a child stands twice in a map");
      const child = createStore(kind, map, key);
      attach(map, key, child);
      this.store(child, depth + 1);
      if (child.shape === SHAPE_COUNTER && !child.rows.every(isLiveRow)) markIrregular(map);
    }
  }

  #register(register: RegisterStore, depth: number): void {
    const count = this.#reader.count(DOT_BYTES_MIN);
    if (depth > 0 && count === 0) throw malformed("an empty register in a map");
    if (count === 1) {
      const dot = this.#dot();
      register.assign(dot.actor, dot, dot.value, undefined);
      return;
    }
    const dots: RegisterDot[] = [];
    const seen = new Set<number>();
    for (let index = 0; index < count; index++) {
      const dot = this.#dot();
      if (seen.has(dot.actor)) throw malformed("an actor has two live writes in one register");
      seen.add(dot.actor);
      dots.push(dot);
    }
    setDots(register, this.#state.actors, dots);
  }

  #log(log: LogStore, depth: number): void {
    const count = this.#reader.count(DOT_BYTES_MIN + 1);
    if (depth > 0 && count === 0) throw malformed("an empty log in a map");
    const entries: LogEntry[] = [];
    for (let index = 0; index < count; index++) entries.push(this.#dot(true));
    log.entries = sortEntries(this.#state.actors, [...entries]);
    if (log.entries.some((entry, index) => entry !== entries[index])) throw malformed("a log is out of order");
  }

  #dot(inLog = false): LogEntry {
    const reader = this.#reader;
    const head = reader.uint();
    const actor = this.#actor(Math.floor(head / 2));
    const seq = this.#seq();
    const time = this.#baseTime + reader.uintMax(Number.MAX_SAFE_INTEGER - this.#baseTime, "a time");
    const index = inLog ? reader.uint() : 0;
    if (head % 2 === 1) {
      if (!this.#allowOmitted) throw malformed("a value is missing");
      return { actor, seq, time, index, value: OMITTED };
    }
    return { actor, seq, time, index, value: readStored(reader) };
  }

  #counter(counter: CounterStore, depth: number): void {
    const reader = this.#reader;
    const count = reader.count(ROW_BYTES_MIN);
    if (depth > 0 && count === 0) throw malformed("an empty counter in a map");
    const seen = new Set<number>();
    for (let index = 0; index < count; index++) {
      const row = this.#row(counter.kind);
      if (seen.has(row.actor)) throw malformed("an actor has two rows in one counter");
      seen.add(row.actor);
      counter.rows.push(row);
    }
  }

  #row(kind: number): CounterRow {
    const reader = this.#reader;
    const head = reader.uint();
    const actor = this.#actor(Math.floor(head / 2));
    const start = this.#seq();
    const last = start + reader.uintMax(SEQ_MAX - start, "the length of a run");
    const total = readAmount(reader, kind);
    const row = { actor, start, last, total, baseline: 0, cancelled: 0, remover: NO_ACTOR, removerSeq: 0 };
    if (head % 2 === 0) return row;
    // More may be cancelled than was counted: a removal by a peer that lies says so, and what was applied must be readable.
    row.cancelled = reader.uintMax(SEQ_MAX, "a cancelled sequence number");
    if (row.cancelled === 0) throw malformed("a row is cancelled up to nothing");
    row.baseline = readAmount(reader, kind);
    const remover = reader.uint();
    if (remover > 0) row.remover = this.#actor(remover - 1);
    row.removerSeq = reader.uintMax(SEQ_MAX, "a sequence number");
    return row;
  }

  #actor(index: number): number {
    if (index >= this.#state.actors.names.length) throw malformed(`no actor has the index ${index}`);
    return index;
  }

  #seq(): number {
    const seq = this.#reader.uintMax(SEQ_MAX, "a sequence number");
    if (seq === 0) throw malformed("sequence numbers begin at 1");
    return seq;
  }
}
