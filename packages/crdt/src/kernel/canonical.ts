import type { Writer } from "../codec.ts";
import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER, isSigned } from "./kinds.ts";
import { amountMax, writeAmount } from "./counter.ts";
import { liveDots, writeStored } from "./register.ts";
import type { KernelState } from "./state.ts";
import { type MapStore, type Store, isAlive, isLiveRow } from "./store.ts";

/**
 * Writes all of a state that is alive, in one order whatever the history: keys by their code units, kinds by number,
 * dots and rows by actor. Cancelled rows, and how a row came to its amount, are left out.
 */
export function writeCanonical(state: KernelState, writer: Writer): void {
  writeStore(state, state.root, writer);
}

function writeStore(state: KernelState, store: Store, writer: Writer): void {
  const { actors } = state;
  const byName = (a: { readonly actor: number }, b: { readonly actor: number }): number =>
    actors.name(a.actor) < actors.name(b.actor) ? -1 : 1;
  switch (store.shape) {
    case SHAPE_MAP:
      writeMap(state, store, writer);
      return;
    case SHAPE_REGISTER: {
      const dots = [...liveDots(store)].sort(byName);
      writer.uint(dots.length);
      for (const dot of dots) {
        writer.actor(actors.name(dot.actor));
        writer.uint(dot.seq);
        writer.uint(dot.time);
        writeStored(writer, dot.value);
      }
      return;
    }
    case SHAPE_LOG:
      writer.uint(store.entries.length);
      for (const entry of store.entries) {
        writer.actor(actors.name(entry.actor));
        writer.uint(entry.seq);
        writer.uint(entry.index);
        writer.uint(entry.time);
        writeStored(writer, entry.value);
      }
      return;
    case SHAPE_COUNTER: {
      const rows = store.rows.filter(isLiveRow).sort(byName);
      writer.uint(rows.length);
      for (const row of rows) {
        writer.actor(actors.name(row.actor));
        writer.uint(row.last);
        writeCount(writer, store.kind, row.total - row.baseline);
      }
      return;
    }
  }
}

/** Beyond what a counter can count only where a peer lied about what it removed: no integer is written with these bytes. */
function writeCount(writer: Writer, kind: number, count: number): void {
  if (Math.abs(count) <= amountMax(kind) && (isSigned(kind) || count >= 0)) return writeAmount(writer, kind, count);
  writer.byte(0x80);
  writer.byte(0);
  writer.float64(count);
}

function writeMap(state: KernelState, map: MapStore, writer: Writer): void {
  const alive: [string, Store][] = [];
  for (const [key, first] of map.children) {
    for (let child: Store | undefined = first; child !== undefined; child = child.sibling) {
      if (isAlive(child)) alive.push([key, child]);
    }
  }
  alive.sort(([a, first], [b, second]) => (a === b ? first.kind - second.kind : a < b ? -1 : 1));
  writer.uint(alive.length);
  for (const [key, child] of alive) {
    writer.string(key);
    writer.byte(child.kind);
    writeStore(state, child, writer);
  }
}
