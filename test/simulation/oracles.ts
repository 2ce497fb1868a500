import { VersionVector } from "@coppice/crdt";
import { type Group, type ReplicationServer, formatDigest } from "@coppice/replication/testing";
import { type Holdings, hold, missing } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { SimProcess } from "./process.ts";
import { plain } from "./subjects.ts";
import type { World, WorldGroup } from "./world.ts";

/** What is held against every replica while things happen: its events, its contents, its storage and its notices. */
export class Oracles {
  readonly #world: World;
  /** What replicas of one digest were seen to hold. */
  readonly #contents = new Map<string, { readonly canonical: string; value: string | undefined }>();
  readonly #checkedVersions = new WeakMap<ReplicationServer, number>();
  readonly #lastVectors = new WeakMap<ReplicationServer, VersionVector>();
  /** Distinct states that were seen. */
  states = 0;
  #compared = 0;
  #changes = 0;

  constructor(world: World) {
    this.#world = world;
  }

  booted(machine: Machine, process: SimProcess): void {
    this.#world.note(process.name, "has booted");
    for (const [key, holding] of machine.guarantees.written) {
      const group = process.core?.groups.get(key);
      const lost =
        group?.isUnsettled === true
          ? missing({ ...holding, vector: new VersionVector() }, group.epoch, undefined)
          : missing(holding, group?.epoch, group?.vector);
      if (lost !== undefined) this.#world.violate("durability", `${process.name} lost of ${key}: ${lost}`);
    }
  }

  loaded(machine: Machine, process: SimProcess, group: Group): void {
    const { server } = group;
    if (server === undefined) return;
    this.#world.note(process.name, `has loaded ${group.key}: ${group.vector.total()} events`);
    if (this.#world.plan.watches) group.watchers = 1;
    hold(process.published, group.key, group.epoch, group.vector);
    const holding = machine.guarantees.written.get(group.key);
    const lost = holding === undefined ? undefined : missing(holding, group.epoch, group.vector);
    if (lost !== undefined) this.#world.violate("durability", `${process.name} loaded ${group.key} without ${lost}`);
    // What was read is on the disk, also where a commit's failure had left that open.
    if (group.isStored && !machine.isRotten) hold(machine.guarantees.written, group.key, group.epoch, group.vector);
    this.check(machine, process, group);
  }

  committed(machine: Machine, process: SimProcess, holdings: Holdings, isSynced: boolean): void {
    if (machine.process !== process) return;
    this.#world.note(process.name, `has committed ${[...holdings.keys()].join(", ")}${isSynced ? ", synced" : ""}`);
    if (machine.isRotten) {
      if (isSynced) for (const [key, { epoch, vector }] of holdings) hold(machine.synced, key, epoch, vector);
      return;
    }
    machine.guarantees.committed(holdings, isSynced);
    for (const [key, { epoch, vector }] of machine.guarantees.synced) hold(machine.synced, key, epoch, vector);
  }

  noticed(process: SimProcess, code: string, message: string): void {
    this.#world.note(process.name, `${code} ${message}`);
    this.#world.noticed.add(code);
    if (this.#world.expected.has(code)) return;
    const isNeverExpected = ["MALFORMED_FRAME", "JOURNAL_DAMAGED", "TYPE_CONFLICT"];
    // Only unsynced writes that were torn out of their order leave a hole.
    const isRotten = this.#world.faultCounts.has("rot");
    if (!isRotten) isNeverExpected.push("INCARNATION_REUSED");
    if (!this.#world.faultCounts.has("power-cut-scattered") && !isRotten) isNeverExpected.push("STORAGE_DAMAGED");
    if (!this.#world.faultCounts.has("read-error") && !isRotten) isNeverExpected.push("GROUP_DEGRADED");
    if (isNeverExpected.includes(code)) this.#world.violate("notice", `${process.name}: ${code} ${message}`);
  }

  /** Contents are compared for a part of the changes, and regularly. */
  changed(machine: Machine, process: SimProcess, group: Group): void {
    if (this.#changes++ % 4 === 0) this.check(machine, process, group);
    else this.#checkBatches(process, group);
  }

  check(machine: Machine, process: SimProcess, group: Group): void {
    const { server } = group;
    if (server === undefined || this.#checkedVersions.get(server) === server.version) return;
    this.#checkedVersions.set(server, server.version);
    const { vector, epoch } = server;
    const world = this.#world.group(group.key);
    if (world === undefined)
      return this.#world.violate("groups", `${process.name} knows ${group.key}, which nobody made`);
    for (const [actor, seq] of vector) {
      const issued = this.#world.history.issued(group.key, epoch, actor);
      if (seq > issued)
        this.#world.violate("dots", `${process.name}: ${actor}:${seq} in ${world.name}, ${issued} were issued`);
    }
    const open = this.#world.history.open(group.key, epoch, vector);
    if (open !== undefined) this.#world.violate("causality", `${process.name}: ${world.name} has ${open}`);
    const before = this.#lastVectors.get(server);
    if (before !== undefined && !vector.includes(before)) {
      this.#world.violate("session", `${process.name}: ${world.name} went back`);
    }
    this.#lastVectors.set(server, vector.clone());
    hold(machine.applied, group.key, epoch, vector);
    this.#checkBatches(process, group);
    this.#checkContents(process, world, server);
    this.#checkCaps(process, server);
  }

  #checkBatches(process: SimProcess, { key, server }: Group): void {
    const world = this.#world.group(key);
    if (world?.subject.invariant === undefined || server === undefined || server.isOpaque) return;
    const problem = world.subject.invariant(server.value(world.subject.type));
    if (problem !== undefined) this.#world.violate("batch atomicity", `${process.name}: ${world.name}: ${problem}`);
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
      if (this.states++ % 6 === 0) this.checkModel(process, world, server);
      return;
    }
    if (value !== undefined) known.value ??= value;
    const isEqual = known.canonical === canonical && (value === undefined || known.value === value);
    if (isEqual) return;
    const [ours, theirs] = [`${canonical} ${value}`, `${known.canonical} ${known.value}`];
    this.#world.violate("equal digests", `${process.name}: ${world.name} reads ${ours}, another reads ${theirs}`);
  }

  checkModel(process: SimProcess, { key, name, subject }: WorldGroup, server: ReplicationServer): void {
    if (subject.read === undefined) return;
    const expected = plain(subject.read(this.#world.history.expected(key, server.epoch, server.vector)));
    const value = server.value(subject.type);
    const actual = plain(
      subject.isUnordered === true && Array.isArray(value)
        ? [...(value as unknown[])].sort((a, b) => (String(a) < String(b) ? -1 : 1))
        : value,
    );
    if (expected !== actual) {
      this.#world.violate("history", `${process.name}: ${name} reads ${actual}, its history says ${expected}`);
    }
  }

  #checkCaps(process: SimProcess, server: ReplicationServer): void {
    const { pendingBytesMax, queueBytesMax } = this.#world.plan;
    // What was replayed from the journal is exempt, and rare: a large excess is not.
    if (server.pending.bytes > pendingBytesMax + 64 * 1024) {
      this.#world.violate("memory", `${process.name}: ${server.pending.bytes} bytes pending`);
    }
    for (const peer of process.core?.peers.values() ?? []) {
      if (peer.queueBytes > queueBytesMax + 64 * 1024) {
        this.#world.violate("memory", `${process.name}: ${peer.queueBytes} bytes queued for ${peer.id}`);
      }
    }
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
