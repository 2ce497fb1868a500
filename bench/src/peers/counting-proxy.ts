import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

/** Stands before an address and counts the bytes that pass, both ways. */
export class CountingProxy implements Disposable {
  bytes = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  /** The address, with the port of the proxy in it. */
  async before(address: string): Promise<string> {
    const port = /(?<=:|\/tcp\/)\d+/.exec(address)?.[0];
    if (port === undefined) throw new TypeError(`no port in ${address}`);
    const server = createServer({ noDelay: true }, (near) => {
      const far = connect({ port: Number(port), host: "127.0.0.1", noDelay: true });
      this.#join(near, far);
      this.#join(far, near);
    });
    this.#server = server;
    await once(server.listen(0, "127.0.0.1"), "listening");
    return address.replace(port, String((server.address() as AddressInfo).port));
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on("data", (chunk) => {
      this.bytes += chunk.length;
      to.write(chunk);
    });
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }

  [Symbol.dispose](): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
