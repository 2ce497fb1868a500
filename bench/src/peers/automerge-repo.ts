import { type AutomergeUrl, type DocHandle, Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter, WebSocketServerAdapter } from "@automerge/automerge-repo-network-websocket";
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocketServer } from "ws";
import type { Member, SharedMap, System, Value } from "./system.ts";

/** In which a thousand documents are saved. */
const SAVING_MS = 3_000;

type Document = Record<string, Value>;

function sharedMap(handle: DocHandle<Document>): SharedMap {
  return {
    set: (entries) =>
      handle.change((document) => {
        for (const [key, value] of entries) document[key] = value;
      }),
    get: (key) => handle.doc()[key],
    onChange: (listener) => void handle.on("change", listener),
  };
}

function member(repo: Repo, address: string): Member {
  const network = repo.networkSubsystem;
  return {
    address,
    async create() {
      const handle = repo.create<Document>({});
      return { id: handle.url, map: sharedMap(handle) };
    },
    async open(id) {
      // When there is much to do it calls unavailable what is still on its way.
      const handle = await repo.find<Document>(id as AutomergeUrl, { allowableStates: ["ready", "unavailable"] });
      await handle.whenReady();
      return sharedMap(handle);
    },
    async flush() {
      await repo.flush();
      // That does not wait for what is being saved already.
      await sleep(SAVING_MS);
    },
    disconnect: async () => network.disconnect(),
    async connect() {
      const linked = peer(repo);
      network.reconnect();
      await linked;
    },
    close: () => repo.shutdown(),
  };
}

function peer(repo: Repo): Promise<void> {
  return new Promise((resolve) => repo.networkSubsystem.once("peer", () => resolve()));
}

/** Repositories whose one side listens for WebSockets; stored in files. */
export const automergeRepo: System = {
  async host(directory) {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    const repo = new Repo({
      network: [new WebSocketServerAdapter(server as never)],
      ...(directory !== undefined && { storage: new NodeFSStorageAdapter(directory) }),
    });
    return member(repo, `ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  },
  async join(address) {
    const repo = new Repo({ network: [new WebSocketClientAdapter(address)] });
    await peer(repo);
    return member(repo, address);
  },
};
