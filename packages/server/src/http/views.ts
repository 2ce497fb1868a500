/** Views: named functions of an embedding program, served over HTTP so that any language can call them. */
import type { Node } from "@coppice/replication";
import { ReplicationError } from "@coppice/replication";
import { SCOPES, type Scope } from "../auth/grant.ts";
import { ServerError } from "../error.ts";
import { toProblem } from "./problem.ts";
import { didYouMean } from "../suggest.ts";
import type { Session } from "./sessions.ts";

/** What a view's handler gets beside its parameters. */
export interface ViewContext {
  readonly node: Node;
  /** Fires when the time is over, the caller has gone, or the server closes. */
  readonly signal: AbortSignal;
  /** For views of scope `session`, the caller's session. */
  readonly session: Session | undefined;
  /** What the view's `load` returned, the last time that all loaders succeeded. */
  readonly loaded: unknown;
}

/** A view. */
export interface View {
  /** 1 to 64 characters of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`. */
  readonly name: string;
  readonly description?: string;
  /** `scalar`: one set of parameters, one result. `batch`: a list of them, a list of as many results. */
  readonly kind: "scalar" | "batch";
  /** `global`, the default: anyone may call. `session`: needs a session, and what it keeps there goes with it. */
  readonly scope?: "session" | "global";
  /** How long a call may take. Default 10 000. */
  readonly timeoutMs?: number | "infinity";
  /** The scope that a token must have; `write` for a view that changes something. Default `read`. */
  readonly permission?: Scope;
  /** The domains that a token must be good for. Default: all, as a handler can reach every group. */
  readonly domains?: readonly string[];
  /**
   * Runs once, before the server is reachable, and again at a reload. What it returns is `context.loaded` of the calls
   * that begin afterwards. A throw keeps the server from starting; at a reload, all views keep what they had.
   */
  readonly load?: (context: Omit<ViewContext, "session" | "loaded">) => unknown;
  /**
   * Answers a call with plain data. An error with a code of this library is passed on to the caller; any other is a
   * defect, which the server logs and reports as `INTERNAL`.
   */
  readonly handler: (params: unknown, context: ViewContext) => unknown;
}

/** A view with its defaults. */
export interface CheckedView extends Required<Omit<View, "description" | "domains" | "load">> {
  readonly description: string;
  readonly domains: View["domains"];
  readonly load: View["load"];
}

const NAME = /^[\w.-]{1,64}$/;
const TIMEOUT_MS_DEFAULT = 10_000;
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** Checks a view. Throws `INVALID_OPTIONS`. */
export function checkView(view: View): CheckedView {
  const { name, kind, scope = "global", timeoutMs = TIMEOUT_MS_DEFAULT, permission = "read", handler, load } = view;
  const about = `the view ${JSON.stringify(name)}`;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw invalid(`a view's name has 1 to 64 letters, digits, ".", "_" and "-", not ${JSON.stringify(name)}`);
  }
  if (kind !== "scalar" && kind !== "batch") throw invalid(`${about} must be of kind "scalar" or "batch"`);
  if (scope !== "session" && scope !== "global") throw invalid(`${about} must have the scope "session" or "global"`);
  if (!SCOPES.includes(permission)) throw invalid(`${about} must need one of ${SCOPES.join(", ")}`);
  if (timeoutMs !== "infinity" && !(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
    throw invalid(`${about} must have a timeoutMs above 0, or "infinity"`);
  }
  if (typeof handler !== "function") throw invalid(`${about} needs a handler`);
  const { description = "", domains } = view;
  return { name, description, kind, scope, timeoutMs, permission, domains, handler, load };
}

/** The views of one server. */
export class Views {
  readonly #views = new Map<string, CheckedView>();
  readonly #node: Node;
  #loaded: ReadonlyMap<string, unknown> = new Map();
  #loading: Promise<void> = Promise.resolve();

  /** Throws `INVALID_OPTIONS` for a bad view, and for two of one name. */
  constructor(node: Node, views: readonly View[]) {
    this.#node = node;
    for (const view of views.map(checkView)) {
      if (this.#views.has(view.name)) throw invalid(`two views are called ${view.name}`);
      this.#views.set(view.name, view);
    }
  }

  get all(): readonly CheckedView[] {
    return [...this.#views.values()];
  }

  /** Throws `NOT_FOUND`, with a suggestion. */
  get(name: string): CheckedView {
    const view = this.#views.get(name);
    if (view !== undefined) return view;
    throw new ServerError("NOT_FOUND", `no view is called ${name}.${didYouMean(name, this.#views.keys())}`);
  }

  /**
   * Runs every loader once, one after the other, aside from the calls that go on; only when all have succeeded do new
   * calls get what they returned. One reload at a time. Fails with `LOAD_FAILED`, naming the view.
   */
  async load(signal: AbortSignal): Promise<void> {
    const loading = this.#loading.then(() => this.#loadAll(signal));
    this.#loading = loading.catch(() => undefined);
    await loading;
  }

  async #loadAll(signal: AbortSignal): Promise<void> {
    const loaded = new Map<string, unknown>();
    for (const { name, load } of this.#views.values()) {
      signal.throwIfAborted();
      try {
        loaded.set(name, await load?.({ node: this.#node, signal }));
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new ServerError("LOAD_FAILED", `the loader of the view ${name} failed: ${reason}`, { cause });
      }
    }
    this.#loaded = loaded;
  }

  /**
   * Calls a view, until one of `ends` fires. A batch needs a list, and must return as many results. Errors:
   * `INVALID_REQUEST`; `TIMEOUT`; what the handler throws that has a code of ours, and `VIEW_FAILED` for anything else.
   * After a `TIMEOUT` the handler may still run: its signal has fired.
   */
  async call(
    view: CheckedView,
    params: unknown,
    session: Session | undefined,
    ends: readonly AbortSignal[],
  ): Promise<unknown> {
    if (view.kind === "batch" && !Array.isArray(params)) {
      throw new ServerError("INVALID_REQUEST", `the view ${view.name} is a batch: its params must be a list`);
    }
    try {
      return checkResult(view, params, await this.#withTimeout(view, session, ends, params));
    } catch (cause) {
      if (toProblem(cause).code !== "INTERNAL") throw cause;
      throw new ServerError("VIEW_FAILED", `the view ${view.name} failed; the log of its node says why`, { cause });
    }
  }

  async #withTimeout(
    view: CheckedView,
    session: Session | undefined,
    ends: readonly AbortSignal[],
    params: unknown,
  ): Promise<unknown> {
    const controller = new AbortController();
    const { signal } = controller;
    const { timeoutMs } = view;
    const late = (): void =>
      controller.abort(new ReplicationError("TIMEOUT", `the view ${view.name} took more than ${timeoutMs} ms`));
    const timer = timeoutMs === "infinity" ? undefined : setTimeout(late, timeoutMs);
    const onEnd = ({ target }: Event): void => controller.abort((target as AbortSignal).reason);
    const all = session === undefined ? ends : [...ends, session.signal];
    for (const end of all) end.addEventListener("abort", onEnd, { once: true });
    try {
      const aborted = new Promise<never>((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      });
      const loaded = this.#loaded.get(view.name);
      const running = Promise.resolve(view.handler(params, { node: this.#node, signal, session, loaded }));
      return await Promise.race([running, aborted]);
    } finally {
      clearTimeout(timer);
      for (const end of all) end.removeEventListener("abort", onEnd);
    }
  }
}

function invalid(reason: string): ServerError {
  return new ServerError("INVALID_OPTIONS", reason);
}

function checkResult({ kind, name }: CheckedView, params: unknown, result: unknown): unknown {
  if (kind !== "batch" || !Array.isArray(params)) return result;
  if (Array.isArray(result) && result.length === params.length) return result;
  throw new TypeError(`the view ${name} must return a list of ${params.length} results`);
}
