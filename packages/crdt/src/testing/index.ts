export {
  type CrdtSuiteOptions,
  type SuiteOperation,
  crdtSuite,
  randomHistory,
  randomOperations,
} from "./crdt-suite.ts";
export { Random } from "./random.ts";
export { type TestEvent, TestReplica, assertConvergent, createReplicas, syncAll } from "./test-replica.ts";
