export { BROADCAST_BYTES_MAX } from "./core/messages.ts";
export type { Durability } from "./core/commit-pipeline.ts";
export { DEFAULT_LIMITS, type Limits } from "./core/limits.ts";
export type { Origin } from "./core/changes.ts";
export { ReplicationError, type ReplicationErrorCode } from "./error.ts";
export {
  type MemoryFaults,
  type MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryTransportOptions,
  type Schedule,
  createMemoryNetwork,
} from "./memory-transport.ts";
export type { Verdict } from "./core/verification.ts";
export type { PeerEvent } from "./driver.ts";
export { type Node, createNode } from "./node.ts";
export type { GroupListOptions } from "./group-list.ts";
export type { ChangedGroups, CollectionReport, Lag, PeerStatus, VerificationReport } from "./node-reports.ts";
export type { DomainPolicy, NodeOptions, Notice, OpenOptions } from "./node-options.ts";
export type { SignalOptions } from "./option-checks.ts";
export type { Logger } from "./logger.ts";
export type { Metric, MetricSample, MetricsRegistry } from "./metrics.ts";
export { type RestoreOptions, type RestoreStep, digestOf, planRestore, restoreAt } from "./point-in-time.ts";
export type { Presence } from "./presence.ts";
export type { RecoverOptions, RecoveryProgress, RecoveryReport, StoredContents } from "./recovery.ts";
export type { Change, GroupStatus, MutateOptions, ReadBarrierOptions, Replica, ReplicaOf } from "./replica.ts";
export { SESSION_TOKEN_BYTES_MAX, mergeSessionTokens, sessionTokenConcerns } from "./session-token.ts";
export {
  type DiscoverySource,
  FRAME_BYTES_MAX,
  type Link,
  type LinkEnd,
  type PeerId,
  type Transport,
  type TransportContext,
  type TransportEvents,
} from "./transport.ts";
export type { SupersededContent, SupersededGroup } from "./superseded.ts";
export type { WaitOptions } from "./waiting.ts";
export type { AckLevel, Write } from "./write.ts";
