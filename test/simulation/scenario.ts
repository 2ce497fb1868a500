import type { Group } from "@coppice/replication/testing";
import { SimulatedDisk } from "@coppice/storage/testing";
import { Guarantees } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { MachinePlan, Plan } from "./plan.ts";
import type { SimProcess } from "./process.ts";
import { Random } from "./random.ts";
import { World, type WorldGroup } from "./world.ts";

/** What a scenario begins with; nothing goes wrong in it but what it says. */
export interface ScenarioSetup {
  /** One for each machine, `n0`, `n1` and so on. */
  readonly machines: readonly Partial<MachinePlan>[];
  /** Names of subjects, one group each. */
  readonly groups: readonly string[];
  readonly topology?: Plan["topology"];
  readonly tailBytesMax?: number;
  readonly limits?: Plan["limits"];
  /** Codes of notices that the story brings about. */
  readonly expects?: readonly string[];
}

interface Step {
  /** Which group. Default: the first. */
  readonly at?: number;
  /** How long to wait afterwards. */
  readonly settleMs?: number;
}

const MACHINE: MachinePlan = { durability: "log", lacks: [], skewMs: 0, clockRate: 1, snapshotIntervalMs: undefined };

/**
 * A story told step by step in the world of the simulation, under all of its oracles: every step throws as soon as one
 * of them is violated.
 */
export class Scenario {
  readonly world: World;
  readonly #random = new Random(1, "scenario");

  constructor(setup: ScenarioSetup) {
    const { machines, groups, topology = "mesh", tailBytesMax = 256 * 1024, limits = {}, expects = [] } = setup;
    this.world = new World({
      seed: 1,
      machines: machines.map((machine) => ({ ...MACHINE, ...machine })),
      topology,
      groups,
      chaosMs: 0,
      writeEveryMs: 0,
      pendingBytesMax: 4 * 1024 * 1024,
      tailBytesMax,
      queueBytesMax: 8 * 1024 * 1024,
      idleGraceMs: 60_000,
      watches: false,
      recovers: false,
      sessions: 0,
      faults: [],
      limits,
    });
    for (const code of expects) this.world.expected.add(code);
  }

  #machine(name: string): Machine {
    const machine = this.world.machines.find((candidate) => candidate.name === name);
    if (machine === undefined) throw new TypeError(`no machine ${name}`);
    return machine;
  }

  process(name: string): SimProcess {
    const { process } = this.#machine(name);
    if (process === undefined) throw new TypeError(`${name} is not running`);
    return process;
  }

  #worldGroup(at: number): WorldGroup {
    const group = this.world.groups[at];
    if (group === undefined) throw new TypeError(`no group ${at}`);
    return group;
  }

  group(name: string, at = 0): Group | undefined {
    return this.process(name).core?.groups.get(this.#worldGroup(at).key);
  }

  #check(): void {
    const { violation } = this.world;
    if (violation !== undefined) throw new Error(`${violation.oracle}: ${violation.message}`);
  }

  async start(...names: string[]): Promise<void> {
    for (const name of names) this.world.start(this.#machine(name));
    await this.world.until(() => names.every((name) => this.#machine(name).process?.core !== undefined), 5000);
    await this.wait(500);
  }

  async wait(ms: number): Promise<void> {
    await this.world.advance(ms);
    this.#check();
  }

  /** Opens the group and waits until it can be written to. */
  async open(name: string, { recreate = false, at = 0 }: Step & { recreate?: boolean } = {}): Promise<void> {
    const { id, subject } = this.#worldGroup(at);
    this.process(name).openGroup(id, subject.type, recreate);
    const isOpen = await this.world.until(() => this.group(name, at)?.server !== undefined, 5000);
    this.#check();
    if (!isOpen) throw new Error(`${name} does not open its group`);
  }

  /** Writes at random, as often as said, in one tick; `settleMs` passes before the next step. */
  async write(name: string, { times = 1, settleMs = 0, at = 0 }: Step & { times?: number } = {}): Promise<void> {
    for (let left = times; left > 0; left--) {
      this.world.workload.write(this.#machine(name), this.#worldGroup(at), this.#random);
    }
    await this.wait(settleMs);
  }

  /** The same at once, if the process is running; time does not pass. */
  writeNow(name: string, at = 0): void {
    this.world.workload.write(this.#machine(name), this.#worldGroup(at), this.#random);
  }

  deleteNow(name: string, at = 0): void {
    const core = this.#machine(name).process?.core;
    const group = core?.groups.get(this.#worldGroup(at).key);
    if (core !== undefined && group !== undefined) core.delete(group, () => {});
  }

  recreateNow(name: string, at = 0): void {
    const { id, subject } = this.#worldGroup(at);
    this.#machine(name).process?.openGroup(id, subject.type, true);
  }

  snapshotNow(name: string): void {
    const core = this.#machine(name).process?.core;
    for (const group of core?.groups.values() ?? []) core?.requestSnapshot(group);
  }

  /** Closes the process in good order and starts the next when it is closed. */
  restartNow(name: string): void {
    const machine = this.#machine(name);
    this.world.close(machine, () => this.world.start(machine));
  }

  async delete(name: string, { settleMs = 0, at = 0 }: Step = {}): Promise<void> {
    const group = this.group(name, at);
    if (group !== undefined) this.process(name).core?.delete(group, () => {});
    await this.wait(settleMs);
  }

  async snapshot(name: string): Promise<void> {
    const { core } = this.process(name);
    for (const group of core?.groups.values() ?? []) core?.requestSnapshot(group);
    await this.wait(100);
  }

  kill(name: string): void {
    this.world.kill(this.#machine(name), false);
  }

  /** The power fails: what was not synced is lost. */
  powerCut(name: string): void {
    const machine = this.#machine(name);
    this.world.kill(machine, true);
    machine.replaceDisk(machine.disk.afterPowerCut(), machine.guarantees.powerCut());
  }

  /** The machine comes back with an empty disk. */
  wipe(name: string): void {
    const machine = this.#machine(name);
    this.world.kill(machine, false);
    machine.replaceDisk(new SimulatedDisk(), new Guarantees());
  }

  /** Closes the process in good order; false when that does not end within five seconds. */
  async close(name: string): Promise<boolean> {
    let isClosed = false;
    this.world.close(this.#machine(name), () => (isClosed = true));
    await this.world.until(() => isClosed, 5000);
    this.#check();
    return isClosed;
  }

  /** From here on the disk refuses this operation, until `undefined` is asked for. */
  failDisk(name: string, operation: "write" | "sync" | "read" | undefined): void {
    const { faults } = this.#machine(name).disk;
    faults.fail = (asked) => (asked === operation ? new Error(`simulated: no ${operation}`) : undefined);
  }

  /** From here on the disk takes so many times as long. */
  slowDisk(name: string, times: number): void {
    this.#machine(name).diskSlowness = times;
  }

  /** A bit flips in every journal record of a group. What was promised of this disk is void then. */
  rotJournal(name: string, at = 0): void {
    const machine = this.#machine(name);
    const { key } = this.#worldGroup(at);
    const { contents } = machine.disk;
    for (const logs of contents.listLogs("")) {
      for (const { log } of logs.filter((each) => each.log.includes(key))) {
        for (const page of contents.readLog(log, 0)) {
          for (const { seq, value } of page) machine.disk.rot({ log, seq }, value.with(5, (value[5] ?? 0) ^ 8));
        }
      }
    }
    machine.guarantees = new Guarantees();
    machine.isRotten = true;
    this.world.faultCounts.set("rot", 1);
  }

  setClock(name: string, byMs: number): void {
    this.#machine(name).skewMs += byMs;
  }

  cut(a: string, b: string): void {
    this.world.network.partition(a, b);
  }

  join(a: string, b: string): void {
    this.world.network.heal(a, b);
  }

  value(name: string, at = 0): unknown {
    return this.group(name, at)?.server?.value(this.#worldGroup(at).subject.type);
  }

  /** Heals everything, and applies all that the simulation checks at the end. */
  async conclude(): Promise<void> {
    await this.world.conclude();
    this.#check();
  }
}
