/** What happened, as a hash that two runs of one seed share, and on request as readable lines. */
export class Trace {
  #high = 0xdeadbeef;
  #low = 0x41c6ce57;
  readonly lines: string[] = [];
  readonly #keeps: boolean;

  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  add(atMs: number, who: string, what: string): void {
    const line = `${atMs.toFixed(1).padStart(9)}  ${who.padEnd(8)}  ${what}`;
    for (let index = 0; index < line.length; index++) {
      const code = line.charCodeAt(index);
      this.#high = Math.imul(this.#high ^ code, 2654435761);
      this.#low = Math.imul(this.#low ^ code, 1597334677);
    }
    if (this.#keeps) this.lines.push(line);
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    return [this.#high, this.#low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
