import { cpSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../simulation/random.ts";
import { type NodeStates, type Verdict, check } from "./checker.ts";
import { mountSmallDisk, unmount } from "./faults.ts";
import { readLedgers } from "./ledger.ts";
import { Member } from "./member.ts";
import { LoopbackProxy } from "../support/loopback-proxy.ts";

const CONVERGENCE_MS_MAX = 120_000;
const WRITES_MS_MAX = 60_000;
const DURABILITIES = ["log", "sync", "log"] as const;

/** Nodes in processes of their own, linked through proxies, each with a directory and a ledger. */
export class Cluster {
  readonly folder: string;
  readonly members: Member[] = [];
  readonly proxies: LoopbackProxy[] = [];
  /** Where the last member's directory is, when it can be filled up. */
  readonly smallDisk: string | undefined;
  /** A copy of a member, until the end of the chapter. */
  twin: Member | undefined;
  chapter = 1;
  kills = 0;
  readonly #ledgers: string;
  readonly #random: Random;
  #twins = 0;

  private constructor(folder: string, random: Random) {
    this.folder = folder;
    this.#random = random;
    this.#ledgers = join(folder, "ledgers");
    mkdirSync(this.#ledgers, { recursive: true });
    const small = join(folder, "small");
    mkdirSync(small);
    this.smallDisk = mountSmallDisk(small);
  }

  static async create(folder: string, nodes: number, random: Random): Promise<Cluster> {
    const cluster = new Cluster(folder, random);
    const ports = await freePorts(nodes);
    for (const [index, port] of ports.entries()) {
      const peers: string[] = [];
      for (const target of ports.slice(0, index)) peers.push(await cluster.#through(target));
      const place = index === nodes - 1 ? (cluster.smallDisk ?? folder) : folder;
      const durability = DURABILITIES[index % DURABILITIES.length] ?? "log";
      cluster.members.push(cluster.#member(`n${index}`, join(place, `n${index}`), { port, peers, durability }));
    }
    return cluster;
  }

  /** An address that leads to a port through a proxy of its own. */
  async #through(target: number): Promise<string> {
    const [port = 0] = await freePorts(1);
    this.proxies.push(await LoopbackProxy.open(port, target));
    return `/ip4/127.0.0.1/tcp/${port}`;
  }

  #member(
    name: string,
    data: string,
    { port, peers, durability }: { port: number; peers: readonly string[]; durability: "log" | "sync" },
  ): Member {
    const listen = `/ip4/127.0.0.1/tcp/${port}`;
    const snapshotIntervalMs = this.#random.pick([10, 200, 5000]);
    const seed = this.#random.int(2 ** 31);
    return new Member(name, { data, seed, durability, snapshotIntervalMs, listen, announce: listen, peers });
  }

  start(member: Member): void {
    if (!member.isRunning) member.start(this.chapter, this.#ledgers);
  }

  async kill(member: Member): Promise<void> {
    if (!member.isRunning) return;
    this.kills++;
    await member.end("kill");
  }

  /** A copy of a killed member's directory, to be run beside it. */
  async addTwin(member: Member): Promise<Member> {
    const data = join(this.folder, `twin-${++this.#twins}`);
    cpSync(member.settings.data, data, { recursive: true });
    const [port = 0] = await freePorts(1);
    const { peers, durability } = member.settings;
    const others = [
      ...peers,
      ...this.members.filter((other) => other !== member).map(({ settings }) => settings.listen),
    ];
    const mode = durability === "sync" ? "sync" : "log";
    this.twin = this.#member(`${member.name}t${this.#twins}`, data, { port, peers: others, durability: mode });
    this.members.push(this.twin);
    return this.twin;
  }

  /** Everybody runs and writes. */
  async revive(): Promise<void> {
    for (const member of this.members) this.start(member);
    const end = performance.now() + WRITES_MS_MAX;
    while (this.members.some(({ writes, isRunning }) => isRunning && writes === 0) && performance.now() < end)
      await sleep(10);
  }

  /** Heals, lets everybody say the same, and holds that against the ledgers. */
  async conclude(): Promise<Verdict> {
    for (const proxy of this.proxies) proxy.heal();
    for (const member of this.members) {
      member.signal("SIGCONT");
      member.tell({ order: "clock", offsetMs: 0 });
    }
    await this.revive();
    await Promise.all(this.members.map((member) => member.ask({ order: "quiet" }, "quiet")));
    const states = await this.#converged();
    const verdict = check(readLedgers(this.#ledgers, this.chapter), states);
    const failures = this.members.flatMap(({ failures: own }) => own.splice(0));
    return { ...verdict, problems: [...failures, ...verdict.problems] };
  }

  async #converged(): Promise<ReadonlyMap<string, NodeStates>> {
    const end = performance.now() + CONVERGENCE_MS_MAX;
    for (;;) {
      const states = new Map<string, NodeStates>();
      for (const member of this.members) states.set(member.name, await member.states(this.chapter));
      const digests = [...states.values()].map((groups) => [...groups.values()].map(({ digest }) => digest).join(" "));
      if (new Set(digests).size === 1 || performance.now() > end) return states;
      await sleep(50);
    }
  }

  /** New groups, and no more copies: the old groups stay where they are. */
  async nextChapter(): Promise<void> {
    this.chapter++;
    if (this.twin !== undefined) {
      await this.twin.end("kill");
      rmSync(this.twin.settings.data, { recursive: true });
      this.members.splice(this.members.indexOf(this.twin), 1);
      this.twin = undefined;
    }
    for (const member of this.members) member.tell({ order: "chapter", chapter: this.chapter });
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end("kill")));
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    if (this.smallDisk !== undefined) unmount(this.smallDisk);
  }
}

/** Ports that nobody listens on, all different. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once("error", reject);
          server.listen(0, "127.0.0.1", () => {
            const address = server.address();
            if (typeof address === "object" && address !== null) resolve(address.port);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
