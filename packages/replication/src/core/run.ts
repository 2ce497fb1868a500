/**
 * A run: consecutive events of one actor in one group, encoded once. The same bytes go to the journal and to peers, and
 * relays forward them as they are. Group, type and epoch stand beside it, in the frame or in the journal's key.
 *
 * | field        | bytes                                                                                         |
 * |--------------|-----------------------------------------------------------------------------------------------|
 * | actor        | 16                                                                                            |
 * | first seq    | uint, 1 to 2^31 - 1                                                                           |
 * | count        | uint, at least 1                                                                              |
 * | times        | uint hybrid time of the first event, then for each further one uint difference, at least 1    |
 * | dependencies | uint rows, then for each: uint event index less the last row's, uint n, n * (actor, uint seq) |
 * | lengths      | count * uint bytes of the delta                                                               |
 * | deltas       | one after the other                                                                           |
 *
 * The dependencies of an event are the causal frontier it was made on, without its actor's own previous event, which
 * every event follows. Columns, because most rows are then a byte.
 */
import { type Actor, Reader, SEQ_MAX, Writer, malformed } from "@coppice/crdt";

/** An event that must be known before another: `seq` and all before it of `actor`. */
export interface Dependency {
  readonly actor: Actor;
  readonly seq: number;
}

/** Bytes of the smallest dependency: an actor and a one-byte sequence number. */
const DEPENDENCY_BYTES_MIN = 17;

/** Collects the events that this node makes in one tick; the deltas are written in place, never copied. */
export class RunBuilder {
  /** Where mutators append. */
  readonly deltas: Writer = new Writer();
  #actor: Actor | undefined;
  #firstSeq = 0;
  #times: number[] = [];
  #lengths: number[] = [];
  #dependencies: { index: number; list: readonly Dependency[] }[] = [];
  #end = 0;

  get count(): number {
    return this.#lengths.length;
  }

  /** Whether an event of `actor` can be added to what is collected. */
  accepts(actor: Actor): boolean {
    return this.#actor === undefined || this.#actor === actor;
  }

  /** Takes everything written to `deltas` since the last event as the next event. */
  add(actor: Actor, seq: number, time: number, dependencies: readonly Dependency[]): void {
    if (this.#actor === undefined) {
      this.#actor = actor;
      this.#firstSeq = seq;
    }
    if (dependencies.length > 0) this.#dependencies.push({ index: this.#lengths.length, list: dependencies });
    this.#times.push(time);
    this.#lengths.push(this.deltas.length - this.#end);
    this.#end = this.deltas.length;
  }

  /** The collected events as a run; starts anew. */
  take(): Run | undefined {
    const actor = this.#actor;
    if (actor === undefined) return undefined;
    const writer = new Writer(this.deltas.length + 64);
    writer.actor(actor);
    writer.uint(this.#firstSeq);
    writer.uint(this.#lengths.length);
    let last = 0;
    for (const time of this.#times) {
      writer.uint(time - last);
      last = time;
    }
    this.#writeDependencies(writer);
    for (const length of this.#lengths) writer.uint(length);
    writer.raw(this.deltas.peek());
    const run = new Run(writer.take(), actor, this.#firstSeq, this.#times, this.#lengths, this.#byIndex());
    this.deltas.reset();
    this.#actor = undefined;
    this.#times = [];
    this.#lengths = [];
    this.#dependencies = [];
    this.#end = 0;
    return run;
  }

  #writeDependencies(writer: Writer): void {
    writer.uint(this.#dependencies.length);
    let last = 0;
    for (const { index, list } of this.#dependencies) {
      writer.uint(index - last);
      last = index;
      writer.uint(list.length);
      for (const { actor, seq } of list) {
        writer.actor(actor);
        writer.uint(seq);
      }
    }
  }

  #byIndex(): ReadonlyMap<number, readonly Dependency[]> {
    return new Map(this.#dependencies.map(({ index, list }) => [index, list]));
  }
}

const NO_DEPENDENCIES: readonly Dependency[] = [];

/** A decoded run. Its deltas are views of `bytes`. */
export class Run {
  readonly bytes: Uint8Array;
  readonly actor: Actor;
  readonly firstSeq: number;
  readonly times: readonly number[];
  readonly #lengths: readonly number[];
  readonly #dependencies: ReadonlyMap<number, readonly Dependency[]>;
  #starts: Uint32Array | undefined;
  /** Whether these bytes were handed to the journal already. */
  isRecorded = false;

  constructor(
    bytes: Uint8Array,
    actor: Actor,
    firstSeq: number,
    times: readonly number[],
    lengths: readonly number[],
    dependencies: ReadonlyMap<number, readonly Dependency[]>,
  ) {
    this.bytes = bytes;
    this.actor = actor;
    this.firstSeq = firstSeq;
    this.times = times;
    this.#lengths = lengths;
    this.#dependencies = dependencies;
  }

  get count(): number {
    return this.times.length;
  }

  get lastSeq(): number {
    return this.firstSeq + this.times.length - 1;
  }

  /** The dependencies of event `index`. */
  dependencies(index: number): readonly Dependency[] {
    return this.#dependencies.get(index) ?? NO_DEPENDENCIES;
  }

  /** The delta of event `index`. */
  delta(index: number): Uint8Array {
    const starts = (this.#starts ??= this.#deltaStarts());
    return this.bytes.subarray(starts[index], starts[index + 1]);
  }

  /** Worked out on first use: a duplicate's deltas are never looked at. */
  #deltaStarts(): Uint32Array {
    const starts = new Uint32Array(this.count + 1);
    let at = this.bytes.length;
    starts[this.count] = at;
    for (let index = this.count - 1; index >= 0; index--) {
      at -= this.#lengths[index] ?? 0;
      starts[index] = at;
    }
    return starts;
  }

  /** Reads a run. Throws `CrdtError` `MALFORMED`. */
  static decode(bytes: Uint8Array): Run {
    const reader = new Reader(bytes);
    const actor = reader.actor();
    const firstSeq = reader.uintMax(SEQ_MAX, "a sequence number");
    const count = reader.count(2);
    if (firstSeq === 0 || count === 0) throw malformed("a run without events");
    if (firstSeq + count - 1 > SEQ_MAX) throw malformed("a run goes beyond the last sequence number");
    const times = readTimes(reader, count);
    const dependencies = readDependencies(reader, actor, count);
    const lengths: number[] = [];
    let total = 0;
    for (let index = 0; index < count; index++) {
      const length = reader.uint();
      total += length;
      lengths.push(length);
    }
    if (total !== reader.left) throw malformed(`the deltas have ${reader.left} bytes instead of ${total}`);
    return new Run(bytes, actor, firstSeq, times, lengths, dependencies);
  }
}

function readTimes(reader: Reader, count: number): number[] {
  const times: number[] = [];
  let time = 0;
  for (let index = 0; index < count; index++) {
    const step = reader.uint();
    if (step === 0 && index > 0) throw malformed("the times of a run do not rise");
    time += step;
    if (time > Number.MAX_SAFE_INTEGER) throw malformed("a time is out of range");
    times.push(time);
  }
  return times;
}

function readDependencies(reader: Reader, self: Actor, count: number): Map<number, readonly Dependency[]> {
  const rows = reader.count(2);
  const dependencies = new Map<number, readonly Dependency[]>();
  let index = 0;
  for (let row = 0; row < rows; row++) {
    const step = reader.uint();
    if (step === 0 && row > 0) throw malformed("the dependencies of a run are out of order");
    index += step;
    if (index >= count) throw malformed("dependencies of an event that is not there");
    const list: Dependency[] = [];
    for (let left = reader.count(DEPENDENCY_BYTES_MIN); left > 0; left--) {
      const actor = reader.actor();
      const seq = reader.uintMax(SEQ_MAX, "a sequence number");
      if (actor === self || seq === 0) throw malformed("an event depends on its own actor or on nothing");
      list.push({ actor, seq });
    }
    if (list.length === 0) throw malformed("an empty row of dependencies");
    dependencies.set(index, list);
  }
  return dependencies;
}

/** A journal record's bytes: runs, each behind its length. */
export function encodeRuns(runs: readonly Run[]): Uint8Array {
  const writer = new Writer(runs.reduce((sum, run) => sum + run.bytes.length + 5, 0));
  for (const run of runs) writer.bytes(run.bytes);
  return writer.take();
}

export function decodeRuns(bytes: Uint8Array): Run[] {
  const reader = new Reader(bytes);
  const runs: Run[] = [];
  while (reader.left > 0) runs.push(Run.decode(reader.bytes()));
  return runs;
}
