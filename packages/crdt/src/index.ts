export {
  ACTOR_BYTES,
  type Actor,
  actorFromBytes,
  actorNode,
  actorToBytes,
  createActor,
  parseActor,
  soleActor,
} from "./actor.ts";
export { type BoundedCounterMutator, type BoundedCounterView, boundedCounter } from "./bounded-counter.ts";
export { type DynamicMapMutator, type DynamicMapView, builtinTypes } from "./builtin-types.ts";
export { CLOCK_EPOCH_MS, CLOCK_STEPS_PER_MS, HybridClock, type HybridTime, hybridTime, unixMs } from "./clock.ts";
export { Reader, Writer, malformed } from "./codec.ts";
export { type Dot, DottedVersionVector } from "./dotted-version-vector.ts";
export { CrdtError, type CrdtErrorCode } from "./error.ts";
export { type FlagMutator, type FlagView, dwFlag, ewFlag } from "./flag.ts";
export { type GCounterMutator, type GCounterView, gCounter } from "./g-counter.ts";
export { type GSetMutator, gSet } from "./g-set.ts";
export { type JsonMapMutator, type JsonMapValue, type JsonMapView, type JsonPath, jsonMap } from "./json-map.ts";
export type { AnyNestableType, NestableType, Nesting, Parts } from "./kernel/kernel-type.ts";
export type { SetView } from "./kernel/set-cursor.ts";
export { type LwwMapMutator, type LwwMapValue, type LwwMapView, lwwMap } from "./lww-map.ts";
export { type LwwRegisterMutator, type LwwRegisterView, lwwRegister } from "./lww-register.ts";
export { type MvRegisterMutator, type MvRegisterView, mvRegister } from "./mv-register.ts";
export { type OrLogEntry, type OrLogMutator, type OrLogView, orLog } from "./or-log.ts";
export { type OrMapMutator, type OrMapValue, type OrMapView, orMap } from "./or-map.ts";
export { type OrSetMutator, orSet } from "./or-set.ts";
export { fromJSON } from "./plain-data.ts";
export { type PnCounterMutator, type PnCounterView, pnCounter } from "./pn-counter.ts";
export { type RwSetMutator, rwSet } from "./rw-set.ts";
export {
  type FieldTypes,
  type Migration,
  type SchemaFields,
  type SchemaMap,
  type SchemaMapMutator,
  type SchemaMapOptions,
  type SchemaMapValue,
  type SchemaMapView,
  schemaMap,
  writtenSchemaVersion,
} from "./schema-map.ts";
export type { StandardIssue, StandardResult, StandardSchema } from "./standard-schema.ts";
export { type StructFields, type StructMutator, type StructValue, type StructView, struct } from "./struct.ts";
export { type NewTreeNode, type TreeMutator, type TreeNode, type TreeView, tree } from "./tree.ts";
export { type TwoPSetMutator, twoPSet } from "./two-p-set.ts";
export type { AnyCrdtType, CrdtType, EventWalk, GcInfo, MutatorOf, Stamp, Transaction, ValueOf } from "./type.ts";
export { type ValidatedRegister, type ValidatedRegisterMutator, validatedRegister } from "./validated-register.ts";
export { VALUE_BYTES_MAX, VALUE_DEPTH_MAX, type Storable, type Value, readValue, writeValue } from "./value.ts";
export { type CausalOrder, SEQ_MAX, VersionVector } from "./vector.ts";
