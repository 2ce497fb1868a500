import type { FastifyInstance } from "fastify";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { MetricsRegistry, Node } from "@coppice/replication";
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
    node.exportMetrics(promRegistry(registers));
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

/** A node's figures as Prometheus wants them. */
function promRegistry(registers: Registry[]): MetricsRegistry {
  return {
    counter({ name, help, labels }, read) {
      const counter: Counter = new Counter({
        name,
        help,
        labelNames: labels,
        registers,
        collect() {
          counter.reset();
          for (const sample of read()) counter.inc(sample.labels, sample.value);
        },
      });
    },
    gauge({ name, help, labels }, read) {
      const gauge: Gauge = new Gauge({
        name,
        help,
        labelNames: labels,
        registers,
        collect() {
          gauge.reset();
          for (const sample of read()) gauge.set(sample.labels, sample.value);
        },
      });
    },
    histogram({ name, help, buckets }) {
      const histogram = new Histogram({ name, help, buckets: [...buckets], registers });
      return (value) => histogram.observe(value);
    },
  };
}
