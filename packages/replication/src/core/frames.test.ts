import { describe, expect, it } from "vitest";
import { FRAME_BYTES_MAX } from "../transport.ts";
import { packFrames, unpackFrame } from "./frames.ts";
import { decodeMessage, encodeMessage } from "./message-codec.ts";
import type { Message } from "./messages.ts";

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => (typeof part === "number" ? [part] : [...Buffer.from(part)])));

function pack(messages: readonly Uint8Array[]): Uint8Array[] {
  let id = 0;
  return packFrames(messages, () => id++);
}

describe("a frame", () => {
  it("unpacks to the messages it was packed from, whatever they share", () => {
    const messages = [
      bytes(7, "group-000001"),
      bytes(3, "group-000001", "an event"),
      bytes(7, "group-000002"),
      bytes(7, "group-000002"),
      bytes(7, "group"),
      bytes(7),
      bytes(3, "group-000002", "an event"),
      bytes(3, "x".repeat(600), "a"),
      bytes(3, "x".repeat(600), "b"),
    ];
    expect(pack(messages).flatMap(unpackFrame)).toEqual(messages);
  });

  it("says what messages of a kind begin with only once", () => {
    const messages = Array.from({ length: 100 }, (_, index) => bytes(7, "x".repeat(200), index));
    expect(pack(messages)[0]?.length).toBeLessThan(100 * 4 + 210);
  });

  it("stands alone: nothing in it refers to another frame", () => {
    const messages = Array.from({ length: 5 }, (_, index) => bytes(7, "x".repeat(FRAME_BYTES_MAX / 2 - 100), index));
    const frames = pack(messages);
    expect(frames.length).toBeGreaterThan(1);
    expect(frames.toReversed().flatMap(unpackFrame)).toHaveLength(messages.length);
    expect(frames.flatMap(unpackFrame)).toEqual(messages);
  });

  it("that shares more than there is, is malformed", () => {
    expect(() => unpackFrame(bytes(1, 7, 1, 0))).toThrow(/last one of its kind/);
    expect(() => unpackFrame(bytes(1, 7, 0, 1, "a", 7, 2, 0))).toThrow(/last one of its kind/);
    expect(() => unpackFrame(bytes(1, 7, 0, 1, "a", 3, 1, 0))).toThrow(/last one of its kind/);
  });
});

it("a domain that no group could be of is refused", () => {
  const more = (domain: string): Message => ({ kind: "more", domain, version: 0, from: 0, upto: 0 });
  expect(decodeMessage(encodeMessage(more("d".repeat(512))))).toEqual(more("d".repeat(512)));
  expect(() => decodeMessage(encodeMessage(more("d".repeat(513))))).toThrow("too long");
});
