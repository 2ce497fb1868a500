import type { Actor } from "@coppice/crdt";
import { Run } from "./run.ts";

/** Bytes of the longest run that is worth packing. */
const PACKED_MAX = 256;

/**
 * A small run as it is kept for long: its bytes are the characters of a string, since the objects around a byte array
 * and a run take 280 bytes more than a string does.
 */
export class PackedRun {
  readonly actor: Actor;
  readonly lastSeq: number;
  readonly #text: string;

  constructor(run: Run) {
    this.actor = run.actor;
    this.lastSeq = run.lastSeq;
    this.#text = String.fromCharCode.apply(undefined, run.bytes as unknown as number[]);
  }

  get length(): number {
    return this.#text.length;
  }

  unpack(): Run {
    const text = this.#text;
    return Run.decode(Uint8Array.from({ length: text.length }, (_, at) => text.charCodeAt(at)));
  }
}

/** A run to keep, packed when it is small. */
export function pack(run: Run): Run | PackedRun {
  return run.bytes.length > PACKED_MAX ? run : new PackedRun(run);
}

export function unpack(kept: Run | PackedRun): Run {
  return kept instanceof PackedRun ? kept.unpack() : kept;
}

/** About what a run takes in memory, with its place in a list. */
export function memoryOf(kept: Run | PackedRun): number {
  return kept instanceof PackedRun ? kept.length + 80 : kept.bytes.length + 300;
}
