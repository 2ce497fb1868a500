import { ReplicationError, closed } from "./error.ts";
import { type OptionNames, checkNames } from "./option-checks.ts";

/** How long to wait, and how to stop waiting. */
export interface WaitOptions {
  /** In milliseconds. Default 10 000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export const WAIT_OPTIONS: OptionNames<WaitOptions> = { timeoutMs: true, signal: true };

export const WAIT_MS = 10_000;

/** The timeout of a wait. Throws `INVALID_OPTIONS`. */
export function checkTimeout(timeoutMs: number = WAIT_MS): number {
  if (Number.isFinite(timeoutMs) && timeoutMs >= 0 && timeoutMs < 2 ** 31) return timeoutMs;
  const message = `timeoutMs must be a number of milliseconds from 0 to 2147483647, not ${String(timeoutMs)}`;
  throw new ReplicationError("INVALID_OPTIONS", message);
}

/** Options of a wait, with the defaults filled in. Throws `INVALID_OPTIONS`. */
export function checkWait(
  owner: string,
  options: WaitOptions,
  defaultMs: number = WAIT_MS,
): { readonly timeoutMs: number; readonly signal: AbortSignal | undefined } {
  checkNames(owner, options, WAIT_OPTIONS);
  return { timeoutMs: checkTimeout(options.timeoutMs ?? defaultMs), signal: options.signal };
}

/** Resolves in a later turn of the event loop, when what waits has had its turn. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    // Browsers have only the other one.
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve);
  });
}

/** Calls `run` after a time; returns how to take that back. */
export type StartTimer = (delayMs: number, run: () => void) => () => void;

/** Calls back when the node closes; returns how to take that back. */
export type OnStop = (fn: () => void) => () => void;

/** What is waited for. */
export interface Wait {
  readonly startTimer: StartTimer;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onStop: OnStop;
  /** Begins; calls back when done, perhaps at once. Returns how to stop. */
  begin(done: () => void): () => void;
  /** What to reject with after the time. */
  late(): Error;
}

/** Resolves when what is waited for has come; rejects when the time is up, with the signal's reason, or with `CLOSED`. */
export function waitFor({ startTimer, timeoutMs, signal, onStop, begin, late }: Wait): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    let isDone = false;
    const stops: (() => void)[] = [];
    const end = (then: () => void): void => {
      if (isDone) return;
      isDone = true;
      stopTimer();
      signal?.removeEventListener("abort", abort);
      for (const stop of stops) stop();
      then();
    };
    const abort = (): void => end(() => reject(signal?.reason));
    const stopTimer = startTimer(timeoutMs, () => end(() => reject(late())));
    signal?.addEventListener("abort", abort, { once: true });
    stops.push(onStop(() => end(() => reject(closed()))));
    const stop = begin(() => end(resolve));
    if (isDone) stop();
    else stops.push(stop);
  });
}

/** Settles as the promise does, or before it with the signal's reason, or with `CLOSED`. */
export function unless<Result>(
  promise: Promise<Result>,
  signal: AbortSignal | undefined,
  onStop?: OnStop,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal?.reason);
    if (signal?.aborted) return abort();
    signal?.addEventListener("abort", abort, { once: true });
    const stopped = onStop?.(() => reject(closed()));
    promise.then(resolve, reject).finally(() => {
      signal?.removeEventListener("abort", abort);
      stopped?.();
    });
  });
}

/**
 * What `begin` calls back with, perhaps at once. When the time is up, the signal fires or the node closes, it is stopped,
 * and calls back with what there is by then.
 */
export function gather<Result>(
  { timeoutMs, signal, onStop }: Pick<Wait, "timeoutMs" | "signal" | "onStop">,
  begin: (done: (result: Result) => void) => () => void,
): Promise<Result> {
  return new Promise((resolve) => {
    let stop = (): void => {};
    const onEnd = (): void => stop();
    const timer = setTimeout(onEnd, timeoutMs);
    signal?.addEventListener("abort", onEnd, { once: true });
    const stopped = onStop(onEnd);
    stop = begin((result) => {
      clearTimeout(timer);
      stopped();
      signal?.removeEventListener("abort", onEnd);
      resolve(result);
    });
    if (signal?.aborted) stop();
  });
}
