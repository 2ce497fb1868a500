import type { FastifyInstance } from "fastify";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Node } from "@coppice/replication";
import { VERSION } from "../version.ts";
import type { Places } from "./places.ts";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What Prometheus scrapes. The node's own figures are read when it does, not before. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<"method" | "route" | "status">;

  /** @param ofProcess whether to add those of the process: memory, CPU, event loop, garbage collection */
  constructor(node: Node, watchers: Places, ofProcess: boolean) {
    const registers = [this.#registry];
    this.#requests = new Histogram({
      name: "coppice_http_request_seconds",
      help: "Time to answer requests",
      labelNames: ["method", "route", "status"],
      buckets: SECONDS,
      registers,
    });
    new Gauge({ name: "coppice_info", help: "The version, as a label", labelNames: ["version"], registers })
      .labels(VERSION)
      .set(1);
    new Gauge({
      name: "coppice_watchers",
      help: "Watches and editors over this server",
      registers,
      collect() {
        this.set(watchers.taken);
      },
    });
    addGroups(node, registers);
    addPeers(node, registers);
    if (ofProcess) collectDefaultMetrics({ register: this.#registry });
  }

  /** Measures every request of `app` from now on. */
  observe(app: FastifyInstance): void {
    app.addHook("onResponse", (request, reply, done) => {
      // The pattern and not the path: ids are without end.
      const route = request.routeOptions.url ?? "none";
      const labels = { method: request.method, route, status: String(reply.statusCode) };
      this.#requests.observe(labels, reply.elapsedTime / 1000);
      done();
    });
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All figures in the text format of Prometheus. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}

function addGroups(node: Node, registers: Registry[]): void {
  // The first to be read, as it sets the others.
  new Gauge({
    name: "coppice_groups",
    help: "Groups, by phase",
    labelNames: ["phase"],
    registers,
    collect() {
      const phases = new Map<string, number>();
      const sums = { events: 0, pending: 0, journal: 0, snapshots: 0, degraded: 0 };
      for (const group of node.groups({ deleted: true })) {
        phases.set(group.phase, (phases.get(group.phase) ?? 0) + 1);
        sums.events += group.events;
        sums.pending += group.pendingBytes;
        sums.journal += group.journalBytes;
        sums.snapshots += group.snapshotBytes;
        if (group.degraded) sums.degraded++;
      }
      this.reset();
      for (const phase of ["stored", "loading", "active", "failed", "deleted"])
        this.set({ phase }, phases.get(phase) ?? 0);
      events.set(sums.events);
      pending.set(sums.pending);
      journal.set(sums.journal);
      snapshots.set(sums.snapshots);
      degraded.set(sums.degraded);
    },
  });
  const help = { registers };
  const events = new Gauge({ name: "coppice_events", help: "Events known, of all actors", ...help });
  const pending = new Gauge({
    name: "coppice_pending_bytes",
    help: "Events that wait for others before them",
    ...help,
  });
  const journal = new Gauge({ name: "coppice_journal_bytes", help: "Journalled since the newest snapshots", ...help });
  const snapshots = new Gauge({ name: "coppice_snapshot_bytes", help: "The newest snapshots", ...help });
  const degraded = new Gauge({ name: "coppice_degraded_groups", help: "Groups with damage", ...help });
}

function addPeers(node: Node, registers: Registry[]): void {
  // As above.
  new Gauge({
    name: "coppice_peers",
    help: "Linked peers",
    registers,
    collect() {
      const peers = node.peers();
      this.set(peers.length);
      for (const metric of [queue, received, sent]) metric.reset();
      for (const { id, queueBytes, bytesIn, bytesOut } of peers) {
        queue.set({ peer: id }, queueBytes);
        received.inc({ peer: id }, bytesIn);
        sent.inc({ peer: id }, bytesOut);
      }
    },
  });
  const labelNames = ["peer"] as const;
  const queue = new Gauge({
    name: "coppice_peer_queue_bytes",
    help: "Bytes that wait for a peer",
    labelNames,
    registers,
  });
  const received = new Counter({
    name: "coppice_peer_received_bytes_total",
    help: "Over this link",
    labelNames,
    registers,
  });
  const sent = new Counter({ name: "coppice_peer_sent_bytes_total", help: "Over this link", labelNames, registers });
}
