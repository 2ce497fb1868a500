import { setMaxListeners } from "node:events";
import { CliError, EXIT } from "./failure.ts";

/**
 * Runs work that an interrupt (Ctrl-C, SIGTERM) ends in order: its signal fires, and what it throws then becomes one
 * error of status 130. A second interrupt ends the process.
 */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  // One listener for each of many requests is no leak.
  setMaxListeners(0, controller.signal);
  const onSignal = (): void => controller.abort(new CliError(EXIT.interrupted, "ABORTED", "interrupted"));
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
