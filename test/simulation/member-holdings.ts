import type { VersionVector } from "@coppice/crdt";
import { type Guarantees, type Holding, type Holdings, hold } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { SimProcess } from "./process.ts";

/** What one machine holds of a group, as long as neither its process nor its disk is replaced. */
interface Held {
  readonly process: SimProcess | undefined;
  readonly inMemory: Holding | undefined;
  readonly guarantees: Guarantees;
  readonly onDisk: Holding | undefined;
}

/**
 * What all machines hold of a group at the moment when a read begins. A read that has heard some of them must show all
 * that any choice of so many of them holds, for whatever they held then and did not lose since is in each answer.
 */
export class MemberHoldings {
  readonly #machines: readonly Machine[];
  readonly #key: string;
  readonly #held: ReadonlyMap<Machine, Held>;

  /** @param machines all there are, also those that come later */
  constructor(machines: readonly Machine[], key: string) {
    this.#machines = machines;
    this.#key = key;
    this.#held = new Map(machines.map((machine) => [machine, this.#look(machine)]));
  }

  #look({ process, guarantees }: Machine): Held {
    const group = process?.core?.groups.get(this.#key);
    const isKnown = group !== undefined && !group.isUnsettled && group.phase !== "failed";
    return {
      process,
      inMemory: isKnown ? { epoch: group.epoch, vector: group.vector.clone() } : undefined,
      guarantees,
      onDisk: guarantees.written.get(this.#key),
    };
  }

  /** What of it the machine has certainly held ever since. */
  #kept(machine: Machine): Holding | undefined {
    const held = this.#held.get(machine);
    if (held === undefined || machine.isRotten) return undefined;
    const kept: Holdings = new Map();
    const take = (holding: Holding | undefined): void => {
      if (holding !== undefined) hold(kept, this.#key, holding.epoch, holding.vector);
    };
    if (machine.process === held.process) take(held.inMemory);
    if (machine.guarantees === held.guarantees) take(held.onDisk);
    return kept.get(this.#key);
  }

  /**
   * Why a replica of `reader` that is at this point has not heard `replicas` of the machines `among` which it reads;
   * undefined when it may have.
   */
  unheard(
    reader: Machine,
    { replicas, among }: { readonly replicas: number; readonly among: ReadonlySet<string> | undefined },
    epoch: number,
    vector: VersionVector,
  ): string | undefined {
    const members = this.#machines.filter((machine) => machine !== reader && among?.has(machine.name) !== false);
    const unheardMax = members.length - replicas;
    if (unheardMax < 0) return `${replicas} answers of ${members.length} machines`;
    const kept = members.map((member) => this.#kept(member)).filter((holding) => holding !== undefined);
    const later = kept.filter((holding) => holding.epoch > epoch);
    if (later.length > unheardMax) return `${later.length} machines are at a later epoch than ${epoch}`;
    const current = kept.filter((holding) => holding.epoch === epoch);
    for (const actor of new Set(current.flatMap((holding) => [...holding.vector].map(([name]) => name)))) {
      const seqs = [...later.map(() => Infinity), ...current.map((holding) => holding.vector.get(actor))];
      const seq = seqs.sort((a, b) => b - a)[unheardMax] ?? 0;
      if (vector.get(actor) < seq) return `event ${seq} of ${actor}, only ${vector.get(actor)} are there`;
    }
    return undefined;
  }
}
