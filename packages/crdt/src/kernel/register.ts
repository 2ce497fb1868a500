import { Reader, type Writer } from "../codec.ts";
import type { Transaction } from "../type.ts";
import { type Value, readValue, writeValue } from "../value.ts";
import type { Cursor } from "./cursor.ts";
import {
  type ActorTable,
  type MapStore,
  NEVER,
  NO_ACTOR,
  type RegisterDot,
  RegisterStore,
  Sealed,
  type Stored,
  attach,
  detach,
  inChain,
} from "./store.ts";

/** What a reader gets of a kept value. */
export function reveal(stored: Stored): Value | undefined {
  return stored instanceof Sealed ? readValue(new Reader(stored.bytes)) : stored;
}

/** Reads a value, as it is kept. Throws `MALFORMED`. */
export function readStored(reader: Reader): Stored {
  const start = reader.at;
  const value = readValue(reader);
  return typeof value === "object" && value !== null && isMutable(value) ? new Sealed(reader.copy(start)) : value;
}

function isMutable(value: object): boolean {
  if (value instanceof Date || value instanceof Uint8Array) return true;
  return Object.values(value).some((item: unknown) => typeof item === "object" && item !== null && isMutable(item));
}

/** Writes a kept value. */
export function writeStored(writer: Writer, stored: Stored): void {
  if (stored instanceof Sealed) writer.raw(stored.bytes);
  else writeValue(writer, stored);
}

/** Writes a value given by a user, and returns what to keep of it: never the user's own object. */
export function writeGiven(writer: Writer, value: unknown): Stored {
  const start = writer.length;
  writeValue(writer, value);
  if (typeof value !== "object" || value === null) return value as Value;
  return readStored(new Reader(writer.peek(start)));
}

/** Every live write of a register, the one that is read first. */
export function liveDots(register: RegisterStore): readonly RegisterDot[] {
  if (register.actor === NO_ACTOR) return [];
  const { actor, seq, time, value } = register;
  const top = { actor, seq, time, value };
  return register.more === undefined ? [top] : [top, ...register.more];
}

/** Whether every live write of a register that has one says `true`. */
export function isEveryTrue({ value, more }: RegisterStore): boolean {
  return value === true && (more === undefined || more.every((dot) => dot.value === true));
}

/** Whether any live write of a register says `true`. */
export function isAnyTrue({ value, more }: RegisterStore): boolean {
  return value === true || more?.some((dot) => dot.value === true) === true;
}

/** Whether `a` is read rather than `b`: the later one, and among equal times the one of the higher actor. */
function wins(actors: ActorTable, a: RegisterDot, b: RegisterDot): boolean {
  if (a.time !== b.time) return a.time > b.time;
  return actors.name(a.actor) > actors.name(b.actor);
}

/** Makes `dots` the live writes of a register. */
export function setDots(register: RegisterStore, actors: ActorTable, dots: readonly RegisterDot[]): void {
  const [first, ...rest] = dots;
  if (first === undefined) {
    register.assign(NO_ACTOR, NEVER, undefined, undefined);
    return;
  }
  if (rest.length === 0) {
    register.assign(first.actor, first, first.value, undefined);
    return;
  }
  // In one order everywhere, because some types show all of them.
  const [top, ...more] = [...dots].sort((a, b) => (wins(actors, a, b) ? -1 : 1)) as [RegisterDot, ...RegisterDot[]];
  register.assign(top.actor, top, top.value, more);
}

/** Whether a register holds nothing, or just a write of `actor`: its next one replaces that. */
export function isAlone(register: RegisterStore, actor: number): boolean {
  return register.actor === NO_ACTOR || (register.actor === actor && register.more === undefined);
}

/** Applies a write: what it overwrites are its actor's own writes, and the dots of others that it names. */
export function applyWrite(
  register: RegisterStore,
  actors: ActorTable,
  dot: RegisterDot,
  overwritten: readonly number[],
  seqs: readonly number[],
): void {
  if (isAlone(register, dot.actor)) return register.assign(dot.actor, dot, dot.value, undefined);
  const survivors = liveDots(register).filter((live) => {
    if (live.actor === dot.actor) return false;
    const index = overwritten.indexOf(live.actor);
    return index < 0 || live.seq > (seqs[index] as number);
  });
  setDots(register, actors, [...survivors, dot]);
}

/** Writes a value into the register at `cursor`. */
export function writeRegister(cursor: Cursor, value: unknown): void {
  const { parent, kind, key } = cursor;
  if (parent !== undefined) {
    writeChildRegister(parent, key, kind, value);
    return;
  }
  const transaction = cursor.begin();
  const own = cursor.state.own(transaction);
  const register = cursor.find() as RegisterStore;
  const stored = writeOperation(transaction, cursor, undefined, kind, undefined, register, own, value);
  keepForRollback(register, transaction);
  register.assign(own, transaction, stored, undefined);
}

/** Writes a value into the register of `kind` under `key` of the map at `parent`: the path of every map write. */
export function writeChildRegister(parent: Cursor, key: string, kind: number, value: unknown): void {
  parent.assertChild(key);
  const transaction = parent.begin();
  const { state } = parent;
  const own = state.own(transaction);
  let map = parent.find() as MapStore | undefined;
  const first = map?.children.get(key);
  const found = inChain(first, kind) as RegisterStore | undefined;
  const stored = writeOperation(transaction, parent, key, kind, map, found, own, value);
  if (found !== undefined) {
    keepForRollback(found, transaction);
    found.assign(own, transaction, stored, undefined);
  } else {
    map ??= parent.ensure(transaction) as MapStore;
    const register = new RegisterStore(kind, own, transaction, stored);
    if (first === undefined) map.put(key, register);
    else attach(map, key, register);
    transaction.onRollback(detach, map, key, register);
  }
  parent.open.endOperation(transaction.delta, map);
  if (transaction.touched !== undefined) parent.child(key, kind).touch(transaction);
}

/** Appends a write to the delta, all or nothing; returns what to keep of the value. No key means the root. */
function writeOperation(
  transaction: Transaction,
  cursor: Cursor,
  key: string | undefined,
  kind: number,
  map: MapStore | undefined,
  register: RegisterStore | undefined,
  own: number,
  value: unknown,
): Stored {
  const { delta } = transaction;
  const known = cursor.open.actorCount;
  const start = delta.length;
  try {
    if (key !== undefined) cursor.writeChildPath(delta, map, key, kind);
    if (register === undefined) delta.byte(1);
    else writeOverwritten(cursor, register, delta, own);
    return writeGiven(delta, value);
  } catch (error) {
    delta.reset(start);
    if (cursor.open.actorCount > known) cursor.open.actors.trim(known);
    throw error;
  }
}

/** Writes the dots of other actors that are live in a register. */
export function writeOverwritten(cursor: Cursor, register: RegisterStore, delta: Writer, own: number): void {
  if (register.more === undefined && (register.actor === own || register.actor === NO_ACTOR)) {
    delta.byte(1);
    return;
  }
  const { actors } = cursor.state;
  const others = liveDots(register).filter((dot) => dot.actor !== own);
  delta.uint(1 + others.length);
  for (const dot of others) {
    cursor.open.actors.write(delta, actors, dot.actor, own);
    delta.uint(dot.seq);
  }
}

function keepForRollback(register: RegisterStore, transaction: Transaction): void {
  const { actor, seq, time, value, more } = register;
  transaction.onRollback(restore, register, { actor, seq, time, value }, more);
}

function restore(register: RegisterStore, top: RegisterDot, more: RegisterDot[] | undefined): void {
  register.assign(top.actor, top, top.value, more);
}
