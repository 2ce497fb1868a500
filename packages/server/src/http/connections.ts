import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http";
import type { Server, Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { addressKey } from "./rate-limiter.ts";

/** Closes connections beyond so many from one address, before anything is read from them. */
export function limitConnections(server: Server, perAddressMax: number): void {
  const counts = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
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

/**
 * Follows which connections carry a request; returns what closes those that do not. Node's own `closeIdleConnections`
 * leaves those alone that have not sent their first request yet, as browsers and clients open them ahead of need.
 */
export function followRequests(server: HttpServer): () => void {
  const requests = new Map<Socket, number>();
  // With TLS requests come over another socket than the one that was accepted.
  server.on(server instanceof TlsServer ? "secureConnection" : "connection", (socket: Socket) => {
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
  // Whoever takes the connection over also closes it.
  server.on("upgrade", ({ socket }: IncomingMessage) => requests.delete(socket as Socket));
  return () => {
    for (const [socket, count] of requests) if (count === 0) socket.destroy();
  };
}
