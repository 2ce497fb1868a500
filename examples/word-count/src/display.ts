import { MultiBar, Presets, type SingleBar } from "cli-progress";

/** Shows what happens, as it happens. */
export interface Display {
  say(line: string): void;
  /** How far something is that has a name. */
  advance(name: string, done: number, total: number): void;
  /** Ends the progress bars: what is printed afterwards stays as it is. */
  close(): void;
}

/** Progress bars on a terminal, plain lines elsewhere. */
export function createDisplay(stream: NodeJS.WriteStream): Display {
  return stream.isTTY ? new BarDisplay(stream) : new LineDisplay(stream);
}

class BarDisplay implements Display {
  readonly #bars: MultiBar;
  readonly #byName = new Map<string, SingleBar>();
  readonly #stream: NodeJS.WriteStream;
  #isClosed = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    const format = "{name} |{bar}| {percentage} %";
    this.#bars = new MultiBar({ stream, format, hideCursor: true, gracefulExit: false }, Presets.shades_classic);
  }

  say(line: string): void {
    if (this.#isClosed || this.#byName.size === 0) this.#stream.write(`${line}\n`);
    else this.#bars.log(`${line}\n`);
  }

  advance(name: string, done: number, total: number): void {
    if (this.#isClosed) return;
    const bar = this.#byName.get(name);
    if (bar !== undefined) bar.update(done);
    else this.#byName.set(name, this.#bars.create(total, done, { name: name.padEnd(16) }));
  }

  close(): void {
    this.#isClosed = true;
    this.#bars.stop();
  }
}

class LineDisplay implements Display {
  readonly #stream: NodeJS.WritableStream;
  readonly #quarters = new Map<string, number>();

  constructor(stream: NodeJS.WritableStream) {
    this.#stream = stream;
  }

  say(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  advance(name: string, done: number, total: number): void {
    const quarter = Math.floor((4 * done) / total);
    if (quarter <= (this.#quarters.get(name) ?? 0)) return;
    this.#quarters.set(name, quarter);
    this.say(`${name}: ${25 * quarter} %`);
  }

  close(): void {}
}
