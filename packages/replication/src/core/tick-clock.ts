/** Looks at a clock that are answered from one reading, within one tick. */
const LOOKS_MAX = 32;

/**
 * The wall clock as writes see it. Within a tick it is read for every 32nd look only, since reading it costs as much as
 * a write; a hybrid time needs no more.
 */
export class TickClock {
  readonly #wall: () => number;
  #time = 0;
  #looksLeft = 0;
  #isTicking = false;

  constructor(wall: () => number) {
    this.#wall = wall;
  }

  readonly now = (): number => {
    if (this.#looksLeft > 0) {
      this.#looksLeft--;
      return this.#time;
    }
    this.#time = this.#wall();
    if (this.#isTicking) this.#looksLeft = LOOKS_MAX - 1;
    return this.#time;
  };

  /** A tick begins. */
  begin(): void {
    this.#isTicking = true;
  }

  /** It is over. */
  end(): void {
    this.#isTicking = false;
    this.#looksLeft = 0;
  }
}
