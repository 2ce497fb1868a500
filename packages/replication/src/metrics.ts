/** A figure: its name (in the manner of Prometheus), what it says, and the names of its labels. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

/** One value of a figure, for one set of labels. */
export interface MetricSample {
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Where a node's figures go: an adapter to prom-client, OpenTelemetry or the like. Counters and gauges are read when
 * somebody looks, so that counting itself costs next to nothing; a histogram is told each value.
 */
export interface MetricsRegistry {
  /** Adds a figure that only rises, from 0 at the node's start. */
  counter(metric: Metric, read: () => Iterable<MetricSample>): void;
  gauge(metric: Metric, read: () => Iterable<MetricSample>): void;
  /** Adds a distribution, with the upper bounds of its buckets; returns how to tell a value. */
  histogram(metric: Metric & { readonly buckets: readonly number[] }): (value: number) => void;
}
