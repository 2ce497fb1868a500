import type { GcInfo } from "../type.ts";
import type { VersionVector } from "../vector.ts";
import { KIND_RWSET, KIND_TWOPSET, SHAPE_COUNTER, SHAPE_MAP, SHAPE_REGISTER } from "./kinds.ts";
import { isEveryTrue } from "./register.ts";
import type { KernelState } from "./state.ts";
import { type ActorTable, type CounterRow, type MapStore, type Store, detach, isLiveRow } from "./store.ts";

/**
 * Dead rows of counters are what can be collected: once every replica knows the removal that killed a row, nothing
 * that arrives can refer to it but increments, which carry the total before them.
 *
 * Tombstones of remove-wins and two-phase sets are counted but stay: a replica without one would add the element anew
 * and could not tell the others that it overwrites theirs.
 */
export function gcInfo(state: KernelState, stable: VersionVector): GcInfo {
  const info = { collectable: 0, tombstones: 0 };
  count(state.root, state.actors, stable, info);
  return info;
}

function count(
  store: Store,
  actors: ActorTable,
  stable: VersionVector,
  info: { collectable: number; tombstones: number },
): void {
  if (store.shape === SHAPE_COUNTER) {
    for (const row of store.rows) {
      if (isLiveRow(row)) continue;
      info.tombstones++;
      if (isStable(row, actors, stable)) info.collectable++;
    }
    return;
  }
  if (store.shape !== SHAPE_MAP) return;
  const keepsRemoved = store.kind === KIND_RWSET || store.kind === KIND_TWOPSET;
  for (const first of store.children.values()) {
    for (let child: Store | undefined = first; child !== undefined; child = child.sibling) {
      if (keepsRemoved && child.shape === SHAPE_REGISTER && !isEveryTrue(child)) info.tombstones++;
      count(child, actors, stable, info);
    }
  }
}

function isStable(row: CounterRow, actors: ActorTable, stable: VersionVector): boolean {
  return row.remover >= 0 && stable.covers(actors.name(row.remover), row.removerSeq);
}

/** Drops the dead rows that every replica knows to be dead; returns how many. */
export function collect(state: KernelState, stable: VersionVector): number {
  return collectStore(state.root, state.actors, stable);
}

function collectStore(store: Store, actors: ActorTable, stable: VersionVector): number {
  if (store.shape === SHAPE_COUNTER) {
    const before = store.rows.length;
    store.rows = store.rows.filter((row) => isLiveRow(row) || !isStable(row, actors, stable));
    return before - store.rows.length;
  }
  return store.shape === SHAPE_MAP && store.irregular ? collectMap(store, actors, stable) : 0;
}

function collectMap(map: MapStore, actors: ActorTable, stable: VersionVector): number {
  let collected = 0;
  for (const [key, first] of map.children) {
    for (let child: Store | undefined = first; child !== undefined;) {
      const next: Store | undefined = child.sibling;
      collected += collectStore(child, actors, stable);
      // A map that has become empty has taken itself off already.
      if (child.shape === SHAPE_COUNTER && child.rows.length === 0) detach(map, key, child);
      child = next;
    }
  }
  return collected;
}
