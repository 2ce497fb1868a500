/** A seeded stream of random numbers (sfc32), so that a seed names a whole run. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param label separates streams of one seed: draws from one never shift another */
  constructor(seed: number, label: string) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (const char of label) this.#c = Math.imul(this.#c ^ char.charCodeAt(0), 0x85ebca6b) >>> 0;
    for (let round = 0; round < 15; round++) this.#next();
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + sum) | 0;
    return sum >>> 0;
  }

  /** From 0 inclusive to 1 exclusive. */
  readonly float = (): number => this.#next() / 2 ** 32;

  /** A whole number from 0 to `below - 1`. */
  int(below: number): number {
    return Math.floor(this.float() * below);
  }

  between(min: number, max: number): number {
    return min + this.float() * (max - min);
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.int(items.length)];
    if (item === undefined) throw new RangeError("nothing to pick from");
    return item;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.int(256));
  }
}
