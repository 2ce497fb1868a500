import { multiaddr, type Multiaddr } from "@multiformats/multiaddr";
import { peerIdFromString } from "@libp2p/peer-id";
import { ReplicationError } from "../error.ts";
import type { PeerId } from "../transport.ts";

const DIAL_EXAMPLE = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW… (the /p2p/ part is optional)";
const LISTEN_EXAMPLE = "/ip4/0.0.0.0/tcp/4001 or /ip4/0.0.0.0/tcp/4002/ws";

/** Throws `BAD_ADDRESS`. */
export function parseDialAddress(text: string): Multiaddr {
  return parse(text, DIAL_EXAMPLE);
}

/** An address that somebody else told of; undefined when it is of no use. */
export function parseHint(text: string): Multiaddr | undefined {
  try {
    return parseDialAddress(text);
  } catch {
    return undefined;
  }
}

/** Throws `BAD_ADDRESS`. */
export function parseListenAddress(text: string): Multiaddr {
  const address = parse(text, LISTEN_EXAMPLE);
  if (peerOf(address) !== undefined) throw badAddress(text, "a listen address names no peer", LISTEN_EXAMPLE);
  return address;
}

/** The peer that an address names with its last `/p2p/` part. */
export function peerOf(address: Multiaddr): PeerId | undefined {
  return address.getComponents().findLast(({ name }) => name === "p2p")?.value;
}

export function withoutPeer(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, "");
}

/** Throws `INVALID_OPTIONS` if it is no peer id. */
export function checkPeerId(text: string): PeerId {
  try {
    return peerIdFromString(text).toString();
  } catch (cause) {
    const message = `allow: ${JSON.stringify(text)} is no peer id; one looks like 12D3KooW…`;
    throw new ReplicationError("INVALID_OPTIONS", message, { cause });
  }
}

function parse(text: string, example: string): Multiaddr {
  let address: Multiaddr;
  try {
    if (typeof text !== "string" || text.length > 480) throw new TypeError("not a string of at most 480 characters");
    address = multiaddr(text);
    const peer = peerOf(address);
    // A multiaddr takes any base-58 text for a peer id.
    if (peer !== undefined) peerIdFromString(peer);
  } catch (cause) {
    throw badAddress(text, "it does not parse", example, cause);
  }
  const names = address.getComponents().map(({ name }) => name);
  const supported = [
    "ip4",
    "ip6",
    "ip6zone",
    "dns",
    "dns4",
    "dns6",
    "tcp",
    "ws",
    "wss",
    "tls",
    "sni",
    "http-path",
    "p2p",
  ];
  const foreign = names.find((name) => !supported.includes(name));
  if (foreign !== undefined) throw badAddress(text, `/${foreign} is not supported`, example);
  if (!names.includes("tcp")) throw badAddress(text, "it names no TCP port", example);
  return address;
}

function badAddress(text: string, problem: string, example: string, cause?: unknown): ReplicationError {
  const message = `${JSON.stringify(text)} is no usable address: ${problem}; one looks like ${example}`;
  return new ReplicationError("BAD_ADDRESS", message, cause === undefined ? {} : { cause });
}
