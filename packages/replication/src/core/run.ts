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
import { type Actor, type EventWalk, type HybridTime, Reader, SEQ_MAX, Writer, malformed } from "@coppice/crdt";

/** An event that must be known before another: `seq` and all before it of `actor`. */
export interface Dependency {
  readonly actor: Actor;
  readonly seq: number;
}

/** What event `index` of a run depends on. */
export interface DependencyRow {
  readonly index: number;
  readonly list: readonly Dependency[];
}

/** Bytes of the smallest dependency: an actor and a one-byte sequence number. */
const DEPENDENCY_BYTES_MIN = 17;
const NO_ROWS: readonly DependencyRow[] = [];

/** A run, its columns left as the bytes they are: they are walked when they are needed, in the order of events. */
export class Run {
  readonly bytes: Uint8Array;
  readonly actor: Actor;
  readonly firstSeq: number;
  readonly count: number;
  /** In the order of events; only of those that depend on something. */
  readonly dependencies: readonly DependencyRow[];
  /** Where its columns begin in its bytes. */
  readonly timesAt: number;
  readonly lengthsAt: number;
  readonly deltasAt: number;
  /** Whether these bytes were handed to the journal already. */
  isRecorded = false;

  constructor(
    bytes: Uint8Array,
    actor: Actor,
    firstSeq: number,
    count: number,
    dependencies: readonly DependencyRow[],
    columns: { readonly times: number; readonly lengths: number; readonly deltas: number },
  ) {
    this.bytes = bytes;
    this.actor = actor;
    this.firstSeq = firstSeq;
    this.count = count;
    this.dependencies = dependencies;
    this.timesAt = columns.times;
    this.lengthsAt = columns.lengths;
    this.deltasAt = columns.deltas;
  }

  get lastSeq(): number {
    return this.firstSeq + this.count - 1;
  }

  /** The time of event `index`. */
  timeOf(index: number): HybridTime {
    const reader = new Reader(this.bytes, this.timesAt);
    let time = 0;
    for (let left = index; left >= 0; left--) time += reader.uint();
    return time;
  }

  /** Reads a run. Throws `CrdtError` `MALFORMED`. */
  static decode(bytes: Uint8Array): Run {
    const reader = new Reader(bytes);
    const actor = reader.actor();
    const firstSeq = reader.uintMax(SEQ_MAX, "a sequence number");
    const count = reader.count(2);
    if (firstSeq === 0 || count === 0) throw malformed("a run without events");
    if (firstSeq + count - 1 > SEQ_MAX) throw malformed("a run goes beyond the last sequence number");
    const times = reader.at;
    checkTimes(reader, count);
    const dependencies = readDependencies(reader, actor, count);
    const lengths = reader.at;
    let total = 0;
    for (let index = 0; index < count; index++) total += reader.uint();
    if (total !== reader.left) throw malformed(`the deltas have ${reader.left} bytes instead of ${total}`);
    return new Run(bytes, actor, firstSeq, count, dependencies, { times, lengths, deltas: reader.at });
  }
}

/** A walk over the events of a run from index `from` up to `to`. */
export class RunWalk implements EventWalk {
  readonly actor: Actor;
  readonly bytes: Uint8Array;
  seq: number;
  time: HybridTime = 0;
  start: number;
  end: number;
  readonly #times: Reader;
  readonly #lengths: Reader;
  #left: number;

  constructor(run: Run, from: number, to: number) {
    const { bytes } = run;
    this.actor = run.actor;
    this.bytes = bytes;
    this.seq = run.firstSeq - 1;
    this.start = run.deltasAt;
    this.end = run.deltasAt;
    this.#times = new Reader(bytes, run.timesAt);
    this.#lengths = new Reader(bytes, run.lengthsAt);
    this.#left = from;
    while (this.next());
    this.#left = to - from;
  }

  next(): boolean {
    if (this.#left === 0) return false;
    this.#left--;
    this.seq++;
    this.time += this.#times.uint();
    this.start = this.end;
    this.end = this.start + this.#lengths.uint();
    return true;
  }
}

function checkTimes(reader: Reader, count: number): void {
  let time = reader.uint();
  for (let index = 1; index < count; index++) {
    const step = reader.uint();
    if (step === 0) throw malformed("the times of a run do not rise");
    time += step;
  }
  if (time > Number.MAX_SAFE_INTEGER) throw malformed("a time is out of range");
}

function readDependencies(reader: Reader, self: Actor, count: number): readonly DependencyRow[] {
  const length = reader.count(2);
  if (length === 0) return NO_ROWS;
  const rows: DependencyRow[] = [];
  let index = 0;
  for (let row = 0; row < length; row++) {
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
    rows.push({ index, list });
  }
  return rows;
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
