import { type Node, createNode, lwwMap } from "coppice";
import { levelStorage } from "coppice/level";
import { libp2pTransport } from "coppice/libp2p";
import type { Member, SharedMap, System, Value } from "./system.ts";

const TYPE = lwwMap<Value>();

function member(node: Node, joined: string): Member {
  let written: PromiseLike<unknown> | undefined;
  const open = async (id: string): Promise<SharedMap> => {
    const replica = await node.open(["bench", id], TYPE);
    return {
      set(entries) {
        written = replica.mutate((map) => {
          for (const [key, value] of entries) map.set(key, value);
        });
      },
      get: (key) => replica.read((map) => map.get(key)),
      onChange: (listener) => void replica.subscribe(listener),
    };
  };
  return {
    address: node.addresses()[0] ?? "",
    create: async (name) => ({ id: name, map: await open(name) }),
    open,
    // What was written before the last write is committed before it or with it.
    flush: async () => void (await written),
    async disconnect() {
      for (const { id } of node.peers()) await node.disconnect(id);
    },
    connect: async () => void (await node.connect(joined)),
    close: () => node.close(),
  };
}

/** Nodes over libp2p, which encrypts with TLS; stored in LevelDB, with a journal. */
export const coppice: System = {
  async host(directory) {
    const node = await createNode({
      types: [lwwMap()],
      ...(directory !== undefined && { storage: levelStorage(directory) }),
      transport: libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], allow: "any" }),
    });
    return member(node, "");
  },
  async join(address) {
    const node = await createNode({ types: [lwwMap()], transport: libp2pTransport() });
    await node.connect(address);
    return member(node, address);
  },
};
