import type { CrdtType } from "../type.ts";
import { applyDelta } from "./apply.ts";
import { applyEvents } from "./apply-events.ts";
import { writeCanonical } from "./canonical.ts";
import { collect, gcInfo } from "./collect.ts";
import { Cursor } from "./cursor.ts";
import { joinState } from "./join.ts";
import { decodeState, encodeState } from "./state-codec.ts";
import { KernelState } from "./state.ts";
import type { Store } from "./store.ts";

/** How a type reads and writes its store, wherever that stands: at the root or in a map. */
export interface Nesting<Value, Mutator> {
  readonly kind: number;
  /** The mutator, or the view when the cursor has no transaction. */
  bind(cursor: Cursor): Mutator;
  /** The value; of an empty store when there is none. */
  read(store: Store | undefined): Value;
}

/** The types that a type is made of. */
export interface Parts {
  /** Of every key of a map. */
  readonly child?: AnyNestableType;
  readonly fields?: Readonly<Record<string, AnyNestableType>>;
}

/** A type that stands on the kernel: usable for a whole group, and inside `orMap` and `struct`. */
export interface NestableType<Value, Mutator extends View, View = Mutator> extends CrdtType<
  KernelState,
  Value,
  Mutator,
  View
> {
  /** For the maps that it stands in. */
  readonly nesting: Nesting<Value, Mutator>;
  /** For tools that walk through a type. */
  readonly parts?: Parts;
}

/** Makes a type of a name, of how it reads and writes its store, and of its plain-data operations. */
export function kernelType<Value, Mutator extends View, View = Mutator>(
  name: string,
  nesting: Nesting<Value, Mutator>,
  operations: readonly string[],
): NestableType<Value, Mutator, View> {
  const { kind } = nesting;
  return {
    name,
    nesting,
    operations,
    create: () => new KernelState(kind),
    mutator: (state, transaction) => nesting.bind(new Cursor(state, transaction, kind)),
    view: (state) => nesting.bind(new Cursor(state, undefined, kind)),
    apply: applyDelta,
    applyAll: applyEvents,
    join: joinState,
    encode: (state) => encodeState(state),
    encodeSince: (state, vector) => encodeState(state, vector),
    decode: (body) => decodeState(kind, body),
    value: (state) => nesting.read(state.root),
    canonical: writeCanonical,
    gcInfo,
    collect,
  };
}

/** A nestable type whatever its parameters. */
// oxlint-disable-next-line typescript/no-explicit-any -- variance: a child may have any value and mutator.
export type AnyNestableType = NestableType<any, any, any>;

/** Refuses what cannot stand in a map, such as `lwwRegister` for `lwwRegister()`. Throws `TypeError`. */
export function checkNestable(type: unknown, place: string): void {
  const { name, nesting } = (type ?? {}) as Partial<AnyNestableType>;
  if (typeof nesting?.bind === "function") return;
  const given = typeof type === "function" ? `the function ${name}` : (name ?? String(type));
  throw new TypeError(`${place} must be a type that nests, such as gCounter or lwwRegister(), not ${given}`);
}

/** The mutator of a nestable type's children. */
export type NestedMutator<Type> = Type extends NestableType<infer _Value, infer Mutator, infer _View> ? Mutator : never;

/** The view of a nestable type's children. */
export type NestedView<Type> = Type extends NestableType<infer _Value, infer _Mutator, infer View> ? View : never;
