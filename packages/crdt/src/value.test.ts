import { describe, expect, it } from "vitest";
import { Reader, Writer } from "./codec.ts";
import { CrdtError } from "./error.ts";
import { lwwRegister } from "./lww-register.ts";
import { Random, createReplicas } from "./testing/index.ts";
import { type Value, readValue, writeValue } from "./value.ts";

function encode(value: unknown): Uint8Array {
  const writer = new Writer();
  writeValue(writer, value);
  return writer.take();
}

function roundTrip(value: unknown): Value {
  const reader = new Reader(encode(value));
  const back = readValue(reader);
  reader.done();
  return back;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

interface Author {
  readonly name: string;
  readonly tags?: readonly string[];
}

interface Book {
  title: string;
  authors: Author[];
  printed: Date | null;
  sequels: Book[];
}

describe("types of values", () => {
  it("may be interfaces of values, and nothing that is refused when it is written", () => {
    const [shelf] = createReplicas(lwwRegister<Book>(), 1);
    const emma: Book = { title: "Emma", authors: [{ name: "Jane Austen" }], printed: null, sequels: [] };
    shelf?.mutate((book) => book.set(emma));
    const title: string | undefined = shelf?.value()?.title;
    expect(title).toBe("Emma");
    // @ts-expect-error -- a method
    lwwRegister<{ read: () => void }>();
    // @ts-expect-error -- a class
    lwwRegister<{ pages: Map<string, string> }>();
    // @ts-expect-error -- a symbol
    lwwRegister<{ id: symbol }>();
    // @ts-expect-error -- undefined
    lwwRegister<Book | undefined>();
  });
});

describe("values", () => {
  const samples: readonly [unknown, string][] = [
    [null, "00"],
    [false, "01"],
    [true, "02"],
    [0, "40"],
    [63, "7f"],
    [64, "0340"],
    [Number.MAX_SAFE_INTEGER, "03ffffffffffffff0f"],
    [-1, "0400"],
    [Number.MIN_SAFE_INTEGER, "04feffffffffffff0f"],
    [-0, "050000000000000080"],
    [1.5, "05000000000000f83f"],
    [Number.NaN, "05000000000000f87f"],
    [Number.POSITIVE_INFINITY, "05000000000000f07f"],
    ["", "80"],
    ["abc", "83616263"],
    ["é", "82c3a9"],
    ["x".repeat(64), `0640${"78".repeat(64)}`],
    [new Uint8Array([1, 2]), "07020102"],
    [0n, "0800"],
    [258n, "08020201"],
    [-1n, "0900"],
    [new Date(1), "0a000000000000f03f"],
    [[1, "a"], "0b02418161"],
    [{ a: null }, "0c01016100"],
  ];
  it.each(samples)("%o comes back exactly, and always has the same bytes", (value, bytes) => {
    expect(hex(encode(value))).toBe(bytes);
    expect(roundTrip(value)).toStrictEqual(value);
  });

  it("keeps __proto__ a plain key", () => {
    const value = JSON.parse('{"__proto__":{"polluted":1},"constructor":2}') as unknown;
    const back = roundTrip(value);
    expect(JSON.stringify(back)).toBe('{"__proto__":{"polluted":1},"constructor":2}');
    expect((back as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it("freezes what it reads", () => {
    const back = roundTrip({ list: [{}] }) as { list: object[] };
    expect(Object.isFrozen(back) && Object.isFrozen(back.list) && Object.isFrozen(back.list[0])).toBe(true);
  });

  it.each([
    [undefined, "undefined cannot be stored"],
    [{ a: [1, undefined] }, "(at .a[1])"],
    [{ a: () => 1 }, "(at .a)"],
    [[Symbol("s")], "(at [0])"],
    [{ a: new Map() }, "an instance of Map cannot be stored (at .a)"],
    [{ [Symbol("s")]: 1 }, "a symbol as a key"],
    [new Date(Number.NaN), "an invalid date"],
    ["\ud800", "lone surrogate"],
    [{ a: { "\udc00": 1 } }, "lone surrogate"],
    // eslint-disable-next-line no-sparse-arrays
    [[1, , 2], "(at [1])"],
  ])("refuses %o and names the path", (value, message) => {
    expect(() => encode(value)).toThrow(TypeError);
    expect(() => encode(value)).toThrow(message);
  });

  it("limits depth, cycles and size", () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    const limit = expect.objectContaining({ code: "LIMIT_EXCEEDED" }) as Error;
    expect(() => encode(cycle)).toThrow(limit);
    expect(() => encode("x".repeat(2 ** 20))).toThrow(limit);
    expect(() => encode(new Uint8Array(2 ** 21))).toThrow(limit);
    expect(() => encode(["x".repeat(2 ** 19), "x".repeat(2 ** 19)])).toThrow(limit);
  });

  it.each([
    "0300",
    "0340ff",
    "05000000000000f03f",
    "0601",
    "0801ff00",
    "08020100",
    "0bffff7f",
    "0c02016100016100",
    "c0",
    "0d",
  ])("refuses the bytes %s", (bytes) => {
    const reader = new Reader(Buffer.from(bytes, "hex"));
    expect(() => {
      readValue(reader);
      reader.done();
    }).toThrow(CrdtError);
  });

  it("reads random bytes or refuses them", () => {
    const random = new Random(7);
    let read = 0;
    for (let run = 0; run < 20_000; run++) {
      const bytes = random.bytes(1 + random.below(12));
      try {
        readValue(new Reader(bytes));
        read++;
      } catch (error) {
        if (!(error instanceof CrdtError)) throw error;
      }
    }
    expect(read).toBeGreaterThan(1000);
  });
});

it.each([0.5, -1.5, Number.NaN, 2 ** 52, -(2 ** 52) - 1])("a writer refuses the integer %s", (value) => {
  expect(() => new Writer().int(value)).toThrow(RangeError);
});
