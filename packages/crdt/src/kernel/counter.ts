import { type Reader, type Writer, malformed } from "../codec.ts";
import type { Transaction } from "../type.ts";
import type { Cursor } from "./cursor.ts";
import { COUNTER_ADD, COUNTER_FIRST } from "./delta.ts";
import { isSigned } from "./kinds.ts";
import { type CounterRow, type CounterStore, type MapStore, NO_ACTOR, type Store, isLiveRow } from "./store.ts";

/** The row of an actor. */
export function findRow(counter: CounterStore, actor: number): CounterRow | undefined {
  const { rows } = counter;
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index] as CounterRow;
    if (row.actor === actor) return row;
  }
  return undefined;
}

/** What a counter counts: the increments that no removal has observed. */
export function counterValue(counter: CounterStore): number {
  let sum = 0;
  for (const row of counter.rows) sum += row.total - row.baseline;
  return sum;
}

/** The same of a store that may be absent. */
export function readCounter(store: Store | undefined): number {
  return store === undefined ? 0 : counterValue(store as CounterStore);
}

/** A row that begins a run with the event `seq`. */
export function newRow(actor: number, seq: number, total: number): CounterRow {
  return { actor, start: seq, last: seq, total, baseline: 0, cancelled: 0, remover: NO_ACTOR, removerSeq: 0 };
}

/** Begins a new run in a row that is dead. */
export function restart(row: CounterRow, seq: number, total: number): void {
  row.start = seq;
  row.last = seq;
  row.total = total;
  row.baseline = 0;
  row.cancelled = 0;
  row.remover = NO_ACTOR;
  row.removerSeq = 0;
}

/** Applies the increment that begins a run. */
function applyFirst(counter: CounterStore, actor: number, seq: number, amount: number): void {
  const row = findRow(counter, actor);
  if (row === undefined) counter.rows.push(newRow(actor, seq, amount));
  else restart(row, seq, amount);
}

/**
 * Applies an increment that continues a run. The total that its actor had before counts rather than the one known
 * here: where the row was dropped, because every replica knew it to be cancelled, all of that total is cancelled.
 */
function applyAdd(
  counter: CounterStore,
  actor: number,
  seq: number,
  start: number,
  before: number,
  amount: number,
): void {
  let row = findRow(counter, actor);
  if (row === undefined) {
    row = newRow(actor, start, 0);
    counter.rows.push(row);
    row.baseline = before;
    row.cancelled = seq - 1;
  } else if (row.start !== start) {
    restart(row, start, 0);
    row.baseline = before;
    row.cancelled = seq - 1;
  }
  row.last = seq;
  row.total = before + amount;
}

/** What an increment says. */
export interface IncrementDetails {
  /** `COUNTER_FIRST` or `COUNTER_ADD`. */
  readonly code: number;
  readonly amount: number;
  /** The event that began the run, and the total that it had before. */
  readonly start: number;
  readonly before: number;
}

/** An increment, as it is read: made once and read into again and again. */
export class Increment implements IncrementDetails {
  code = 0;
  amount = 0;
  start = 0;
  before = 0;

  /** Reads an operation of a counter of `kind`, made by event `seq`. Throws `MALFORMED`. */
  read(reader: Reader, kind: number, seq: number): void {
    this.code = reader.byte();
    this.amount = readAmount(reader, kind);
    this.start = seq;
    this.before = 0;
    if (this.code === COUNTER_ADD) {
      this.start -= reader.uintMax(seq - 1, "the length of a run");
      this.before = readAmount(reader, kind);
      if (Math.abs(this.before + this.amount) > amountMax(kind)) throw malformed("the total of a run is too large");
    } else if (this.code !== COUNTER_FIRST) {
      throw malformed(`no operation of a counter has the code ${this.code}`);
    }
  }
}

/** Applies an increment that event `seq` of `actor` made. */
export function applyIncrement(
  counter: CounterStore,
  actor: number,
  seq: number,
  { code, amount, start, before }: IncrementDetails,
): void {
  if (code === COUNTER_FIRST) applyFirst(counter, actor, seq, amount);
  else applyAdd(counter, actor, seq, start, before, amount);
}

/** Cancels what a removal observed of an actor's run. */
export function cancelRow(
  row: CounterRow,
  start: number,
  last: number,
  total: number,
  remover: number,
  removerSeq: number,
): void {
  if (row.start !== start || last <= row.cancelled) return;
  row.cancelled = last;
  row.baseline = total;
  row.remover = remover;
  row.removerSeq = removerSeq;
}

/** Throws `TypeError` for what is no amount: the text "5", a `bigint`, a fraction. */
export function checkInteger(amount: unknown): void {
  if (Number.isSafeInteger(amount)) return;
  const type = typeof amount;
  const given = type === "string" ? JSON.stringify(amount) : type === "number" ? String(amount) : nameOf(amount);
  throw new TypeError(`an amount is a safe integer, not ${given}`);
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Adds to the counter at `cursor`. Throws `RangeError` when the sum would exceed the kind's limit. */
export function addToCounter(cursor: Cursor, amount: number): void {
  const transaction = cursor.begin();
  const { delta, seq } = transaction;
  const { state } = cursor;
  const own = state.own(transaction);
  const found = cursor.find() as CounterStore | undefined;
  const row = found === undefined ? undefined : findRow(found, own);
  const live = row !== undefined && isLiveRow(row);
  checkSum(found === undefined ? 0 : counterValue(found), amount, cursor.kind);
  if (live) checkSum(row.total, amount, cursor.kind);
  const start = delta.length;
  try {
    cursor.writePath(delta);
  } catch (error) {
    delta.reset(start);
    throw error;
  }
  delta.byte(live ? COUNTER_ADD : COUNTER_FIRST);
  writeAmount(delta, cursor.kind, amount);
  if (live) {
    delta.uint(seq - row.start);
    writeAmount(delta, cursor.kind, row.total);
    transaction.onRollback(setRun, row, row.last, row.total);
    row.last = seq;
    row.total += amount;
  } else {
    const counter = found ?? (cursor.ensure(transaction) as CounterStore);
    beginRun(counter, row, own, amount, transaction);
  }
  cursor.open.endOperation(delta, cursor.parent?.find() as MapStore | undefined);
  cursor.touch(transaction);
}

/** Writes an amount or a total of a counter of `kind`. */
export function writeAmount(writer: Writer, kind: number, amount: number): void {
  if (isSigned(kind)) writer.int(amount);
  else writer.uint(amount);
}

/** Reads an amount or a total of a counter of `kind`. */
export function readAmount(reader: Reader, kind: number): number {
  return isSigned(kind) ? reader.int() : reader.uint();
}

/** The highest magnitude of a total of a counter of `kind`. */
export function amountMax(kind: number): number {
  return isSigned(kind) ? 2 ** 52 - 1 : Number.MAX_SAFE_INTEGER;
}

function checkSum(sum: number, amount: number, kind: number): void {
  const max = amountMax(kind);
  if (Math.abs(sum + amount) > max) throw new RangeError(`the counter would exceed ${max}: ${sum} + ${amount}`);
}

function setRun(row: CounterRow, last: number, total: number): void {
  row.last = last;
  row.total = total;
}

function beginRun(
  counter: CounterStore,
  row: CounterRow | undefined,
  own: number,
  amount: number,
  transaction: Transaction,
): void {
  const { seq } = transaction;
  if (row === undefined) {
    const fresh = newRow(own, seq, amount);
    counter.rows.push(fresh);
    transaction.onRollback(() => {
      counter.rows.splice(counter.rows.indexOf(fresh), 1);
    });
  } else {
    const before = { ...row };
    restart(row, seq, amount);
    transaction.onRollback(() => Object.assign(row, before));
  }
}
