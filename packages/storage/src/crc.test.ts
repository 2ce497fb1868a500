import { crc32 } from "node:zlib";
import { expect, it } from "vitest";
import { crcOf, crcOfText } from "./crc.ts";

it("a checksum is that of zlib, for every length and from every seed", () => {
  const bytes = Uint8Array.from({ length: 300 }, (_, index) => (index * 167 + (index >> 3)) & 255);
  for (let end = 0; end <= bytes.length; end++) {
    for (const seed of [0, end, 0x8000_0000 + end, 0xffff_ffff]) {
      expect(crcOf(bytes, end, seed)).toBe(crc32(bytes.subarray(0, end), seed));
    }
  }
  expect(crcOfText("tswords!sa!")).toBe(crc32("tswords!sa!"));
});
