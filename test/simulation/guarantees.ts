import type { VersionVector } from "@coppice/crdt";

/** What must be known of a group. */
export interface Holding {
  readonly epoch: number;
  readonly vector: VersionVector;
}

export type Holdings = Map<string, Holding>;

/** Takes the higher epoch, and within one epoch the union. */
export function hold(holdings: Holdings, group: string, epoch: number, vector: VersionVector): void {
  const held = holdings.get(group);
  if (held !== undefined && held.epoch > epoch) return;
  const union = vector.clone();
  if (held !== undefined && held.epoch === epoch) union.merge(held.vector);
  holdings.set(group, { epoch, vector: union });
}

/** What a machine's disk must still hold after its process dies (`written`), and after its power fails (`synced`). */
export class Guarantees {
  written: Holdings;
  synced: Holdings;

  constructor(written: Holdings = new Map(), synced: Holdings = new Map()) {
    this.written = written;
    this.synced = synced;
  }

  /** A commit was acknowledged. A sync covers all that was written before. */
  committed(holdings: Holdings, isSynced: boolean): void {
    for (const [group, { epoch, vector }] of holdings) hold(this.written, group, epoch, vector);
    if (isSynced) this.synced = new Map(this.written);
  }

  powerCut(): Guarantees {
    return new Guarantees(new Map(this.synced), new Map(this.synced));
  }

  /** An image of the whole disk is all synced. */
  image(): Guarantees {
    return new Guarantees(new Map(this.written), new Map(this.written));
  }
}

/** What of `holding` is missing in what is known; undefined when all is there or a later epoch has superseded it. */
export function missing(
  holding: Holding,
  epoch: number | undefined,
  vector: VersionVector | undefined,
): string | undefined {
  if (epoch === undefined || epoch < holding.epoch)
    return `epoch ${holding.epoch}, only ${epoch ?? "nothing"} is there`;
  if (epoch > holding.epoch) return undefined;
  for (const [actor, seq] of holding.vector) {
    const known = vector?.get(actor) ?? 0;
    if (known < seq) return `event ${seq} of ${actor}, only ${known} are there`;
  }
  return undefined;
}
