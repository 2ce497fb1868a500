/** Helpers for testing programs, types, storage backends and transports; runners such as vitest are passed in. */
export {
  type CrdtSuiteOptions,
  Random,
  type SuiteOperation,
  type TestEvent,
  TestReplica,
  assertConvergent,
  createReplicas,
  crdtSuite,
  randomHistory,
  randomOperations,
  syncAll,
} from "@coppice/crdt/testing";
export {
  type FixtureTransportOptions,
  type TransportFixture,
  type TransportSuiteOptions,
  transportSuite,
} from "@coppice/replication/testing";
export {
  type BackendSuiteOptions,
  type DiskFaults,
  type DiskWrite,
  type PowerCut,
  SimulatedDisk,
  type SuiteRunner,
  type SuiteSubject,
  backendSuite,
} from "@coppice/storage/testing";
