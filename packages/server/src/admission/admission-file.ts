import { join } from "node:path";
import { ServerError } from "../error.ts";
import { readPrivate, writePrivate } from "@coppice/storage/private-file";

/** An invite that is open, without its secret. */
export interface InviteInfo {
  /** 12 hexadecimal digits. */
  readonly id: string;
  /** For people; goes over to the peer that uses it. */
  readonly label: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly expiresAt: number;
}

export interface StoredInvite extends InviteInfo {
  /** SHA-256 of what is presented, as hexadecimal digits. */
  readonly hash: string;
}

/** A peer that came with an invite. */
export interface AdmittedPeer {
  readonly peer: string;
  readonly label: string;
  readonly admittedAt: number;
  /** The member that told of it; absent where the invite was made here. */
  readonly by?: string;
}

/** A peer that was admitted no longer from then on. */
export interface RemovedPeer {
  readonly peer: string;
  readonly label: string;
  readonly removedAt: number;
  readonly by?: string;
}

/** What an invite that was used here said: what the node needs at every start. */
export interface Joined {
  /** Of the invite. */
  readonly id: string;
  readonly addresses: readonly string[];
  readonly domains?: readonly string[];
  readonly networkKey?: string;
}

/** `admission.json` of a data directory, mode 0600. */
export interface AdmissionFile {
  readonly version: 1;
  readonly invites: readonly StoredInvite[];
  readonly admitted: readonly AdmittedPeer[];
  readonly joined: readonly Joined[];
  /** Absent in files of earlier versions. */
  readonly removed?: readonly RemovedPeer[];
}

const EMPTY: AdmissionFile = { version: 1, invites: [], admitted: [], joined: [] };

export function admissionPath(directory: string): string {
  return join(directory, "admission.json");
}

/** Fails with `INVALID_OPTIONS` for a file that is damaged. */
export async function readAdmission(directory: string): Promise<AdmissionFile> {
  const path = admissionPath(directory);
  const text = await readPrivate(path);
  if (text === undefined) return EMPTY;
  let cause: unknown;
  try {
    const file: unknown = JSON.parse(text);
    if (isWhole(file)) return file;
  } catch (error) {
    cause = error;
  }
  const advice = "restore it, or remove it: then the peers that came with invites are not admitted any more";
  throw new ServerError("INVALID_OPTIONS", `${path} is damaged; ${advice}`, { cause });
}

export async function writeAdmission(directory: string, file: AdmissionFile): Promise<void> {
  await writePrivate(admissionPath(directory), `${JSON.stringify(file, undefined, 2)}\n`);
}

function isWhole(file: unknown): file is AdmissionFile {
  const { version, invites, admitted, joined, removed = [] } = (file ?? {}) as Partial<AdmissionFile>;
  return (
    version === 1 &&
    Array.isArray(invites) &&
    invites.every(({ id, hash, expiresAt }: Partial<StoredInvite>) => {
      return typeof id === "string" && typeof hash === "string" && typeof expiresAt === "number";
    }) &&
    Array.isArray(admitted) &&
    admitted.every((peer: Partial<AdmittedPeer>) => isNamed(peer, peer.admittedAt)) &&
    Array.isArray(removed) &&
    removed.every((peer: Partial<RemovedPeer>) => isNamed(peer, peer.removedAt)) &&
    Array.isArray(joined) &&
    joined.every(({ id, addresses }: Partial<Joined>) => typeof id === "string" && Array.isArray(addresses))
  );
}

function isNamed({ peer }: { readonly peer?: unknown }, at: unknown): boolean {
  return typeof peer === "string" && Number.isSafeInteger(at);
}
