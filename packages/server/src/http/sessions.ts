import { randomBytes } from "node:crypto";
import { ServerError } from "../error.ts";

const ID_BYTES = 24;
const IDLE_MS = 30 * 60 * 1000;
const SESSIONS_MAX = 10_000;

/** What a caller of session views has in common between calls. */
export interface Session {
  readonly id: string;
  /** What views keep for this session; dropped with it. */
  readonly data: Map<string, unknown>;
  /** Fires when the session ends. */
  readonly signal: AbortSignal;
}

interface Entry {
  readonly session: Session;
  readonly controller: AbortController;
  readonly timer: NodeJS.Timeout;
}

/** The sessions of one server. One that is not used for half an hour ends by itself. */
export class Sessions {
  readonly #entries = new Map<string, Entry>();

  /** Fails with `INVALID_REQUEST` when there are too many. */
  create(): Session {
    if (this.#entries.size >= SESSIONS_MAX) {
      throw new ServerError("INVALID_REQUEST", `there are ${SESSIONS_MAX} sessions already; end some`);
    }
    const id = randomBytes(ID_BYTES).toString("base64url");
    const controller = new AbortController();
    const session: Session = { id, data: new Map(), signal: controller.signal };
    const timer = setTimeout(() => this.end(id), IDLE_MS);
    timer.unref();
    this.#entries.set(id, { session, controller, timer });
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
    clearTimeout(entry.timer);
    entry.controller.abort(new ServerError("NOT_FOUND", "the session has ended"));
    entry.session.data.clear();
    return true;
  }

  endAll(): void {
    for (const id of this.#entries.keys()) this.end(id);
  }
}
