import { TLSSocket } from "node:tls";
import { afterEach, expect, it, vi } from "vitest";
import { linked } from "../testing/test-peer.ts";
import { Lab } from "./lab.test-support.ts";

const lab = new Lab();
afterEach(() => lab.close());

it("a frame and what stands before it are written at once", async () => {
  const a = await lab.start();
  const b = await lab.start();
  await a.transport.connect(b.address);
  await linked(a, b);
  const write = vi.spyOn(TLSSocket.prototype, "write");
  a.transport.send(a.linkTo(b), Uint8Array.of(1, 2, 3));
  const sizes = write.mock.calls.map(([bytes]) => bytes.length);
  write.mockRestore();
  expect(sizes).toEqual([12 + 4 + 3]);
});
