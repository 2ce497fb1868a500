import { open } from "node:fs/promises";
import type { Input, InputFile, Share } from "./input.ts";
import { WORD_CHARACTERS_MAX, endOfLeadingRun, startOfTrailingRun } from "./words.ts";

const CHARACTER_BYTES_MAX = 4;
const LOOKAHEAD_BYTES = (WORD_CHARACTERS_MAX + 1) * CHARACTER_BYTES_MAX;

/** A part of one file. */
interface Piece {
  readonly file: InputFile;
  readonly from: number;
  readonly to: number;
}

/** Finds and reads the chunks of an input. Holds one chunk at a time. */
export class ChunkReader {
  readonly #input: Input;
  /** Where each file begins in the whole input. */
  readonly #begins: readonly number[];

  constructor(input: Input) {
    this.#input = input;
    let at = 0;
    this.#begins = input.files.map((file) => (at += file.bytes) - file.bytes);
  }

  /**
   * The texts in which the words of chunk number `ordinal` of a share stand. A word belongs to the chunk in which it
   * begins: each word of the input is in exactly one chunk, and in it whole.
   */
  async read(share: Share, ordinal: number): Promise<string[]> {
    const from = (ordinal * share.nodes + share.index) * this.#input.chunkBytes;
    const to = Math.min(from + this.#input.chunkBytes, this.#input.bytes);
    const texts: string[] = [];
    for (const piece of this.#pieces(from, to)) texts.push(await readPiece(piece));
    return texts;
  }

  *#pieces(from: number, to: number): Generator<Piece, void, undefined> {
    for (let index = this.#fileAt(from); index < this.#input.files.length; index++) {
      const begin = this.#begins[index];
      const file = this.#input.files[index];
      if (begin === undefined || file === undefined || begin >= to) return;
      const piece = { file, from: Math.max(from - begin, 0), to: Math.min(to - begin, file.bytes) };
      if (piece.from < piece.to) yield piece;
    }
  }

  /** The last file that begins at or before a byte of the input. */
  #fileAt(byte: number): number {
    let low = 0;
    let high = this.#begins.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#begins[middle] ?? Infinity) <= byte) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

async function readPiece({ file, from, to }: Piece): Promise<string> {
  const first = Math.max(0, from - CHARACTER_BYTES_MAX);
  const bytes = await readBytes(file.path, first, to + LOOKAHEAD_BYTES);
  const begin = characterStart(bytes, from - first, first);
  const end = characterStart(bytes, to - first, first);
  const before = decode(bytes.subarray(Math.max(0, begin - CHARACTER_BYTES_MAX), begin));
  const here = decode(bytes.subarray(begin, end));
  const behind = decode(bytes.subarray(end));
  // A word that began before this piece was counted there; one that begins here is read to its end.
  const text = endsInRun(before) ? here.slice(endOfLeadingRun(here)) : here;
  return endsInRun(text) ? text + behind.slice(0, endOfLeadingRun(behind)) : text;
}

function endsInRun(text: string): boolean {
  return startOfTrailingRun(text) < text.length;
}

/** The first byte at or behind `at` that begins a UTF-8 character; beginnings of files always do. */
function characterStart(bytes: Buffer, at: number, first: number): number {
  if (first + at === 0) return at;
  let start = at;
  while (start < at + CHARACTER_BYTES_MAX - 1 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++;
  return Math.min(start, bytes.length);
}

/** Bytes that are no UTF-8 become replacement characters, which are in no word. */
function decode(bytes: Buffer): string {
  return bytes.toString("utf8");
}

async function readBytes(path: string, from: number, to: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafe(to - from);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, from + length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return buffer.subarray(0, length);
  } finally {
    await file.close();
  }
}
