import { crc32 } from "node:zlib";
import { type AnyCrdtType, VersionVector } from "@coppice/crdt";
import { DEFAULT_LIMITS, type MemoryNetwork, createMemoryNetwork } from "@coppice/replication";
import { type Group, type ReplicationServer, formatDigest } from "@coppice/replication/testing";
import { type GroupId, encodeGroupId } from "@coppice/storage";
import { applyFault } from "./faults.ts";
import { checkFrame, describeFrame } from "./frames.ts";
import { type Holdings, hold, missing } from "./guarantees.ts";
import { History } from "./history.ts";
import { Machine } from "./machine.ts";
import type { FaultKind, Plan } from "./plan.ts";
import { type ProcessEvents, SimProcess, stack } from "./process.ts";
import { Random } from "./random.ts";
import { DOCUMENTS } from "./documents.ts";
import { SUBJECTS, type Subject, plain } from "./subjects.ts";
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

/** After healing, everything must be equal within this time. */
const HEALING_MS_MAX = 20_000;
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
  isHealing = false;
  readonly #random: Random;
  readonly #onFrame: ((frame: Uint8Array) => void) | undefined;
  readonly workload: Workload;
  readonly #woken: SimProcess[] = [];
  readonly #contents = new Map<string, { readonly canonical: string; value: string | undefined }>();
  #compared = 0;
  readonly #checkedVersions = new WeakMap<ReplicationServer, number>();
  readonly #lastVectors = new WeakMap<ReplicationServer, VersionVector>();
  #isStirred = false;
  #violation: Violation | undefined;
  #steps = 0;
  #states = 0;
  #changes = 0;

  constructor(plan: Plan, options: WorldOptions = {}) {
    this.plan = plan;
    this.trace = new Trace(options.trace ?? false);
    this.#onFrame = options.onFrame;
    this.#random = new Random(plan.seed, "world");
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
    this.#checkLater();
    await this.#runUntil(() => this.timeline.now >= plan.chaosMs);
    if (this.#violation === undefined) healingMs = await this.#heal();
    if (this.#violation === undefined) await this.#checkFinally();
    return {
      seed: plan.seed,
      violation: this.#violation,
      traceHash: this.trace.hash(),
      virtualMs: this.timeline.now,
      healingMs,
      events: this.history.events,
      steps: this.#steps,
      faults: this.faultCounts,
      states: this.#states,
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
    if (this.#violation === undefined) await this.#heal();
    if (this.#violation === undefined) await this.#checkFinally();
    return this.#violation;
  }

  #count(kind: FaultKind): void {
    this.faultCounts.set(kind, (this.faultCounts.get(kind) ?? 0) + 1);
  }

  /** Steps until a condition holds, or something is violated, or `limitMs` have passed; whether it holds. */
  async #runUntil(isDone: () => boolean, limitMs: number = Number.POSITIVE_INFINITY): Promise<boolean> {
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
        random: new Random(this.plan.seed, name),
        limits: {
          ...DEFAULT_LIMITS,
          pendingBytesMax: this.plan.pendingBytesMax,
          tailBytesMax: this.plan.tailBytesMax,
          queueBytesMax: this.plan.queueBytesMax,
          groupsMax: 1000,
          loadsMax: 2,
        },
        idleGraceMs: this.plan.idleGraceMs,
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
      booted: (process) => this.#booted(machine, process),
      sent: (process, peer, frame) => {
        this.#onFrame?.(frame);
        this.note(process.name, `sends ${peer} ${frame.length} ${crc32(frame)}`, () => describeFrame(frame));
        const problem = process.setup.durability === "snapshot" ? undefined : checkFrame(process, machine, frame);
        if (problem !== undefined) this.violate("persist before publish", `${process.name} to ${peer}: ${problem}`);
      },
      loaded: (process, group) => this.#loaded(machine, process, group),
      changed: (process, group) => {
        // Contents are compared for a part of the changes, and regularly.
        if (this.#changes++ % 4 === 0) this.#checkGroup(machine, process, group);
        else this.#checkBatches(process, group);
      },
      found: (process, group, { epoch, vector }) => {
        if (machine.process === process && !machine.isRotten) hold(machine.guarantees.written, group, epoch, vector);
      },
      committed: (process, holdings, isSynced) => this.#committed(machine, process, holdings, isSynced),
      notice: (process, code, message) => this.#noticed(process, code, message),
    };
  }

  // Oracles, as things happen

  #booted(machine: Machine, process: SimProcess): void {
    this.note(process.name, "has booted");
    for (const [key, holding] of machine.guarantees.written) {
      const group = process.core?.groups.get(key);
      const lost =
        group?.isUnsettled === true
          ? missing({ ...holding, vector: new VersionVector() }, group.epoch, undefined)
          : missing(holding, group?.epoch, group?.vector);
      if (lost !== undefined) this.violate("durability", `${process.name} lost of ${key}: ${lost}`);
    }
  }

  #loaded(machine: Machine, process: SimProcess, group: Group): void {
    const { server } = group;
    if (server === undefined) return;
    this.note(process.name, `has loaded ${group.key}: ${group.vector.total()} events`);
    if (this.plan.watches) group.watchers = 1;
    hold(process.published, group.key, group.epoch, group.vector);
    const holding = machine.guarantees.written.get(group.key);
    const lost = holding === undefined ? undefined : missing(holding, group.epoch, group.vector);
    if (lost !== undefined) this.violate("durability", `${process.name} loaded ${group.key} without ${lost}`);
    // What was read is on the disk, also where a commit's failure had left that open.
    if (group.isStored && !machine.isRotten) hold(machine.guarantees.written, group.key, group.epoch, group.vector);
    this.#checkGroup(machine, process, group);
  }

  #committed(machine: Machine, process: SimProcess, holdings: Holdings, isSynced: boolean): void {
    if (machine.process !== process) return;
    this.note(process.name, `has committed ${[...holdings.keys()].join(", ")}${isSynced ? ", synced" : ""}`);
    if (machine.isRotten) {
      if (isSynced) for (const [key, { epoch, vector }] of holdings) hold(machine.synced, key, epoch, vector);
      return;
    }
    machine.guarantees.committed(holdings, isSynced);
    for (const [key, { epoch, vector }] of machine.guarantees.synced) hold(machine.synced, key, epoch, vector);
  }

  #noticed(process: SimProcess, code: string, message: string): void {
    this.note(process.name, `${code} ${message}`);
    const isNeverExpected = ["MALFORMED_FRAME", "JOURNAL_DAMAGED", "TYPE_CONFLICT"];
    // Only unsynced writes that were torn out of their order leave a hole.
    const isRotten = this.faultCounts.has("rot");
    if (!isRotten) isNeverExpected.push("INCARNATION_REUSED");
    if (!this.faultCounts.has("power-cut-scattered") && !isRotten) isNeverExpected.push("STORAGE_DAMAGED");
    if (!this.faultCounts.has("read-error") && !isRotten) isNeverExpected.push("GROUP_DEGRADED");
    if (isNeverExpected.includes(code)) this.violate("notice", `${process.name}: ${code} ${message}`);
  }

  #checkGroup(machine: Machine, process: SimProcess, group: Group): void {
    const { server } = group;
    if (server === undefined || this.#checkedVersions.get(server) === server.version) return;
    this.#checkedVersions.set(server, server.version);
    const { vector, epoch } = server;
    const world = this.group(group.key);
    if (world === undefined) return this.violate("groups", `${process.name} knows ${group.key}, which nobody made`);
    for (const [actor, seq] of vector) {
      const issued = this.history.issued(group.key, epoch, actor);
      if (seq > issued)
        this.violate("dots", `${process.name}: ${actor}:${seq} in ${world.name}, ${issued} were issued`);
    }
    const open = this.history.open(group.key, epoch, vector);
    if (open !== undefined) this.violate("causality", `${process.name}: ${world.name} has ${open}`);
    const before = this.#lastVectors.get(server);
    if (before !== undefined && !vector.includes(before)) {
      this.violate("session", `${process.name}: ${world.name} went back`);
    }
    this.#lastVectors.set(server, vector.clone());
    hold(machine.applied, group.key, epoch, vector);
    this.#checkBatches(process, group);
    this.#checkContents(process, world, server);
    this.#checkCaps(process, server);
  }

  #checkBatches(process: SimProcess, { key, server }: Group): void {
    const world = this.group(key);
    if (world?.subject.invariant === undefined || server === undefined || server.isOpaque) return;
    const problem = world.subject.invariant(server.value(world.subject.type));
    if (problem !== undefined) this.violate("batch atomicity", `${process.name}: ${world.name}: ${problem}`);
  }

  #checkContents(process: SimProcess, world: WorldGroup, server: ReplicationServer): void {
    if (server.isOpaque) return;
    const digest = `${world.key} ${server.epoch} ${formatDigest(server.digest())}`;
    const canonical = hexOf(server.canonical());
    // Making a value costs more than everything else here: a part of them is compared.
    const value = this.#compared++ % 4 === 0 ? plain(server.value(world.subject.type)) : undefined;
    const known = this.#contents.get(digest);
    if (known === undefined) {
      this.#contents.set(digest, { canonical, value });
      if (this.#states++ % 6 === 0) this.#checkModel(process, world, server);
      return;
    }
    if (value !== undefined) known.value ??= value;
    const isEqual = known.canonical === canonical && (value === undefined || known.value === value);
    if (isEqual) return;
    const [ours, theirs] = [`${canonical} ${value}`, `${known.canonical} ${known.value}`];
    this.violate("equal digests", `${process.name}: ${world.name} reads ${ours}, another reads ${theirs}`);
  }

  #checkModel(process: SimProcess, { key, name, subject }: WorldGroup, server: ReplicationServer): void {
    if (subject.read === undefined) return;
    const expected = plain(subject.read(this.history.expected(key, server.epoch, server.vector)));
    const value = server.value(subject.type);
    const actual = plain(
      subject.isUnordered === true && Array.isArray(value)
        ? [...(value as unknown[])].sort((a, b) => (String(a) < String(b) ? -1 : 1))
        : value,
    );
    if (expected !== actual) {
      this.violate("history", `${process.name}: ${name} reads ${actual}, its history says ${expected}`);
    }
  }

  #checkCaps(process: SimProcess, server: ReplicationServer): void {
    const { pendingBytesMax, queueBytesMax } = this.plan;
    // What was replayed from the journal is exempt, and rare: a large excess is not.
    if (server.pending.bytes > pendingBytesMax + 64 * 1024) {
      this.violate("memory", `${process.name}: ${server.pending.bytes} bytes pending`);
    }
    for (const peer of process.core?.peers.values() ?? []) {
      if (peer.queueBytes > queueBytesMax + 64 * 1024) {
        this.violate("memory", `${process.name}: ${peer.queueBytes} bytes queued for ${peer.id}`);
      }
    }
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
          if (process !== undefined) this.#checkGroup(machine, process, group);
        }
      }
      this.#checkLater();
    });
  }

  // After the chaos

  async #heal(): Promise<number> {
    const healedAt = this.timeline.now;
    this.note("world", "heals");
    this.isHealing = true;
    this.network.clearFaults();
    this.network.setFaults({ delayMs: [0.1, 2] });
    this.network.heal();
    for (const machine of this.machines) {
      machine.disk.faults.fail = undefined;
      machine.disk.faults.bytesMax = Number.POSITIVE_INFINITY;
      machine.diskSlowness = 1;
      machine.process?.resume();
      // A group that could not be read takes no part until the next start.
      if ([...(machine.process?.core?.groups.values() ?? [])].some(({ phase }) => phase === "failed")) {
        this.kill(machine, false);
      }
      this.start(machine);
    }
    // What lost its only neighbour is brought back by its operator.
    const present = this.machines.filter(({ isGone }) => !isGone);
    if (present.length < this.machines.length) {
      const names = present.map(({ name }) => name);
      for (const { process } of present) process?.dial(names);
    }
    const isConverged = await this.#runUntil(() => this.#difference() === undefined, HEALING_MS_MAX);
    if (!isConverged) this.violate("convergence", `still after ${HEALING_MS_MAX} ms: ${this.#difference()}`);
    return this.timeline.now - healedAt;
  }

  /** Why the machines are not all equal; undefined when they are. */
  #difference(): string | undefined {
    const seen = new Map<string, { readonly name: string; readonly content: string }>();
    const alive = this.machines.filter(({ isGone }) => !isGone);
    for (const machine of alive) {
      const { core } = machine.process ?? {};
      if (core === undefined) return `${machine.name} is not running`;
      if (!core.pipeline.isIdle || core.pipeline.failure !== undefined) return `${machine.name} is still committing`;
      for (const { key, name } of this.groups) {
        const group = core.groups.get(key);
        if (group?.isUnsettled === true || group?.phase === "loading") return `${machine.name} is loading ${name}`;
        const isBlank = group === undefined || (group.epoch === 1 && group.vector.size === 0);
        const content = isBlank ? "nothing" : `epoch ${group.epoch}, digest ${formatDigest(group.digest())}`;
        const other = seen.get(key);
        if (other === undefined) seen.set(key, { name: machine.name, content });
        else if (other.content !== content) {
          return `${name}: ${other.name} has ${other.content}, ${machine.name} has ${content}`;
        }
      }
    }
    return undefined;
  }

  async #checkFinally(): Promise<void> {
    for (const { process } of this.machines) {
      for (const group of process?.core?.groups.values() ?? []) {
        const world = this.group(group.key);
        const { server } = group;
        if (process === undefined || world === undefined || server === undefined || server.isOpaque) continue;
        this.#checkModel(process, world, server);
      }
    }
    for (const machine of this.machines) {
      if (machine.isGone) continue;
      for (const [key, holding] of machine.guarantees.written) {
        const group = this.machines.find(({ isGone }) => !isGone)?.process?.core?.groups.get(key);
        const lost = missing(holding, group?.epoch, group?.vector);
        if (lost !== undefined) this.violate("durability", `${machine.name} had on disk, and the world lost: ${lost}`);
      }
    }
    // Every disk alone must hold what it promised: all processes die, and start without a network.
    for (const machine of this.machines) {
      this.kill(machine, false);
      for (const other of this.machines) if (other !== machine) this.network.partition(machine.name, other.name);
    }
    for (const machine of this.machines) this.start(machine);
    await this.#runUntil(
      () => this.machines.every(({ isGone, process }) => isGone || process?.core !== undefined),
      5000,
    );
    for (const { process } of this.machines) {
      for (const group of process?.core?.groups.values() ?? []) process?.core?.load(group, () => {});
    }
    this.stir();
    await this.#settle();
    const isLoaded = await this.#runUntil(() => this.machines.every(isLoadedOn), 5000);
    if (!isLoaded) this.violate("durability", "a machine does not load its groups again");
  }
}

function isLoadedOn({ process }: Machine): boolean {
  for (const group of process?.core?.groups.values() ?? []) {
    if (group.phase !== "active" && group.phase !== "deleted") return false;
  }
  return true;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
