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

/** Highest kind that this build knows. */
export const KIND_MAX = 3;

export const SHAPE_MAP = 1;
export const SHAPE_REGISTER = 2;
export const SHAPE_COUNTER = 3;

/** Which store implements a kind. */
export type Shape = typeof SHAPE_MAP | typeof SHAPE_REGISTER | typeof SHAPE_COUNTER;

const SHAPES: readonly (Shape | undefined)[] = [undefined, SHAPE_MAP, SHAPE_REGISTER, SHAPE_COUNTER];

/** The shape of a kind, `undefined` for one that this build does not know. */
export function shapeOf(kind: number): Shape | undefined {
  return SHAPES[kind];
}
