/** What all WebSockets of the server have in common. */
import type { WebSocket } from "@fastify/websocket";
import type { Grant } from "../auth/grant.ts";
import type { HttpLimits } from "./limits.ts";
import { RateLimiter } from "./rate-limiter.ts";

/** Close codes (RFC 6455, 7.4.1); the reason that goes with them is one of the library's codes. */
export const GOING_AWAY = 1001;
export const POLICY_VIOLATION = 1008;
export const MESSAGE_TOO_BIG = 1009;

const HEARTBEAT_MS = 15_000;

export interface SocketHandler {
  /** A throw ends nothing; handlers report by themselves. */
  message(data: Buffer, isBinary: boolean): void;
  /** The peer has caught up: what it was not sent while `send` returned false can follow. */
  drained?(): void;
}

/**
 * One WebSocket, guarded: it ends with `TOKEN_REVOKED` at the moment its token is revoked or expires, with
 * `RATE_LIMITED` when it sends too many messages, and when it shows no life. A peer that reads slower than it is sent
 * things has a bounded queue: `send` tells when that is full, nothing is read from the peer meanwhile, and one that
 * does not catch up in time is disconnected. Nor is anything read before `listen`.
 */
export class GuardedSocket {
  readonly #socket: WebSocket;
  readonly #limits: HttpLimits;
  readonly #heartbeat: NodeJS.Timeout;
  /** What had arrived already when reading paused: as much as the operating system hands over at a time. */
  readonly #held: { readonly data: Buffer; readonly isBinary: boolean }[] = [];
  #handler: SocketHandler | undefined;
  #stalled: NodeJS.Timeout | undefined;
  #isAlive = true;

  constructor(socket: WebSocket, grant: Grant, limits: HttpLimits) {
    this.#socket = socket;
    this.#limits = limits;
    const rate = new RateLimiter(limits.messagesPerSecond, 1000);
    const stop = grant.onEnd(() => this.close(POLICY_VIOLATION, "TOKEN_REVOKED"));
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      this.#isAlive = true;
      if (!grant.isValid) this.close(POLICY_VIOLATION, "TOKEN_REVOKED");
      else if (rate.take() > 0) this.close(POLICY_VIOLATION, "RATE_LIMITED");
      else if (socket.readyState === socket.OPEN) {
        this.#held.push({ data, isBinary });
        this.#handle();
      }
    });
    socket.pause();
    socket.on("pong", () => (this.#isAlive = true));
    // An error is followed by a close.
    socket.on("error", () => undefined);
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
    socket.once("close", () => {
      stop();
      clearInterval(this.#heartbeat);
      clearTimeout(this.#stalled);
    });
  }

  /** Whether the peer is behind. */
  get isFull(): boolean {
    return this.#stalled !== undefined;
  }

  /** From here on messages arrive. */
  listen(handler: SocketHandler): void {
    this.#handler = handler;
    this.#handle();
    this.#readOn();
  }

  /** Resolves when the socket has ended, whoever ended it. */
  get closed(): Promise<void> {
    if (this.#socket.readyState === this.#socket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => this.#socket.once("close", () => resolve()));
  }

  /** False when the queue is full: then send nothing more until `drained`. Nothing happens once it has closed. */
  send(data: string | Uint8Array): boolean {
    const socket = this.#socket;
    if (socket.readyState !== socket.OPEN) return true;
    socket.send(data, () => this.#onSent());
    if (socket.bufferedAmount <= this.#limits.queueBytesMax) return true;
    this.#stalled ??= setTimeout(() => socket.terminate(), this.#limits.stalledMs);
    socket.pause();
    return false;
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
    // The other end's word that it closes, too, must be read.
    this.#socket.resume();
  }

  #onSent(): void {
    if (this.#stalled === undefined || this.#socket.bufferedAmount > this.#limits.queueBytesMax) return;
    clearTimeout(this.#stalled);
    this.#stalled = undefined;
    this.#handler?.drained?.();
    this.#handle();
    this.#readOn();
  }

  /** An answer may fill the queue: what else was asked waits, too. */
  #handle(): void {
    while (this.#handler !== undefined && !this.isFull && this.#socket.readyState === this.#socket.OPEN) {
      const message = this.#held.shift();
      if (message === undefined) return;
      this.#handler.message(message.data, message.isBinary);
    }
  }

  #readOn(): void {
    if (!this.isFull) this.#socket.resume();
  }

  #beat(): void {
    // One that is behind shows life by catching up; one that is not read from cannot.
    if (this.#stalled !== undefined || this.#handler === undefined) return;
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }
}
