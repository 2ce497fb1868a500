import type { ChunkReader } from "./chunks.ts";
import { type LetterReplica, letterOf } from "./groups.ts";
import type { Share } from "./input.ts";
import type { Progress } from "./messages.ts";
import { words } from "./words.ts";

/** Chunks written but not yet acknowledged. */
const IN_FLIGHT_MAX = 4;

export interface ShareCounterOptions {
  readonly node: string;
  readonly reader: ChunkReader;
  readonly share: Share;
  /** How many chunks the share has. */
  readonly chunks: number;
  readonly byLetter: ReadonlyMap<string, LetterReplica>;
  /** Called when a chunk is acknowledged in all groups. */
  readonly onProgress: (progress: Progress) => void;
}

/**
 * Counts a node's share of the input into the letter groups.
 *
 * Every chunk is one atomic write in every group: its counts, and the node's position behind it. So a group's position
 * always tells what its counts hold, whatever moment the process was killed at, and each chunk is counted once.
 */
export class ShareCounter {
  readonly #options: ShareCounterOptions;
  #allowed = 0;
  #wake: () => void = () => {};
  #writes = 0;
  #increments = 0;

  constructor(options: ShareCounterOptions) {
    this.#options = options;
  }

  /** The node's position in each group: how many chunks are counted there. */
  positions(): number[] {
    return [...this.#options.byLetter.values()].map((group) => this.#positionIn(group));
  }

  /** Lets counting go on up to this chunk. */
  allow(chunks: number): void {
    this.#allowed = Math.max(this.#allowed, chunks);
    this.#wake();
  }

  /** Counts from where the groups stand to the end of the share. */
  async run(): Promise<void> {
    const { reader, share, chunks } = this.#options;
    const inFlight: Promise<void>[] = [];
    // After a kill the groups may stand at different chunks: begin with the first that any of them lacks.
    for (let chunk = Math.min(...this.positions()); chunk < chunks; chunk++) {
      while (chunk >= this.#allowed) await new Promise<void>((resolve) => (this.#wake = resolve));
      inFlight.push(this.#write(chunk, countByLetter(await reader.read(share, chunk))));
      if (inFlight.length >= IN_FLIGHT_MAX) await inFlight.shift();
    }
    await Promise.all(inFlight);
  }

  /** Resolves when a chunk's counts are in the journal, in every group. */
  async #write(chunk: number, counts: ReadonlyMap<string, ReadonlyMap<string, number>>): Promise<void> {
    const { node, byLetter, onProgress } = this.#options;
    const writes: PromiseLike<void>[] = [];
    let increments = 0;
    for (const [letter, group] of byLetter) {
      if (this.#positionIn(group) > chunk) continue;
      const words = counts.get(letter) ?? NONE;
      increments += words.size;
      writes.push(
        group.mutate(({ words: counters, total, position }) => {
          for (const [word, count] of words) {
            counters.at(word).increment(count);
            total.increment(count);
          }
          position.at(node).set(chunk + 1);
        }),
      );
    }
    await Promise.all(writes);
    this.#writes += writes.length;
    this.#increments += increments;
    onProgress({ chunks: chunk + 1, writes: this.#writes, increments: this.#increments });
  }

  #positionIn(group: LetterReplica): number {
    return group.read(({ position }) => position.get(this.#options.node)) ?? 0;
  }
}

const NONE: ReadonlyMap<string, number> = new Map();

function countByLetter(texts: readonly string[]): Map<string, Map<string, number>> {
  const byLetter = new Map<string, Map<string, number>>();
  for (const text of texts) {
    for (const word of words(text)) {
      const letter = letterOf(word);
      const counts = byLetter.get(letter) ?? new Map<string, number>();
      byLetter.set(letter, counts.set(word, (counts.get(word) ?? 0) + 1));
    }
  }
  return byLetter;
}
