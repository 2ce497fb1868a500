import { formatDigest } from "@coppice/replication/testing";
import { missing } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { Oracles } from "./oracles.ts";
import type { World } from "./world.ts";

/** After healing, everything must be equal within this time. */
const HEALING_MS_MAX = 20_000;
/** How long starting and loading may take without a network. */
const ALONE_MS_MAX = 5000;

/** Ends all faults, and lets everything become equal; returns how long that took. */
export async function heal(world: World): Promise<number> {
  const healedAt = world.timeline.now;
  world.note("world", "heals");
  world.isHealing = true;
  world.network.clearFaults();
  world.network.setFaults({ delayMs: [0.1, 2] });
  world.network.heal();
  for (const machine of world.machines) {
    machine.disk.faults.fail = undefined;
    machine.disk.faults.bytesMax = Number.POSITIVE_INFINITY;
    machine.diskSlowness = 1;
    machine.process?.resume();
    // A group that could not be read takes no part until the next start.
    if ([...(machine.process?.core?.groups.values() ?? [])].some(({ phase }) => phase === "failed")) {
      world.kill(machine, false);
    }
    world.start(machine);
  }
  // What lost its only neighbour is brought back by its operator.
  const present = world.machines.filter(({ isGone }) => !isGone);
  if (present.length < world.machines.length) {
    const names = present.map(({ name }) => name);
    for (const { process } of present) process?.dial(names);
  }
  const isConverged = await world.until(() => difference(world) === undefined, HEALING_MS_MAX);
  if (!isConverged) world.violate("convergence", `still after ${HEALING_MS_MAX} ms: ${difference(world)}`);
  return world.timeline.now - healedAt;
}

/** Why the machines are not all equal; undefined when they are. */
function difference(world: World): string | undefined {
  const seen = new Map<string, { readonly name: string; readonly content: string }>();
  const alive = world.machines.filter(({ isGone }) => !isGone);
  for (const machine of alive) {
    const { core } = machine.process ?? {};
    // What a closing process takes after its last snapshot is gone with it.
    if (core === undefined || machine.process?.isClosing === true) return `${machine.name} is not running`;
    if (!core.pipeline.isIdle || core.pipeline.failure !== undefined) return `${machine.name} is still committing`;
    for (const { key, name } of world.groups) {
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

/** What the equal machines hold is what their history says, and each disk alone holds what it promised. */
export async function checkFinally(world: World, oracles: Oracles): Promise<void> {
  for (const { process } of world.machines) {
    for (const group of process?.core?.groups.values() ?? []) {
      const made = world.group(group.key);
      const { server } = group;
      if (process === undefined || made === undefined || server === undefined || server.isOpaque) continue;
      oracles.checkModel(process, made, server);
    }
  }
  for (const machine of world.machines) {
    if (machine.isGone) continue;
    for (const [key, holding] of machine.guarantees.written) {
      const group = world.machines.find(({ isGone }) => !isGone)?.process?.core?.groups.get(key);
      const lost = missing(holding, group?.epoch, group?.vector);
      if (lost !== undefined) world.violate("durability", `${machine.name} had on disk, and the world lost: ${lost}`);
    }
  }
  await checkDisks(world);
}

/** All processes die, and start without a network. */
async function checkDisks(world: World): Promise<void> {
  for (const machine of world.machines) {
    world.kill(machine, false);
    for (const other of world.machines) if (other !== machine) world.network.partition(machine.name, other.name);
  }
  for (const machine of world.machines) world.start(machine);
  await world.until(
    () => world.machines.every(({ isGone, process }) => isGone || process?.core !== undefined),
    ALONE_MS_MAX,
  );
  for (const { process } of world.machines) {
    for (const group of process?.core?.groups.values() ?? []) process?.core?.load(group, () => {});
  }
  world.stir();
  const isLoaded = await world.until(() => world.machines.every(isLoadedOn), ALONE_MS_MAX);
  if (!isLoaded) world.violate("durability", "a machine does not load its groups again");
}

function isLoadedOn({ process }: Machine): boolean {
  for (const group of process?.core?.groups.values() ?? []) {
    if (group.phase !== "active" && group.phase !== "deleted") return false;
  }
  return true;
}
