/**
 * Session tokens: what a reader has written or seen, as a text that any node understands.
 *
 * A token names, for each group, the latest events that nothing the reader knows follows. Replicas are closed under
 * causality, so one event stands for all that its writer knew: the token of a write has one entry.
 *
 * base64url of: `byte 1`, uint n, n * (string group key, uint epoch, vector), ordered by key. At most
 * {@link SESSION_TOKEN_BYTES_MAX} characters, so that it fits into an HTTP header.
 */
import { type Actor, Reader, SEQ_MAX, VersionVector, Writer } from "@coppice/crdt";
import { type GroupId, encodeGroupId } from "@coppice/storage";
import type { Point } from "./core/catch-up.ts";
import type { ReplicationServer } from "./core/replication-server.ts";
import { ReplicationError } from "./error.ts";

/** Longest session token, in characters. */
export const SESSION_TOKEN_BYTES_MAX = 8192;

const FORMAT = 1;
/** Bytes of the smallest group: an empty key, an epoch, an empty vector. */
const GROUP_BYTES_MIN = 3;

/** What a token asks of each group, by group key. */
export type SessionPoints = ReadonlyMap<string, Point>;

/** Throws `LIMIT_EXCEEDED` when the token would be too long. */
export function encodeSessionToken(points: SessionPoints): string {
  const writer = new Writer(64);
  writer.byte(FORMAT);
  writer.uint(points.size);
  for (const [key, { epoch, vector }] of [...points].sort(([a], [b]) => (a < b ? -1 : 1))) {
    writer.string(key);
    writer.uint(epoch);
    vector.encode(writer);
  }
  const length = Math.ceil((writer.length * 8) / 6);
  if (length > SESSION_TOKEN_BYTES_MAX) {
    const message = `a session token of ${length} characters is above ${SESSION_TOKEN_BYTES_MAX}; keep a token for each group`;
    throw new ReplicationError("LIMIT_EXCEEDED", message);
  }
  return btoa(String.fromCharCode(...writer.take()))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** The token of everything that a replica knows. */
export function replicaToken(server: ReplicationServer): string {
  const vector = new VersionVector();
  for (const actor of server.frontier) vector.set(actor, server.vector.get(actor));
  return encodeSessionToken(new Map([[server.key, { epoch: server.epoch, vector }]]));
}

/** The token of one event. */
export function eventToken({ key, epoch }: ReplicationServer, actor: Actor, seq: number): string {
  return encodeSessionToken(new Map([[key, { epoch, vector: new VersionVector([[actor, seq]]) }]]));
}

/** Throws `INVALID_TOKEN`. */
export function decodeSessionToken(token: string): SessionPoints {
  if (typeof token !== "string" || token.length > SESSION_TOKEN_BYTES_MAX) throw invalid();
  try {
    const text = atob(token.replaceAll("-", "+").replaceAll("_", "/"));
    const reader = new Reader(Uint8Array.from(text, (character) => character.charCodeAt(0)));
    if (reader.byte() !== FORMAT) throw invalid();
    const points = new Map<string, Point>();
    for (let left = reader.count(GROUP_BYTES_MIN); left > 0; left--) {
      const key = reader.string();
      points.set(key, { epoch: reader.uintMax(SEQ_MAX, "an epoch"), vector: VersionVector.decode(reader) });
    }
    if (reader.left > 0) throw invalid();
    return points;
  } catch (cause) {
    throw cause instanceof ReplicationError ? cause : invalid(cause);
  }
}

/** Whether a token asks for something of a group. Throws `INVALID_TOKEN`. */
export function sessionTokenConcerns(token: string, id: GroupId): boolean {
  return decodeSessionToken(token).has(encodeGroupId(id));
}

/**
 * One token for everything that the given ones ask for. Empty texts count as tokens that ask for nothing. Throws
 * `ReplicationError` `INVALID_TOKEN`; `LIMIT_EXCEEDED` when the result would be longer than 8 192 characters, as from
 * some hundred groups on.
 */
export function mergeSessionTokens(...tokens: readonly string[]): string {
  const merged = new Map<string, Point>();
  for (const token of tokens) {
    if (token === "") continue;
    for (const [key, point] of decodeSessionToken(token)) {
      const known = merged.get(key);
      if (known === undefined || known.epoch < point.epoch) merged.set(key, point);
      else if (known.epoch === point.epoch) known.vector.merge(point.vector);
    }
  }
  return encodeSessionToken(merged);
}

function invalid(cause?: unknown): ReplicationError {
  const message = "not a session token of this version; pass what a write or a replica gave, unchanged";
  return new ReplicationError("INVALID_TOKEN", message, { cause });
}
