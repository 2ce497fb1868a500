import { Session } from "node:inspector";

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface Script {
  readonly scriptId: string;
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly Range[] }[];
}

/** What ran since the last look: for each script the ranges of its functions, the inner ones behind the outer. */
export interface Taken {
  readonly scripts: readonly Script[];
  /** How often functions were called and blocks entered: a measure of work that no clock disturbs. */
  readonly steps: number;
}

/** The code of the packages under test, and no dependency of theirs. */
const UNDER_TEST = /\/packages\/[a-z]+\/dist\//;

/**
 * Which code has run, from the engine's own block counters: nothing is instrumented. Works on the calling thread. Taking
 * costs milliseconds, so it is done once for many inputs.
 */
export class Coverage {
  readonly #session: Session | undefined;
  /** A byte for each character of a script: 1 where it has run. */
  readonly #covered = new Map<string, Uint8Array>();
  /** How many characters of code have run. */
  characters = 0;

  /** @param looks without it nothing is looked at, and nothing is ever new: for few inputs that is faster */
  constructor(looks = true) {
    this.#session = looks ? new Session() : undefined;
    if (this.#session === undefined) return;
    this.#session.connect();
    this.#post("Profiler.enable");
    this.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true, allowTriggeredUpdates: false });
  }

  /** What ran since the last call. */
  take(): Taken {
    if (this.#session === undefined) return { scripts: [], steps: 0 };
    const { result } = this.#post("Profiler.takePreciseCoverage") as { result: Script[] };
    const scripts = result.filter(({ url }) => UNDER_TEST.test(url));
    let steps = 0;
    for (const { functions } of scripts) {
      for (const { ranges } of functions) for (const { count } of ranges) steps += count;
    }
    return { scripts, steps };
  }

  /** Counts what was taken as covered; returns how many characters of code ran for the first time. */
  merge(taken: Taken): number {
    let fresh = 0;
    for (const script of taken.scripts) fresh += this.#mergeScript(script, true);
    this.characters += fresh;
    return fresh;
  }

  /** Whether anything of it ran for the first time. */
  isNew(taken: Taken): boolean {
    return taken.scripts.some((script) => this.#mergeScript(script, false) > 0);
  }

  /** Begins anew: nothing counts as covered. */
  forget(): void {
    this.#covered.clear();
    this.characters = 0;
  }

  close(): void {
    this.#session?.disconnect();
  }

  #mergeScript({ scriptId, functions }: Script, keep: boolean): number {
    const end = functions.reduce((max, { ranges }) => Math.max(max, ranges[0]?.endOffset ?? 0), 0);
    let covered = this.#covered.get(scriptId) ?? new Uint8Array(end);
    if (covered.length < end) {
      const longer = new Uint8Array(end);
      longer.set(covered);
      covered = longer;
    }
    if (keep) this.#covered.set(scriptId, covered);
    let fresh = 0;
    for (const { ranges } of functions) {
      const [whole] = ranges;
      if (whole === undefined || whole.count === 0) continue;
      // Blocks that ran as often as what is around them are not listed: what is not excluded has run.
      const ran = new Uint8Array(whole.endOffset - whole.startOffset).fill(1);
      for (const { startOffset, endOffset, count } of ranges) {
        ran.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset);
      }
      for (let index = 0; index < ran.length; index++) {
        const at = whole.startOffset + index;
        if (ran[index] !== 1 || covered[at] === 1) continue;
        fresh++;
        if (keep) covered[at] = 1;
      }
    }
    return fresh;
  }

  #post(method: string, params: object = {}): unknown {
    let answer: unknown;
    this.#session?.post(method, params, (error, result) => {
      if (error !== null) throw new Error(`${method} failed: ${error.message}`);
      answer = result;
    });
    return answer;
  }
}
