/** Operations by name: what lets any language change any type without knowing how it works. */
import type { AnyCrdtType, AnyNestableType } from "@coppice/crdt";
import { ReplicationError } from "@coppice/replication";
import { ServerError } from "../error.ts";
import { didYouMean } from "../suggest.ts";
import { RequestFailure } from "./problem.ts";
import { fromJson, toJson } from "./wire-json.ts";

/** One step into a map: a child under a key. A plain text is a step to a map (`ormap`). */
export type PathStep = string | { readonly key: string; readonly type: string };

/** A method of a mutator, by its name, with plain data for arguments. */
export interface Operation {
  /** Where in a nested type; the group itself when absent. */
  readonly path?: readonly PathStep[];
  readonly op: string;
  readonly args?: readonly unknown[];
}

const MAP_TYPE = "ormap";
/** The types that have children. */
const MAP_TYPES: ReadonlySet<string> = new Set([MAP_TYPE, "struct"]);

/** The types of a node by name. */
export class TypeRegistry {
  readonly #types: ReadonlyMap<string, AnyCrdtType>;

  constructor(types: readonly AnyCrdtType[]) {
    this.#types = new Map(types.map((type) => [type.name, type]));
  }

  get all(): readonly AnyCrdtType[] {
    return [...this.#types.values()];
  }

  get names(): readonly string[] {
    return [...this.#types.keys()];
  }

  find(name: string): AnyCrdtType | undefined {
    return this.#types.get(name);
  }

  /** Throws `UNKNOWN_TYPE`, with a suggestion. */
  get(name: string): AnyCrdtType {
    const type = this.#types.get(name);
    if (type !== undefined) return type;
    const suggestion = didYouMean(name, this.names);
    const known = this.names.join(", ");
    throw new ReplicationError(
      "UNKNOWN_TYPE",
      `no type is called ${JSON.stringify(name)}; there are ${known}.${suggestion}`,
    );
  }

  /** A type that can stand in a map. Throws `UNKNOWN_TYPE` and `INVALID_REQUEST`. */
  nestable(name: string): AnyNestableType {
    const type = this.get(name);
    if ("nesting" in type) return type as AnyNestableType;
    throw new ServerError("INVALID_REQUEST", `the type ${name} cannot stand in a map`);
  }
}

/**
 * Makes a function that performs the operations on a mutator, for `Replica.mutate`: as one event or, when one of them
 * is refused, not at all. Names and arguments are checked before, as far as that goes without a state.
 *
 * Errors: `UNKNOWN_OPERATION`, `INVALID_OPERATION` and what the type throws, each with the operation's index.
 */
export function compileOperations(
  registry: TypeRegistry,
  type: AnyCrdtType,
  operations: readonly Operation[],
): (mutator: unknown) => unknown[] {
  const compiled = operations.map((operation, index) => blame(index, () => compile(registry, type, operation)));
  return (mutator) => compiled.map((run, index) => blame(index, () => run(mutator)));
}

function compile(registry: TypeRegistry, root: AnyCrdtType, operation: Operation): (mutator: unknown) => unknown {
  const steps: Step[] = [];
  let type = root;
  for (const step of operation.path ?? []) {
    if (!MAP_TYPES.has(type.name)) throw new ServerError("INVALID_OPERATION", `there is no way into a ${type.name}`);
    const compiled = compileStep(registry, step);
    steps.push(compiled);
    type = compiled.type;
  }
  const names = type.operations ?? [];
  const { op } = operation;
  if (!names.includes(op)) {
    const known = names.length === 0 ? "it has none; give a path" : `it has ${names.join(", ")}`;
    const detail = `the type ${type.name} has no operation ${JSON.stringify(op)}; ${known}.${didYouMean(op, names)}`;
    throw new ServerError("UNKNOWN_OPERATION", detail);
  }
  const args = (operation.args ?? []).map((argument) => fromJson(argument));
  return (mutator) => toJson(call(descend(mutator, steps), op, args));
}

interface Step {
  readonly key: string;
  readonly type: AnyNestableType;
}

function compileStep(registry: TypeRegistry, step: PathStep): Step {
  if (typeof step === "string") return { key: step, type: registry.nestable(MAP_TYPE) };
  return { key: step.key, type: registry.nestable(step.type) };
}

function descend(mutator: unknown, steps: readonly Step[]): unknown {
  let current = mutator;
  for (const { key, type } of steps) {
    const map = current as { at?: unknown };
    if (typeof map.at === "function") current = Reflect.apply(map.at, map, [key, type]);
    else if (Object.hasOwn(current as object, key)) current = (current as Record<string, unknown>)[key];
    else throw new ServerError("INVALID_OPERATION", `there is no way from here to ${JSON.stringify(key)}`);
  }
  return current;
}

function call(mutator: unknown, op: string, args: readonly unknown[]): unknown {
  const method = (mutator as Record<string, unknown>)[op];
  if (typeof method !== "function") {
    throw new ServerError("UNKNOWN_OPERATION", `what stands there has no operation ${JSON.stringify(op)}`);
  }
  try {
    return Reflect.apply(method, mutator, args);
  } catch (error) {
    const isBare = error instanceof TypeError && args.length === 0 && method.length > 0;
    throw isBare ? new TypeError(`${op} needs an argument: ${error.message}`, { cause: error }) : error;
  }
}

/** A type refuses bad arguments with `TypeError` or `RangeError`: here that is the caller's mistake. */
function blame<R>(index: number, run: () => R): R {
  try {
    return run();
  } catch (error) {
    const refused = error instanceof TypeError || error instanceof RangeError;
    const cause = refused ? new ServerError("INVALID_OPERATION", error.message, { cause: error }) : error;
    throw new RequestFailure(cause, { operation: index });
  }
}
