import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Row {
  readonly codes: readonly string[];
  readonly means: string;
  readonly advice: string;
}

/** The tables of the document by the heading above them. */
function readTables(): Map<string, Row[]> {
  const tables = new Map<string, Row[]>();
  for (const section of readFileSync(join(root, "docs/errors.md"), "utf8").split(/^## /m).slice(1)) {
    const rows = [...section.matchAll(/^\| (`.*?) \| (.*?) \| (.*?) \|$/gm)].map(([, codes, means, advice]) => ({
      codes: [...(codes ?? "").matchAll(/`([A-Z_]+)`/g)].map(([, code]) => code ?? ""),
      means: means ?? "",
      advice: advice ?? "",
    }));
    tables.set(section.slice(0, section.indexOf("\n")), rows);
  }
  return tables;
}

const tables = readTables();
/** Of the command line alone; they stand below the server's. */
const OWN_CODES: readonly string[] = ["DIVERGENT", "UNREACHABLE"];

function documented(heading: string): string[] {
  return (tables.get(heading) ?? []).flatMap(({ codes }) => codes).toSorted();
}

/** What ships: no tests and nothing that only tests use. */
function* sources(): Generator<string> {
  for (const folder of readdirSync(join(root, "packages"))) {
    const source = join(root, "packages", folder, "src");
    for (const file of readdirSync(source, { recursive: true, encoding: "utf8" })) {
      if (/^testing\b|\.test(-support)?\.ts$/.test(file) || !file.endsWith(".ts")) continue;
      yield readFileSync(join(source, file), "utf8");
    }
  }
}

function found(pattern: RegExp): string[] {
  const codes = new Set<string>();
  for (const text of sources()) for (const [, code] of text.matchAll(pattern)) codes.add(code ?? "");
  return [...codes].toSorted();
}

/** The members of a union of string literals. */
function union(text: string, name: string): string[] {
  const body = new RegExp(`type ${name} =(.*?");$`, "ms").exec(text)?.[1] ?? "";
  return [...body.matchAll(/\| "([A-Z_]+)"/g)].map(([, code]) => code ?? "").toSorted();
}

describe("docs/errors.md", () => {
  test.each([
    ["CrdtError", "crdt"],
    ["StorageError", "storage"],
    ["ReplicationError", "replication"],
    ["ServerError", "server"],
  ])("lists every code of %s, and no other", (name, folder) => {
    const text = readFileSync(join(root, "packages", folder, "src/error.ts"), "utf8");
    const codes = union(text, `${name}Code`);
    expect(codes.length).toBeGreaterThan(2);
    const own = documented(name).filter((code) => !OWN_CODES.includes(code));
    expect(own).toEqual(codes);
    for (const thrown of found(new RegExp(`new ${name}\\(\\s*"([A-Z_]+)"`, "g"))) expect(codes).toContain(thrown);
  });

  test("lists every code of the command line", () => {
    const codes = found(/new CliError\(\s*[^,]+,\s*"([A-Z_]+)"/g);
    expect(codes).toContain("UNREACHABLE");
    const known = ["CrdtError", "StorageError", "ReplicationError", "ServerError"].flatMap(documented);
    expect(codes.filter((code) => !known.includes(code))).toEqual([]);
  });

  test("lists every notice that the sources raise, and no other", () => {
    const raised = found(/otice\(\s*"([A-Z_]+)"/g);
    expect(raised.length).toBeGreaterThan(10);
    const notices = documented("Notices");
    expect(raised.filter((code) => !notices.includes(code))).toEqual([]);
    // A failed dial is raised under the code of its error.
    const dialling = ["BAD_ADDRESS", "CLOSED", "DIAL_FAILED", "NOT_ADMITTED"];
    expect(notices.filter((code) => !raised.includes(code) && !dialling.includes(code))).toEqual([]);
  });

  test("says of each code what it means and what to do", () => {
    for (const rows of tables.values()) {
      for (const { codes, means, advice } of rows) {
        expect(codes.length, `codes of: ${means}`).toBeGreaterThan(0);
        expect(means, `meaning of ${codes.join()}`).toMatch(/\w{3}.*\.$/);
        expect(advice, `advice for ${codes.join()}`).toMatch(means.startsWith("Reserved") ? /./ : /\w{3}.*\.$/);
      }
    }
  });

  test("lists each table in alphabetical order, once each", () => {
    for (const [heading, rows] of tables) {
      const own = rows.filter(({ codes }) => !codes.some((code) => OWN_CODES.includes(code)));
      const codes = own.flatMap((row) => row.codes);
      expect(new Set(codes).size, `codes under ${heading}`).toBe(codes.length);
      // Word by word, as one looks things up.
      const words = own.map((row) => (row.codes[0] ?? "").replaceAll("_", " "));
      expect(words, `codes under ${heading}`).toEqual(words.toSorted());
    }
  });
});
