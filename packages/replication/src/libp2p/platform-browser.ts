/** What links need of a browser. Same names as `platform-node.ts`. */
import { noise } from "@libp2p/noise";
import { webSockets } from "@libp2p/websockets";
import type { Libp2pOptions } from "libp2p";
import { ReplicationError } from "../error.ts";
import type { LocalDiscovery } from "./local-discovery.ts";

export const transports: NonNullable<Libp2pOptions["transports"]> = [webSockets()];

export const encrypters: NonNullable<Libp2pOptions["connectionEncrypters"]> = [noise()];

/** Fails with `INVALID_OPTIONS`: pages have no multicast. */
export async function discoverLocally(): Promise<LocalDiscovery> {
  throw new ReplicationError("INVALID_OPTIONS", "mdns is nothing for a page: it has no multicast, so name its peers");
}

/** Bytes that the caller fills. */
export function allocate(bytes: number): Uint8Array {
  return new Uint8Array(bytes);
}

/** Runs a task once what is going on has ended. */
export function soon(task: () => void): void {
  setTimeout(task);
}

/** A page ends whatever runs. */
export function unref<Timer>(timer: Timer): Timer {
  return timer;
}
