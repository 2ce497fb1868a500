import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { Client } from "./client.ts";

test.each([
  ["is killed", true],
  ["ends", false],
])("long work whose node %s is lost with it", async (_name, isKilled) => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write('event: progress\ndata: {"done": 1, "total": 9}\n\n', () => {
      if (isKilled) response.destroy();
      else response.end();
    });
  });
  onTestFinished(() => void server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new Client({ url, token: "text", timeoutMs: 5000 });
  const work = client.work("/v1/verifications", {}, () => undefined);
  await expect(work).rejects.toMatchObject({ status: 3, code: "UNREACHABLE" });
});
