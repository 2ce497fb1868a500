/**
 * The groups that may be stored, as a set of 32-bit hashes: of a group that is not in it nothing is stored, and nothing
 * must be read to know that. Takes 8 to 16 bytes for each group.
 */
export class GroupFilter {
  /** Open addressing, at most half full. 0 is free, so a hash of 0 is kept as 1. */
  #slots = new Uint32Array(1024);
  #size = 0;
  #isComplete = false;

  /** Whether every stored group was added. Until then nothing can be said of a group. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  complete(): void {
    this.#isComplete = true;
  }

  has(hash: number): boolean {
    return this.#slots[this.#find(hash || 1)] !== 0;
  }

  add(hash: number): void {
    const at = this.#find(hash || 1);
    if (this.#slots[at] !== 0) return;
    this.#slots[at] = hash || 1;
    if (++this.#size * 2 > this.#slots.length) this.#grow();
  }

  #find(hash: number): number {
    const mask = this.#slots.length - 1;
    let at = hash & mask;
    for (let found = this.#slots[at]; found !== 0 && found !== hash; found = this.#slots[at]) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(2 * old.length);
    for (const hash of old) if (hash !== 0) this.#slots[this.#find(hash)] = hash;
  }
}
