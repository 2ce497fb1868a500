/** Checks for suites that run under any runner. */

/** What a suite needs of a test runner: `vitest`, `node:test`, `mocha` all have it. */
export interface SuiteRunner {
  describe(name: string, body: () => void): void;
  it(name: string, body: () => Promise<void>): void;
}

/** Throws unless both print alike as JSON; bytes as arrays of numbers, `undefined` as itself. */
export function equal(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [print(actual), print(expected)];
  if (a !== b) throw new Error(`${what}: ${a.slice(0, 500)} instead of ${b.slice(0, 500)}`);
}

export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** Throws unless `task` fails with this `code`; "TypeError" stands for that class. */
export async function fails(code: string, task: () => Promise<unknown>): Promise<Error> {
  let result: unknown;
  try {
    result = await task();
  } catch (error) {
    if (!(error instanceof Error)) throw new Error(`it threw ${String(error)}, which is no Error`, { cause: error });
    const actual = "code" in error ? error.code : error.name;
    if (actual === code) return error;
    throw new Error(`it failed with ${String(actual)} (${error.message}) instead of ${code}`, { cause: error });
  }
  throw new Error(`it resolved with ${print(result)} instead of failing with ${code}`);
}

export async function collect<Item>(pages: AsyncIterable<readonly Item[]>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const page of pages) {
    if (page.length === 0) throw new Error("a page is empty");
    items.push(...page);
  }
  return items;
}

function print(value: unknown): string {
  return (
    JSON.stringify(value, (_, part: unknown) => {
      if (part instanceof Uint8Array) return `bytes ${part.subarray(0, 64).join()} (${part.length})`;
      return part === undefined ? "undefined" : part;
    }) ?? "undefined"
  );
}
