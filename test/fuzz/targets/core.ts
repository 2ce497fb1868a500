import { Reader, VersionVector, Writer, createActor } from "@coppice/crdt";
import { DEFAULT_LIMITS, type Link } from "@coppice/replication";
import {
  Core,
  type CoreOptions,
  type Group,
  decodeMessage,
  formatDigest,
  unpackFrame,
} from "@coppice/replication/testing";
import { encodeGroupId } from "@coppice/storage";
import { Random } from "../../simulation/random.ts";
import { SUBJECTS } from "../../simulation/subjects.ts";
import { records } from "../records.ts";
import { type Target, accept, isNamed, must, mustEqual } from "../target.ts";

const NOW_MS = 1_780_000_000_000;
const PENDING_BYTES_MAX = 4000;
/** One group of each of these, under the names that simulated runs give them. */
const GROUPS = ["words", "progress", "log", "nodes", "bounded", "notes"];
const LINK: Link = { peer: "n1", incarnation: "00000000000000aa", addresses: [] };

/** A node without its I/O: what it wants written is written at once, and nothing is ever stored. */
class Machine {
  readonly core: Core;
  isDropped = false;
  #now = NOW_MS;
  #commits = 0;
  readonly #loads: Group[] = [];

  constructor(random: Random) {
    const node = new Uint8Array(8).fill(1);
    const options: CoreOptions = {
      self: "n0",
      effects: {
        send: () => true,
        pause: () => {},
        resume: () => {},
        drop: () => (this.isDropped = true),
        wake: () => {},
        load: (group) => void this.#loads.push(group),
        commit: () => this.#commits++,
        changed: () => {},
        presenceChanged: () => {},
        broadcast: () => {},
        moved: () => {},
        discovered: () => {},
        notice: () => {},
      },
      now: () => this.#now,
      random: random.float,
      actor: () => createActor(node, random.bytes(8)),
      checkMembership: () => {},
      types: [...new Map([...SUBJECTS.values()].map(({ type }) => [type.name, type])).values()],
      domains: undefined,
      durability: () => "log",
      limits: { ...DEFAULT_LIMITS, pendingBytesMax: PENDING_BYTES_MAX, groupsMax: 40, actorsPerGroupMax: 30 },
      syncIntervalMs: 500,
      heartbeatMs: 200,
      snapshotIntervalMs: () => 1000,
      idleGraceMs: 60_000,
    };
    this.core = new Core(options);
    for (const name of GROUPS) this.#open(name, random);
    this.core.linkUp(LINK);
    this.settle();
  }

  #open(name: string, random: Random): void {
    const subject = SUBJECTS.get(name);
    if (subject === undefined) throw new TypeError(`no subject ${name}`);
    const group = this.core.open(["world", `${name}-0`], subject.type, false);
    this.core.load(group, () => {});
    for (let left = 3; left > 0; left--) {
      group.server?.mutate(subject.type, (mutator) => subject.write(mutator, random, "p"));
    }
  }

  /** A frame arrives; then as much time passes as makes the core repair and compare. */
  frame(bytes: Uint8Array): void {
    this.core.frame(LINK, bytes);
    this.settle();
    this.#now += 250;
    this.core.tick();
    this.settle();
  }

  settle(): void {
    this.core.flush();
    while (this.#commits > 0 || this.#loads.length > 0) {
      for (const group of this.#loads.splice(0)) this.core.loaded(group, undefined);
      if (this.#commits > 0) {
        this.#commits--;
        this.core.committed();
      }
      this.core.flush();
    }
  }

  /** What it holds: the digest of every group. */
  digests(): string {
    return [...this.core.groups.values()].map((group) => `${group.key} ${formatDigest(group.digest())}`).join("\n");
  }

  /** What must hold of each group, whatever came in. */
  check(): void {
    for (const { server } of this.core.groups.values()) {
      if (server === undefined || server.isOpaque) continue;
      must(server.pending.bytes <= PENDING_BYTES_MAX, `${server.pending.bytes} bytes are pending`);
      const body = server.snapshot()?.body;
      const type = this.core.type(server.typeName);
      must(body !== undefined && type !== undefined, "an active group has no state");
      const writer = new Writer();
      type.canonical(type.decode(body), writer);
      mustEqual(writer.take(), server.canonical(), "a state reads otherwise after it was written and read");
      server.value(type);
      const writerOfVector = new Writer();
      server.vector.encode(writerOfVector);
      const vector = VersionVector.decode(new Reader(writerOfVector.take()));
      must(vector.equals(server.vector), "a vector is not what it is written as");
    }
  }
}

/** Whether a frame and all messages in it can be read. */
function isReadable(frame: Uint8Array): boolean {
  const isRead = accept(() => unpackFrame(frame).map((bytes) => decodeMessage(bytes)), isNamed("CrdtError"));
  return isRead !== undefined;
}

/** The input as frames: each behind its length, and what is left over is one more. */
function framesOf(input: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const reader = new Reader(input);
  let at = 0;
  const isWhole = accept(() => {
    while (reader.left > 0) {
      frames.push(reader.bytes());
      at = reader.at;
    }
    return true;
  }, isNamed("CrdtError"));
  if (isWhole === undefined) frames.push(input.subarray(at));
  return frames;
}

/** Frames for a whole node: it never throws, and a frame that cannot be read changes nothing. */
async function coreTarget(): Promise<Target> {
  const { frames } = await records();
  const sequence = (from: number): Uint8Array => {
    const writer = new Writer();
    for (const frame of frames.slice(from, from + 5)) writer.bytes(frame);
    return writer.take();
  };
  return {
    name: "core",
    share: 0.05,
    seeds: frames
      .slice(0, 12)
      .map((_, index) => sequence(index * 3))
      .filter(({ length }) => length < 3000),
    heap: { base: 8 << 20, perByte: 8192 },
    steps: { base: 400_000, perByte: 20_000 },
    run(input) {
      const machine = new Machine(new Random(1, "machine"));
      for (const frame of framesOf(input)) {
        const before = machine.digests();
        machine.frame(frame);
        if (!isReadable(frame)) {
          must(machine.isDropped, "a frame that cannot be read did not end its link");
          must(machine.digests() === before, "a frame that cannot be read changed something");
        }
        if (machine.isDropped) break;
      }
      machine.check();
      return !machine.isDropped;
    },
  };
}

/** What is stored of a group, damaged in a way that no checksum sees: the group is loaded, degraded, or left out. */
async function storedTarget(): Promise<Target> {
  const { runs } = await records();
  const subject = SUBJECTS.get("words");
  if (subject === undefined) throw new TypeError("no subject words");
  const machineOf = (): { machine: Machine; group: Group } => {
    const machine = new Machine(new Random(1, "machine"));
    return { machine, group: machine.core.open(["world", "words-0"], subject.type, false) };
  };
  const { group: original } = machineOf();
  const body = subject.type.encode(subject.type.create());
  const seed = (record: Uint8Array): Uint8Array => {
    const writer = new Writer();
    writer.bytes(body);
    writer.bytes(record);
    return writer.take();
  };
  const id = ["world", "stored"];
  return {
    name: "stored",
    share: 0.2,
    seeds: runs.map((run) => seed(Buffer.concat([Buffer.of(run.length & 127), run]))),
    heap: { base: 8 << 20, perByte: 8192 },
    steps: { base: 400_000, perByte: 20_000 },
    run(input) {
      const machine = new Machine(new Random(1, "machine"));
      const meta = { ...original.meta(), id };
      const row = {
        ...meta,
        key: encodeGroupId(id),
        snapshotBytes: 1,
        snapshotAt: 1,
        journalPosition: 0,
        degraded: false,
      };
      machine.core.addStored(row, true);
      const group = machine.core.groups.get(encodeGroupId(id));
      if (group === undefined) throw new Error("a stored group is not known");
      const [first = new Uint8Array(0), ...rest] = framesOf(input);
      const journal = rest.map((bytes, position) => ({ id, epoch: 1, position, count: 1, bytes }));
      const snapshot = first.length > 0 ? { ...meta, journalPosition: 0, body: first } : undefined;
      machine.core.load(group, () => {});
      machine.core.loaded(group, { row, snapshot, records: journal, nextPosition: rest.length, damage: [] });
      machine.settle();
      must(group.phase === "active" || group.phase === "failed", `a group that was read is ${group.phase}`);
      must(encodeGroupId(group.id) === group.key, "a group has another key");
      machine.check();
      return group.phase === "active";
    },
  };
}

export function coreTargets(): Map<string, () => Promise<Target>> {
  return new Map([
    ["core", coreTarget],
    ["stored", storedTarget],
  ]);
}
