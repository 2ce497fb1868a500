import type { Driver } from "./driver.ts";
import type { Metric, MetricSample, MetricsRegistry } from "./metrics.ts";

/** For how long a walk over all groups serves: one scrape reads many figures. */
const WALK_MS = 100;
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const EVENTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 20_000];

type Read = (source: Source) => Iterable<MetricSample>;

/** What the figures are read from. */
interface Source {
  readonly driver: Driver;
  /** All groups, as of at most a moment ago. */
  groups(): Walk;
}

/** Sums over all groups. */
interface Walk {
  readonly phases: ReadonlyMap<string, number>;
  readonly events: number;
  readonly pendingBytes: number;
  readonly pendingEvents: number;
  readonly journalBytes: number;
  readonly snapshotBytes: number;
  readonly degraded: number;
  readonly stuck: number;
}

const COUNTERS: readonly [Metric, Read][] = [
  [
    metric("coppice_events_applied_total", "Events applied, by where they came from", "origin"),
    ({ driver: { core } }) => [
      sample(core.counts.eventsWritten, { origin: "local" }),
      sample(core.counts.eventsReceived, { origin: "gossip" }),
      sample(core.counts.eventsRepaired, { origin: "repair" }),
    ],
  ],
  [
    metric("coppice_states_joined_total", "States of peers joined"),
    ({ driver }) => one(driver.core.counts.statesJoined),
  ],
  [
    metric("coppice_acks_received_total", "Acknowledgements received"),
    ({ driver }) => one(driver.core.counts.acksReceived),
  ],
  [metric("coppice_frames_received_total", "Frames received"), ({ driver }) => one(driver.traffic.framesIn)],
  [metric("coppice_frames_sent_total", "Frames sent"), ({ driver }) => one(driver.traffic.framesOut)],
  [metric("coppice_received_bytes_total", "Bytes received from peers"), ({ driver }) => one(driver.traffic.bytesIn)],
  [metric("coppice_sent_bytes_total", "Bytes sent to peers"), ({ driver }) => one(driver.traffic.bytesOut)],
  [
    metric("coppice_frames_rejected_total", "Frames that broke the protocol"),
    ({ driver }) => one(driver.core.counts.framesRejected),
  ],
  [
    metric("coppice_notices_total", "Notices, by code", "code"),
    ({ driver }) => [...driver.noticed].map(([code, count]) => sample(count, { code })),
  ],
  [metric("coppice_group_loads_total", "Groups loaded from storage"), ({ driver }) => one(driver.loads)],
  [metric("coppice_group_unloads_total", "Groups unloaded"), ({ driver }) => one(driver.core.counts.unloads)],
  [
    metric("coppice_orphaned_events_total", "Events given up, because no peer has what they follow"),
    ({ driver }) => one(driver.core.watch.orphaned),
  ],
  [
    metric("coppice_broadcasts_total", "Broadcasts of groups, by what became of them", "outcome"),
    ({ driver: { core } }) => [
      sample(core.counts.broadcastsSent, { outcome: "sent" }),
      sample(core.counts.broadcastsReceived, { outcome: "received" }),
      sample(core.counts.broadcastsDropped, { outcome: "dropped" }),
    ],
  ],
  [
    metric("coppice_peer_received_bytes_total", "Bytes received over the link that stands", "peer"),
    perPeer(({ counts }) => counts.bytesIn),
  ],
  [
    metric("coppice_peer_sent_bytes_total", "Bytes sent over the link that stands", "peer"),
    perPeer(({ counts }) => counts.bytesOut),
  ],
];

const GAUGES: readonly [Metric, Read][] = [
  [
    metric("coppice_groups", "Groups, by phase", "phase"),
    ({ groups }) => [...groups().phases].map(([phase, count]) => sample(count, { phase })),
  ],
  [metric("coppice_events", "Events known, of all actors"), ({ groups }) => one(groups().events)],
  [
    metric("coppice_pending_events", "Events that wait for others before them"),
    ({ groups }) => one(groups().pendingEvents),
  ],
  [metric("coppice_pending_bytes", "The same, in bytes"), ({ groups }) => one(groups().pendingBytes)],
  [
    metric("coppice_journal_bytes", "Journalled since the newest snapshots"),
    ({ groups }) => one(groups().journalBytes),
  ],
  [metric("coppice_snapshot_bytes", "The newest snapshots"), ({ groups }) => one(groups().snapshotBytes)],
  [metric("coppice_degraded_groups", "Groups with damage"), ({ groups }) => one(groups().degraded)],
  [metric("coppice_stuck_groups", "Groups in which nothing moves"), ({ groups }) => one(groups().stuck)],
  [metric("coppice_peers", "Linked peers"), ({ driver }) => one(driver.core.peers.size)],
  [metric("coppice_peer_queue_bytes", "Bytes that wait for a peer", "peer"), perPeer(({ queueBytes }) => queueBytes)],
  [
    metric("coppice_peer_lag_events", "Events that a peer has told of and that are missing here", "peer"),
    ({ driver }) => sums(driver, ({ missingHere }) => missingHere),
  ],
  [
    metric("coppice_peer_differing_groups", "Groups that are known to differ from a peer's", "peer"),
    ({ driver }) => sums(driver, () => 1),
  ],
];

/** Told of what is measured one by one. */
export interface Recorder {
  readonly commitSeconds: (value: number) => void;
  readonly commitEvents: (value: number) => void;
  readonly loadSeconds: (value: number) => void;
}

/** Registers every figure of a node; returns what the histograms are to be told. */
export function exportMetrics(driver: Driver, registry: MetricsRegistry): Recorder {
  let walk: Walk | undefined;
  let walkedAt = 0;
  const groups = (): Walk => {
    if (walk === undefined || performance.now() - walkedAt > WALK_MS) {
      walk = walkOver(driver);
      walkedAt = performance.now();
    }
    return walk;
  };
  const source = { driver, groups };
  const distribution = (name: string, help: string, buckets: readonly number[]): ((value: number) => void) => {
    const tell = registry.histogram({ ...metric(name, help), buckets });
    return (value) => {
      try {
        tell(value);
      } catch (error) {
        // The commit or load that was measured goes on.
        driver.notice("SUBSCRIBER_FAILED", `a metrics registry threw: ${String(error)}`);
      }
    };
  };
  for (const [figure, read] of COUNTERS) registry.counter(figure, () => read(source));
  for (const [figure, read] of GAUGES) registry.gauge(figure, () => read(source));
  return {
    commitSeconds: distribution("coppice_commit_seconds", "Time of a commit to the storage", SECONDS),
    commitEvents: distribution("coppice_commit_events", "Events in one commit (group commit)", EVENTS),
    loadSeconds: distribution("coppice_group_load_seconds", "Time to read a group from the storage", SECONDS),
  };
}

function walkOver(driver: Driver): Walk {
  const phases = new Map<string, number>(["stored", "loading", "active", "failed", "deleted"].map((name) => [name, 0]));
  const sums = {
    events: 0,
    pendingBytes: 0,
    pendingEvents: 0,
    journalBytes: 0,
    snapshotBytes: 0,
    degraded: 0,
    stuck: 0,
  };
  const { groups, watch } = driver.core;
  for (const group of groups.views()) {
    phases.set(group.phase, (phases.get(group.phase) ?? 0) + 1);
    sums.events += group.vector.total();
    sums.pendingBytes += group.server?.pending.bytes ?? 0;
    sums.pendingEvents += group.server?.pending.events ?? 0;
    sums.journalBytes += group.journalBytes;
    sums.snapshotBytes += group.snapshotBytes;
    if (group.isDegraded) sums.degraded++;
    if (watch.lag(group).isStuck) sums.stuck++;
  }
  return { phases, ...sums };
}

function metric(name: string, help: string, ...labels: readonly string[]): Metric {
  return { name, help, labels };
}

function sample(value: number, labels: MetricSample["labels"]): MetricSample {
  return { value, labels };
}

function one(value: number): MetricSample[] {
  return [{ value, labels: {} }];
}

type Peer = Driver["core"]["peers"] extends ReadonlyMap<string, infer Found> ? Found : never;

function perPeer(read: (peer: Peer) => number): Read {
  return ({ driver }) => [...driver.core.peers.values()].map((peer) => sample(read(peer), { peer: peer.id }));
}

/** Sums over the differing groups of each linked peer. */
function sums(driver: Driver, read: (lag: { readonly missingHere: number }) => number): MetricSample[] {
  const totals = new Map([...driver.core.peers.keys()].map((peer): [string, number] => [peer, 0]));
  for (const lag of driver.core.watch.lags()) totals.set(lag.peer, (totals.get(lag.peer) ?? 0) + read(lag));
  return [...totals].map(([peer, value]) => sample(value, { peer }));
}
