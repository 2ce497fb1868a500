import { CrdtError } from "./error.ts";
import { Cursor } from "./kernel/cursor.ts";
import { type AnyNestableType, type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_MAP, KIND_MVREGISTER } from "./kernel/kinds.ts";
import { freezeRecord, mapAt } from "./kernel/map-view.ts";
import { liveDots, writeChildRegister } from "./kernel/register.ts";
import { type MapStore, type RegisterStore, type Store, inChain, isAlive } from "./kernel/store.ts";
import { StampingTransaction } from "./schema-stamp.ts";
import { type StandardSchema, isStandardSchema } from "./standard-schema.ts";
import { type StructMutator, type StructValue, type StructView, checkFields, struct } from "./struct.ts";
import type { ValueOf } from "./type.ts";
import { type ValidatedRegister, validatedRegister } from "./validated-register.ts";

/** The declared fields: a CRDT type each, or a schema for a last-writer-wins register whose values it checks. */
export interface SchemaFields {
  readonly [field: string]: AnyNestableType | StandardSchema;
}

/** The CRDT type of each field. */
export type FieldTypes<Fields extends SchemaFields> = {
  readonly [Field in keyof Fields]: Fields[Field] extends AnyNestableType
    ? Fields[Field]
    : Fields[Field] extends StandardSchema<infer Input, infer Output>
      ? ValidatedRegister<Input, Output>
      : never;
};

/** What a schema'd map reads as: every declared field. */
export type SchemaMapValue<Fields extends SchemaFields> = StructValue<FieldTypes<Fields>>;

/** Changes a schema'd map: a mutator for each field. */
export type SchemaMapMutator<Fields extends SchemaFields> = StructMutator<FieldTypes<Fields>> &
  StructView<FieldTypes<Fields>>;

/** Reads a schema'd map: a view for each field, of what was written under its present name and type. */
export type SchemaMapView<Fields extends SchemaFields> = StructView<FieldTypes<Fields>>;

/** A schema'd map as a type. */
export interface SchemaMap<Fields extends SchemaFields> extends NestableType<
  SchemaMapValue<Fields>,
  SchemaMapMutator<Fields>,
  SchemaMapView<Fields>
> {
  /** The version of this schema. */
  readonly version: number;
}

/** Reads what an older schema wrote. */
export interface Migration<Fields extends SchemaFields, Previous extends AnyNestableType> {
  /** The schema before this one, which may have a migration of its own. */
  readonly from: Previous;
  /**
   * The fields that are not simply what was written under their present name and type. Pure and quick: it is called
   * whenever the value is built, and its result is never stored.
   *
   * @param before what the older schema reads
   * @param written the fields that were written under their present name and type
   */
  readonly read: (
    before: ValueOf<Previous>,
    written: Partial<SchemaMapValue<Fields>>,
  ) => Partial<SchemaMapValue<Fields>>;
}

/** Options of {@link schemaMap}. */
export interface SchemaMapOptions<Fields extends SchemaFields, Previous extends AnyNestableType> {
  /** From 1 on; higher than the one that it migrates from. */
  readonly version: number;
  readonly fields: Fields;
  /**
   * The lowest version whose programs may still write where this version wrote; 1 by default. An older program that
   * tries gets `UNSUPPORTED_VERSION`, and can still read.
   */
  readonly writableFrom?: number;
  readonly migration?: Migration<Fields, Previous>;
}

/** The field under which a map keeps which schema versions wrote to it. */
const STAMP = "$schema";

const cursors = new WeakMap<object, Cursor>();

/**
 * The highest schema version that wrote to the map behind a mutator or view; 0 where none did.
 *
 * @param view what `mutate` or `read` gave, or a schema'd map in it. Throws `TypeError` for anything else.
 */
export function writtenSchemaVersion(view: object): number {
  const cursor = cursors.get(view);
  if (cursor === undefined) throw new TypeError("not a mutator or a view of a schema'd map");
  return readStamp(mapAt(cursor)).version;
}

/** What a schema leaves in a map that it writes to. */
interface Stamped {
  readonly version: number;
  readonly writableFrom: number;
}

// Of all concurrent stamps each highest number: what any version asks for holds.
function readStamp(map: MapStore | undefined): Stamped {
  const register = inChain(map?.children.get(STAMP), KIND_MVREGISTER) as RegisterStore | undefined;
  let [version, writableFrom] = [0, 1];
  for (const { value } of register === undefined ? [] : liveDots(register)) {
    const stamp: readonly unknown[] = Array.isArray(value) ? value : [];
    if (typeof stamp[0] === "number") version = Math.max(version, stamp[0]);
    if (typeof stamp[1] === "number") writableFrom = Math.max(writableFrom, stamp[1]);
  }
  return { version, writableFrom };
}

function stamp(cursor: Cursor, own: Stamped): void {
  const found = readStamp(mapAt(cursor));
  if (found.writableFrom > own.version) {
    throw new CrdtError(
      "UNSUPPORTED_VERSION",
      `schema version ${found.version} wrote here and lets only versions from ${found.writableFrom} on write: this one is ${own.version}`,
    );
  }
  if (found.version >= own.version && found.writableFrom >= own.writableFrom) return;
  const version = Math.max(found.version, own.version);
  const writableFrom = Math.max(found.writableFrom, own.writableFrom);
  writeChildRegister(cursor, STAMP, KIND_MVREGISTER, [version, writableFrom]);
}

const OPTIONS: Readonly<Record<keyof SchemaMapOptions<SchemaFields, AnyNestableType>, true>> = {
  version: true,
  fields: true,
  writableFrom: true,
  migration: true,
};

function checkOptions(options: object): void {
  const stray = Object.keys(options).find((name) => !Object.hasOwn(OPTIONS, name));
  if (stray === undefined) return;
  throw new TypeError(`schemaMap has no option ${stray}; there are ${Object.keys(OPTIONS).join(", ")}`);
}

function fieldTypes(fields: SchemaFields): Record<string, AnyNestableType> {
  checkFields(fields);
  const types: Record<string, AnyNestableType> = {};
  for (const [field, declared] of Object.entries(fields)) {
    if (field === STAMP) throw new TypeError(`the field name ${STAMP} is taken`);
    types[field] = isStandardSchema(declared) ? validatedRegister(declared) : declared;
  }
  return types;
}

function checkVersions(
  { version, writableFrom = 1 }: { readonly version: number; readonly writableFrom?: number },
  from: unknown,
): Stamped {
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new RangeError(`the version of a schema is an integer from 1 on, not ${version}`);
  }
  if (!Number.isSafeInteger(writableFrom) || writableFrom < 1 || writableFrom > version) {
    throw new RangeError(`writableFrom is a version from 1 to ${version}, not ${writableFrom}`);
  }
  if (typeof from === "number" && from >= version) {
    throw new RangeError(`a migration to version ${version} cannot come from version ${from}`);
  }
  return { version, writableFrom };
}

/**
 * A `struct` with a version: declared fields, values checked by schemas, and migrations that are read-time views. A
 * migration never writes, so programs of several versions can work on one map at a time: each reads what the others
 * write as far as its own schema and migration say how.
 *
 * Fields of a new version that keep their name and type simply go on. A field whose type changes begins anew beside
 * the old one; `migration.read` says what to make of both.
 *
 * @param options see {@link SchemaMapOptions}. Throws `RangeError` for its versions, `TypeError` for a field
 *   `$schema`, one of no type that nests, and an option that there is not
 */
export function schemaMap<const Fields extends SchemaFields, Previous extends AnyNestableType = AnyNestableType>(
  options: SchemaMapOptions<Fields, Previous>,
): SchemaMap<Fields> {
  checkOptions(options);
  const { migration } = options;
  const own = checkVersions(options, (migration?.from as { readonly version?: unknown } | undefined)?.version);
  const types = fieldTypes(options.fields);
  const { nesting } = struct(types);
  const names = Object.entries(types);

  const bindStamping = (cursor: Cursor): SchemaMapMutator<Fields> => {
    const { state, transaction, kind, parent, key } = cursor;
    const stamping = transaction && new StampingTransaction(transaction, () => stamp(cursor, own));
    const bound = nesting.bind(new Cursor(state, stamping, kind, parent, key)) as SchemaMapMutator<Fields>;
    cursors.set(bound, cursor);
    return bound;
  };
  const readMigrated = (store: Store | undefined): SchemaMapValue<Fields> => {
    const value = nesting.read(store) as SchemaMapValue<Fields>;
    if (migration === undefined) return value;
    const written = freezeRecord(
      names.filter(([field, type]) => isWritten(store, field, type)).map(([field]) => [field, value[field]] as const),
    );
    const migrated = migration.read(
      migration.from.nesting.read(store) as ValueOf<Previous>,
      written as Partial<SchemaMapValue<Fields>>,
    );
    return freezeRecord(
      names.map(([field]) => [field, Object.hasOwn(migrated, field) ? migrated[field] : value[field]] as const),
    ) as SchemaMapValue<Fields>;
  };
  const type = kernelType<SchemaMapValue<Fields>, SchemaMapMutator<Fields>, SchemaMapView<Fields>>(
    "struct",
    { kind: KIND_MAP, bind: bindStamping, read: readMigrated },
    [],
  );
  return { ...type, version: own.version, parts: { fields: types } };
}

function isWritten(store: Store | undefined, field: string, { nesting }: AnyNestableType): boolean {
  const child = inChain((store as MapStore | undefined)?.children.get(field), nesting.kind);
  return child !== undefined && isAlive(child);
}
