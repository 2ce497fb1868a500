/** Files of exported groups, as they come in and go to the disk. */
import { open, stat } from "node:fs/promises";
import { parseGroupId } from "@coppice/storage";
import { isServed, unlessLost } from "./client.ts";
import { type ClientOptions, connect } from "./context.ts";
import { CliError, EXIT } from "./failure.ts";
import { interruptible } from "./interrupt.ts";
import { type Streams, counted, formatBytes } from "./output.ts";
import { withProgress } from "./progress.ts";
import { STANDARD, isStandardOutput, writeWhole } from "./written-file.ts";

const HEADER_BYTES = 8;
const LENGTH_BYTES = 4;

export interface ExportOptions extends ClientOptions {
  readonly prefix?: string;
}

/** Writes groups into a file and says what it wrote; a backup has their histories, too. */
export async function exportTo(
  file: string,
  options: ExportOptions,
  { streams, history = false }: { readonly streams: Streams; readonly history?: boolean },
): Promise<void> {
  let groups = 0;
  const bytes = await withProgress(streams, options, [history ? "backing up" : "exporting", "groups"], (progress) =>
    interruptible(async (signal) => {
      const { chunks, total } = await exported(options, signal, history);
      const told = countBlocks(chunks, (blocks, done) => {
        groups = blocks;
        progress.tell(blocks, total, done);
      });
      return await writeWhole(file, told, signal);
    }),
  );
  const text = `${file}: ${counted(groups, "group")}, ${formatBytes(bytes)}\n`;
  const tell = isStandardOutput(file) ? streams.err : streams.out;
  tell(options.json === true ? `${JSON.stringify({ file, bytes, groups })}\n` : text);
}

/** How large a file is; 0 of a pipe. Fails when it is not there, or may not be read. */
export async function readableSize(path: string): Promise<number> {
  // A pipe is opened once.
  if (path === STANDARD || !(await stat(path)).isFile()) return 0;
  const file = await open(path);
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

/** Passes an export on and tells how many of its blocks have gone by: see `export-format.ts` for their frames. */
async function* countBlocks(
  chunks: AsyncIterable<Uint8Array>,
  tell: (blocks: number, bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let blocks = 0;
  let bytes = 0;
  /** Where the next block's length begins, counted from the start of the next chunk; and the length's bytes so far. */
  let skip = HEADER_BYTES;
  let length = 0;
  let lengthBytes = 0;
  for await (const chunk of chunks) {
    let at = 0;
    while (at < chunk.length) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.length - at);
        skip -= step;
        at += step;
        continue;
      }
      length += (chunk[at] ?? 0) * 256 ** lengthBytes;
      at++;
      if (++lengthBytes < LENGTH_BYTES) continue;
      skip = length;
      length = 0;
      lengthBytes = 0;
      blocks++;
    }
    bytes += chunk.length;
    // The last one has only begun.
    tell(Math.max(0, blocks - 1), bytes);
    yield chunk;
  }
}

/** From the node when one runs, else from its directory; and how many groups there are, when that is known. */
async function exported(
  options: ExportOptions,
  signal: AbortSignal,
  history: boolean,
): Promise<{ readonly chunks: AsyncIterable<Uint8Array>; readonly total?: number }> {
  const { data, url, prefix } = options;
  if (url === undefined && data !== undefined && !(await isServed(data))) {
    const { exportDirectory } = await import("../daemon/offline.ts");
    const selection = prefix === undefined ? {} : { prefix: parseGroupId(prefix) };
    return { chunks: exportDirectory(data, { history, signal, ...selection }) };
  }
  const client = await connect(options);
  const { groups } = await client.request<{ readonly groups: number }>("GET", "/v1/status");
  const query = new URLSearchParams({ history: String(history), ...(prefix === undefined ? {} : { prefix }) });
  const { body } = await client.stream(`/v1/export?${query.toString()}`);
  if (body === null) throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node answered without a stream");
  const chunks = unlessLost(body);
  return prefix === undefined ? { chunks, total: groups } : { chunks };
}
