import { randomBytes } from "node:crypto";
import { ServerError } from "../error.ts";
import { rateLimited } from "./rate-limiter.ts";

const ID_BYTES = 24;
const IDLE_MS = 30 * 60 * 1000;
const SESSIONS_PER_OWNER_MAX = 10_000;
const RETRY_MS = 60_000;

/** What a caller of session views has in common between calls. */
export interface Session {
  readonly id: string;
  /** What views keep for this session; dropped with it. */
  readonly data: Map<string, unknown>;
  /** Fires when the session ends. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly owner: string;
  readonly session: Session;
  readonly controller: AbortController;
  readonly timer: NodeJS.Timeout;
}

/** The sessions of one server. One that is not used for half an hour ends by itself. */
export class Sessions {
  readonly #entries = new Map<string, Entry>();
  readonly #counts = new Map<string, number>();

  /** Throws `RATE_LIMITED` when the owner has too many, however many others have. */
  create(owner: string): Session {
    const count = this.#counts.get(owner) ?? 0;
    if (count >= SESSIONS_PER_OWNER_MAX) {
      throw rateLimited(`this token has ${count} sessions already: end some`, RETRY_MS);
    }
    this.#counts.set(owner, count + 1);
    const id = randomBytes(ID_BYTES).toString("base64url");
    const controller = new AbortController();
    const session: Session = { id, data: new Map(), signal: controller.signal };
    const timer = setTimeout(() => this.end(id), IDLE_MS);
    timer.unref();
    this.#entries.set(id, { owner, session, controller, timer });
    return session;
  }

  /** The session, which counts as used now. Throws `NOT_FOUND`. */
  use(id: string): Session {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new ServerError("NOT_FOUND", "no such session; it may have ended for lack of use");
    entry.timer.refresh();
    return entry.session;
  }

  /** Whether there was such a session. */
  end(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#entries.delete(id);
    const left = (this.#counts.get(entry.owner) ?? 1) - 1;
    if (left === 0) this.#counts.delete(entry.owner);
    else this.#counts.set(entry.owner, left);
    clearTimeout(entry.timer);
    entry.controller.abort(new ServerError("NOT_FOUND", "the session has ended"));
    entry.session.data.clear();
    return true;
  }

  endAll(): void {
    for (const id of this.#entries.keys()) this.end(id);
  }
}
