import { type Actor, type AnyCrdtType, VersionVector, createActor } from "@coppice/crdt";
import type { Link, Transport } from "@coppice/replication";
import { Core, type CoreOptions, type Group, GroupHost, type HostEnvironment } from "@coppice/replication/testing";
import {
  type GroupCommit,
  type GroupId,
  type GroupStorage,
  type NodeRecord,
  StorageError,
  createGroupStore,
  encodeGroupId,
} from "@coppice/storage";
import { type Holding, type Holdings, hold } from "./guarantees.ts";
import type { Random } from "./random.ts";
import { SlowBackend } from "./slow-backend.ts";
import type { SimulatedDisk } from "@coppice/storage/testing";

/** The clock's epoch: some day in 2026. */
const WORLD_EPOCH_MS = 1_780_000_000_000;
const TICK_MS = 100;
const PROBE_MS = 500;

export type Durability = "snapshot" | "log" | "sync";

/** How a process is set up. */
export interface ProcessSetup {
  /** Names the process: machine and number of start. */
  readonly name: string;
  readonly machine: string;
  readonly durability: Durability;
  readonly types: readonly AnyCrdtType[];
  readonly disk: SimulatedDisk;
  readonly transport: Transport;
  /** Names of the machines to dial. */
  readonly peers: readonly string[];
  /** Names of the machines that make a majority, and all. */
  readonly roster: readonly string[];
  readonly random: Random;
  readonly limits: CoreOptions["limits"];
  readonly snapshotIntervalMs: number | undefined;
  readonly idleGraceMs: number;
  /** Whether it loads all that is stored once it has booted. */
  readonly recovers: boolean;
  skewMs(): number;
  /** How long the next storage operation takes. */
  diskDelayMs(): number;
}

/** What a process tells its world. */
export interface ProcessEvents {
  now(): number;
  schedule(delayMs: number, run: () => void): () => void;
  /** Promises are under way: let them run before time goes on. */
  stir(): void;
  /** Run `flush` of this process before anything else happens. */
  wake(process: SimProcess): void;
  trace(process: SimProcess, what: string): void;
  violate(oracle: string, message: string): void;
  booted(process: SimProcess): void;
  sent(process: SimProcess, peer: string, frame: Uint8Array): void;
  loaded(process: SimProcess, group: Group): void;
  changed(process: SimProcess, group: Group): void;
  /** A commit that had failed was found on the disk. */
  found(process: SimProcess, group: string, holding: Holding): void;
  committed(process: SimProcess, holdings: Holdings, isSynced: boolean): void;
  notice(process: SimProcess, code: string, message: string): void;
}

/**
 * One process of a node: the core that ships, on the group store that ships, driven by the same calls as `Node` makes,
 * on virtual time and a simulated disk and network.
 */
export class SimProcess {
  readonly setup: ProcessSetup;
  readonly incarnation: string;
  readonly #events: ProcessEvents;
  readonly #nodeBytes: Uint8Array;
  readonly #actor: Actor;
  readonly #store: GroupStorage;
  #core: Core | undefined;
  #early: (() => void)[] | undefined = [];
  #isDead = false;
  #isClosing = false;
  #paused: (() => void)[] | undefined;
  /** What may leave this node: what its disk holds, or refused to take. */
  readonly published: Holdings = new Map();
  /** The groups that its program has open. */
  readonly open: Set<Group> = new Set();
  readonly #opening = new Set<string>();
  readonly #stops = new Set<() => void>();
  #hasStopped = false;

  constructor(setup: ProcessSetup, events: ProcessEvents) {
    this.setup = setup;
    this.#events = events;
    this.incarnation = hex(setup.random.bytes(8));
    this.#nodeBytes = Uint8Array.from({ length: 8 }, (_, index) => setup.machine.charCodeAt(index) || 0);
    this.#actor = createActor(this.#nodeBytes, setup.random.bytes(8));
    const backend = new SlowBackend(setup.disk.backend(), () => this.#gate());
    this.#store = createGroupStore(backend, {
      compression: "none",
      now: () => this.now(),
      onDamage: ({ record, action, reason }) =>
        events.notice(this, "STORAGE_DAMAGED", `${record} ${action}: ${reason}`),
    });
  }

  get name(): string {
    return this.setup.name;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isClosing(): boolean {
    return this.#isClosing;
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  /** Once it has booted. */
  get core(): Core | undefined {
    return this.#core;
  }

  now(): number {
    return WORLD_EPOCH_MS + Math.floor(this.#events.now() + this.setup.skewMs());
  }

  /** Every input passes here: a dead process gets none, a stopped one gets them later. */
  input(run: () => void): void {
    if (this.#isDead) return;
    if (this.#paused === undefined) run();
    else this.#paused.push(run);
  }

  pause(): void {
    this.#paused ??= [];
  }

  resume(): void {
    const waiting = this.#paused ?? [];
    this.#paused = undefined;
    for (const run of waiting) this.input(run);
  }

  #gate(): Promise<void> {
    return new Promise((resolve) => {
      this.#events.schedule(this.setup.diskDelayMs(), () =>
        this.input(() => {
          this.#events.stir();
          resolve();
        }),
      );
    });
  }

  /** As `Node.start` does. Rejects when the storage fails. */
  async boot(): Promise<void> {
    const { transport, machine } = this.setup;
    await this.#store.open();
    const record = await this.#store.readNode();
    await transport.start({
      events: {
        linkUp: (link) => this.#pass(`link to ${link.peer} up`, (core) => core.linkUp(link)),
        linkDown: (link, reason) => this.#pass(`link to ${link.peer} down: ${reason}`, (core) => core.linkDown(link)),
        frame: (link, bytes) => this.#frame(link, bytes),
        drained: (link) => this.#pass(`link to ${link.peer} drained`, (core) => core.drained(link)),
        notice: () => {},
      },
      incarnation: this.incarnation,
      readSecret: (name) => this.#store.readSecret(name),
      writeSecret: (name, bytes) => this.#store.writeSecret(name, bytes),
    });
    await this.#store.writeNode({ nodeId: machine, starts: (record?.starts ?? 0) + 1, clean: false, peers: [] });
    const core = this.#makeCore();
    await this.#list(core);
    this.#core = core;
    this.#events.booted(this);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const run of early) run();
    this.#tick();
    for (const peer of this.setup.peers) this.#connect(peer);
    if (this.setup.recovers) this.#recover(core).catch((error: unknown) => this.#events.trace(this, String(error)));
  }

  /** As `Node.recover` does. */
  async #recover(core: Core): Promise<void> {
    this.#events.stir();
    for await (const page of this.#store.loadGroups()) {
      if (this.#isClosing) return;
      const adopted = page.filter((stored) => core.adopt(stored));
      this.#events.trace(this, `takes ${adopted.length} groups from a scan`);
    }
  }

  #pass(what: string, run: (core: Core) => void): void {
    this.input(() => {
      const core = this.#core;
      if (this.#early !== undefined || core === undefined) return void this.#early?.push(() => this.#pass(what, run));
      this.#events.trace(this, what);
      run(core);
    });
  }

  #frame(link: Link, bytes: Uint8Array): void {
    this.#pass(`frame of ${bytes.length} bytes from ${link.peer}`, (core) => core.frame(link, bytes));
  }

  #makeCore(): Core {
    const { setup } = this;
    const core = new Core({
      self: setup.machine,
      effects: {
        send: (link, frame) => {
          this.#events.sent(this, link.peer, frame);
          return setup.transport.send(link, frame);
        },
        pause: (link) => setup.transport.pause(link),
        resume: (link) => setup.transport.resume(link),
        drop: (peer) => void setup.transport.disconnect(peer),
        wake: () => this.#events.wake(this),
        load: (group) => void this.#load(core, group),
        commit: (commit, sync) => this.#commit(core, commit, sync),
        changed: (group) => this.#events.changed(this, group),
        presenceChanged: () => {},
        broadcast: () => {},
        moved: (group) => {
          if (group.phase === "active" && !this.#seen.has(group)) {
            this.#seen.add(group);
            this.#events.loaded(this, group);
          } else if (group.phase !== "active") this.#seen.delete(group);
        },
        discovered: () => {},
        notice: (code, message) => this.#events.notice(this, code, message),
      },
      now: () => this.now(),
      random: setup.random.float,
      checkMembership: () => {},
      actor: (fresh) => (fresh ? createActor(this.#nodeBytes, setup.random.bytes(8)) : this.#actor),
      types: setup.types,
      domains: undefined,
      durability: () => setup.durability,
      limits: setup.limits,
      syncIntervalMs: 500,
      heartbeatMs: 200,
      snapshotIntervalMs: () => setup.snapshotIntervalMs,
      idleGraceMs: setup.idleGraceMs,
    });
    return core;
  }

  /** What failed commits held, by group, until the disk has been read again. */
  readonly #doubtful = new Map<string, Holding & { readonly end: number }>();
  /** Groups whose loading was told to the world. */
  readonly #seen = new WeakSet<Group>();

  async #list(core: Core): Promise<void> {
    const { rots } = this.setup.disk;
    for await (const rows of this.#store.listGroups({ deleted: true, journalled: true })) {
      for (const row of rows) {
        const key = encodeGroupId(row.id);
        hold(this.published, key, row.epoch, row.vector);
        core.addStored(row, row.isJournalled === true);
      }
    }
    const tailed = await tailedGroups(this.setup.disk);
    for (const group of core.groups.values()) {
      // What was listed, and rotted then, is not what the disk has now.
      if (group.isUnsettled === tailed.has(group.key) || this.setup.disk.rots !== rots) continue;
      const is = group.isUnsettled ? "listed as unsettled" : "listed as settled, and its journal goes on";
      this.#events.violate("tails", `${this.name}: ${group.key} is ${is}`);
    }
    for (const group of core.groups.values()) {
      if (group.phase === "stored" && (group.isUnsettled || group.isDegraded)) core.load(group, () => {});
    }
  }

  async #load(core: Core, group: Group): Promise<void> {
    this.#events.stir();
    try {
      const stored = await this.#store.load(group.id);
      const doubtful = this.#doubtful.get(group.key);
      this.#doubtful.delete(group.key);
      if (doubtful !== undefined && stored?.row.epoch === doubtful.epoch && stored.nextPosition >= doubtful.end) {
        this.#events.found(this, group.key, doubtful);
      }
      core.loaded(group, stored);
    } catch (error) {
      // As the driver does.
      const isClosed = error instanceof StorageError && error.code === "NOT_OPEN";
      if (!this.#hasStopped || !isClosed) core.loadFailed(group, error);
    }
  }

  #commit(core: Core, commit: GroupCommit, sync: boolean): void {
    this.#events.stir();
    const holdings: Holdings = new Map();
    for (const { id, epoch } of commit.records ?? []) {
      const key = encodeGroupId(id);
      const vector = core.groups.get(key)?.server?.vector ?? new VersionVector();
      hold(holdings, key, epoch, vector.clone());
    }
    for (const { id, epoch, vector } of commit.snapshots ?? []) hold(holdings, encodeGroupId(id), epoch, vector);
    for (const { id, epoch } of commit.deletions ?? []) hold(holdings, encodeGroupId(id), epoch, new VersionVector());
    this.#events.trace(this, `commits ${describeCommit(commit)}${sync ? ", synced" : ""}`);
    const publish = (): void => {
      for (const [key, { epoch, vector }] of holdings) hold(this.published, key, epoch, vector);
    };
    this.#store
      .commit(commit, { sync })
      .then(
        () => {
          publish();
          this.#events.committed(this, holdings, sync);
          core.committed();
        },
        (error: unknown) => {
          publish();
          this.#events.trace(this, `commit failed: ${String(error)}`);
          for (const { id, position, count } of commit.records ?? []) {
            const key = encodeGroupId(id);
            const holding = holdings.get(key);
            if (holding !== undefined) this.#doubtful.set(key, { ...holding, end: position + count });
          }
          if (error instanceof TypeError) this.#events.violate("store", `a commit was refused: ${String(error)}`);
          core.committed(error);
        },
      )
      .catch((error: unknown) => this.#events.violate("exception", `${this.name}: ${stack(error)}`));
  }

  #tick(): void {
    this.#events.schedule(TICK_MS, () =>
      this.input(() => {
        if (this.#isClosing) return;
        this.#core?.tick();
        this.#tick();
      }),
    );
  }

  /** Dials further peers. */
  dial(peers: readonly string[]): void {
    for (const peer of peers) if (peer !== this.setup.machine && this.#core !== undefined) this.#connect(peer);
  }

  #connect(peer: string): void {
    if (this.#isDead) return;
    this.#events.stir();
    this.setup.transport.connect(`memory:/${peer}`).catch(() => {
      this.#events.schedule(300, () => this.input(() => this.#connect(peer)));
    });
  }

  /** As `Node.open` does: peers are asked about a group that is not known here. */
  openGroup(id: GroupId, type: AnyCrdtType, recreate: boolean): void {
    const core = this.#core;
    const key = encodeGroupId(id);
    if (core === undefined || this.#opening.has(key)) return;
    const open = (): void => {
      if (!this.#opening.delete(key)) return;
      const known = core.groups.get(key);
      if (known?.phase === "deleted" && !recreate) return;
      const group = core.open(id, type, recreate);
      core.load(group, () => {});
      if (this.open.has(group)) return;
      this.open.add(group);
      group.handles++;
    };
    this.#opening.add(key);
    if (core.groups.has(key) || core.peers.size === 0) return open();
    this.#events.schedule(PROBE_MS, () => this.input(open));
    core.probe(key, type.name, open);
  }

  /** What a replica that `Node.open` returns does its waiting with. */
  host(group: Group, type: AnyCrdtType): GroupHost {
    const core = this.#core;
    if (core === undefined) throw new TypeError(`${this.name} has not booted`);
    return new GroupHost(group, type, core, this.#hosting(core));
  }

  #hosting(core: Core): HostEnvironment {
    const notSimulated = (): never => {
      throw new TypeError("not simulated");
    };
    const { roster, machine, durability } = this.setup;
    return {
      isClosed: () => this.#hasStopped,
      durability: () => ({ durable: true, sync: true }),
      mode: () => durability,
      status: notSimulated,
      synced: notSimulated,
      interestedPeers: ({ domain }) =>
        [...core.peers.values()].filter((peer) => peer.isInterestedIn(domain)).map(({ id }) => id),
      onStop: (fn) => {
        this.#stops.add(fn);
        return () => {
          this.#stops.delete(fn);
          // Who waited goes on.
          this.#events.stir();
        };
      },
      startTimer: (delayMs, run) => this.#events.schedule(delayMs, () => this.input(run)),
      roster: () => ({ others: roster.filter((name) => name !== machine), size: roster.length }),
      isOutsider: () => false,
      watch: notSimulated,
      watchPresence: notSimulated,
      watchBroadcasts: notSimulated,
      watchDeletion: notSimulated,
    };
  }

  closeGroup(group: Group): void {
    if (this.open.delete(group)) group.handles--;
  }

  flush(): void {
    this.input(() => this.#core?.flush());
  }

  /** As `Node.close` does. */
  async close(): Promise<void> {
    const core = this.#core;
    this.#isClosing = true;
    if (core !== undefined) {
      for (const group of core.groups.values()) core.requestSnapshot(group);
      core.flush();
      await new Promise<void>((resolve) => core.pipeline.whenSettled(resolve));
    }
    this.#hasStopped = true;
    for (const stop of this.#stops) stop();
    await this.setup.transport.stop();
    if (core !== undefined) {
      core.flush();
      await new Promise<void>((resolve) => core.pipeline.whenSettled(resolve));
    }
    const record: NodeRecord = { nodeId: this.setup.machine, starts: 1, clean: true, peers: [] };
    await this.#store.writeNode(record);
    await this.#store.close();
  }

  /** The process is no more: no input reaches it, nothing it started goes on. */
  die(): void {
    this.#isDead = true;
    this.#paused = undefined;
    this.setup.disk.release();
  }
}

/** The groups on a disk whose journal goes on behind their newest record. */
async function tailedGroups(disk: SimulatedDisk): Promise<ReadonlySet<string>> {
  await using store = createGroupStore(disk.clone().backend());
  await store.open();
  const keys = new Set<string>();
  for await (const ids of store.listJournalled()) for (const id of ids) keys.add(encodeGroupId(id));
  return keys;
}

function describeCommit({ records = [], snapshots = [], deletions = [] }: GroupCommit): string {
  const parts = [
    ...records.map(({ id, epoch, position, count }) => `${id[1]}/${epoch} events ${position}-${position + count - 1}`),
    ...snapshots.map(({ id, epoch, journalPosition }) => `${id[1]}/${epoch} snapshot at ${journalPosition}`),
    ...deletions.map(({ id, epoch }) => `${id[1]}/${epoch} deletion`),
  ];
  return parts.join(", ");
}

export function stack(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
