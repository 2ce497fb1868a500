import type { ConnectionProtector } from "@libp2p/interface";
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";
import { ReplicationError } from "../error.ts";

const KEY_BYTES = 32;
/** The format of libp2p's swarm keys, which other implementations read, too. */
const SWARM_KEY_HEAD = "/key/swarm/psk/1.0.0/\n/base16/\n";
const HEX = /^[0-9a-f]{64}$/i;

/** A fresh key, as the text of a swarm key file: only nodes that hold it can talk to each other. */
export function createNetworkKey(): string {
  return `${SWARM_KEY_HEAD}${bytesToHex(crypto.getRandomValues(new Uint8Array(KEY_BYTES)))}\n`;
}

/** The key of a swarm key file, of 64 hexadecimal digits, or itself. Throws `INVALID_OPTIONS`, without naming it. */
export function parseNetworkKey(key: string | Uint8Array): Uint8Array {
  if (key instanceof Uint8Array) {
    if (key.length === KEY_BYTES) return key.slice();
    throw invalid(`a key of ${key.length} bytes`);
  }
  if (typeof key !== "string") throw invalid("neither text nor bytes");
  const text = key.replaceAll("\r", "").trim();
  const digits = text.startsWith(SWARM_KEY_HEAD) ? text.slice(SWARM_KEY_HEAD.length) : text;
  if (!HEX.test(digits)) throw invalid("neither a swarm key file nor 64 hexadecimal digits");
  return hexToBytes(digits.toLowerCase());
}

/** Encrypts every connection with the key before anything else is said (libp2p's private networks). */
export async function protectorOf(key: Uint8Array): Promise<() => ConnectionProtector> {
  const { preSharedKey } = await import("@libp2p/pnet");
  return preSharedKey({ psk: new TextEncoder().encode(`${SWARM_KEY_HEAD}${bytesToHex(key)}`) });
}

function invalid(what: string): ReplicationError {
  const advice = "make one with createNetworkKey() or `coppice network-key`, and give it to every node";
  return new ReplicationError("INVALID_OPTIONS", `networkKey: ${what}; it takes 32 bytes: ${advice}`);
}
