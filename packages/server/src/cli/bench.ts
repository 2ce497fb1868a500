/** Measures what a node does over HTTP, through keep-alive connections of this process. */
import { Agent, request } from "node:http";
import { readEvents } from "./event-stream.ts";

export interface Target {
  readonly url: string;
  readonly token: string;
}

/** How often something was done, and how long it took, in milliseconds. */
export interface Rate {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Latency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The group that is written to; it is deleted afterwards. */
export const BENCH_GROUP = "coppice-bench/counter";
const PATH = `/v1/groups/${encodeURIComponent(BENCH_GROUP)}`;
const WRITE = JSON.stringify({ type: "gcounter", recreate: true, operations: [{ op: "increment" }] });
const PROBES_MAX = 500;

/** One node under measurement. */
export class Bench {
  readonly #target: Target;
  readonly #agent: Agent;
  readonly #connections: number;
  readonly #signal: AbortSignal;

  constructor(target: Target, connections: number, signal: AbortSignal) {
    this.#target = target;
    this.#connections = connections;
    this.#signal = signal;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections + 2 });
  }

  /** Increments, as fast as they are answered. */
  async writes(seconds: number): Promise<Rate> {
    return await this.#rate(seconds, () => this.write());
  }

  async reads(seconds: number): Promise<Rate> {
    return await this.#rate(seconds, () => this.#send("GET", `${PATH}/value`));
  }

  async write(): Promise<void> {
    await this.#send("POST", `${PATH}/operations`, WRITE);
  }

  /** From sending an increment to `writer`, one at a time, to its value at a watcher of this node. */
  async watch(writer: Bench, seconds: number): Promise<Latency> {
    const watched = new AbortController();
    const signal = AbortSignal.any([this.#signal, watched.signal]);
    const response = await fetch(`${this.#target.url}${PATH}/watch`, { headers: this.#headers(), signal });
    if (response.body === null || !response.ok) throw new Error(`the watch answered ${response.status}`);
    const latencies: number[] = [];
    const endAt = performance.now() + seconds * 1000;
    let wanted = Number.NaN;
    let sentAt = 0;
    for await (const { event, data } of readEvents(response.body)) {
      if (event !== "value") continue;
      const { value } = JSON.parse(data) as { readonly value: number };
      if (value < wanted) continue;
      if (!Number.isNaN(wanted)) latencies.push(performance.now() - sentAt);
      if (latencies.length >= PROBES_MAX || performance.now() > endAt) break;
      wanted = value + 1;
      sentAt = performance.now();
      await writer.write();
    }
    watched.abort();
    return { count: latencies.length, ...percentiles(latencies) };
  }

  /** Removes the group, and lets go of the connections. */
  async close(): Promise<void> {
    await this.#send("DELETE", PATH).catch(() => undefined);
    this.#agent.destroy();
  }

  async #rate(seconds: number, once: () => Promise<void>): Promise<Rate> {
    await once();
    const latencies: number[] = [];
    const startedAt = performance.now();
    const endAt = startedAt + seconds * 1000;
    const loop = async (): Promise<void> => {
      while (performance.now() < endAt) {
        this.#signal.throwIfAborted();
        const sentAt = performance.now();
        await once();
        latencies.push(performance.now() - sentAt);
      }
    };
    await Promise.all(Array.from({ length: this.#connections }, loop));
    const perSecond = latencies.length / ((performance.now() - startedAt) / 1000);
    return { perSecond: Math.round(perSecond), ...percentiles(latencies) };
  }

  #headers(): Record<string, string> {
    return { authorization: `Bearer ${this.#target.token}`, "content-type": "application/json" };
  }

  async #send(method: string, path: string, body?: string): Promise<void> {
    const headers = body === undefined ? this.#headers() : { ...this.#headers(), "content-length": body.length };
    await new Promise<void>((resolve, reject) => {
      const options = { method, headers, agent: this.#agent, signal: this.#signal };
      const sent = request(this.#target.url + path, options, (response) => {
        const { statusCode = 0 } = response;
        response.on("end", () =>
          statusCode < 300 ? resolve() : reject(new Error(`${method} answered ${statusCode}`)),
        );
        response.on("error", reject);
        response.resume();
      });
      sent.on("error", reject);
      sent.end(body);
    });
  }
}

function percentiles(latencies: readonly number[]): { readonly p50Ms: number; readonly p99Ms: number } {
  const sorted = latencies.toSorted((left, right) => left - right);
  const at = (share: number): number => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
    return Math.round(value * 100) / 100;
  };
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
