import { ACTOR_BYTES, Reader } from "@coppice/crdt";
import { type Dependency, Run } from "./run.ts";

/** Bytes of the longest run that is worth packing. */
const PACKED_MAX = 256;
/** Bytes that hold the actor, the first sequence number and the count. */
const HEAD_BYTES_MAX = ACTOR_BYTES + 5 + 5;
const head = new Uint8Array(HEAD_BYTES_MAX);

/**
 * A run as it is kept for long. Of a small one its bytes are the characters of a string: the objects around a byte array
 * and a run take 330 bytes more than a string does.
 */
export type KeptRun = Run | string;

export function pack(run: Run): KeptRun {
  if (run.bytes.length > PACKED_MAX) return run;
  return String.fromCharCode.apply(undefined, run.bytes as unknown as number[]);
}

export function unpack(kept: KeptRun): Run {
  return typeof kept === "string" ? Run.decode(bytesOf(kept, new Uint8Array(kept.length))) : kept;
}

/** The last event of a run. */
export function lastOf(kept: KeptRun): Dependency {
  if (typeof kept !== "string") return { actor: kept.actor, seq: kept.lastSeq };
  const reader = new Reader(bytesOf(kept, head));
  const actor = reader.actor();
  const firstSeq = reader.uint();
  return { actor, seq: firstSeq + reader.uint() - 1 };
}

/** About what a run takes in memory, with its place in a list. */
export function memoryOf(kept: KeptRun): number {
  return typeof kept === "string" ? kept.length + 32 : kept.bytes.length + 300;
}

/** Fills `bytes` with what a string begins with. */
function bytesOf(text: string, bytes: Uint8Array): Uint8Array {
  const length = Math.min(text.length, bytes.length);
  for (let at = 0; at < length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
