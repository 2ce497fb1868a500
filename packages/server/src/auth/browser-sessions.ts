import { randomBytes } from "node:crypto";
import type { Grant } from "./grant.ts";
import { hashOf } from "./token-text.ts";

/** How long a browser stays signed in. */
export const SESSION_MS: number = 12 * 3_600_000;
/** How long a link can be opened. */
export const LINK_MS: number = 60_000;
const ENTRIES_MAX = 1000;
const SECRET_BYTES = 32;

interface Entry {
  readonly grant: Grant;
  readonly expiresAtMs: number;
}

/**
 * Browsers that have signed in with a token. What they hold is no token but a secret of its own, which ends with the
 * token and allows reading only: a cookie goes along with requests that the user never meant to make.
 */
export class BrowserSessions {
  readonly #sessions = new Map<string, Entry>();
  /** Links that sign in whoever opens them first. */
  readonly #links = new Map<string, Entry>();

  /** The secret of a new session. */
  begin(grant: Grant): string {
    return add(this.#sessions, grant.reader(), SESSION_MS);
  }

  /** What a browser may do; undefined when its session has ended. */
  find(secret: string): Grant | undefined {
    return look(this.#sessions, secret)?.grant;
  }

  end(secret: string): void {
    this.#sessions.delete(keyOf(secret));
  }

  /** The code of a new link. */
  link(grant: Grant): string {
    return add(this.#links, grant, LINK_MS);
  }

  /** Begins a session by a link, once; undefined for one that was used or has ended. */
  open(code: string): string | undefined {
    const entry = look(this.#links, code);
    this.#links.delete(keyOf(code));
    return entry === undefined ? undefined : this.begin(entry.grant);
  }
}

/** Looked up by hash: how long that takes tells nothing of the secrets that are there. */
function keyOf(secret: string): string {
  return hashOf(secret).toString("hex");
}

function add(entries: Map<string, Entry>, grant: Grant, forMs: number): string {
  for (const [key, entry] of entries) {
    if (entry.expiresAtMs <= performance.now() || entries.size >= ENTRIES_MAX) entries.delete(key);
  }
  const secret = randomBytes(SECRET_BYTES).toString("base64url");
  entries.set(keyOf(secret), { grant, expiresAtMs: performance.now() + forMs });
  return secret;
}

function look(entries: Map<string, Entry>, secret: string): Entry | undefined {
  const entry = entries.get(keyOf(secret));
  return entry !== undefined && entry.grant.isValid && entry.expiresAtMs > performance.now() ? entry : undefined;
}
