import { type FileHandle, open } from "node:fs/promises";

const CHUNK_BYTES = 1 << 20;
const ZEROS = new Uint8Array(CHUNK_BYTES);
/** A file grows by this part of itself, within these bounds, so that it seldom has to. */
const GROWTH_PART = 8;
const GROWTH_BYTES_MIN = 1 << 20;
const GROWTH_BYTES_MAX = 64 << 20;

/**
 * A file whose space is taken before an engine writes there, so that it is this class that meets a full disk and not
 * the engine. Space is taken by writing zeros behind the end, which a sparse file would not do.
 *
 * File systems that write every change to a new place (btrfs, ZFS) can still run out of space at any write.
 */
export class ReservedFile implements AsyncDisposable {
  readonly handle: FileHandle;
  #bytes: number;

  private constructor(handle: FileHandle, bytes: number) {
    this.handle = handle;
    this.#bytes = bytes;
  }

  /** Opens a file, and makes it if there is none. */
  static async open(path: string): Promise<ReservedFile> {
    const file = await open(path, "a+", 0o600).then(async (made) => {
      await made.close();
      return await open(path, "r+");
    });
    return new ReservedFile(file, (await file.stat()).size);
  }

  /** Takes the space below `bytes`. Fails with `ENOSPC` and leaves the file as it was. Nobody else may write meanwhile. */
  async reserve(bytes: number): Promise<void> {
    if (bytes <= this.#bytes) return;
    this.#bytes = Math.max(this.#bytes, (await this.handle.stat()).size);
    if (bytes <= this.#bytes) return;
    const growth = Math.min(Math.max(this.#bytes / GROWTH_PART, GROWTH_BYTES_MIN), GROWTH_BYTES_MAX);
    // All that is left may be less than what would be convenient, and still be enough.
    await this.#extend(bytes + Math.ceil(growth)).catch(() => this.#extend(bytes));
  }

  async #extend(bytes: number): Promise<void> {
    try {
      for (let at = this.#bytes; at < bytes;) {
        const { bytesWritten } = await this.handle.write(ZEROS, 0, Math.min(CHUNK_BYTES, bytes - at), at);
        at += bytesWritten;
      }
    } catch (error) {
      await this.handle.truncate(this.#bytes);
      throw error;
    }
    this.#bytes = bytes;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
