import type { Cursor } from "./kernel/cursor.ts";
import {
  type AnyNestableType,
  type NestableType,
  type NestedMutator,
  type NestedView,
  checkNestable,
  kernelType,
} from "./kernel/kernel-type.ts";
import { KIND_MAP } from "./kernel/kinds.ts";
import { freezeRecord } from "./kernel/map-view.ts";
import { type MapStore, type Store, inChain } from "./kernel/store.ts";
import type { ValueOf } from "./type.ts";

/** The declared fields of a struct. */
export interface StructFields {
  readonly [field: string]: AnyNestableType;
}

/** What a struct reads as: every declared field, empty where nothing was written. */
export type StructValue<Fields extends StructFields> = { readonly [Field in keyof Fields]: ValueOf<Fields[Field]> };

/** Changes a struct: a mutator for each field. */
export type StructMutator<Fields extends StructFields> = {
  readonly [Field in keyof Fields]: NestedMutator<Fields[Field]>;
};

/** Reads a struct: a view for each field. */
export type StructView<Fields extends StructFields> = { readonly [Field in keyof Fields]: NestedView<Fields[Field]> };

/** Throws `TypeError` for what is no record of fields. */
export function checkFields(fields: unknown): void {
  if (typeof fields === "object" && fields !== null) return;
  throw new TypeError(`the fields must be an object of types, such as { total: gCounter }, not ${String(fields)}`);
}

function bindFields(fields: readonly (readonly [string, AnyNestableType])[], cursor: Cursor): object {
  const bound: object = Object.create(null) as object;
  for (const [field, { nesting }] of fields) {
    let mutator: unknown;
    Object.defineProperty(bound, field, {
      enumerable: true,
      get: () => (mutator ??= nesting.bind(cursor.child(field, nesting.kind))),
    });
  }
  return Object.freeze(bound);
}

function readField(map: MapStore | undefined, field: string, type: AnyNestableType): unknown {
  return type.nesting.read(inChain(map?.children.get(field), type.nesting.kind));
}

/**
 * Several CRDTs under fixed names, each of its own type. Fields that are not declared here, because a newer program
 * wrote them, are kept and passed on but not shown.
 *
 * @param fields the type of each field; a field whose type changes begins anew, beside the old one. Throws `TypeError`
 *   for what is no type, or one that does not nest
 */
export function struct<const Fields extends StructFields>(
  fields: Fields,
): NestableType<StructValue<Fields>, StructMutator<Fields> & StructView<Fields>, StructView<Fields>> {
  checkFields(fields);
  const list = Object.entries(fields);
  for (const [field, type] of list) checkNestable(type, `the field ${JSON.stringify(field)}`);
  const read = (store: Store | undefined): unknown =>
    freezeRecord(list.map(([field, type]) => [field, readField(store as MapStore | undefined, field, type)] as const));
  const type = kernelType<StructValue<Fields>, StructMutator<Fields> & StructView<Fields>, StructView<Fields>>(
    "struct",
    {
      kind: KIND_MAP,
      bind: (cursor) => bindFields(list, cursor) as StructMutator<Fields> & StructView<Fields>,
      read: (store) => read(store) as StructValue<Fields>,
    },
    [],
  );
  return { ...type, parts: { fields } };
}
