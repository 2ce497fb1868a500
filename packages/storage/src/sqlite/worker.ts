/** The thread of one database: it does one request after the other, and answers each. */
import { parentPort, workerData } from "node:worker_threads";
import { SqliteEngine, type SqliteModule } from "./engine.ts";
import type { Answer, Request } from "./thread.ts";

/** Larger values go over without being copied. */
const COPIED_BYTES_MAX = 16 << 10;

// A variable, so that neither the compiler nor a bundler looks for the module where it does not exist.
const specifier = "node:sqlite";
let engine: SqliteEngine | undefined;

async function run({ method, args }: Request): Promise<unknown> {
  if (method === "open") {
    engine = new SqliteEngine((await import(specifier)) as SqliteModule, (workerData as { path: string }).path);
    return undefined;
  }
  if (engine === undefined) throw new Error("the database is not open");
  return (engine[method] as (...values: unknown[]) => unknown).apply(engine, args);
}

function failure(error: unknown): { message: string; code: unknown } {
  if (!(error instanceof Error)) return { message: String(error), code: undefined };
  return { message: error.message, code: "code" in error ? error.code : undefined };
}

/** The memory of large values in an answer, which then moves instead of being copied. */
function movable(value: unknown): ArrayBuffer[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((item: Uint8Array | { value?: Uint8Array } | undefined) => {
    const bytes = item instanceof Uint8Array ? item : item?.value;
    return bytes !== undefined && bytes.length > COPIED_BYTES_MAX ? [bytes.buffer as ArrayBuffer] : [];
  });
}

parentPort?.on("message", (request: Request) => {
  run(request).then(
    (value) => parentPort?.postMessage({ id: request.id, value } satisfies Answer, movable(value)),
    (error: unknown) => parentPort?.postMessage({ id: request.id, failure: failure(error) } satisfies Answer),
  );
});
