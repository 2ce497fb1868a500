import { once } from "node:events";
import { request as httpsRequest } from "node:https";
import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { builtinTypes } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { type Gateway, type GatewayOptions, startGateway } from "./gateway.ts";
import { CERT, KEY } from "./tls.test-support.ts";

const TOKEN = "t".repeat(43);

async function start(options: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const node = await createNode({ types: builtinTypes });
  onTestFinished(() => node.close());
  const tokens = new Map([[TOKEN, "admin"]] as const);
  const gateway = await startGateway({ node, types: builtinTypes, tokens, tls: { cert: CERT, key: KEY }, ...options });
  onTestFinished(() => gateway.close());
  return gateway;
}

function status(gateway: Gateway, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const all = { authorization: `Bearer ${TOKEN}`, ...headers };
    const url = gateway.url.replace("0.0.0.0", "127.0.0.1");
    const about = { ca: CERT, servername: "localhost", headers: all };
    const request = httpsRequest(`${url}/v1/status`, about, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on("error", reject);
    request.end();
  });
}

test("serves HTTPS and secure WebSockets with a certificate", async () => {
  const gateway = await start();
  expect(gateway.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(await status(gateway, {})).toBe(200);
  const own = new URL(gateway.url).host;
  expect(await status(gateway, { origin: `https://${own}` })).toBe(200);
  // What came over plain HTTP from the same place may be anybody's.
  expect(await status(gateway, { origin: `http://${own}` })).toBe(403);
  const url = `${gateway.url.replace("https", "wss")}/v1/watch`;
  const socket = new WebSocket(url, { ca: CERT, headers: { authorization: `Bearer ${TOKEN}` } });
  await once(socket, "open");
  socket.close();
  await expect(fetch(gateway.url.replace("https", "http"))).rejects.toThrow("fetch failed");
});

test("refuses versions of TLS that are broken", async () => {
  const gateway = await start();
  const { port } = new URL(gateway.url);
  const socket = connect({
    port: Number(port),
    ca: CERT,
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "ALL:@SECLEVEL=0",
  });
  const [error] = (await once(socket, "error")) as [Error];
  expect(error.message).toMatch(/version|protocol/i);
});

test("with TLS an address that other machines reach needs no permission, but its names do", async () => {
  const gateway = await start({ host: "0.0.0.0", allowHosts: ["box.example"] });
  expect(await status(gateway, { host: "box.example" })).toBe(200);
  expect(await status(gateway, { host: "other.example" })).toBe(421);
});

test.each([
  ["no certificate", { cert: "hunter2", key: KEY }],
  ["no key", { cert: CERT, key: CERT }],
])("refuses %s", async (_name, tls) => {
  await expect(start({ tls })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});
