import { type Actor, type HybridTime, type Stamp, Writer } from "@coppice/crdt";
import { type Dependency, type DependencyRow, Run } from "./run.ts";
import { UndoLog } from "./undo-log.ts";

/** Builders kept for the next tick, and the most bytes that one of them may hold. */
const KEPT_MAX = 64;
const KEPT_BYTES_MAX = 64 * 1024;

const NO_ROWS: readonly DependencyRow[] = [];

/**
 * Collects the events that one group makes in one tick, its columns as the bytes that they will be: a delta is written
 * in place, and copied once, when the run is taken.
 */
export class RunBuilder {
  /** Where mutators append. */
  readonly deltas: Writer = new Writer();
  /** What takes the open event back. */
  readonly undos: UndoLog = new UndoLog();
  readonly #times = new Writer(16);
  readonly #lengths = new Writer(16);
  /** Where the run is put together. */
  readonly #run = new Writer();
  #rows: DependencyRow[] = [];
  #actor = "" as Actor;
  #firstSeq = 0;
  #count = 0;
  #lastTime: HybridTime = 0;
  #end = 0;

  get count(): number {
    return this.#count;
  }

  /** Bytes that it holds memory for. */
  get capacity(): number {
    return this.deltas.capacity + this.#times.capacity + this.#lengths.capacity + this.#run.capacity;
  }

  /** Takes everything written to `deltas` since the last event as the next event of the same actor. */
  add({ actor, seq, time }: Stamp, dependencies: readonly Dependency[]): void {
    if (this.#count === 0) {
      this.#actor = actor;
      this.#firstSeq = seq;
    }
    if (dependencies.length > 0) this.#rows.push({ index: this.#count, list: dependencies });
    this.#times.uint(time - this.#lastTime);
    this.#lengths.uint(this.deltas.length - this.#end);
    this.#lastTime = time;
    this.#end = this.deltas.length;
    this.#count++;
  }

  /** The collected events as a run; starts anew. There must be one. */
  take(): Run {
    const rows = this.#rows.length === 0 ? NO_ROWS : this.#rows;
    const writer = this.#run;
    writer.reset();
    writer.actor(this.#actor);
    writer.uint(this.#firstSeq);
    writer.uint(this.#count);
    const times = writer.length;
    writer.append(this.#times);
    writeDependencies(writer, rows);
    const lengths = writer.length;
    writer.append(this.#lengths);
    const deltas = writer.length;
    writer.append(this.deltas);
    const run = new Run(writer.take(), this.#actor, this.#firstSeq, this.#count, rows, { times, lengths, deltas });
    this.#reset();
    return run;
  }

  #reset(): void {
    this.deltas.reset();
    this.#times.reset();
    this.#lengths.reset();
    if (this.#rows.length > 0) this.#rows = [];
    this.#count = 0;
    this.#lastTime = 0;
    this.#end = 0;
    this.undos.clear();
  }
}

/** The dependencies of a run's events, by the events' index: see the format table of `run.ts`. */
export function writeDependencies(writer: Writer, rows: readonly DependencyRow[]): void {
  writer.uint(rows.length);
  let last = 0;
  for (const { index, list } of rows) {
    writer.uint(index - last);
    last = index;
    writer.uint(list.length);
    for (const { actor, seq } of list) {
      writer.actor(actor);
      writer.uint(seq);
    }
  }
}

/** Builders that no group is writing into: a group has one only from its first event in a tick to the end of the tick. */
export class RunBuilders {
  readonly #kept: RunBuilder[] = [];

  take(): RunBuilder {
    return this.#kept.pop() ?? new RunBuilder();
  }

  giveBack(builder: RunBuilder): void {
    if (this.#kept.length < KEPT_MAX && builder.capacity <= KEPT_BYTES_MAX) this.#kept.push(builder);
  }
}
