/** What a token lets its bearer do. */
import { type GroupId, domainOf } from "@coppice/storage";
import { ServerError } from "../error.ts";

/** `read` sees, `write` also changes groups, `admin` also runs the node: peers, tokens, snapshots. */
export type Scope = "read" | "write" | "admin";

export const SCOPES: readonly Scope[] = ["read", "write", "admin"];

/** Whether what has `scope` may do what needs `needed`. */
export function covers(scope: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(scope) >= SCOPES.indexOf(needed);
}

/** A token without its secret. */
export interface TokenInfo {
  /** What names it: the part of its text that is no secret. */
  readonly id: string;
  /** For people. */
  readonly label: string;
  readonly scope: Scope;
  /** The domains of the groups it is good for; undefined for all. */
  readonly domains: readonly string[] | undefined;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Milliseconds since 1970; undefined for never. */
  readonly expiresAt: number | undefined;
}

/** `setTimeout` takes no more. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** A token in use. It is looked up once, and then knows by itself when the token has expired or was revoked. */
export class Grant {
  readonly info: TokenInfo;
  readonly #source: Grant | undefined;
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #isRevoked = false;

  /** @param source whose end is its end, too */
  constructor(info: TokenInfo, source?: Grant) {
    this.info = info;
    this.#source = source;
  }

  /** One that only reads, and ends with this one. */
  reader(): Grant {
    return new Grant({ ...this.info, scope: "read" }, this);
  }

  get isValid(): boolean {
    if (this.#source !== undefined) return this.#source.isValid;
    return !this.#isRevoked && (this.info.expiresAt === undefined || Date.now() < this.info.expiresAt);
  }

  /** Whether it is good for every domain. */
  get isUnlimited(): boolean {
    return this.info.domains === undefined;
  }

  /** Whether it is good for the domain of a group. */
  reaches(group: GroupId): boolean {
    return this.info.domains?.includes(domainOf(group)) ?? true;
  }

  /** Whether it permits this now; without a group, whatever its domains are. */
  permits(needed: Scope, group?: GroupId): boolean {
    return this.isValid && covers(this.info.scope, needed) && (group === undefined || this.reaches(group));
  }

  /** Throws `TOKEN_REVOKED` and `FORBIDDEN`. */
  require(needed: Scope, group?: GroupId): void {
    if (!this.isValid) throw new ServerError("TOKEN_REVOKED", "the token was revoked or has expired");
    if (!covers(this.info.scope, needed)) {
      throw new ServerError("FORBIDDEN", `this needs a token of scope "${needed}", not "${this.info.scope}"`);
    }
    if (group !== undefined) this.requireDomain(domainOf(group));
  }

  /** Throws `FORBIDDEN` for a token that is not good for a domain. */
  requireDomain(domain: string): void {
    if (this.info.domains?.includes(domain) ?? true) return;
    const groups = domain === "" ? "groups outside of a domain" : `the domain ${JSON.stringify(domain)}`;
    throw new ServerError("FORBIDDEN", `this token is not for ${groups}`);
  }

  /** Throws `FORBIDDEN` for a token that is good for some domains only. */
  requireUnlimited(): void {
    if (!this.isUnlimited) throw new ServerError("FORBIDDEN", "this needs a token that is good for every domain");
  }

  /** Calls once the token is not valid any more, if that is still to come. Returns how to stop that. */
  onEnd(listener: () => void): () => void {
    if (this.#source !== undefined) return this.#source.onEnd(listener);
    this.#listeners.add(listener);
    this.#arm();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#disarm();
    };
  }

  /** @internal For the store. */
  revoke(): void {
    this.#isRevoked = true;
    this.#end();
  }

  #arm(): void {
    const { expiresAt } = this.info;
    if (expiresAt === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#disarm();
        if (!this.isValid) this.#end();
        else if (this.#listeners.size > 0) this.#arm();
      },
      Math.min(Math.max(expiresAt - Date.now(), 0) + 1, TIMER_MS_MAX),
    );
    this.#timer.unref();
  }

  #disarm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #end(): void {
    this.#disarm();
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }
}
