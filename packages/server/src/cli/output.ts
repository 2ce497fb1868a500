/** Where a command writes, and for whom. */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether a person reads `out`. */
  readonly isTerminal: boolean;
  /** Whether a person sees `err`. */
  readonly isErrTerminal: boolean;
}

const FIGURE = /^\d+(?:\.\d)? (?:[KMGT]i)?B$/;

/** A table with aligned columns, for people: numbers and sizes to the right, the rest to the left, no trailing spaces. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) =>
    lines.reduce((widest, line) => Math.max(widest, String(line[column] ?? "").length), 0),
  );
  const numeric = head.map((_, column) => rows.length > 0 && rows.every((row) => isFigure(row[column])));
  return lines
    .map((line) =>
      line
        .map((cell, column) => {
          const width = widths[column] ?? 0;
          return numeric[column] === true ? String(cell).padStart(width) : String(cell).padEnd(width);
        })
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function isFigure(cell: string | number | undefined): boolean {
  return typeof cell === "number" || FIGURE.test(cell ?? "");
}

/** So many of something, for people: `1 group`, `100,000 groups`. */
export function counted(count: number, noun: string): string {
  return `${figure(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `100,000`. */
export function figure(count: number): string {
  return count.toLocaleString("en");
}

/** What became of how many: `5 imported, 1,000 present`. */
export function tally(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${figure(count)} ${name}`)
    .join(", ");
}

/** A value for people: text and numbers as they are, anything else as indented JSON. */
export function display(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value, undefined, 2);
}

const KIB = 1024;

/** Bytes for people: `512 B`, `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let amount = bytes;
  let unit = 0;
  while (amount >= KIB && unit < units.length - 1) {
    amount /= KIB;
    unit++;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`;
}

/** Control characters in names from elsewhere must not reach a terminal, nor what turns the direction of writing. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, (char) => {
    const code = char.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, "0")}`;
  });
}
