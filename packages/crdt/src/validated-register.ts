import type { Cursor } from "./kernel/cursor.ts";
import { type NestableType, kernelType } from "./kernel/kernel-type.ts";
import { KIND_LWW } from "./kernel/kinds.ts";
import { type LwwRegisterMutator, type LwwRegisterView, lwwRegister } from "./lww-register.ts";
import { type StandardSchema, isStandardSchema, validate } from "./standard-schema.ts";

/** Changes a register whose values a schema checks. */
export interface ValidatedRegisterMutator<Input, Output> extends LwwRegisterView<Output> {
  /**
   * Writes what the schema makes of a value. Throws `INVALID_VALUE` if the schema refuses it, with the issues as the
   * cause; else as `lwwRegister` does.
   */
  set(value: Input): void;
}

/** The type of a register that {@link validatedRegister} makes. */
export type ValidatedRegister<Input, Output> = NestableType<
  Output | undefined,
  ValidatedRegisterMutator<Input, Output>,
  LwwRegisterView<Output>
>;

class ValidatedRegisterCursor<Input, Output> implements ValidatedRegisterMutator<Input, Output> {
  readonly #register: LwwRegisterMutator<unknown>;
  readonly #schema: StandardSchema<Input, Output>;

  constructor(register: LwwRegisterMutator<unknown>, schema: StandardSchema<Input, Output>) {
    this.#register = register;
    this.#schema = schema;
  }

  get(): Output | undefined {
    return this.#register.get() as Output | undefined;
  }

  set(value: Input): void {
    this.#register.set(validate(this.#schema, value));
  }
}

/**
 * An `lwwRegister` whose writes a schema checks, and may change: what it puts out is stored. It checks the writes of
 * this program alone: what peers wrote is read as it is.
 *
 * @param schema of zod, valibot or another library with Standard Schema; synchronous. Throws `TypeError` for others.
 */
export function validatedRegister<Input, Output>(
  schema: StandardSchema<Input, Output>,
): ValidatedRegister<Input, Output> {
  if (!isStandardSchema(schema)) throw new TypeError("not a schema of Standard Schema, version 1");
  const { nesting } = lwwRegister();
  return kernelType<Output | undefined, ValidatedRegisterMutator<Input, Output>, LwwRegisterView<Output>>(
    "lww",
    {
      kind: KIND_LWW,
      bind: (cursor: Cursor) => new ValidatedRegisterCursor(nesting.bind(cursor), schema),
      read: (store) => nesting.read(store) as Output | undefined,
    },
    ["set", "get"],
  );
}
