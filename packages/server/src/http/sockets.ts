/** What all WebSockets of the server have in common. */
import type { WebSocket } from "@fastify/websocket";
import type { Grant } from "../auth/grant.ts";

/** Close codes (RFC 6455, 7.4.1); the reason that goes with them is one of the library's codes. */
export const POLICY_VIOLATION = 1008;
export const MESSAGE_TOO_BIG = 1009;
export const TRY_AGAIN_LATER = 1013;

/** Ends a socket with `TOKEN_REVOKED` at the moment its token is revoked or expires. */
export function closeWhenRevoked(socket: WebSocket, grant: Grant): void {
  const stop = grant.onEnd(() => socket.close(POLICY_VIOLATION, "TOKEN_REVOKED"));
  socket.once("close", stop);
}
