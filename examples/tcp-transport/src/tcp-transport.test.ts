import { readFile } from "node:fs/promises";
import { type Node, createNode, gCounter, memoryStorage } from "coppice";
import { transportSuite } from "coppice/testing";
import { describe, expect, it } from "vitest";
import { TcpTransport } from "./tcp-transport.ts";

describe("the TCP transport", () => {
  transportSuite({
    describe,
    it,
    create: () => ({
      transport: (_name, { allow, at }) => new TcpTransport({ allow, port: Number(at?.split(":").at(-1) ?? 0) }),
      deadAddress: "tcp:127.0.0.1:1",
    }),
  });

  it("carries what nodes write while links break, to the last event", async () => {
    const start = (): Promise<Node> => createNode({ types: [gCounter], transport: new TcpTransport({ allow: "any" }) });
    await using a = await start();
    await using b = await start();
    await b.connect(a.addresses()[0] ?? "");
    const [onA, onB] = [await a.open("views", gCounter), await b.open("views", gCounter)];
    for (let round = 0; round < 20; round++) {
      for (const counter of [onA, onB]) for (let index = 0; index < 500; index++) counter.mutate((c) => c.increment(1));
      // Frames are on their way in both directions.
      await new Promise((resolve) => setTimeout(resolve, 3));
      await (round % 2 === 0 ? a.disconnect(b.id) : b.disconnect(a.id));
      await (round % 3 === 0 ? a.connect(b.addresses()[0] ?? "") : b.connect(a.addresses()[0] ?? ""));
    }
    await expect.poll(() => [onA.value(), onB.value()]).toEqual([20_000, 20_000]);
    expect(onA.digest()).toBe(onB.digest());
  });

  it("finds the peers of its last run again under the id that it had", async () => {
    await using a = await createNode({ types: [gCounter], transport: new TcpTransport({ allow: "any" }) });
    const storage = memoryStorage();
    const start = (): Promise<Node> =>
      createNode({ types: [gCounter], storage, transport: new TcpTransport({ allow: "any" }) });
    const first = await start();
    await first.connect(a.addresses()[0] ?? "");
    await first.close();
    await using second = await start();
    expect(second.id).toBe(first.id);
    await expect.poll(() => second.peers().map(({ id }) => id)).toEqual([a.id]);
  });
});

it("docs/own-transports.md shows what is tested here", async () => {
  const [page, test] = await Promise.all(
    ["../../../docs/own-transports.md", "tcp-transport.test.ts"].map((path) =>
      readFile(new URL(path, import.meta.url), "utf8"),
    ),
  );
  const blocks = [...(page ?? "").matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
  expect(blocks).toHaveLength(2);
  const flat = (code = ""): string => code.replaceAll(/\s+/g, " ").trim();
  for (const block of blocks) expect(flat(test)).toContain(flat(block));
});
