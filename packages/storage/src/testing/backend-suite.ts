import { type Op, PAGE_BYTES, type StorageBackend } from "../backend.ts";
import { check, collect, equal, fails, type SuiteRunner } from "./checks.ts";
import { groupKeys } from "./group-keys.ts";

export type { SuiteRunner };

/** One fresh, empty place to store something. */
export interface SuiteSubject {
  /** A closed backend on this place. */
  readonly backend: StorageBackend;
  /** Another backend object on the same place; absent where nothing outlives the object. */
  readonly another?: () => StorageBackend;
  readonly cleanup?: () => Promise<void>;
}

export interface BackendSuiteOptions extends SuiteRunner {
  readonly name: string;
  readonly create: () => Promise<SuiteSubject>;
}

type Body = (backend: StorageBackend, subject: SuiteSubject) => Promise<void>;

/** What every storage backend must do. Registers its tests with the runner in `options`. */
export function backendSuite(options: BackendSuiteOptions): void {
  const test = (name: string, body: Body): void =>
    options.it(name, async () => {
      const subject = await options.create();
      try {
        await body(subject.backend, subject);
      } finally {
        await subject.backend.close();
        await subject.cleanup?.();
      }
    });
  const open = (name: string, body: Body): void =>
    test(name, async (backend, subject) => {
      await backend.open();
      await body(backend, subject);
    });
  options.describe(`backend suite: ${options.name}`, () => {
    lifecycle(test, open);
    keys(open);
    groups(open);
    scans(open);
    logs(open);
    writes(open);
    persistence(open);
  });
}

type Test = (name: string, body: Body) => void;

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const put = (key: string, ...values: number[]): Op => ({ op: "put", key, value: bytes(...values) });
const append = (log: string, seq: number, ...values: number[]): Op => ({
  op: "append",
  log,
  seq,
  value: bytes(...values),
});

/** Every operation that needs an open backend. */
const OPERATIONS: readonly [string, (backend: StorageBackend) => Promise<unknown>][] = [
  ["write", (backend) => backend.write([put("a", 1)])],
  ["empty write", (backend) => backend.write([])],
  ["synced write", (backend) => backend.write([put("a", 1)], { sync: true })],
  ["get", (backend) => backend.get("a")],
  ["getMany", (backend) => backend.getMany(["a", "b"])],
  ["scan", (backend) => collect(backend.scan())],
  ["readLog", (backend) => collect(backend.readLog("l", 0))],
  ["listLogs", (backend) => collect(backend.listLogs())],
  ["sync", (backend) => backend.sync()],
  ["readSecret", (backend) => backend.readSecret("key")],
  ["writeSecret", (backend) => backend.writeSecret("key", bytes(1))],
];

function lifecycle(test: Test, open: Test): void {
  for (const [name, run] of OPERATIONS) {
    test(`${name} fails with NOT_OPEN before open, while opening, while closing and after close`, async (backend) => {
      await fails("NOT_OPEN", () => run(backend));
      const opening = backend.open();
      await Promise.resolve();
      equal(backend.status, "opening", "status");
      await fails("NOT_OPEN", () => run(backend));
      await opening;
      const closing = backend.close();
      await Promise.resolve();
      equal(backend.status, "closing", "status");
      await fails("NOT_OPEN", () => run(backend));
      await closing;
      await fails("NOT_OPEN", () => run(backend));
    });
    test(`${name} works when open, and when open again`, async (backend) => {
      await backend.open();
      await run(backend);
      await backend.close();
      await backend.open();
      await run(backend);
    });
  }
  test("open and close are idempotent, in any order, and the last call decides", async (backend) => {
    await backend.close();
    await Promise.all([backend.open(), backend.open()]);
    equal(backend.status, "open", "status");
    await Promise.all([backend.close(), backend.close()]);
    equal(backend.status, "closed", "status");
    await Promise.all([backend.open(), backend.close(), backend.open()]);
    equal(backend.status, "open", "status");
    await backend[Symbol.asyncDispose]();
    equal(backend.status, "closed", "status");
  });
  test("open with a signal that has fired fails with ABORTED and leaves it closed", async (backend) => {
    await fails("ABORTED", () => backend.open({ signal: AbortSignal.abort() }));
    equal(backend.status, "closed", "status");
  });
  test("every operation at once, while it opens, closes and opens again, works or fails with NOT_OPEN", async (backend) => {
    const codes = new Set<string>();
    const all = (): Promise<void>[] =>
      OPERATIONS.map(async ([, run]) => {
        try {
          await run(backend);
        } catch (error) {
          codes.add((error as { code?: string }).code ?? String(error));
        }
      });
    const turns = [backend.open(), ...all()];
    for (let turn = 0; turn < 4; turn++) {
      turns.push(turn % 2 === 0 ? backend.close() : backend.open(), ...all());
      await turns[0];
      turns.push(...all());
    }
    await Promise.all(turns);
    equal([...codes], ["NOT_OPEN"], "codes");
    equal(backend.status, "open", "status");
    for (const [, run] of OPERATIONS) await run(backend);
  });
  open("close waits for writes under way", async (backend) => {
    const write = backend.write([put("a", 1)]);
    await backend.close();
    await write;
    await backend.open();
    equal(await backend.get("a"), bytes(1), "the value");
  });
  open("a scan under way fails with NOT_OPEN after close, and close does not wait for it", async (backend) => {
    await backend.write(manyPuts(2500));
    await fails("NOT_OPEN", async () => {
      for await (const _ of backend.scan()) await backend.close();
    });
  });
}

function keys(open: Test): void {
  open("get returns what was put, undefined for what was not", async (backend) => {
    await backend.write([put("a", 1, 2), put("empty")]);
    equal(await backend.get("a"), bytes(1, 2), "a");
    equal(await backend.get("empty"), bytes(), "an empty value");
    equal(await backend.get("b"), undefined, "a missing key");
    equal(await backend.getMany(["b", "a", "empty"]), [undefined, bytes(1, 2), bytes()], "many");
    equal(await backend.getMany([]), [], "none");
  });
  open("put replaces, del removes, and del of nothing is no error", async (backend) => {
    await backend.write([put("a", 1)]);
    await backend.write([put("a", 2), { op: "del", key: "b" }]);
    equal(await backend.get("a"), bytes(2), "a");
    await backend.write([{ op: "del", key: "a" }]);
    equal(await backend.get("a"), undefined, "a after del");
  });
  open("values are copies", async (backend) => {
    const value = bytes(1, 2, 3);
    await backend.write([
      { op: "put", key: "a", value },
      { op: "append", log: "l", seq: 0, value },
    ]);
    value[0] = 9;
    const read = await backend.get("a");
    equal(read, bytes(1, 2, 3), "what was stored");
    read?.fill(7);
    for (const entries of [await collect(backend.scan()), await collect(backend.readLog("l", 0))]) {
      equal(entries[0]?.value, bytes(1, 2, 3), "what is read again");
      entries[0]?.value.fill(7);
    }
    equal(await backend.get("a"), bytes(1, 2, 3), "what is read after a scan");
    equal((await collect(backend.readLog("l", 0)))[0]?.value, bytes(1, 2, 3), "the log entry");
  });
  open("a value that is a part of a larger buffer is stored alone", async (backend) => {
    await backend.write([{ op: "put", key: "a", value: bytes(1, 2, 3, 4).subarray(1, 3) }]);
    equal(await backend.get("a"), bytes(2, 3), "a");
  });
  open("large values come back whole", async (backend) => {
    const value = new Uint8Array(3_000_000).map((_, index) => index * 31 + (index >>> 8));
    await backend.write([
      { op: "put", key: "a", value },
      { op: "append", log: "l", seq: 0, value },
    ]);
    const read = await backend.get("a");
    check(read?.length === value.length && read.every((byte, index) => byte === value[index]), "it is another value");
    const [entry] = await collect(backend.readLog("l", 0));
    check(entry?.value.length === value.length, "the log entry is another value");
  });
  open("keys are 1 to 1024 characters of ASCII 0x21 to 0x7e", async (backend) => {
    for (const key of ["", "a b", "ä", "a\u0000", "\u007f", "k".repeat(1025)]) {
      await fails("TypeError", () => backend.get(key));
      await fails("TypeError", () => backend.write([put(key, 1)]));
      await fails("TypeError", () => backend.write([append(key, 0, 1)]));
    }
    const longest = "~".repeat(1024);
    await backend.write([put(longest, 1), append(longest, 0, 2)]);
    equal(await backend.get(longest), bytes(1), "the longest key");
    equal((await collect(backend.readLog(longest, 0))).length, 1, "the longest log");
  });
}

function groups(open: Test): void {
  open("group ids of every kind are apart, in order, and found by prefix, as keys and as logs", groupKeys);
}

function manyPuts(count: number): Op[] {
  return Array.from({ length: count }, (_, index) => put(`n${String(index).padStart(6, "0")}`, index & 255));
}

function scans(open: Test): void {
  open("a scan is ordered by the bytes of the keys, whatever the order of writing", async (backend) => {
    const order = ["!", "!!", "#", "0", "A", "a", "a!", "aa", "b", "~", "~~"];
    for (const key of [...order].reverse()) await backend.write([put(key, key.length)]);
    equal(
      (await collect(backend.scan())).map(({ key }) => key),
      order,
      "keys",
    );
    await backend.write([{ op: "del", key: "a" }, put("ab", 1)]);
    const prefixed = (await collect(backend.scan({ prefix: "a" }))).map(({ key }) => key);
    equal(prefixed, ["a!", "aa", "ab"], "keys with a prefix");
  });
  open("prefix, after and limit bound a scan", async (backend) => {
    await backend.write(["a", "b1", "b2", "b3", "c"].map((key) => put(key, 1)));
    const scan = async (options: Parameters<typeof backend.scan>[0]): Promise<string[]> =>
      (await collect(backend.scan(options))).map(({ key }) => key);
    equal(await scan({ after: "b1" }), ["b2", "b3", "c"], "after a key");
    equal(await scan({ after: "b11" }), ["b2", "b3", "c"], "after a missing key");
    equal(await scan({ prefix: "b", after: "b1" }), ["b2", "b3"], "prefix and after");
    equal(await scan({ prefix: "b", after: "a" }), ["b1", "b2", "b3"], "after below the prefix");
    equal(await scan({ prefix: "b", after: "c" }), [], "after above the prefix");
    equal(await scan({ limit: 2 }), ["a", "b1"], "limit");
    equal(await scan({ limit: 0 }), [], "limit 0");
    equal(await scan({ prefix: "b", limit: 1 }), ["b1"], "prefix and limit");
    equal(await scan({ prefix: "x" }), [], "a prefix without keys");
  });
  open("a scan goes in pages of at most 1000 and misses nothing", async (backend) => {
    await backend.write(manyPuts(2500));
    const seen: string[] = [];
    for await (const page of backend.scan({ prefix: "n" })) {
      check(page.length > 0 && page.length <= 1000, `a page of ${page.length}`);
      for (const { key, value } of page) {
        equal(value, bytes(seen.length & 255), key);
        seen.push(key);
      }
    }
    equal(seen.length, 2500, "entries");
    equal((await collect(backend.scan({ after: seen[999] as string }))).length, 1500, "entries after a page");
  });
  open("pages of large values hold 1 MiB or a little more", async (backend) => {
    const value = new Uint8Array(400_000);
    const numbers = Array.from({ length: 12 }, (_, index) => index);
    for (const seq of numbers) {
      await backend.write([
        { op: "put", key: `k${String(seq).padStart(2, "0")}`, value },
        { op: "append", log: "l", seq, value },
      ]);
    }
    for (const pages of [backend.scan(), backend.readLog("l", 0)]) {
      let count = 0;
      for await (const page of pages) {
        count += page.length;
        check(page.length <= 4, `a page of ${page.length} values of ${value.length} bytes`);
      }
      equal(count, numbers.length, "entries");
    }
    equal((await collect(backend.scan({ values: false }))).length, numbers.length, "keys");
  });
  open("values that each fill a page are all found", async (backend) => {
    const value = new Uint8Array(PAGE_BYTES + 1);
    for (let seq = 0; seq < 4; seq++) {
      await backend.write([
        { op: "put", key: `k${seq}`, value },
        { op: "append", log: "l", seq, value },
      ]);
    }
    const keys = async (options: Parameters<typeof backend.scan>[0]): Promise<string> =>
      (await collect(backend.scan(options))).map(({ key }) => key).join(" ");
    equal(await keys({}), "k0 k1 k2 k3", "all");
    equal(await keys({ after: "k0" }), "k1 k2 k3", "after a key");
    equal(await keys({ prefix: "k", limit: 3 }), "k0 k1 k2", "with a limit");
    equal((await collect(backend.readLog("l", 1))).map(({ seq }) => seq).join(" "), "1 2 3", "entries");
  });
  open("a scan without values has the keys, and empty values", async (backend) => {
    await backend.write([put("a", 1), put("b", 2)]);
    equal(
      await collect(backend.scan({ values: false })),
      [
        { key: "a", value: bytes() },
        { key: "b", value: bytes() },
      ],
      "entries",
    );
  });
  open("a scan can be left early, and stops when its signal fires", async (backend) => {
    await backend.write(manyPuts(2500));
    for await (const _ of backend.scan()) break;
    const controller = new AbortController();
    await fails("ABORTED", async () => {
      for await (const _ of backend.scan({ signal: controller.signal })) controller.abort();
    });
    equal((await collect(backend.scan())).length, 2500, "entries afterwards");
    await fails("ABORTED", () => collect(backend.readLog("l", 0, { signal: controller.signal })));
    await fails("ABORTED", () => collect(backend.listLogs({ signal: controller.signal })));
  });
  open("a scan takes writes during it", async (backend) => {
    await backend.write(manyPuts(2500));
    let count = 0;
    for await (const page of backend.scan({ prefix: "n" })) {
      count += page.length;
      await backend.write([put("o", 1), { op: "del", key: "n000000" }]);
    }
    equal(count, 2500, "entries");
  });
}

function logs(open: Test): void {
  open("a log gives its entries in order, from a number on", async (backend) => {
    await backend.write([append("l", 0, 10), append("l", 1, 11)]);
    await backend.write([append("l", 2, 12)]);
    equal(
      await collect(backend.readLog("l", 0)),
      [10, 11, 12].map((v, seq) => ({ seq, value: bytes(v) })),
      "entries",
    );
    equal(
      (await collect(backend.readLog("l", 2))).map(({ seq }) => seq),
      [2],
      "from 2",
    );
    equal(await collect(backend.readLog("l", 3)), [], "behind the end");
    equal(await collect(backend.readLog("k", 0)), [], "another log");
  });
  open("logs and keys of one name, and logs that begin alike, are apart", async (backend) => {
    await backend.write([put("l", 1), append("l", 0, 2), append("l!", 0, 3), append("l0", 0, 4), append("ll", 7, 5)]);
    equal(await backend.get("l"), bytes(1), "the key");
    equal(await collect(backend.readLog("l", 0)), [{ seq: 0, value: bytes(2) }], "the log");
    equal((await collect(backend.scan())).length, 1, "keys");
    const ranges = await collect(backend.listLogs());
    equal(
      ranges.map(({ log, first, last }) => `${log} ${first}-${last}`),
      ["l 0-0", "l! 0-0", "l0 0-0", "ll 7-7"],
      "logs",
    );
  });
  open("truncate removes a range and no more", async (backend) => {
    await backend.write(Array.from({ length: 10 }, (_, seq) => append("l", seq, seq)));
    await backend.write([{ op: "truncate", log: "l", from: 0, upto: 4 }]);
    equal(
      (await collect(backend.readLog("l", 0))).map(({ seq }) => seq),
      [4, 5, 6, 7, 8, 9],
      "after the first",
    );
    await backend.write([{ op: "truncate", log: "l", from: 8, upto: 20 }, append("l", 8, 88)]);
    equal(
      (await collect(backend.readLog("l", 7))).map(({ value }) => value[0]),
      [7, 88],
      "after the second",
    );
    await backend.write([
      { op: "truncate", log: "l", from: 4, upto: 9 },
      { op: "truncate", log: "x", from: 0, upto: 3 },
    ]);
    equal(await collect(backend.listLogs()), [], "logs once all is gone");
  });
  open("a long log is read in pages, with its numbers in numeric order", async (backend) => {
    await backend.write(Array.from({ length: 2500 }, (_, seq) => append("l", seq, seq & 255)));
    await backend.write([append("m", 4095, 1), append("m", 4096, 2), append("m", 2 ** 40, 3)]);
    const entries = await collect(backend.readLog("l", 0));
    check(entries.length === 2500 && entries.every(({ seq }, index) => seq === index), "a number is missing");
    equal(
      (await collect(backend.readLog("m", 0))).map(({ seq }) => seq),
      [4095, 4096, 2 ** 40],
      "numbers",
    );
    equal((await collect(backend.listLogs({ prefix: "l" })))[0], { log: "l", first: 0, last: 2499 }, "the range");
  });
}

function writes(open: Test): void {
  open("a write is all or nothing: a bad operation at its end, and nothing is written", async (backend) => {
    const bad: object[] = [{ op: "put", key: "b", value: "text" }, put("", 1), append("l", -1), append("l", 1.5)];
    bad.push({ op: "drop", key: "b", log: "l", value: bytes(1) });
    for (const op of bad) {
      await fails("TypeError", () => backend.write([put("a", 1), append("l", 0, 1), op as Op]));
    }
    equal(await backend.get("a"), undefined, "a");
    equal(await collect(backend.listLogs()), [], "logs");
  });
  open("the operations of a write take effect in order", async (backend) => {
    await backend.write([put("a", 1), { op: "del", key: "a" }, put("a", 2), put("b", 1), { op: "del", key: "b" }]);
    equal(await backend.getMany(["a", "b"]), [bytes(2), undefined], "values");
    await backend.write([append("l", 0, 1), { op: "truncate", log: "l", from: 0, upto: 1 }, append("l", 0, 2)]);
    equal(await collect(backend.readLog("l", 0)), [{ seq: 0, value: bytes(2) }], "entries");
  });
  open("readers see all of a write or none of it", async (backend) => {
    await backend.write([put("a", 0), put("b", 0)]);
    const writing = Array.from({ length: 50 }, (_, index) => backend.write([put("a", index), put("b", index)]));
    for (let round = 0; round < 50; round++) {
      const [a, b] = await backend.getMany(["a", "b"]);
      equal(a, b, "both values of a write");
    }
    await Promise.all(writing);
    equal(await backend.getMany(["a", "b"]), [bytes(49), bytes(49)], "what was written last");
  });
  open("a signal that has fired keeps a write from happening", async (backend) => {
    await fails("ABORTED", () => backend.write([put("a", 1)], { signal: AbortSignal.abort() }));
    equal(await backend.get("a"), undefined, "a");
  });
  open("many concurrent synced writes and barriers all succeed", async (backend) => {
    await Promise.all(
      Array.from({ length: 64 }, async (_, index) => {
        await backend.write([put(`k${index}`, index)], { sync: true });
        await backend.sync();
      }),
    );
    equal((await collect(backend.scan({ values: false }))).length, 64, "keys");
  });
  open("secrets are kept apart from keys", async (backend) => {
    equal(await backend.readSecret("key"), undefined, "a missing secret");
    await backend.writeSecret("key", bytes(1, 2));
    await backend.writeSecret("key", bytes(3, 4));
    equal(await backend.readSecret("key"), bytes(3, 4), "the secret");
    equal(await collect(backend.scan()), [], "keys");
    for (const name of ["", "../key", "a/b", ".", "Key"]) await fails("TypeError", () => backend.readSecret(name));
  });
}

function persistence(open: Test): void {
  open("everything is there when opened again, by another object where there can be one", async (backend, subject) => {
    await backend.write([...manyPuts(1200), append("l", 3, 1)]);
    await backend.writeSecret("key", bytes(5));
    await backend.close();
    const next = subject.another?.() ?? backend;
    await next.open();
    try {
      equal((await collect(next.scan())).length, 1200, "keys");
      equal(await collect(next.readLog("l", 0)), [{ seq: 3, value: bytes(1) }], "entries");
      equal(await next.readSecret("key"), bytes(5), "the secret");
    } finally {
      await next.close();
    }
  });
  open("a second opener fails with LOCKED and does no harm, until the first one closes", async (backend, subject) => {
    if (subject.another === undefined || backend.capabilities.lock === "none") return;
    await backend.write([put("a", 1)]);
    const second = subject.another();
    const error = await fails("LOCKED", () => second.open());
    check(error.message.includes(backend.name), `the message does not name the place: ${error.message}`);
    equal(await backend.get("a"), bytes(1), "the first one's value");
    await backend.close();
    await second.open();
    equal(await second.get("a"), bytes(1), "the value, read by the second");
    await second.close();
  });
}
