import { open, readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";

/** One file to count. */
export interface InputFile {
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/**
 * What is to be counted: files, one behind the other, cut into chunks of `chunkBytes`. Chunk n covers the bytes from
 * n · `chunkBytes` on, wherever the files begin and end, so a number of chunks is an exact place to resume from.
 */
export interface Input {
  readonly files: readonly InputFile[];
  readonly bytes: number;
  readonly chunkBytes: number;
  readonly chunks: number;
}

/** Which chunks a node counts: each `nodes`-th, beginning with its own number. */
export interface Share {
  readonly index: number;
  readonly nodes: number;
}

const SKIPPED_FOLDERS = new Set(["node_modules", "dist", "coverage"]);
const DOCUMENTS_AND_SOURCES = new Set([".md", ".ts", ".mjs", ".js", ".py", ".html", ".css"]);
const CHUNKS_WANTED = 600;
/** Fewer cannot be shared so that one node is stopped halfway. */
const CHUNKS_MIN = 12;
const CHUNK_BYTES_MAX = 64 * 1024;
const PROBE_BYTES = 4096;

/**
 * Finds the text files of a file or folder, in the order of their paths. Passes over hidden entries, `node_modules`,
 * `dist`, links and binary files. Throws for a path that does not exist or holds too little text.
 *
 * @param documentsAndSourcesOnly takes only files whose extension says that people write them
 */
export async function surveyInput(path: string, documentsAndSourcesOnly = false): Promise<Input> {
  const files: InputFile[] = [];
  let bytes = 0;
  for await (const file of textFiles(path, documentsAndSourcesOnly)) {
    files.push(file);
    bytes += file.bytes;
  }
  if (files.length === 0) throw new Error(`--input: ${path} holds no text file`);
  if (bytes < CHUNKS_MIN) {
    throw new Error(`--input: ${path} holds ${bytes} bytes of text; at least ${CHUNKS_MIN} are needed`);
  }
  const chunkBytes = Math.min(CHUNK_BYTES_MAX, Math.ceil(bytes / CHUNKS_WANTED));
  return { files, bytes, chunkBytes, chunks: Math.ceil(bytes / chunkBytes) };
}

/** How many chunks a node counts. */
export function chunksOf(input: Input, share: Share): number {
  return Math.ceil((input.chunks - share.index) / share.nodes);
}

/** Throws when a file is no longer what was surveyed: its words could not be compared with anything. */
export async function checkUnchanged(input: Input): Promise<void> {
  for (const file of input.files) {
    const now = await stat(file.path).catch(() => undefined);
    if (now?.size !== file.bytes || now.mtimeMs !== file.modifiedMs) {
      throw new Error(`${file.path} changed while it was being counted: start again when it is at rest`);
    }
  }
}

async function* textFiles(path: string, documentsAndSourcesOnly: boolean): AsyncGenerator<InputFile> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new Error(`--input: cannot read ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  });
  if (!found.isDirectory()) {
    if (!found.isFile()) throw new Error(`--input: ${path} is neither a file nor a folder`);
    if (!(await isText(path))) throw new Error(`--input: ${path} is no text file`);
    yield { path, bytes: found.size, modifiedMs: found.mtimeMs };
    return;
  }
  const entries = await readdir(path, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith(".")) continue;
    const inside = join(path, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED_FOLDERS.has(entry.name)) yield* textFiles(inside, documentsAndSourcesOnly);
    } else if (entry.isFile()) {
      if (documentsAndSourcesOnly && !DOCUMENTS_AND_SOURCES.has(extname(entry.name))) continue;
      if (await isText(inside)) yield* textFiles(inside, documentsAndSourcesOnly);
    }
  }
}

/** A file with a zero byte near its beginning is binary: the rule that git and grep go by. */
async function isText(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(PROBE_BYTES), 0, PROBE_BYTES, 0);
    return !buffer.subarray(0, bytesRead).includes(0);
  } finally {
    await file.close();
  }
}
