import { type Socket, connect, createServer } from "node:net";

/** What lies between two nodes: passes bytes on, until it is told to break. */
export interface LoopbackProxy extends AsyncDisposable {
  readonly port: number;
  /** Resets every connection. */
  reset(): void;
  /** From now on bytes get lost on every connection, and nobody is told. */
  silence(): void;
  /** Connections made so far, and those that are open. */
  counts(): { readonly made: number; readonly open: number };
}

/** Listens on a free loopback port and connects each client to `port`, once somebody listens there. */
export async function startProxy(port: number): Promise<LoopbackProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let made = 0;
  const listener = createServer((client) => {
    made++;
    const server = connect(port, "127.0.0.1");
    const pair = [client, server] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [server, client] as const]) {
      from.pipe(to);
      // Errors are what this is for; the close that follows is all that matters.
      from.on("error", () => {});
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const address = listener.address();
  if (address === null || typeof address === "string") throw new TypeError("a TCP server has a port");
  const reset = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };
  return {
    port: address.port,
    reset,
    silence() {
      for (const [client, server] of pairs) {
        client.unpipe(server).resume();
        server.unpipe(client).resume();
      }
    },
    counts: () => ({ made, open: pairs.size }),
    async [Symbol.asyncDispose]() {
      reset();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
