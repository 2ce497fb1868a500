import type { AnyCrdtType, CrdtType, Stamp } from "@coppice/crdt";

/** What is kept of a group without its type's code. */
export interface OpaqueState {
  /** A state received or stored whole, if any. */
  readonly base: Uint8Array | undefined;
  /** Events since the base, in the order in which they were applied. */
  readonly events: { readonly delta: Uint8Array; readonly at: Stamp }[];
}

/** Type codes by name; `undefined` stands for a type that this node was not given. */
export type TypeRegistry = ReadonlyMap<string, AnyCrdtType>;

/**
 * Stands in for a type that this node has no code for: keeps its events as they are, so that they can be stored,
 * relayed, and replayed once the type is registered. Two states cannot be joined without their code, so one is
 * adopted only when it holds everything that is known here. It has a body only while no event follows the base.
 */
export const opaqueType: CrdtType<OpaqueState, undefined, object> = {
  name: "opaque",
  create: () => ({ base: undefined, events: [] }),
  mutator: () => ({}),
  view: () => ({}),
  apply: (state, delta, at) => void state.events.push({ delta, at }),
  join() {
    throw new TypeError("states of an unknown type cannot be joined");
  },
  encode(state) {
    if (state.base === undefined || state.events.length > 0) throw new TypeError("a state of unknown type has no body");
    return state.base;
  },
  decode: (body) => ({ base: body, events: [] }),
  value: () => undefined,
  canonical: () => {},
};

/** The state that `type`'s own code makes of what was kept without it. */
export function reviveOpaque(type: AnyCrdtType, state: OpaqueState): unknown {
  const revived: unknown = state.base === undefined ? type.create() : type.decode(state.base);
  for (const { delta, at } of state.events) type.apply(revived, delta, at);
  return revived;
}
