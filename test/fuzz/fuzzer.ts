import { getHeapStatistics } from "node:v8";
import type { Random } from "../simulation/random.ts";
import type { Coverage, Taken } from "./coverage.ts";
import { Mutator } from "./mutate.ts";
import { Broken, type Target } from "./target.ts";

/** An input that made a target do what it must not. */
export interface Crash {
  readonly input: Uint8Array;
  readonly what: string;
}

export interface FuzzerOptions {
  readonly target: Target;
  readonly coverage: Coverage;
  readonly random: Random;
  /** Inputs kept from earlier campaigns. */
  readonly corpus: readonly Uint8Array[];
  /** Told each input before it runs, so that one which never ends is known. */
  readonly about: (input: Uint8Array) => void;
}

const INPUT_BYTES_MAX = 4096;
const BATCH_MIN = 100;
const BATCH_MAX = 2000;
const HEAP = { base: 2 << 20, perByte: 2048 };
const STEPS = { base: 20_000, perByte: 2000 };
/** An input that takes longer is looked at again, by itself: only its steps count then, and no clock. */
const SLOW_MS = 20;
const CONFIRMATIONS = 4;
const CRASHES_MAX = 20;
const SHRINK_RUNS_MAX = 3000;

/** Fuzzes one target: inputs that reach new code are kept, and changed further. */
export class Fuzzer {
  readonly #options: FuzzerOptions;
  readonly #mutator: Mutator;
  readonly #seen = new Set<string>();
  /** What the last input came to. */
  #isAccepted = false;
  /** Every input that reached new code, seeds included. */
  readonly corpus: Uint8Array[] = [];
  readonly crashes: Crash[] = [];
  inputs = 0;
  accepted = 0;
  /** Characters of code that the first inputs reached. */
  seeded = 0;

  constructor(options: FuzzerOptions) {
    this.#options = options;
    this.#mutator = new Mutator(options.random, this.corpus, options.target.inputBytesMax ?? INPUT_BYTES_MAX);
  }

  /** Runs so many inputs, or as many as the time until `deadline` allows. */
  async run(count: number, deadline: number): Promise<void> {
    const { target, corpus, random, coverage } = this.#options;
    Error.stackTraceLimit = 0;
    const known = [...target.seeds, ...corpus];
    this.corpus.push(...known);
    if (this.corpus.length === 0) this.corpus.push(new Uint8Array(0));
    coverage.take();
    await this.#batch(known, false);
    this.seeded = coverage.characters;
    const end = this.inputs + count;
    for (
      let size = BATCH_MIN;
      this.inputs < end && performance.now() < deadline && this.crashes.length < CRASHES_MAX;
    ) {
      const room = Math.min(size, end - this.inputs);
      const inputs = Array.from({ length: room }, () => this.#mutator.mutate(this.#parent(random)));
      const found = await this.#batch(inputs, true);
      size = found ? BATCH_MIN : Math.min(BATCH_MAX, 2 * size);
    }
  }

  /** One input alone, with every check; what it did that it must not. */
  async check(input: Uint8Array): Promise<string | undefined> {
    return (await this.#one(input)) ?? (await this.#checkSteps(input));
  }

  /** Recent finds are changed more often. */
  #parent(random: Random): Uint8Array {
    const { corpus } = this;
    const from = random.chance(0.5) ? Math.floor(corpus.length * 0.75) : 0;
    return corpus[from + random.int(corpus.length - from)] ?? new Uint8Array(0);
  }

  /** Whether any of the inputs reached new code; those that did are kept when asked to. */
  async #batch(inputs: readonly Uint8Array[], keep: boolean): Promise<boolean> {
    const { coverage } = this.#options;
    const slow: Uint8Array[] = [];
    for (const input of inputs) {
      const startedAt = performance.now();
      const what = await this.#one(input);
      this.inputs++;
      if (this.#isAccepted) this.accepted++;
      if (what !== undefined) await this.#crashed(input, what);
      else if (performance.now() - startedAt > SLOW_MS) slow.push(input);
    }
    const taken = coverage.take();
    for (const input of slow) {
      const what = await this.#checkSteps(input);
      if (what !== undefined) await this.#crashed(input, what);
    }
    const isNew = coverage.isNew(taken);
    if (isNew && keep) await this.#attribute(inputs);
    coverage.merge(taken);
    return isNew;
  }

  /** Finds by halves which inputs reach new code. */
  async #attribute(inputs: readonly Uint8Array[]): Promise<void> {
    const { coverage } = this.#options;
    const taken = await this.#again(inputs);
    if (!coverage.isNew(taken)) return;
    const [first] = inputs;
    if (inputs.length === 1 && first !== undefined) {
      coverage.merge(taken);
      this.corpus.push(first.slice());
      return;
    }
    const middle = inputs.length >> 1;
    await this.#attribute(inputs.slice(0, middle));
    await this.#attribute(inputs.slice(middle));
  }

  async #again(inputs: readonly Uint8Array[]): Promise<Taken> {
    const { coverage } = this.#options;
    coverage.take();
    for (const input of inputs) await this.#one(input);
    return coverage.take();
  }

  /** Runs one input; what it did that it must not. */
  async #one(input: Uint8Array): Promise<string | undefined> {
    const { target, about } = this.#options;
    about(input);
    const { base, perByte } = target.heap ?? HEAP;
    const limit = base + perByte * input.length;
    let used = 0;
    this.#isAccepted = false;
    try {
      // Something else may have allocated meanwhile, so an excess must show each time.
      for (let left = CONFIRMATIONS; left > 0; left--) {
        const before = heapBytes();
        const answer = target.run(input);
        const isAccepted = typeof answer === "boolean" ? answer : await answer;
        used = heapBytes() - before;
        this.#isAccepted = isAccepted;
        if (used <= limit) return undefined;
      }
      return `allocates ${Math.floor(used / 1024)} KiB for ${input.length} bytes, over ${Math.floor(limit / 1024)}`;
    } catch (error) {
      target.reset?.();
      return describe(error);
    }
  }

  async #checkSteps(input: Uint8Array): Promise<string | undefined> {
    const { base, perByte } = this.#options.target.steps ?? STEPS;
    const { steps } = await this.#again([input]);
    const limit = base + perByte * input.length;
    return steps > limit ? `takes ${steps} steps for ${input.length} bytes, over ${limit}` : undefined;
  }

  async #crashed(input: Uint8Array, what: string): Promise<void> {
    // Where it came from is asked for only now: stacks cost more than most inputs.
    Error.stackTraceLimit = 12;
    what = (await this.check(input)) ?? `${what} (not again)`;
    const kind = kindOf(what);
    if (!this.#seen.has(kind)) {
      this.#seen.add(kind);
      this.crashes.push({ input: await this.#shrink(input.slice(), kind), what });
    }
    Error.stackTraceLimit = 0;
  }

  /** Leaves out what is not needed for the same crash. */
  async #shrink(input: Uint8Array, kind: string): Promise<Uint8Array> {
    let shortest = input;
    let runs = 0;
    for (let size = Math.ceil(input.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      for (let at = 0; at < shortest.length && runs < SHRINK_RUNS_MAX; runs++) {
        const shorter = new Uint8Array(Buffer.concat([shortest.subarray(0, at), shortest.subarray(at + size)]));
        const what = await this.check(shorter);
        if (what !== undefined && kindOf(what) === kind) shortest = shorter;
        else at += size;
      }
    }
    return shortest;
  }
}

function heapBytes(): number {
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return used + external;
}

function describe(error: unknown): string {
  if (error instanceof Broken) return error.message;
  if (!(error instanceof Error)) return `throws ${String(error)}`;
  return `throws ${error.stack ?? String(error)}`;
}

/** The same for two inputs that do the same wrong: numbers, quoted parts and bytes are left out. */
function kindOf(what: string): string {
  return what
    .split("\n")
    .slice(0, 3)
    .map((line) => line.replaceAll(/[0-9a-f]{16,}|".*"|\d+/g, "#"))
    .join("\n");
}
