import { closeSync, fdatasyncSync, openSync, readFileSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";

/** The groups of a chapter: one of each kind, of a type each that shows loss, invention and resurrection in its own way. */
export const KINDS = ["map", "total", "words", "book", "set", "log"] as const;
export type Kind = (typeof KINDS)[number];

/** What a program asked for: a key or element that nobody else ever uses, or an amount. */
export type Wish =
  | { readonly kind: "map" | "book" | "log"; readonly key: string }
  | { readonly kind: "total"; readonly amount: number }
  | { readonly kind: "words"; readonly key: string; readonly amount: number }
  | { readonly kind: "set"; readonly key: string; readonly remove: boolean };

/** How far a write was acknowledged. What only the memory of some process has acknowledged may be lost with it. */
export type Level = "memory" | "log" | "sync" | "replica" | "durable-replica";

/** A write, as the files of its process tell. */
export interface Write {
  readonly chapter: number;
  readonly process: string;
  readonly wish: Wish;
  /** Undefined: never acknowledged, so it may be there or not. */
  level: Level | undefined;
}

interface Line {
  /** A number within the file. */
  readonly id: number;
  readonly chapter?: number;
  readonly wish?: Wish;
  readonly level?: Level;
}

/** One process' own record of what it did, kept apart from the code under test. */
export class Ledger {
  readonly #file: number;
  #last = 0;

  constructor(path: string) {
    this.#file = openSync(path, "a");
  }

  /** Noted before the write is made. */
  wish(chapter: number, wish: Wish): number {
    const id = ++this.#last;
    this.#append({ id, chapter, wish });
    return id;
  }

  /** Noted as soon as a write is acknowledged, and before its program goes on. */
  acknowledged(id: number, level: Level): void {
    this.#append({ id, level });
    if (level === "sync" || level === "durable-replica") fdatasyncSync(this.#file);
  }

  close(): void {
    closeSync(this.#file);
  }

  /** One system call: a line is in the file or not, whatever happens to the process. */
  #append(line: Line): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** Every write of a chapter, from the files of all processes. */
export function readLedgers(folder: string, chapter: number): Write[] {
  const writes: Write[] = [];
  for (const name of readdirSync(folder).sort()) {
    const byId = new Map<number, Write>();
    for (const text of readFileSync(join(folder, name), "utf8").split("\n")) {
      if (text === "") continue;
      const line = JSON.parse(text) as Line;
      if (line.wish !== undefined && line.chapter !== undefined) {
        byId.set(line.id, { chapter: line.chapter, process: name, wish: line.wish, level: undefined });
      } else {
        const write = byId.get(line.id);
        if (write !== undefined) write.level = line.level;
      }
    }
    for (const write of byId.values()) if (write.chapter === chapter) writes.push(write);
  }
  return writes;
}
