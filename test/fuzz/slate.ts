const HEAD_BYTES = 8;
const INPUT_BYTES_MAX = 1 << 20;

/** Shared memory in which one thread notes what it is about to run, for another to read when that does not end. */
export class Slate {
  readonly memory: SharedArrayBuffer;
  readonly #head: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(HEAD_BYTES + INPUT_BYTES_MAX)) {
    this.memory = memory;
    this.#head = new Int32Array(memory, 0, 2);
    this.#bytes = new Uint8Array(memory, HEAD_BYTES);
  }

  /** How many inputs were noted. */
  get count(): number {
    return Atomics.load(this.#head, 0);
  }

  write(input: Uint8Array): void {
    const length = Math.min(input.length, this.#bytes.length);
    this.#bytes.set(input.subarray(0, length));
    Atomics.store(this.#head, 1, length);
    Atomics.add(this.#head, 0, 1);
  }

  read(): Uint8Array {
    return this.#bytes.slice(0, Atomics.load(this.#head, 1));
  }
}
