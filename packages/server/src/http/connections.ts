import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http";
import type { Server, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { addressKey } from "./rate-limiter.ts";

/** Closes connections beyond so many from one address, before anything is read from them. */
export function limitConnections(server: Server, perAddressMax: number): void {
  const counts = new Map<string, number>();
  onConnection(server, "connection", (socket) => {
    const key = addressKey(socket.remoteAddress);
    const count = (counts.get(key) ?? 0) + 1;
    if (count > perAddressMax) {
      socket.destroy();
      return;
    }
    counts.set(key, count);
    socket.once("close", () => {
      const left = (counts.get(key) ?? 1) - 1;
      if (left === 0) counts.delete(key);
      else counts.set(key, left);
    });
  });
}

/** The event of a connection that requests come over: with TLS it is another socket than the one that was accepted. */
export function connectionEvent(server: HttpServer): "connection" | "secureConnection" {
  return server instanceof TlsServer ? "secureConnection" : "connection";
}

/** Which connections carry requests. */
export class Connections {
  readonly #requests = new Map<Socket, number>();

  constructor(server: HttpServer) {
    const requests = this.#requests;
    onConnection(server, connectionEvent(server), (socket) => {
      requests.set(socket, 0);
      socket.once("close", () => requests.delete(socket));
    });
    server.on("request", ({ socket }: IncomingMessage, response: ServerResponse) => {
      requests.set(socket, (requests.get(socket) ?? 0) + 1);
      response.once("close", () => {
        const count = requests.get(socket);
        if (count !== undefined) requests.set(socket, count - 1);
      });
    });
  }

  /** Whether a request that came over it is not answered yet. */
  isBusy(socket: Socket): boolean {
    return (this.#requests.get(socket) ?? 0) > 0;
  }

  /** Whoever takes a connection over also closes it. */
  release(socket: Socket): void {
    this.#requests.delete(socket);
  }

  /**
   * Closes those that carry none. Node's own `closeIdleConnections` leaves those alone that have not sent their first
   * request yet, as browsers and clients open them ahead of need.
   */
  closeUnused(): void {
    for (const [socket, count] of this.#requests) if (count === 0) socket.destroy();
  }
}

/** Each connection once: one whose upgrade is ignored is announced again. */
function onConnection(server: Server, event: string, handle: (socket: Socket) => void): void {
  const known = new WeakSet<Socket>();
  server.on(event, (socket: Socket) => {
    if (known.has(socket)) return;
    known.add(socket);
    handle(socket);
  });
}
