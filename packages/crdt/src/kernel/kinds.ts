/**
 * The kinds of CRDTs that can stand in a map. A kind is part of the wire and disk formats, and of a child's identity:
 * two replicas that disagree on the type of a key hold two children there, and no merge breaks.
 *
 * Several kinds share a shape, the store that implements them: they differ in what a reader makes of it.
 */

/** The map of observed-remove children: `ormap`, `struct` and `lwwmap`. */
export const KIND_MAP = 1;
/** A last-writer-wins register. */
export const KIND_LWW = 2;
/** A grow-only counter. */
export const KIND_GCOUNTER = 3;
/** A counter that also goes down: its amounts are signed. */
export const KIND_PNCOUNTER = 4;
/** A register that shows all concurrent values. */
export const KIND_MVREGISTER = 5;
/** A flag, enabled when one of its live writes says so. */
export const KIND_EWFLAG = 6;
/** A flag, enabled when all of its live writes say so. */
export const KIND_DWFLAG = 7;
/** A map of elements, each there as long as a write of it is alive. */
export const KIND_ORSET = 8;
/** The same, never removed from. */
export const KIND_GSET = 9;
/** A map of elements to flags: there when all live writes say so. */
export const KIND_RWSET = 10;
/** The same, where what was removed once never comes back. */
export const KIND_TWOPSET = 11;
/** A log of entries. */
export const KIND_ORLOG = 12;
/** A map of nodes. */
export const KIND_TREE = 13;

export const SHAPE_MAP = 1;
export const SHAPE_REGISTER = 2;
export const SHAPE_COUNTER = 3;
export const SHAPE_LOG = 4;

/** Which store implements a kind. */
export type Shape = typeof SHAPE_MAP | typeof SHAPE_REGISTER | typeof SHAPE_COUNTER | typeof SHAPE_LOG;

const SHAPES: readonly (Shape | undefined)[] = [
  undefined,
  SHAPE_MAP,
  SHAPE_REGISTER,
  SHAPE_COUNTER,
  SHAPE_COUNTER,
  SHAPE_REGISTER,
  SHAPE_REGISTER,
  SHAPE_REGISTER,
  SHAPE_MAP,
  SHAPE_MAP,
  SHAPE_MAP,
  SHAPE_MAP,
  SHAPE_LOG,
  SHAPE_MAP,
];

/** The shape of a kind, `undefined` for one that this build does not know. */
export function shapeOf(kind: number): Shape | undefined {
  return SHAPES[kind];
}

/** Whether the amounts of a counter may be negative. */
export function isSigned(kind: number): boolean {
  return kind === KIND_PNCOUNTER;
}
