import type { Durability } from "./process.ts";
import { Random } from "./random.ts";
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
  readonly faults: readonly Fault[];
}

export interface PlanOptions {
  readonly nodes?: number | undefined;
  /** Only these kinds of faults. */
  readonly kinds?: readonly FaultKind[] | undefined;
  /** Fixed instead of drawn. */
  readonly fixed?: Partial<Pick<Plan, "tailBytesMax" | "idleGraceMs" | "watches" | "topology">> | undefined;
  /** Whether machines lack the code of types. */
  readonly hasOpaque?: boolean | undefined;
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
  const groups = Array.from({ length: 1 + random.int(4) }, () => random.pick(names));
  const machine = (): MachinePlan => ({
    durability: random.pick(modes),
    lacks: hasOpaque && random.chance(0.5) ? [random.pick(names)] : [],
    skewMs: random.chance(0.3) ? random.between(-60_000, 60_000) : 0,
    snapshotIntervalMs: random.chance(0.5) ? random.between(500, 4000) : undefined,
  });
  const isTight = random.chance(0.4);
  const chaosMs = random.between(1000, 5000);
  return {
    seed,
    machines: Array.from({ length: nodes }, machine),
    topology: random.pick(["mesh", "mesh", "line", "star", "ring"] as const),
    groups,
    chaosMs,
    writeEveryMs: random.pick([40, 120, 400]),
    pendingBytesMax: isTight ? 200 + random.int(600) : 4 * 1024 * 1024,
    tailBytesMax: random.chance(0.4) ? 1 + random.int(1500) : 256 * 1024,
    queueBytesMax: random.chance(0.2) ? 500 + random.int(3000) : 8 * 1024 * 1024,
    idleGraceMs: random.chance(0.4) ? random.between(20, 600) : 60_000,
    watches: random.chance(0.5),
    faults: drawFaults(random, options.kinds ?? FAULT_KINDS, chaosMs),
    ...options.fixed,
  };
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
