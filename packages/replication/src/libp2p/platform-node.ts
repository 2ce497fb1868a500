/** What links need of Node.js. Same names as `platform-browser.ts`. */
import "./globals.ts";
import { noise } from "@libp2p/noise";
import { tcp } from "@libp2p/tcp";
import { webSockets } from "@libp2p/websockets";
import type { Libp2pOptions } from "libp2p";
import { socketTls } from "./socket-tls.ts";

export { discoverLocally } from "./local-discovery.ts";

export const transports: NonNullable<Libp2pOptions["transports"]> = [tcp(), webSockets()];

/** In order of preference: TLS is twice as fast between Node processes, browsers have only Noise. */
export const encrypters: NonNullable<Libp2pOptions["connectionEncrypters"]> = [socketTls(), noise()];

/** Bytes that the caller fills. */
export function allocate(bytes: number): Uint8Array {
  return Buffer.allocUnsafe(bytes);
}

/** Runs a task once what is going on has ended. */
export function soon(task: () => void): void {
  setImmediate(task);
}

/** Lets the process end although a timer runs. */
export function unref<Timer extends NodeJS.Timeout>(timer: Timer): Timer {
  return timer.unref();
}
