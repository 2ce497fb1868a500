import { ReplicationError } from "@coppice/replication";
import type { Core, Group } from "@coppice/replication/testing";
import { type Holdings, hold } from "./guarantees.ts";
import type { HistoryEvent, Note } from "./history.ts";
import type { Machine } from "./machine.ts";
import type { SimProcess } from "./process.ts";
import type { Random } from "./random.ts";
import { plain } from "./subjects.ts";
import type { World, WorldGroup } from "./world.ts";

type PeerAckLevel = Parameters<Core["expectAcks"]>[1];

const ACK_TIMEOUT_MS = 2000;

/** Programs on the machines: they open groups, write at random, and hold acknowledgements to what they promise. */
export class Workload {
  readonly #world: World;
  readonly #random: Random;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
  }

  start(): void {
    const { timeline, plan } = this.#world;
    timeline.schedule(this.#random.between(0, (2 * plan.writeEveryMs) / plan.machines.length), () => {
      if (this.#world.isHealing) return;
      this.#burst();
      this.start();
    });
  }

  #burst(): void {
    const running = this.#world.running().filter(({ process }) => process?.isPaused === false);
    if (running.length === 0) return;
    const machine = this.#random.pick(running);
    const group = this.#random.pick(this.#world.groups);
    for (let left = this.#random.int(4); left >= 0; left--) this.#use(machine, group);
  }

  #use(machine: Machine, world: WorldGroup): void {
    const { process } = machine;
    const core = process?.core;
    if (process === undefined || core === undefined || core.type(world.subject.type.name) === undefined) return;
    const group = core.groups.get(world.key);
    if (group === undefined || !process.open.has(group)) {
      return process.openGroup(world.id, world.subject.type, this.#random.chance(0.1));
    }
    if (group.phase === "deleted") {
      if (this.#random.chance(0.05)) process.openGroup(world.id, world.subject.type, true);
      return;
    }
    if (this.#random.chance(0.05)) return process.closeGroup(group);
    if (group.server === undefined) return core.load(group, () => {});
    this.write(machine, world, this.#random);
  }

  /** Writes once, at random, to a group that is open; undefined when that made no event. */
  write(machine: Machine, world: WorldGroup, random: Random): HistoryEvent | undefined {
    const { process } = machine;
    const core = process?.core;
    const group = core?.groups.get(world.key);
    const server = group?.server;
    if (process === undefined || core === undefined || group === undefined || server === undefined) return undefined;
    if (!isWritable(core)) return undefined;
    const past = server.vector.clone();
    const before = server.version;
    const throws = random.chance(0.03) && world.subject.onThrow !== "publish";
    const valueBefore = throws ? plain(server.value(world.subject.type)) : "";
    let notes: Note[] = [];
    try {
      server.mutate(world.subject.type, (mutator) => {
        notes = world.subject.write(mutator, random, process.name);
        if (throws) throw new Deliberate();
      });
    } catch (error) {
      if (!(error instanceof Deliberate)) throw error;
      const value = plain(server.value(world.subject.type));
      if (value !== valueBefore) this.#world.violate("rollback", `${world.name}: ${valueBefore} became ${value}`);
      return undefined;
    }
    const actor = server.issued?.actor;
    if (server.version === before || actor === undefined) {
      if (notes.length > 0) this.#world.violate("history", `${world.name}: a write made no event`);
      return undefined;
    }
    const seq = server.vector.get(actor);
    const event: HistoryEvent = {
      group: world.key,
      epoch: server.epoch,
      actor,
      seq,
      time: server.meta().time,
      past,
      notes,
    };
    const problem = this.#world.history.add(event);
    if (problem !== undefined) this.#world.violate("dots", `${process.name}: ${problem}`);
    this.#world.note(process.name, `writes ${world.key}/${server.epoch} ${actor}:${seq}`, () =>
      plain(notes.map(({ op, path, value }) => ({ op, path, value }))),
    );
    this.#acknowledge(machine, process, core, group, event);
    return event;
  }

  #acknowledge(machine: Machine, process: SimProcess, core: Core, group: Group, event: HistoryEvent): void {
    const kind = this.#random.int(10);
    if (kind < 4) return;
    if (kind < 6) {
      const replicas = 1 + this.#random.int(2);
      const level = { replicas, durable: this.#random.chance(0.4), among: undefined };
      return this.expectAcks(machine, process, core, group, event, level);
    }
    if (process.setup.durability === "snapshot") return;
    const isSync = kind > 7;
    core.pipeline.whenCommitted(
      core.pipeline.ticket(isSync),
      () => {
        if (process.isDead || machine.isRotten) return;
        const { written, synced } = machine.guarantees;
        this.#expect(isSync ? synced : written, event, `${process.name} acknowledged ${isSync ? "sync" : "log"}`);
      },
      () => {},
    );
  }

  /** Waits for peers to acknowledge what was just written, and then looks whether they have it. */
  expectAcks(
    machine: Machine,
    process: SimProcess,
    core: Core,
    group: Group,
    event: HistoryEvent,
    level: PeerAckLevel,
  ): void {
    const { replicas, durable, among } = level;
    const handle = core.expectAcks(group, level, () => {
      this.#world.note(process.name, `has ${replicas} ${durable ? "durable " : ""}acks of ${event.actor}:${event.seq}`);
      const having = this.#world.machines.filter(
        (other) =>
          other !== machine && among?.has(other.name) !== false && (other.isRotten || this.#has(other, event, durable)),
      );
      if (having.length >= replicas) return;
      const found = `only ${having.length} have it`;
      this.#world.violate("acknowledgement", `${process.name} got ${replicas} acks of ${describe(event)}, ${found}`);
    });
    this.#world.timeline.schedule(ACK_TIMEOUT_MS, () => process.input(() => handle.cancel()));
  }

  /** Whether a machine has, or once had, an event; with `durable`, on its stable storage. */
  #has(machine: Machine, event: HistoryEvent, durable: boolean): boolean {
    if (durable) return isHeld(machine.synced, event);
    const group = machine.process?.core?.groups.get(event.group);
    if (group !== undefined) hold(machine.applied, event.group, group.epoch, group.vector);
    return isHeld(machine.applied, event);
  }

  #expect(holdings: Holdings, event: HistoryEvent, who: string): void {
    if (!isHeld(holdings, event)) this.#world.violate("acknowledgement", `${who} ${describe(event)}, it is not there`);
  }
}

/** A program is refused while the storage fails, or the clock is far ahead. */
function isWritable(core: Core): boolean {
  try {
    core.checkWritable();
    return true;
  } catch (error) {
    if (error instanceof ReplicationError) return false;
    throw error;
  }
}

class Deliberate extends Error {}

function isHeld(holdings: Holdings, { group, epoch, actor, seq }: HistoryEvent): boolean {
  const holding = holdings.get(group);
  if (holding === undefined || holding.epoch < epoch) return false;
  return holding.epoch > epoch || holding.vector.get(actor) >= seq;
}

function describe({ group, epoch, actor, seq }: HistoryEvent): string {
  return `${actor}:${seq} of ${group}/${epoch}`;
}
