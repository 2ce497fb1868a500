import { crc32 } from "node:zlib";
import type { AnyCrdtType } from "@coppice/crdt";
import { DEFAULT_LIMITS, type MemoryNetwork, createMemoryNetwork } from "@coppice/replication";
import { type GroupId, encodeGroupId } from "@coppice/storage";
import { applyFault } from "./faults.ts";
import { checkFrame, describeFrame } from "./frames.ts";
import { hold } from "./guarantees.ts";
import { checkFinally, heal } from "./healing.ts";
import { History } from "./history.ts";
import { Machine } from "./machine.ts";
import { Oracles } from "./oracles.ts";
import type { FaultKind, Plan } from "./plan.ts";
import { type ProcessEvents, SimProcess, stack } from "./process.ts";
import { Random } from "./random.ts";
import { DOCUMENTS } from "./documents.ts";
import { Sessions } from "./sessions.ts";
import { SUBJECTS, type Subject } from "./subjects.ts";
import { Timeline } from "./timeline.ts";
import { Trace } from "./trace.ts";
import { Workload } from "./workload.ts";

/** Something that must never happen has. */
export interface Violation {
  /** Which oracle saw it. */
  readonly oracle: string;
  readonly message: string;
  readonly atMs: number;
}

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly traceHash: string;
  readonly virtualMs: number;
  /** How long healing took. */
  readonly healingMs: number;
  readonly events: number;
  readonly steps: number;
  readonly faults: ReadonlyMap<FaultKind, number>;
  readonly states: number;
  /** Reads for sessions and from members that were done. */
  readonly reads: number;
  readonly lines: readonly string[];
}

/** A group of the world. */
export interface WorldGroup {
  readonly name: string;
  readonly id: GroupId;
  readonly key: string;
  readonly subject: Subject;
}

export interface WorldOptions {
  /** Keep readable lines. */
  readonly trace?: boolean;
  /** Told every frame that a process sends. */
  readonly onFrame?: (frame: Uint8Array) => void;
}

const CHECK_EVERY_MS = 250;
const MACHINES_MAX = 7;

/** Everything there is: machines, processes, the network between them, and the oracles that watch. */
export class World {
  readonly plan: Plan;
  readonly timeline: Timeline = new Timeline();
  readonly network: MemoryNetwork;
  readonly machines: Machine[] = [];
  readonly groups: readonly WorldGroup[];
  readonly history: History = new History();
  readonly trace: Trace;
  readonly faultCounts: Map<FaultKind, number> = new Map();
  /** Codes of notices that a scenario brings about. */
  readonly expected: Set<string> = new Set();
  /** Codes of all notices so far. */
  readonly noticed: Set<string> = new Set();
  isHealing = false;
  readonly #random: Random;
  readonly #onFrame: ((frame: Uint8Array) => void) | undefined;
  readonly workload: Workload;
  /** The machines of the beginning: what a majority is counted of. */
  readonly roster: readonly string[];
  readonly #woken: SimProcess[] = [];
  readonly #oracles: Oracles;
  readonly #sessions: Sessions;
  #isStirred = false;
  #violation: Violation | undefined;
  #steps = 0;

  constructor(plan: Plan, options: WorldOptions = {}) {
    this.plan = plan;
    this.trace = new Trace(options.trace ?? false);
    this.#onFrame = options.onFrame;
    this.#random = new Random(plan.seed, "world");
    this.#oracles = new Oracles(this);
    this.network = createMemoryNetwork({
      seed: this.#random.int(2 ** 31),
      schedule: this.timeline.schedule,
      faults: { delayMs: [0.1, 2] },
      halfOpenMs: 1000,
      redialMs: [20, 400],
    });
    this.groups = plan.groups.map((name, index) => {
      const id: GroupId = ["world", `${name}-${index}`];
      const subject = SUBJECTS.get(name) ?? DOCUMENTS.get(name);
      if (subject === undefined) throw new TypeError(`no subject ${name}`);
      return { name: `${name}-${index}`, id, key: encodeGroupId(id), subject };
    });
    for (const [index, machine] of plan.machines.entries()) this.machines.push(new Machine(`n${index}`, machine));
    this.workload = new Workload(this, new Random(plan.seed, "workload"));
    this.roster = this.machines.map(({ name }) => name);
    this.#sessions = new Sessions(this, this.#oracles, new Random(plan.seed, "session steps"));
  }

  // Running

  async run(): Promise<Outcome> {
    const { plan } = this;
    let healingMs = 0;
    for (const machine of this.machines) this.timeline.schedule(this.#random.between(0, 50), () => this.start(machine));
    for (const [index, fault] of plan.faults.entries()) {
      this.timeline.schedule(fault.atMs, () => {
        if (applyFault(this, fault, new Random(plan.seed, `fault ${index}`))) this.#count(fault.kind);
      });
    }
    this.workload.start();
    this.#sessions.start();
    this.#checkLater();
    await this.#runUntil(() => this.timeline.now >= plan.chaosMs, plan.chaosMs);
    if (this.#violation === undefined) healingMs = await heal(this);
    if (this.#violation === undefined) await this.#sessions.conclude();
    if (this.#violation === undefined) await checkFinally(this, this.#oracles);
    return {
      seed: plan.seed,
      violation: this.#violation,
      traceHash: this.trace.hash(),
      virtualMs: this.timeline.now,
      healingMs,
      events: this.history.events,
      steps: this.#steps,
      faults: this.faultCounts,
      states: this.#oracles.states,
      reads: this.#sessions.done,
      lines: this.trace.lines,
    };
  }

  // For scenarios, which say themselves what happens

  get violation(): Violation | undefined {
    return this.#violation;
  }

  /** Lets time pass. */
  async advance(ms: number): Promise<void> {
    const end = this.timeline.now + ms;
    await this.#settle();
    while (this.timeline.now < end && this.#violation === undefined) await this.#step(end);
  }

  /** Lets time pass until a condition holds; false when it does not within `limitMs`. */
  async until(isDone: () => boolean, limitMs: number): Promise<boolean> {
    await this.#settle();
    return await this.#runUntil(isDone, limitMs);
  }

  /** Heals everything, and checks all that is checked at the end of a run. */
  async conclude(): Promise<Violation | undefined> {
    if (this.#violation === undefined) await heal(this);
    if (this.#violation === undefined) await checkFinally(this, this.#oracles);
    return this.#violation;
  }

  #count(kind: FaultKind): void {
    this.faultCounts.set(kind, (this.faultCounts.get(kind) ?? 0) + 1);
  }

  /** Steps until a condition holds, or something is violated, or `limitMs` have passed; whether it holds. */
  async #runUntil(isDone: () => boolean, limitMs: number): Promise<boolean> {
    const end = this.timeline.now + limitMs;
    while (this.#violation === undefined && !isDone()) {
      if (this.timeline.now >= end) return false;
      await this.#step(Math.min(end, this.timeline.now + CHECK_EVERY_MS));
    }
    return this.#violation === undefined;
  }

  async #step(until: number): Promise<void> {
    this.#steps++;
    try {
      this.timeline.step(until);
      await this.#settle();
    } catch (error) {
      this.violate("exception", stack(error));
    }
  }

  /** Runs what follows at once: flushes of woken processes, and promises. */
  async #settle(): Promise<void> {
    while (this.#isStirred || this.#woken.length > 0) {
      for (let process = this.#woken.shift(); process !== undefined; process = this.#woken.shift()) process.flush();
      if (!this.#isStirred) continue;
      this.#isStirred = false;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  stir(): void {
    this.#isStirred = true;
  }

  /** The first violation counts. */
  violate(oracle: string, message: string): void {
    if (this.#violation !== undefined) return;
    this.#violation = { oracle, message, atMs: this.timeline.now };
    this.trace.add(this.timeline.now, "VIOLATED", `${oracle}: ${message}`);
  }

  note(who: string, what: string, detail?: () => string): void {
    this.trace.add(this.timeline.now, who, what, detail);
  }

  // Machines

  /** A machine that joins now. */
  addMachine(like: Machine, disk?: Machine["disk"]): Machine | undefined {
    if (this.machines.length >= MACHINES_MAX) return undefined;
    const machine = new Machine(`n${this.machines.length}`, like.plan, disk);
    this.machines.push(machine);
    return machine;
  }

  #peersOf(machine: Machine): string[] {
    const at = this.machines.indexOf(machine);
    const names = this.machines.map(({ name }) => name);
    const before = names.slice(0, at);
    if (this.isHealing && this.machines.some(({ isGone }) => isGone))
      return names.filter((name) => name !== machine.name);
    switch (this.plan.topology) {
      case "mesh":
        return this.#random.chance(0.5) ? before : names.filter((name) => name !== machine.name);
      case "line":
        return before.slice(-1);
      case "star":
        return before.slice(0, 1);
      case "ring":
        return [...before.slice(-1), ...(at === this.plan.machines.length - 1 ? before.slice(0, 1) : [])];
    }
  }

  #types(machine: Machine): AnyCrdtType[] {
    const lacking = machine.lacks.map((name) => SUBJECTS.get(name)?.type.name);
    const types = new Map<string, AnyCrdtType>();
    for (const { type } of [...SUBJECTS.values(), ...DOCUMENTS.values()])
      if (!lacking.includes(type.name)) types.set(type.name, type);
    return [...types.values()];
  }

  /** Starts a process on a machine that has none. */
  start(machine: Machine): void {
    if (machine.process !== undefined || machine.isGone) return;
    machine.isDown = false;
    const name = `${machine.name}#${machine.starts++}`;
    const process = new SimProcess(
      {
        name,
        machine: machine.name,
        durability: machine.plan.durability,
        types: this.#types(machine),
        disk: machine.disk,
        transport: this.network.transport(machine.name),
        peers: this.#peersOf(machine),
        roster: this.roster,
        random: new Random(this.plan.seed, name),
        limits: {
          ...DEFAULT_LIMITS,
          pendingBytesMax: this.plan.pendingBytesMax,
          tailBytesMax: this.plan.tailBytesMax,
          queueBytesMax: this.plan.queueBytesMax,
          groupsMax: 1000,
          loadsMax: 2,
          ...this.plan.limits,
        },
        idleGraceMs: this.plan.idleGraceMs,
        recovers: this.plan.recovers,
        snapshotIntervalMs: machine.plan.snapshotIntervalMs,
        skewMs: () => machine.skewMs + (machine.plan.clockRate - 1) * this.timeline.now,
        diskDelayMs: () => {
          machine.diskSteps++;
          if (machine.diskSteps === machine.crashAtStep) this.timeline.schedule(0, () => machine.crash?.());
          return machine.diskSlowness * this.#random.between(0.02, 1);
        },
      },
      this.#processEvents(machine),
    );
    machine.process = process;
    this.note(name, `starts, ${machine.plan.durability}`);
    this.stir();
    process.boot().catch((error: unknown) => {
      this.note(name, `cannot start: ${String(error)}`);
      if (machine.process !== process) return;
      this.kill(machine, false);
      if (!machine.isGone) this.timeline.schedule(300, () => this.start(machine));
    });
  }

  /** Ends the machine's process at once. */
  kill(machine: Machine, silent: boolean): void {
    const { process } = machine;
    if (process === undefined) return;
    this.#takeNote(machine);
    this.note(process.name, silent ? "dies silently" : "dies");
    machine.process = undefined;
    process.die();
    this.network.crash(machine.name, { silent });
  }

  /** Closes the machine's process in good order, then calls back. */
  close(machine: Machine, then: () => void): void {
    const { process } = machine;
    if (process?.core === undefined || process.isClosing) return;
    this.note(process.name, "closes");
    this.stir();
    const closed = (what: string): void => {
      if (machine.process !== process) return;
      this.note(process.name, what);
      this.kill(machine, false);
      then();
    };
    process.close().then(
      () => closed("is closed"),
      (error: unknown) => closed(`closed with ${String(error)}`),
    );
  }

  running(): Machine[] {
    return this.machines.filter(({ process }) => process?.core !== undefined && !process.isClosing);
  }

  group(key: string): WorldGroup | undefined {
    return this.groups.find((group) => group.key === key);
  }

  #processEvents(machine: Machine): ProcessEvents {
    return {
      now: () => this.timeline.now,
      schedule: this.timeline.schedule,
      stir: () => this.stir(),
      wake: (process) => void this.#woken.push(process),
      trace: (process, what) => this.note(process.name, what),
      violate: (oracle, message) => this.violate(oracle, message),
      booted: (process) => this.#oracles.booted(machine, process),
      sent: (process, peer, frame) => {
        this.#onFrame?.(frame);
        this.note(process.name, `sends ${peer} ${frame.length} ${crc32(frame)}`, () => describeFrame(frame));
        const problem = process.setup.durability === "snapshot" ? undefined : checkFrame(process, machine, frame);
        if (problem !== undefined) this.violate("persist before publish", `${process.name} to ${peer}: ${problem}`);
      },
      loaded: (process, group) => this.#oracles.loaded(machine, process, group),
      changed: (process, group) => this.#oracles.changed(machine, process, group),
      found: (process, group, { epoch, vector }) => {
        if (machine.process === process && !machine.isRotten) hold(machine.guarantees.written, group, epoch, vector);
      },
      committed: (process, holdings, isSynced) => this.#oracles.committed(machine, process, holdings, isSynced),
      notice: (process, code, message) => this.#oracles.noticed(process, code, message),
    };
  }

  /** Remembers what a machine has applied. */
  #takeNote(machine: Machine): void {
    for (const group of machine.process?.core?.groups.values() ?? []) {
      if (group.server !== undefined) hold(machine.applied, group.key, group.epoch, group.vector);
    }
  }

  #checkLater(): void {
    this.timeline.schedule(CHECK_EVERY_MS, () => {
      if (!this.isHealing && this.#random.chance(0.5)) this.#random.pick(this.machines).takeImage();
      for (const machine of this.machines) {
        const { process } = machine;
        for (const group of process?.core?.groups.values() ?? []) {
          if (process !== undefined) this.#oracles.check(machine, process, group);
        }
      }
      this.#sessions.check();
      this.#checkLater();
    });
  }
}
