import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import { Hocuspocus } from "@hocuspocus/server";
import { once } from "node:events";
import { createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import * as Y from "yjs";
import type { SharedMap, System, Value } from "./system.ts";

/** TLS with a common secret: encryption as with certificates, and no file of them. */
const CIPHER = { ciphers: "PSK-AES256-GCM-SHA384", maxVersion: "TLSv1.2" } as const;
const SECRET = Buffer.alloc(32, 1);

class TlsWebSocket extends WebSocket {
  constructor(url: string) {
    const pskCallback = (): object => ({ psk: SECRET, identity: "bench" });
    const options = { ...CIPHER, pskCallback, checkServerIdentity: () => false };
    super(url, options);
  }
}

function sharedMap(document: Y.Doc): SharedMap {
  const map = document.getMap<Value>("map");
  return {
    set: (entries) =>
      document.transact(() => {
        for (const [key, value] of entries) map.set(key, value);
      }),
    get: (key) => map.get(key),
    onChange: (listener) => map.observe(listener),
  };
}

/** A server whose process uses its documents, too; and clients, each over one WebSocket for all of its documents. */
export function hocuspocus(isEncrypted: boolean): System {
  return {
    async host(directory) {
      if (directory !== undefined) throw new TypeError("its storage needs a native install");
      const instance = new Hocuspocus({ quiet: true });
      const server = isEncrypted ? createServer({ ...CIPHER, pskCallback: () => SECRET }) : createPlainServer();
      const sockets = new WebSocketServer({ server });
      sockets.on("connection", (socket, request) => instance.handleConnection(socket, request));
      await once(server.listen(0, "127.0.0.1"), "listening");
      const open = async (name: string): Promise<SharedMap> => {
        const { document } = await instance.openDirectConnection(name);
        if (document === null) throw new Error(`no document ${name}`);
        return sharedMap(document);
      };
      return {
        address: `${isEncrypted ? "wss" : "ws"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
        create: async (name) => ({ id: name, map: await open(name) }),
        open,
        flush: async () => {},
        disconnect: async () => {},
        connect: async () => {},
        close: async () => void server.close(),
      };
    },
    async join(address) {
      const WebSocketPolyfill = isEncrypted ? TlsWebSocket : WebSocket;
      const socket = new HocuspocusProviderWebsocket({ url: address, WebSocketPolyfill });
      const open = async (name: string): Promise<SharedMap> => {
        const provider = new HocuspocusProvider({ websocketProvider: socket, name, document: new Y.Doc() });
        provider.attach();
        if (!provider.isSynced) await new Promise<void>((resolve) => provider.on("synced", () => resolve()));
        return sharedMap(provider.document);
      };
      return {
        address,
        create: async (name) => ({ id: name, map: await open(name) }),
        open,
        flush: async () => {},
        disconnect: async () => socket.disconnect(),
        connect: async () => void (await socket.connect()),
        close: async () => socket.destroy(),
      };
    },
  };
}
