import type { AnyCrdtType } from "@coppice/crdt";
import type { Expected, Note } from "./history.ts";
import type { Random } from "./random.ts";

/** A group type under test: how to write to it at random, and what it must read according to the history. */
export interface Subject {
  readonly type: AnyCrdtType;
  /**
   * Writes through the mutator; returns what it did, one note at least when it wrote. `process` names the writer's
   * process, which is sequential.
   */
  write(mutator: unknown, random: Random, process: string): Note[];
  /** What becomes of a write whose callback throws; taken back when left out. */
  readonly onThrow?: "publish";
  /** The value that the type shows, as plain data. Without it, replicas are only compared with each other. */
  read?(expected: Expected): unknown;
  /** The value is a list in no particular order; `read` gives it sorted. */
  readonly isUnordered?: boolean;
  /** What must hold of the value at any moment, on any replica; why it does not, or undefined. */
  invariant?(value: unknown): string | undefined;
}
