import { crc32 } from "node:zlib";

/** What happened, as a hash that two runs of one seed share, and on request as readable lines. */
export class Trace {
  #high = 0xdeadbeef;
  #low = 0x41c6ce57;
  readonly lines: string[] = [];
  readonly #keeps: boolean;

  constructor(keeps: boolean) {
    this.#keeps = keeps;
  }

  /** @param detail what only readers want to know: not part of the hash */
  add(atMs: number, who: string, what: string, detail?: () => string): void {
    this.#high = crc32(what, (this.#high ^ Math.floor(atMs * 10)) >>> 0);
    this.#low = (Math.imul(this.#low, 1597334677) + crc32(who, this.#high)) | 0;
    if (!this.#keeps) return;
    this.lines.push(
      `${atMs.toFixed(1).padStart(9)}  ${who.padEnd(8)}  ${what}${detail === undefined ? "" : `: ${detail()}`}`,
    );
  }

  /** 16 hexadecimal digits. */
  hash(): string {
    return [this.#high, this.#low].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
