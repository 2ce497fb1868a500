import { ReplicationError, mergeSessionTokens } from "@coppice/replication";
import type { Core, Group, GroupHost } from "@coppice/replication/testing";
import { type Holdings, hold, missing } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import { MemberHoldings } from "./member-holdings.ts";
import type { Oracles } from "./oracles.ts";
import { type SimProcess, stack } from "./process.ts";
import type { Random } from "./random.ts";
import type { World, WorldGroup } from "./world.ts";

/** How long reads wait when everything is well again. */
const HEALED_MS_MAX = 3000;
/** How a read may fail: late, or because its process closes or its group is deleted or created anew. */
const FAILURES = ["TIMEOUT", "CLOSED", "GROUP_DELETED", "UNKNOWN_GROUP"];

/** A program that goes from machine to machine with its token, and does one thing after the other. */
interface Session {
  token: string;
  /** What it has written and seen, according to the history. */
  seen: Holdings;
  isWaiting: boolean;
}

/** A group that is open on a machine. */
interface Place {
  readonly machine: Machine;
  readonly process: SimProcess;
  readonly core: Core;
  readonly world: WorldGroup;
  readonly group: Group;
}

/** A read under way. */
interface Read {
  readonly place: Place;
  readonly what: string;
  readonly startedAt: number;
  readonly timeoutMs: number;
  /** Undefined for reads of no session. */
  readonly session: Session | undefined;
}

type From = number | "majority" | "all";
type Level = Parameters<Core["readFrom"]>[1];

/**
 * Programs that carry session tokens from machine to machine, and read from members of the roster. What they read must
 * cover what they have written and seen; a read from members, what these had when it began; and none waits for longer
 * than it was told.
 */
export class Sessions {
  readonly #world: World;
  readonly #oracles: Oracles;
  readonly #random: Random;
  readonly #sessions: readonly Session[];
  readonly #reads = new Set<Read>();
  /** Reads that resolved. */
  done = 0;

  constructor(world: World, oracles: Oracles, random: Random) {
    this.#world = world;
    this.#oracles = oracles;
    this.#random = random;
    this.#sessions = Array.from({ length: world.plan.sessions }, () => ({
      token: "",
      seen: new Map(),
      isWaiting: false,
    }));
  }

  start(): void {
    for (const session of this.#sessions) this.#goOn(session);
  }

  #goOn(session: Session): void {
    this.#world.timeline.schedule(this.#random.between(0, 2 * this.#world.plan.writeEveryMs), () => {
      if (this.#world.isHealing) return;
      if (!session.isWaiting) this.#step(session);
      this.#goOn(session);
    });
  }

  #step(session: Session): void {
    const places = this.#places().filter(({ process }) => !process.isPaused);
    if (places.length === 0) return;
    const place = this.#random.pick(places);
    const kind = this.#random.int(10);
    if (kind < 4) return this.#write(session, place);
    const timeoutMs = this.#random.pick([20, 200, 1000]);
    if (kind < 7) void this.#readAtLeast(session, place, timeoutMs);
    else void this.#readFrom(session, place, this.#random.pick<From>([1, 2, "majority", "majority", "all"]), timeoutMs);
  }

  /** Where something can be read now. */
  #places(): Place[] {
    const places: Place[] = [];
    for (const machine of this.#world.running()) {
      const { process } = machine;
      const core = process?.core;
      for (const world of this.#world.groups) {
        const group = core?.groups.get(world.key);
        if (process === undefined || core === undefined || group?.server === undefined) continue;
        if (process.open.has(group)) places.push({ machine, process, core, world, group });
      }
    }
    return places;
  }

  #write(session: Session, { machine, process, core, world, group }: Place): void {
    const event = this.#world.workload.write(machine, world, this.#random);
    if (event === undefined) return;
    const host = process.host(group, world.subject.type);
    const { sessionToken } = host.acknowledge(host.server(), undefined, true, { ack: "memory" });
    host.release();
    session.token = mergeSessionTokens(session.token, sessionToken);
    const vector = event.past.clone();
    vector.set(event.actor, event.seq);
    hold(session.seen, event.group, event.epoch, vector);
    const level = this.#level(machine, this.#random.pick<From>(["majority", "all"]));
    if (level.replicas === 0 || this.#random.chance(0.5)) return;
    const durable = this.#random.chance(0.3);
    this.#world.workload.expectAcks(machine, process, core, group, event, { ...level, durable });
  }

  /** Whom a read or an acknowledgement from so many counts, as the replication guide says it. */
  #level({ name }: Machine, from: From): Level {
    if (typeof from === "number") return { replicas: from, among: undefined };
    const { roster } = this.#world;
    const others = roster.filter((member) => member !== name);
    const isMember = others.length < roster.length;
    const majority = Math.floor(roster.length / 2) + 1 - (isMember ? 1 : 0);
    return { replicas: from === "all" ? others.length : majority, among: new Set(others) };
  }

  #readAtLeast(session: Session, place: Place, timeoutMs: number): Promise<boolean> {
    const { token } = session;
    if (token === "") return Promise.resolve(true);
    const seen = new Map(session.seen);
    return this.#read(
      { place, what: "at least its token", startedAt: this.#world.timeline.now, timeoutMs, session },
      (host) => host.atLeast(token, { timeoutMs }),
      () => {
        const { group, process, world } = place;
        const holding = seen.get(group.key);
        const lost = holding === undefined ? undefined : missing(holding, group.epoch, group.vector);
        if (lost === undefined) return;
        this.#world.violate("session", `${process.name} read ${world.name} for a session, without ${lost}`);
      },
    );
  }

  #readFrom(session: Session | undefined, place: Place, from: From, timeoutMs: number): Promise<boolean> {
    const { machine, group, process, world } = place;
    const held = new MemberHoldings(this.#world.machines, group.key);
    const level = this.#level(machine, from);
    return this.#read(
      { place, what: `from ${from}`, startedAt: this.#world.timeline.now, timeoutMs, session },
      (host) => host.readBarrier({ from, timeoutMs }),
      () => {
        const unheard = held.unheard(machine, level, group.epoch, group.vector);
        if (unheard === undefined) return;
        this.#world.violate("member reads", `${process.name} read ${world.name} from ${from}, without ${unheard}`);
      },
    );
  }

  /** Resolves with whether the read was done; its process may die before. */
  async #read(read: Read, begin: (host: GroupHost) => Promise<void>, check: () => void): Promise<boolean> {
    const { place, session, what } = read;
    const { process, world, group } = place;
    const host = process.host(group, world.subject.type);
    this.#reads.add(read);
    if (session !== undefined) session.isWaiting = true;
    this.#world.note(process.name, `reads ${group.key} ${what} within ${read.timeoutMs} ms`);
    this.#world.stir();
    try {
      await begin(host);
      if (process.isDead) return false;
      this.done++;
      this.#world.note(process.name, `has read ${group.key} ${what}`);
      check();
      this.#see(read, host);
      return true;
    } catch (error) {
      this.#failed(read, error);
      return false;
    } finally {
      this.#end(read);
      host.release();
    }
  }

  /** The session goes on with what it has seen. */
  #see({ place: { process, world, group }, session }: Read, host: GroupHost): void {
    if (group.server === undefined) return;
    if (this.#random.chance(0.25)) this.#oracles.checkModel(process, world, group.server);
    if (session === undefined) return;
    session.token = mergeSessionTokens(session.token, host.sessionToken());
    hold(session.seen, group.key, group.epoch, group.vector);
  }

  #failed({ place, what, startedAt, timeoutMs, session }: Read, error: unknown): void {
    const { process, world } = place;
    const code = error instanceof ReplicationError ? error.code : "";
    this.#world.note(process.name, `has not read ${world.key} ${what}: ${code}`);
    if (!FAILURES.includes(code)) return this.#world.violate("exception", `${process.name}: ${stack(error)}`);
    if (code !== "TIMEOUT") return;
    if (this.#world.timeline.now < startedAt + timeoutMs) {
      this.#world.violate("waiting", `${process.name} gave up reading ${world.name} ${what} before its time`);
    }
    // What it waits for may be lost for good.
    if (session === undefined || this.#random.chance(0.5)) return;
    session.token = "";
    session.seen = new Map();
  }

  #end(read: Read): void {
    this.#reads.delete(read);
    if (read.session !== undefined) read.session.isWaiting = false;
  }

  /** No read waits for longer than it was told, but for the time that its process stands still. */
  check(): void {
    for (const read of this.#reads) {
      const { place, what, startedAt, timeoutMs } = read;
      const { process, world } = place;
      if (process.isDead) this.#end(read);
      else if (!process.isPaused && this.#world.timeline.now > startedAt + timeoutMs) {
        this.#world.violate("waiting", `${process.name} still reads ${world.name} ${what} after ${timeoutMs} ms`);
      }
    }
  }

  /** Everything is well and equal: what is there can be read, by every session and from all members that are linked. */
  async conclude(): Promise<void> {
    if (this.#sessions.length === 0) return;
    let left = 0;
    const expect = (read: Promise<boolean>, isThere: boolean, { process, world }: Place, what: string): void => {
      left++;
      void read.then((isRead) => {
        left--;
        if (isThere && !isRead && !process.isDead) {
          this.#world.violate("waiting", `${process.name} cannot read ${world.name} ${what}, although all is well`);
        }
      });
    };
    for (const place of this.#places()) {
      const { core, group, machine } = place;
      for (const session of this.#sessions) {
        const holding = session.seen.get(group.key);
        const isThere = holding === undefined || missing(holding, group.epoch, group.vector) === undefined;
        // Each from where it stands now.
        const copy = { ...session, seen: new Map(session.seen) };
        expect(this.#readAtLeast(copy, place, HEALED_MS_MAX), isThere, place, "for a session");
      }
      for (const from of ["majority", "all"] as const) {
        const { replicas, among } = this.#level(machine, from);
        // A machine that went silently may seem linked for a while.
        const present = new Set(this.#world.running().map(({ name }) => name));
        const linked = [...core.peers.values()].filter(({ id }) => among?.has(id) === true && present.has(id));
        const isThere = linked.filter((peer) => peer.isInterestedIn(group.domain)).length >= replicas;
        expect(this.#readFrom(undefined, place, from, HEALED_MS_MAX), isThere, place, `from ${from}`);
      }
    }
    await this.#world.until(() => left === 0, 2 * HEALED_MS_MAX);
  }
}
