import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const main = fileURLToPath(new URL("dist/soak/main.js", import.meta.url));

it("links that break in every way leave equal nodes and no handles behind", { timeout: 120_000 }, async () => {
  // Too short to judge the heap, which the soak itself does over thousands.
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--expose-gc",
    main,
    "--reconnects",
    "56",
    "--heap",
    "off",
  ]);
  expect(stdout).toContain("nothing leaks");
  expect([...stdout.matchAll(/^ +8 {2}\S/gm)]).toHaveLength(7);
});
