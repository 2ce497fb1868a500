import { SimulatedDisk } from "@coppice/storage/testing";
import { guaranteesWithGroupOf, withGroupOf } from "./group-image.ts";
import { Guarantees } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { Fault } from "./plan.ts";
import type { Random } from "./random.ts";
import { SUBJECTS } from "./subjects.ts";
import type { World } from "./world.ts";

/** Makes a fault happen; false when there is nothing that it could do now. */
export function applyFault(world: World, fault: Fault, random: Random): boolean {
  const present = world.machines.filter(({ isGone }) => !isGone);
  const a = present[fault.a % present.length];
  const b = present[fault.b % present.length];
  if (a === undefined || b === undefined) return false;
  const isDone = applyToNetwork(world, fault, a, b) ?? applyToProcess(world, fault, a, random);
  if (isDone) world.note("fault", `${fault.kind} ${a.name} ${b.name} for ${fault.forMs.toFixed(0)} ms`);
  return isDone;
}

/** Undefined for kinds that do not concern the network. */
function applyToNetwork(world: World, fault: Fault, a: Machine, b: Machine): boolean | undefined {
  const { network } = world;
  const { forMs, amount } = fault;
  const everywhere = fault.b % 2 === 0;
  const set = (during: Parameters<typeof network.setFaults>[0], after: typeof during): boolean => {
    if (!everywhere && a === b) return false;
    const change = (faults: typeof during): void => {
      if (everywhere) network.setFaults(faults);
      else network.setFaults(faults, a.name, b.name);
    };
    change(during);
    later(world, forMs, () => change(after));
    return true;
  };
  switch (fault.kind) {
    case "loss":
      return set({ loss: amount * 0.6 }, { loss: 0 });
    case "duplication":
      return set({ duplication: amount * 0.6 }, { duplication: 0 });
    case "reordering":
      return set({ reordering: amount, delayMs: [0, 60 * amount] }, { reordering: 0, delayMs: [0.1, 2] });
    case "delay":
      return set({ delayMs: [20 * amount, 400 * amount] }, { delayMs: [0.1, 2] });
    case "slow-link":
      return set({ bytesPerSecond: 500 + 20_000 * amount }, { bytesPerSecond: Number.POSITIVE_INFINITY });
    case "clog":
      return set({ bytesPerSecond: 0 }, { bytesPerSecond: Number.POSITIVE_INFINITY });
    case "partition":
    case "one-way":
      if (a === b) return false;
      network.partition(a.name, b.name, { oneWay: fault.kind === "one-way" });
      later(world, forMs, () => network.heal(a.name, b.name));
      return true;
    case "isolate":
      for (const other of world.machines) if (other !== a) network.partition(a.name, other.name);
      later(world, forMs, () => {
        for (const other of world.machines) if (other !== a) network.heal(a.name, other.name);
      });
      return true;
    case "reset":
      if (a !== b) network.reset(a.name, b.name);
      return a !== b;
    case "storm":
      for (let at = 0; at < Math.min(forMs, 600); at += 40) {
        later(world, at, () => {
          for (const one of world.machines) for (const two of world.machines) network.reset(one.name, two.name);
        });
      }
      return true;
    default:
      return undefined;
  }
}

function applyToProcess(world: World, fault: Fault, machine: Machine, random: Random): boolean {
  const { kind, forMs, amount } = fault;
  const startLater = (): void => later(world, forMs, () => world.start(machine));
  switch (kind) {
    case "kill":
    case "kill-silent":
      if (machine.process === undefined) return false;
      world.kill(machine, kind === "kill-silent");
      startLater();
      return true;
    case "power-cut":
    case "power-cut-scattered": {
      world.kill(machine, fault.b % 2 === 0);
      const survives = (): boolean => kind === "power-cut-scattered" && random.chance(amount);
      machine.replaceDisk(machine.disk.afterPowerCut({ survives }), machine.guarantees.powerCut());
      startLater();
      return true;
    }
    case "restart":
      if (machine.process?.core === undefined) return false;
      world.close(machine, startLater);
      return true;
    case "stop": {
      const { process } = machine;
      process?.pause();
      later(world, forMs, () => process?.resume());
      return process !== undefined;
    }
    case "join":
      return startNew(world, world.addMachine(machine));
    case "leave":
      if (world.machines.filter(({ isGone }) => !isGone).length < 3) return false;
      world.kill(machine, amount < 0.5);
      machine.isGone = true;
      return true;
    case "clone": {
      const clone = world.addMachine(machine, machine.disk.clone());
      if (clone === undefined) return false;
      clone.guarantees = machine.guarantees.image();
      clone.isRotten = machine.isRotten;
      return startNew(world, clone);
    }
    default:
      return applyToDisk(world, fault, machine, random, startLater);
  }
}

function startNew(world: World, machine: Machine | undefined): boolean {
  if (machine === undefined) return false;
  world.start(machine);
  return true;
}

function applyToDisk(world: World, fault: Fault, machine: Machine, random: Random, startLater: () => void): boolean {
  const { kind, forMs, amount } = fault;
  const { disk } = machine;
  const failing = (operation: string): boolean => {
    const error = Object.assign(new Error(`simulated: ${kind}`), { code: "EIO" });
    disk.faults.fail = (asked) => (asked === operation && random.chance(0.2 + amount) ? error : undefined);
    later(world, forMs, () => (disk.faults.fail = undefined));
    return true;
  };
  switch (kind) {
    case "rollback": {
      const image = machine.image(fault.b);
      if (image === undefined) return false;
      world.kill(machine, false);
      machine.replaceDisk(image.disk.clone(), image.guarantees.image());
      startLater();
      return true;
    }
    case "rollback-group": {
      const image = machine.image(fault.b);
      if (image === undefined) return false;
      world.kill(machine, false);
      const { key } = random.pick(world.groups);
      const guarantees = guaranteesWithGroupOf(machine.guarantees, image.guarantees, key);
      machine.replaceDisk(withGroupOf(machine.disk, image.disk, key), guarantees);
      startLater();
      return true;
    }
    case "wipe":
      world.kill(machine, false);
      machine.replaceDisk(new SimulatedDisk(), new Guarantees());
      startLater();
      return true;
    case "write-error":
      return failing("write");
    case "sync-error":
      return failing("sync");
    case "read-error":
      return failing("read");
    case "rot":
      return rot(machine, random);
    case "full-disk":
      disk.faults.bytesMax = disk.contents.bytes() + Math.floor(amount * 2000);
      later(world, forMs, () => (disk.faults.bytesMax = Number.POSITIVE_INFINITY));
      return true;
    case "slow-disk":
      machine.diskSlowness = 1 + 100 * amount;
      later(world, forMs, () => (machine.diskSlowness = 1));
      return true;
    default:
      return applyToClockOrGroup(world, fault, machine, random);
  }
}

/** Flips bits of one stored value. What was promised of this disk is void then. */
function rot(machine: Machine, random: Random): boolean {
  const { contents } = machine.disk;
  const places: { readonly place: Parameters<SimulatedDisk["rot"]>[0]; readonly value: Uint8Array }[] = [];
  const range = { prefix: "", after: undefined, limit: Number.MAX_SAFE_INTEGER, values: true };
  for (const page of contents.scan(range)) for (const { key, value } of page) places.push({ place: { key }, value });
  for (const logs of contents.listLogs("")) {
    for (const { log } of logs) {
      for (const page of contents.readLog(log, 0)) {
        for (const { seq, value } of page) places.push({ place: { log, seq }, value });
      }
    }
  }
  if (places.length === 0) return false;
  const { place, value } = random.pick(places);
  const rotten = value.slice();
  if (rotten.length === 0) return false;
  for (let flips = 1 + random.int(3); flips > 0; flips--) {
    const at = random.int(rotten.length);
    rotten[at] = (rotten[at] ?? 0) ^ (1 << random.int(8));
  }
  machine.disk.rot(place, rotten);
  machine.guarantees = new Guarantees();
  machine.isRotten = true;
  return true;
}

function applyToClockOrGroup(world: World, fault: Fault, machine: Machine, random: Random): boolean {
  const { kind, amount } = fault;
  const core = machine.process?.core;
  switch (kind) {
    case "clock-forward":
      machine.skewMs += 3_600_000 * amount;
      return true;
    case "clock-back":
      machine.skewMs -= 3_600_000 * amount;
      return true;
    case "clock-jitter":
      for (let at = 0; at < fault.forMs; at += 50)
        later(world, at, () => (machine.skewMs += random.between(-500, 500)));
      return true;
    case "delete": {
      if (core === undefined || core.pipeline.failure !== undefined) return false;
      const group = core.groups.get(random.pick(world.groups).key);
      if (group === undefined || group.phase === "deleted") return false;
      core.delete(group, () => world.note(machine.name, `has deleted ${group.key}`));
      return true;
    }
    case "register":
      if (core === undefined || machine.lacks.length === 0) return false;
      for (const name of machine.lacks) {
        const subject = SUBJECTS.get(name);
        if (subject !== undefined) core.register(subject.type);
      }
      machine.lacks = [];
      return true;
    case "snapshot":
      for (const group of core?.groups.values() ?? []) core?.requestSnapshot(group);
      return core !== undefined;
    default:
      throw new TypeError(`nobody applies ${kind}`);
  }
}

function later(world: World, delayMs: number, run: () => void): void {
  world.timeline.schedule(delayMs, run);
}
