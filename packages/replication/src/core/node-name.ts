import { type Actor, actorNode } from "@coppice/crdt";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { PeerId } from "../transport.ts";

/** The 8 bytes that stand for a node in its actors. */
export function nodeBytes(id: PeerId): Uint8Array {
  return sha256(utf8ToBytes(id)).slice(0, 8);
}

/** Whether a node writes under an actor. */
export function isActorOf(actor: Actor, id: PeerId): boolean {
  return actorNode(actor) === bytesToHex(nodeBytes(id));
}
