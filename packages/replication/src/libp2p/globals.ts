/**
 * Gives Node 20 two globals that libp2p expects: `Promise.withResolvers` (Node 22) and `WebSocket` (Node 22), which
 * `@libp2p/websockets` dials with. Import this before anything of libp2p. Whatever exists already stays.
 */
import { WebSocket } from "ws";

if (!("withResolvers" in Promise)) {
  Object.defineProperty(Promise, "withResolvers", { value: withResolvers, configurable: true, writable: true });
}
if (!("WebSocket" in globalThis)) {
  Object.defineProperty(globalThis, "WebSocket", { value: WebSocket, configurable: true, writable: true });
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T | PromiseLike<T>) => void;
  readonly reject: (reason?: unknown) => void;
}

function withResolvers<T>(): Resolvers<T> {
  let resolve: Resolvers<T>["resolve"] | undefined;
  let reject: Resolvers<T>["reject"] | undefined;
  const promise = new Promise<T>((resolveIt, rejectIt) => {
    resolve = resolveIt;
    reject = rejectIt;
  });
  if (resolve === undefined || reject === undefined) throw new TypeError("a promise runs its executor at once");
  return { promise, resolve, reject };
}
