/**
 * The text of an invite: `coppice-invite-1.` and, as Base64url, a JSON object:
 *
 * | field  | holds                                                                                  |
 * |--------|----------------------------------------------------------------------------------------|
 * | `to`   | the addresses of the node that made it, each with its peer id                          |
 * | `for`  | the domains that it replicates; absent for all                                         |
 * | `key`  | the network key, where there is one                                                    |
 * | `code` | what the newcomer presents: 6 bytes that name the invite, then 32 that are its secret   |
 * | `ends` | when it ends, in seconds since 1970                                                    |
 */
import { ServerError } from "../error.ts";

export const CODE_ID_BYTES = 6;
export const CODE_BYTES = 38;
const PREFIX = "coppice-invite-1.";
const TEXT_LENGTH_MAX = 16 * 1024;

export interface Invite {
  readonly addresses: readonly string[];
  readonly domains: readonly string[] | undefined;
  readonly networkKey: string | undefined;
  readonly code: Uint8Array;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export function formatInvite({ addresses, domains, networkKey, code, expiresAt }: Invite): string {
  const fields = {
    to: addresses,
    ...(domains === undefined ? {} : { for: domains }),
    ...(networkKey === undefined ? {} : { key: networkKey }),
    code: Buffer.from(code).toString("base64url"),
    ends: Math.floor(expiresAt / 1000),
  };
  return PREFIX + Buffer.from(JSON.stringify(fields)).toString("base64url");
}

/** Throws `INVALID_OPTIONS` for what is no invite. */
export function parseInvite(text: string): Invite {
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX) || trimmed.length > TEXT_LENGTH_MAX) throw invalid();
  let fields: unknown;
  try {
    fields = JSON.parse(Buffer.from(trimmed.slice(PREFIX.length), "base64url").toString());
  } catch (cause) {
    throw invalid(cause);
  }
  const { to, for: domains, key, code, ends } = (fields ?? {}) as Record<string, unknown>;
  const bytes = typeof code === "string" ? Buffer.from(code, "base64url") : Buffer.alloc(0);
  const isWhole =
    isTexts(to) &&
    to.length > 0 &&
    (domains === undefined || isTexts(domains)) &&
    (key === undefined || typeof key === "string") &&
    bytes.length === CODE_BYTES &&
    typeof ends === "number";
  if (!isWhole) throw invalid();
  return { addresses: to, domains, networkKey: key, code: new Uint8Array(bytes), expiresAt: ends * 1000 };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string" && item !== "");
}

function invalid(cause?: unknown): ServerError {
  const advice = `copy all of what "coppice invite" printed; it begins with ${PREFIX}`;
  return new ServerError("INVALID_OPTIONS", `this is no invite: ${advice}`, { cause });
}
