import { SimulatedDisk } from "@coppice/storage/testing";
import { Guarantees, type Holdings } from "./guarantees.ts";
import type { MachinePlan } from "./plan.ts";
import type { SimProcess } from "./process.ts";

interface Image {
  readonly disk: SimulatedDisk;
  readonly guarantees: Guarantees;
}

/** A node's place: its disk, its clock, and the process that runs there now, if any. */
export class Machine {
  readonly name: string;
  readonly plan: MachinePlan;
  disk: SimulatedDisk;
  guarantees: Guarantees = new Guarantees();
  process: SimProcess | undefined;
  starts = 0;
  skewMs: number;
  /** Factor on how long the disk takes. */
  diskSlowness = 1;
  /** Steps that its disk has taken: each operation takes one before, and a write one after its effect. */
  diskSteps = 0;
  /** Crashes before this step is done. */
  crashAtStep: number | undefined;
  crash: (() => void) | undefined;
  /** Something on its disk has rotted: it promises nothing any more. */
  isRotten = false;
  /** Gone for good. */
  isGone = false;
  /** Down until something restarts it. */
  isDown = false;
  /** The types it lacks at its next start. */
  lacks: readonly string[];
  /** All that was ever applied here, and all that was ever on its stable storage. */
  readonly applied: Holdings = new Map();
  readonly synced: Holdings = new Map();
  readonly #images: Image[] = [];

  constructor(name: string, plan: MachinePlan, disk: SimulatedDisk = new SimulatedDisk()) {
    this.name = name;
    this.plan = plan;
    this.disk = disk;
    this.skewMs = plan.skewMs;
    this.lacks = plan.lacks;
  }

  /** Keeps a copy of the disk, to go back to. */
  takeImage(): void {
    this.#images.push({ disk: this.disk.clone(), guarantees: this.guarantees.image() });
    if (this.#images.length > 4) this.#images.shift();
  }

  image(pick: number): Image | undefined {
    return this.#images[pick % Math.max(1, this.#images.length)];
  }

  replaceDisk(disk: SimulatedDisk, guarantees: Guarantees): void {
    this.disk = disk;
    this.guarantees = this.isRotten ? new Guarantees() : guarantees;
  }
}
