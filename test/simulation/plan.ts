import type { Limits } from "@coppice/replication";
import type { Durability } from "./process.ts";
import { Random } from "./random.ts";
import { DOCUMENTS } from "./documents.ts";
import { SUBJECTS } from "./subjects.ts";

/** Kinds of faults, and what they do. */
export const FAULT_KINDS = [
  // The network, for a while.
  "loss",
  "duplication",
  "reordering",
  "delay",
  "slow-link",
  "clog",
  "partition",
  "one-way",
  "isolate",
  "reset",
  "storm",
  // Processes and their machines.
  "kill",
  "kill-silent",
  "power-cut",
  "power-cut-scattered",
  "restart",
  "stop",
  "join",
  "leave",
  // Disks.
  "rollback",
  "rollback-group",
  "wipe",
  "clone",
  "write-error",
  "sync-error",
  "full-disk",
  "slow-disk",
  "read-error",
  "rot",
  // Clocks.
  "clock-forward",
  "clock-back",
  "clock-jitter",
  // The life of groups.
  "delete",
  "register",
  "snapshot",
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  readonly atMs: number;
  readonly forMs: number;
  /** Which machines it concerns, as numbers taken modulo how many there are. */
  readonly a: number;
  readonly b: number;
  /** How bad, from 0 to 1. */
  readonly amount: number;
}

export interface MachinePlan {
  readonly durability: Durability;
  /** Names of types that it lacks at first. */
  readonly lacks: readonly string[];
  readonly skewMs: number;
  /** How fast its clock goes, in clock time for real time. */
  readonly clockRate: number;
  readonly snapshotIntervalMs: number | undefined;
}

/** A whole run, as a seed draws it. */
export interface Plan {
  readonly seed: number;
  readonly machines: readonly MachinePlan[];
  readonly topology: "mesh" | "line" | "star" | "ring";
  /** Names of subjects; one group each. */
  readonly groups: readonly string[];
  readonly chaosMs: number;
  /** Pause between two bursts of writes on one machine, on average. */
  readonly writeEveryMs: number;
  readonly pendingBytesMax: number;
  readonly tailBytesMax: number;
  readonly queueBytesMax: number;
  readonly idleGraceMs: number;
  /** Whether programs subscribe to changes. */
  readonly watches: boolean;
  /** How many programs go from machine to machine, and read there what they have written or seen. */
  readonly sessions: number;
  /** Whether each process loads all that is stored once it has booted. */
  readonly recovers: boolean;
  readonly faults: readonly Fault[];
  /** Further limits of a scenario. */
  readonly limits?: Partial<Limits>;
}

export interface PlanOptions {
  readonly nodes?: number | undefined;
  /** Only these kinds of faults. */
  readonly kinds?: readonly FaultKind[] | undefined;
  /** Fixed instead of drawn. */
  readonly fixed?:
    | Partial<Pick<Plan, "tailBytesMax" | "idleGraceMs" | "watches" | "topology" | "sessions">>
    | undefined;
  /** Whether machines lack the code of types. */
  readonly hasOpaque?: boolean | undefined;
  /** Most runs are small, for many of those find more than few large ones. Drawn by default. */
  readonly size?: "small" | "large" | undefined;
  /** Whether some groups may be documents of Yjs and Automerge. Default true. */
  readonly hasDocuments?: boolean | undefined;
}

/** Which faults a run gets: all kinds, or a family of them. */
export const PROFILES: Readonly<Record<string, readonly FaultKind[]>> = {
  all: FAULT_KINDS,
  none: [],
  network: FAULT_KINDS.slice(0, FAULT_KINDS.indexOf("kill")),
  process: ["kill", "kill-silent", "power-cut", "power-cut-scattered", "restart", "stop", "join", "leave"],
  disk: [
    "kill",
    "power-cut",
    "rollback",
    "rollback-group",
    "wipe",
    "clone",
    "write-error",
    "sync-error",
    "full-disk",
    "slow-disk",
    "rot",
  ],
  clock: ["clock-forward", "clock-back", "clock-jitter", "partition", "kill"],
  life: ["delete", "register", "snapshot", "restart", "kill", "partition"],
};

/** In how many runs programs carry tokens: what they read asks peers, and would hide that nobody else does. */
const SESSIONS_SHARE = 0.5;

/** In how many runs every start is followed by a recovery. */
const RECOVERS_SHARE = 0.3;

/** How many runs are small, and how long they are, for a large one's length. */
const SMALL_SHARE = 0.75;
const SMALL_PART = 0.3;
const SMALL_NODES_MAX = 3;
const SMALL_GROUPS_MAX = 2;

/** Draws a run: each seed gets its own size, setup, and subset of faults (swarm testing). */
export function drawPlan(seed: number, options: PlanOptions = {}): Plan {
  const random = new Random(seed, "plan");
  const nodes = options.nodes ?? 2 + random.int(4);
  const modes: readonly Durability[] = random.chance(0.4)
    ? [random.pick(["snapshot", "log", "sync"] as const)]
    : ["snapshot", "log", "sync"];
  const drawsOpaque = random.chance(0.25);
  const hasOpaque = options.hasOpaque ?? drawsOpaque;
  const names = [...SUBJECTS.keys()];
  const drawn = Array.from({ length: 1 + random.int(4) }, () => random.pick(names));
  // Streams of their own, so that what they decide shifts nothing else.
  const sizes = new Random(seed, "size");
  const isSmall = options.size === undefined ? sizes.chance(SMALL_SHARE) : options.size === "small";
  const clocks = new Random(seed, "clocks");
  const sessions = new Random(seed, "sessions");
  const groups = withDocuments(isSmall ? drawn.slice(0, SMALL_GROUPS_MAX) : drawn, seed, options.hasDocuments ?? true);
  const machine = (): MachinePlan => ({
    durability: random.pick(modes),
    lacks: hasOpaque && random.chance(0.5) ? [random.pick(names)] : [],
    skewMs: random.chance(0.3) ? random.between(-60_000, 60_000) : 0,
    clockRate: clocks.chance(0.2) ? clocks.between(0.8, 1.25) : 1,
    snapshotIntervalMs: random.chance(0.5) ? random.between(500, 4000) : undefined,
  });
  const isTight = random.chance(0.4);
  const chaosMs = random.between(1000, 5000) * (isSmall ? SMALL_PART : 1);
  return {
    seed,
    machines: Array.from({ length: isSmall && options.nodes === undefined ? smaller(nodes) : nodes }, machine),
    topology: random.pick(["mesh", "mesh", "line", "star", "ring"] as const),
    groups,
    chaosMs,
    writeEveryMs: random.pick([40, 120, 400]),
    pendingBytesMax: isTight ? 200 + random.int(600) : 4 * 1024 * 1024,
    tailBytesMax: random.chance(0.4) ? 1 + random.int(1500) : 256 * 1024,
    queueBytesMax: random.chance(0.2) ? 500 + random.int(3000) : 8 * 1024 * 1024,
    idleGraceMs: random.chance(0.4) ? random.between(20, 600) : 60_000,
    watches: random.chance(0.5),
    sessions: sessions.chance(SESSIONS_SHARE) ? 1 + sessions.int(3) : 0,
    recovers: new Random(seed, "recovers").chance(RECOVERS_SHARE),
    faults: drawFaults(random, options.kinds ?? FAULT_KINDS, chaosMs),
    ...options.fixed,
  };
}

function smaller(nodes: number): number {
  return 2 + (nodes % (SMALL_NODES_MAX - 1));
}

/** In how many runs one of the groups is a document: libraries take longer than all the rest. */
const DOCUMENTS_SHARE = 0.06;

function withDocuments(groups: readonly string[], seed: number, hasDocuments: boolean): readonly string[] {
  const random = new Random(seed, "documents");
  if (!hasDocuments || !random.chance(DOCUMENTS_SHARE)) return groups;
  return [...groups.slice(1), random.pick([...DOCUMENTS.keys()])];
}

function drawFaults(random: Random, kinds: readonly FaultKind[], chaosMs: number): Fault[] {
  // Of all kinds a small part, so that rare combinations come about; of few kinds most.
  const chosen = kinds.filter(() => random.chance(kinds.length > 16 ? 0.35 : 0.75));
  if (chosen.length === 0) return [];
  const faults: Fault[] = [];
  for (let left = random.int(Math.ceil(chaosMs / 250)); left >= 0; left--) {
    faults.push({
      kind: random.pick(chosen),
      atMs: random.between(100, chaosMs),
      forMs: random.chance(0.5) ? random.between(5, 300) : random.between(100, 3000),
      a: random.int(60),
      b: random.int(60),
      amount: random.float(),
    });
  }
  return faults.sort((x, y) => x.atMs - y.atMs);
}
