import { SHAPE_COUNTER, SHAPE_LOG, SHAPE_MAP, SHAPE_REGISTER } from "./kinds.ts";
import type { KernelState } from "./state.ts";
import { NO_ACTOR, type Store } from "./store.ts";

/** What the codecs need to know of a state before they write it. */
export interface Survey {
  /** Indexes of the actors in use, ordered by name. */
  readonly actors: readonly number[];
  /** For each index of the state the place in `actors`. */
  readonly ranks: readonly number[];
  /** The earliest time of a live write. */
  readonly baseTime: number;
}

/** Walks a state once. */
export function survey(state: KernelState): Survey {
  const used = new Set<number>();
  const times = { base: Number.MAX_SAFE_INTEGER };
  visit(state.root, used, times);
  const names = state.actors;
  const actors = [...used].sort((a, b) => (names.name(a) < names.name(b) ? -1 : 1));
  const ranks: number[] = [];
  for (const [rank, index] of actors.entries()) ranks[index] = rank;
  return { actors, ranks, baseTime: times.base === Number.MAX_SAFE_INTEGER ? 0 : times.base };
}

function visit(store: Store, used: Set<number>, times: { base: number }): void {
  switch (store.shape) {
    case SHAPE_MAP:
      for (const first of store.children.values()) {
        for (let child: Store | undefined = first; child !== undefined; child = child.sibling) {
          visit(child, used, times);
        }
      }
      return;
    case SHAPE_REGISTER:
      if (store.actor === NO_ACTOR) return;
      used.add(store.actor);
      if (store.time < times.base) times.base = store.time;
      for (const dot of store.more ?? []) {
        used.add(dot.actor);
        if (dot.time < times.base) times.base = dot.time;
      }
      return;
    case SHAPE_LOG:
      for (const entry of store.entries) {
        used.add(entry.actor);
        if (entry.time < times.base) times.base = entry.time;
      }
      return;
    case SHAPE_COUNTER:
      for (const row of store.rows) {
        used.add(row.actor);
        if (row.remover !== NO_ACTOR) used.add(row.remover);
      }
      return;
  }
}
