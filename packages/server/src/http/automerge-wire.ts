/**
 * The WebSocket protocol of automerge-repo, version 1, as its network adapter speaks it. A message is a CBOR map
 * (RFC 8949):
 *
 * | type              | from   | fields                                                  | says                             |
 * |-------------------|--------|---------------------------------------------------------|----------------------------------|
 * | `join`            | client | senderId, peerMetadata, supportedProtocolVersions       | the first message                |
 * | `peer`            | server | senderId, targetId, peerMetadata, selectedProtocolVersion | the answer                     |
 * | `error`           | server | senderId, targetId, message                             | the answer that ends it          |
 * | `request`         | client | senderId, targetId, documentId, data                    | a sync message; I lack the document |
 * | `sync`            | both   | senderId, targetId, documentId, data                    | a sync message of Automerge      |
 * | `ephemeral`       | both   | senderId, targetId, documentId, sessionId, count, data  | passed on, never stored          |
 * | `doc-unavailable` | both   | senderId, targetId, documentId                          | I do not have it                 |
 *
 * Others (`remote-subscription-change`, `remote-heads-changed`) tell of what third parties have, and are ignored.
 */
import { decode, encode } from "cborg";
import { ServerError } from "../error.ts";

export const PROTOCOL_VERSION = "1";

/** A message with its fields checked as far as they are used. */
export type RepoMessage =
  | { readonly type: "join"; readonly senderId: string; readonly versions: readonly unknown[] | undefined }
  | { readonly type: "sync" | "request"; readonly documentId: string; readonly data: Uint8Array }
  | ({ readonly type: "ephemeral" } & EphemeralMessage)
  | { readonly type: "other" };

/** What a client tells the others of a document: `count` goes up within a session of a sender. */
export interface EphemeralMessage {
  readonly documentId: string;
  readonly senderId: string;
  readonly sessionId: string;
  readonly count: number;
  /** All of it. */
  readonly fields: ReadonlyMap<string, unknown>;
}

const NAME_LENGTH_MAX = 256;
/** Base58 of 16 random bytes and a checksum. */
const DOCUMENT_ID = /^[1-9A-HJ-NP-Za-km-z]{20,40}$/;

/** Throws `INVALID_REQUEST` for what is no message. */
export function readRepoMessage(bytes: Uint8Array): RepoMessage {
  const fields = decodeMap(bytes);
  const type = fields.get("type");
  if (type === "join") {
    const versions = fields.get("supportedProtocolVersions");
    return { type, senderId: nameOf(fields, "senderId"), versions: Array.isArray(versions) ? versions : undefined };
  }
  if (type === "sync" || type === "request") {
    const data = fields.get("data");
    if (!(data instanceof Uint8Array)) throw malformed("a sync message without data");
    return { type, documentId: documentIdOf(fields), data };
  }
  if (type === "ephemeral") {
    const [documentId, senderId, sessionId] = [
      documentIdOf(fields),
      nameOf(fields, "senderId"),
      nameOf(fields, "sessionId"),
    ];
    return { type, documentId, senderId, sessionId, count: countOf(fields), fields };
  }
  if (typeof type === "string") return { type: "other" };
  throw malformed("a message without a type");
}

export function repoMessage(fields: { readonly [name: string]: unknown }): Uint8Array {
  return encode(fields);
}

/**
 * An ephemeral message as it is passed on, to a client or, without a target, to other nodes. Throws `INVALID_REQUEST`
 * for what can be read, but not written.
 */
export function relayedMessage({ fields }: EphemeralMessage, targetId = ""): Uint8Array {
  try {
    return encode(new Map([...fields, ["targetId", targetId]]));
  } catch (cause) {
    throw malformed("it cannot be passed on", cause);
  }
}

function decodeMap(bytes: Uint8Array): ReadonlyMap<string, unknown> {
  let decoded: unknown;
  try {
    // Maps and not objects: keys come from elsewhere.
    decoded = decode(bytes, { useMaps: true });
  } catch (cause) {
    throw malformed("no CBOR", cause);
  }
  if (!(decoded instanceof Map)) throw malformed("no map");
  return decoded as Map<string, unknown>;
}

function nameOf(fields: ReadonlyMap<string, unknown>, field: string): string {
  const name = fields.get(field);
  if (typeof name === "string" && name.length > 0 && name.length <= NAME_LENGTH_MAX) return name;
  throw malformed(`no ${field}`);
}

function countOf(fields: ReadonlyMap<string, unknown>): number {
  const count = fields.get("count");
  if (Number.isSafeInteger(count)) return count as number;
  throw malformed("no count");
}

function documentIdOf(fields: ReadonlyMap<string, unknown>): string {
  const id = fields.get("documentId");
  if (typeof id === "string" && DOCUMENT_ID.test(id)) return id;
  throw malformed("no document id");
}

function malformed(reason: string, cause?: unknown): ServerError {
  return new ServerError("INVALID_REQUEST", `not a message of automerge-repo: ${reason}`, { cause });
}
