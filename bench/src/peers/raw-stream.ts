import { type RawStream, createRawNode, onBytes } from "../replication/raw-libp2p.ts";
import type { Member, System, Value } from "./system.ts";

/** No more than a number that goes over a libp2p stream: the limit of ours. */
function member(address: string, stream: () => RawStream | undefined): Member & { take(bytes: Uint8Array): void } {
  const listeners: (() => void)[] = [];
  let value: Value | undefined;
  const map = {
    set(entries: readonly (readonly [string, Value])[]): void {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, Number(entries[0]?.[1]));
      stream()?.send(bytes);
    },
    get: () => value,
    onChange: (listener: () => void) => void listeners.push(listener),
  };
  return {
    address,
    create: async (id) => ({ id, map }),
    open: async () => map,
    take(bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let at = 0; at + 8 <= bytes.length; at += 8) {
        value = view.getFloat64(at);
        for (const listener of listeners) listener();
      }
    },
    flush: async () => {},
    disconnect: async () => {},
    connect: async () => {},
    close: async () => {},
  };
}

export const rawStream: System = {
  async host() {
    const node = await createRawNode((stream) => onBytes(stream, (bytes) => made.take(bytes)));
    const made = member(node.address, () => undefined);
    return made;
  },
  async join(address) {
    const stream = await (await createRawNode()).dial(address);
    return member(address, () => stream);
  },
};
