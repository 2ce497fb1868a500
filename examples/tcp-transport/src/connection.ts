import type { Socket } from "node:net";
import { FRAME_BYTES_MAX, type Link, type LinkEnd, type PeerId } from "coppice";

/** Instead of a length: a sign of life, and no frame. */
const ALIVE = 0xffff_ffff;
/** So long without a word, a peer is given up. */
const SILENT_MS = 20_000;
/** From so much on that the socket has not taken, `send` answers false. */
const MARK_BYTES = 1 << 20;

/** What each side says first. An acceptor says `isLinked` when the two have a link already. */
export interface Hello {
  readonly peer: PeerId;
  readonly incarnation: string;
  readonly addresses: readonly string[];
  readonly isLinked: boolean;
}

/** What is made of what a connection does. */
export interface Handlers {
  frame(bytes: Uint8Array): void;
  delivered(): void;
  drained(): void;
  ended(reason: LinkEnd): void;
}

/** A socket that carries frames, each behind its length in four bytes. */
export class Connection {
  /** The dialler's, once it was answered. */
  hello: Hello | undefined;
  link: Link | undefined;
  readonly #socket: Socket;
  readonly #handlers: Handlers;
  #received = Buffer.alloc(0);
  #heardAt = performance.now();
  #isPaused = false;
  #isFull = false;
  #hasEnded = false;

  constructor(socket: Socket, handlers: Handlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#take(chunk));
    socket.on("drain", () => {
      const wasFull = this.#isFull;
      this.#isFull = false;
      if (wasFull) handlers.drained();
    });
    socket.on("error", () => {}); // "close" follows, and says that there was one
    socket.on("close", (hadError) => handlers.ended(hadError ? "reset" : "closed"));
  }

  send(frame: Uint8Array): boolean {
    this.#write(frame.length, frame);
    return !(this.#isFull ||= this.#socket.writableLength > MARK_BYTES);
  }

  say(words: object): void {
    this.send(new TextEncoder().encode(JSON.stringify(words)));
  }

  #write(length: number, frame?: Uint8Array): void {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(length);
    this.#socket.cork();
    this.#socket.write(head);
    if (frame !== undefined) this.#socket.write(frame);
    process.nextTick(() => this.#socket.uncork());
  }

  #take(chunk: Buffer): void {
    this.#heardAt = performance.now();
    this.#received = Buffer.concat([this.#received, chunk]);
    this.#deliver();
  }

  #deliver(): void {
    while (!this.#isPaused && !this.#hasEnded && this.#received.length >= 4) {
      const length = this.#received.readUInt32BE(0);
      const end = length === ALIVE ? 4 : 4 + length;
      if (length !== ALIVE && length > FRAME_BYTES_MAX) return this.reset();
      if (this.#received.length < end) break;
      const frame = new Uint8Array(this.#received.subarray(4, end)); // a copy, the receiver's to keep
      this.#received = this.#received.subarray(end);
      if (length !== ALIVE) this.#handlers.frame(frame);
    }
    this.#handlers.delivered();
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    setImmediate(() => {
      this.#deliver();
      if (!this.#isPaused) this.#socket.resume();
    });
  }

  /** Call regularly: says that this side is there, and gives up a peer that has not been heard for long. */
  beat(): void {
    if (this.#isPaused) this.#heardAt = performance.now();
    if (performance.now() - this.#heardAt > SILENT_MS) this.reset();
    else if (this.link !== undefined) this.#write(ALIVE);
  }

  /** Ends after what was sent. */
  end(): void {
    this.#hasEnded = true;
    this.#socket.end();
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), 1_000).unref();
  }

  reset(): void {
    this.#hasEnded = true;
    this.#socket.destroy();
  }
}

/** Undefined for what is no hello: a refusal is anything else. */
export function readHello(bytes: Uint8Array): Hello | undefined {
  try {
    const { peer, incarnation, addresses, isLinked } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Hello>;
    if (typeof peer !== "string" || typeof incarnation !== "string" || !Array.isArray(addresses)) return undefined;
    return { peer, incarnation, addresses: addresses.map(String).slice(0, 8), isLinked: isLinked === true };
  } catch {
    return undefined;
  }
}
