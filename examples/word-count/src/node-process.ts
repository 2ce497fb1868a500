/** A node process: runs one {@link CountingNode} for the parent process that forked it. */
import { CountingNode } from "./counting-node.ts";
import type { CallMessage, NodeMessage } from "./messages.ts";

const node = new CountingNode({
  onProgress: (progress) => send({ kind: "progress", progress }),
  onNotice: (code, message) => send({ kind: "notice", code, message }),
  onFailure: fail,
});

let isStopped = false;

process.on("message", (call: CallMessage) => void answer(call));
// Ctrl-C in a terminal reaches every process: the parent decides what it means.
process.on("SIGINT", () => {});
// The parent has gone. After a stop nothing is left that keeps the process alive.
process.on("disconnect", () => {
  if (!isStopped) process.exit(1);
});
process.on("uncaughtException", fail);

async function answer({ id, method, args }: CallMessage): Promise<void> {
  try {
    const perform = node[method] as (...args: readonly unknown[]) => Promise<unknown>;
    const result = await perform.apply(node, [...args]);
    send({ kind: "result", id, result });
    if (method === "stop") {
      isStopped = true;
      process.disconnect();
    }
  } catch (error) {
    send({ kind: "failed", id, message: describe(error) });
  }
}

function fail(error: unknown): void {
  send({ kind: "failed", message: describe(error) });
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function send(message: NodeMessage): void {
  if (process.connected) process.send?.(message);
}
