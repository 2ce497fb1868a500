import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FRAME_BYTES_MAX } from "../transport.ts";
import {
  decodeDecision,
  decodeHello,
  encodeDecision,
  encodeFrames,
  encodeHello,
  FrameReader,
  FrameType,
  HEADER_BYTES,
  WireError,
  type Frame,
} from "./wire.ts";

function encode(frames: readonly Frame[]): Uint8Array {
  return encodeFrames(
    frames,
    frames.reduce((bytes, { body }) => bytes + HEADER_BYTES + body.length, 0),
  );
}

/** Pushes the bytes in pieces of the given sizes, round and round. */
function read(bytes: Uint8Array, sizes: readonly number[]): Frame[] {
  const reader = new FrameReader();
  const frames: Frame[] = [];
  for (let offset = 0, piece = 0; offset < bytes.length; piece++) {
    const size = sizes[piece % sizes.length] ?? 1;
    reader.push(bytes.subarray(offset, offset + size));
    offset += size;
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  }
  return frames;
}

/** Whether `decode` answers true or throws a WireError; any other error passes. */
function outcomeOf(decode: () => boolean): boolean {
  try {
    return decode();
  } catch (error) {
    if (error instanceof WireError) return true;
    throw error;
  }
}

const plain = (frames: readonly Frame[]): [number, number[]][] => frames.map(({ type, body }) => [type, [...body]]);

describe("frames", () => {
  it("come out as they went in, however the bytes are cut", () => {
    const frame = fc.record({
      type: fc.constantFrom(FrameType.data, FrameType.data, FrameType.hello),
      body: fc.uint8Array({ maxLength: 300 }),
    });
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (frames, sizes) => {
        expect(plain(read(encode(frames), sizes))).toEqual(plain(frames));
      }),
    );
  });

  it("own their bytes", () => {
    const bytes = encode([{ type: FrameType.data, body: Uint8Array.of(1, 2, 3) }]);
    const [frame] = read(bytes, [bytes.length]);
    bytes.fill(9);
    expect([...(frame?.body ?? [])]).toEqual([1, 2, 3]);
  });

  it("carry the largest body and no byte more", () => {
    const largest = { type: FrameType.data, body: new Uint8Array(FRAME_BYTES_MAX) };
    expect(read(encode([largest]), [50_000])[0]?.body.length).toBe(FRAME_BYTES_MAX);
    const larger = encode([{ type: FrameType.data, body: new Uint8Array(FRAME_BYTES_MAX + 1) }]);
    expect(() => read(larger.subarray(0, HEADER_BYTES), [HEADER_BYTES])).toThrow(WireError);
  });

  it.each([
    ["hello", FrameType.hello, 8_192],
    ["accept", FrameType.accept, 4],
    ["reject", FrameType.reject, 1],
    ["probe", FrameType.probe, 0],
    ["alive", FrameType.alive, 0],
    ["bye", FrameType.bye, 1],
  ])("of type %s keep to their limit", (_name, type, max) => {
    expect(read(encode([{ type, body: new Uint8Array(max) }]), [max + HEADER_BYTES])).toHaveLength(1);
    const header = encode([{ type, body: new Uint8Array(max + 1) }]).subarray(0, HEADER_BYTES);
    expect(() => read(header, [HEADER_BYTES])).toThrow(WireError);
  });

  it("end in nothing but frames or a WireError for any bytes", () => {
    const isFrame = ({ type, body }: Frame): boolean =>
      type >= FrameType.hello && type <= FrameType.bye && body.length <= FRAME_BYTES_MAX;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 50 }), (bytes, size) => {
        expect(outcomeOf(() => read(bytes, [size]).every(isFrame))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("a hello", () => {
  const incarnation = "00112233445566ff";

  it("survives a round trip", () => {
    const addresses = ["/ip4/127.0.0.1/tcp/1", "/dns4/ü.example/tcp/2"];
    expect(decodeHello(encodeHello(incarnation, addresses))).toEqual({ incarnation, addresses });
    expect(decodeHello(encodeHello(incarnation, []))).toEqual({ incarnation, addresses: [] });
  });

  it("leaves out what does not fit, and always fits its frame", () => {
    const addresses = Array.from({ length: 40 }, (_, index) => `/dns4/${"x".repeat(index * 20)}/tcp/1`);
    const hello = encodeHello(incarnation, addresses);
    expect(hello.length).toBeLessThanOrEqual(8_192);
    expect(decodeHello(hello).addresses).toEqual(addresses.slice(0, 16));
    const longest = Array.from({ length: 16 }, () => "x".repeat(480));
    expect(encodeHello(incarnation, longest).length).toBeLessThanOrEqual(8_192);
    expect(decodeHello(encodeHello(incarnation, ["x".repeat(481)])).addresses).toEqual([]);
  });

  it("of another version says only that", () => {
    const hello = encodeHello(incarnation, []);
    hello[4] = 2;
    expect(decodeHello(hello).incarnation).toBeUndefined();
  });

  it("throws a WireError or parses, whatever the bytes", () => {
    const valid = encodeHello(incarnation, ["/ip4/127.0.0.1/tcp/1"]);
    const mutated = fc.tuple(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length)).map(([at, value, end]) => {
      const bytes = Uint8Array.from(valid);
      bytes[at] = value;
      return bytes.subarray(0, end);
    });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 100 })), (bytes) => {
        expect(outcomeOf(() => decodeHello(bytes).addresses.length <= 16)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("a decision", () => {
  it("survives a round trip and has four bytes", () => {
    expect(decodeDecision(encodeDecision(4_000_000_000))).toBe(4_000_000_000);
    expect(() => decodeDecision(new Uint8Array(3))).toThrow(WireError);
  });
});
