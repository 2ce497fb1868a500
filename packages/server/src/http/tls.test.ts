import { once } from "node:events";
import { request as httpsRequest } from "node:https";
import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { builtinTypes } from "@coppice/crdt";
import { createNode } from "@coppice/replication";
import { type Gateway, type GatewayOptions, startGateway } from "./gateway.ts";
import { CERT, ENDED_CERT, KEY, RENEWED_CERT, RENEWED_KEY } from "./tls.test-support.ts";

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

test.each([
  [{ cert: "junk", key: KEY }, "the certificate is not in PEM form"],
  [{ cert: CERT, key: "junk" }, "the key is not in PEM form"],
  [{ cert: CERT, key: RENEWED_KEY }, "they do not belong together"],
])("refuses a certificate that cannot be used", async (tls, reason) => {
  await expect(start({ tls })).rejects.toMatchObject({
    code: "INVALID_OPTIONS",
    message: expect.stringContaining(reason) as string,
  });
});

test("serves HTTPS and secure WebSockets with a certificate", async () => {
  const gateway = await start();
  expect(gateway.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(await status(gateway, {})).toBe(200);
  expect(await status(gateway, { connection: "upgrade", upgrade: "h2c" })).toBe(200);
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

/** The name in the certificate that a new connection gets. */
async function servedName(gateway: Gateway): Promise<unknown> {
  const socket = connect({ port: Number(new URL(gateway.url).port), rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return CN;
}

test("another certificate is served from the next connection on, and one that cannot be used is not", async () => {
  const gateway = await start();
  const url = `${gateway.url.replace("https", "wss")}/v1/watch`;
  const open = new WebSocket(url, { ca: CERT, headers: { authorization: `Bearer ${TOKEN}` } });
  await once(open, "open");
  const refused = [
    { cert: RENEWED_CERT, key: KEY },
    { cert: RENEWED_CERT, key: "" },
    { cert: "", key: "" },
    { cert: RENEWED_CERT.slice(0, 300), key: RENEWED_KEY },
    { cert: ENDED_CERT, key: RENEWED_KEY },
  ];
  for (const tls of refused) {
    expect(() => gateway.renewCertificate(tls)).toThrow(expect.objectContaining({ code: "INVALID_OPTIONS" }));
    expect(await servedName(gateway)).toBe("coppice-test");
  }
  expect(() => gateway.renewCertificate({ cert: ENDED_CERT, key: RENEWED_KEY })).toThrow(/it ended at 2021/);
  expect(gateway.renewCertificate({ cert: RENEWED_CERT, key: RENEWED_KEY }).getUTCFullYear()).toBe(2126);
  expect(await servedName(gateway)).toBe("coppice-renewed");
  expect(open.readyState).toBe(open.OPEN);
  open.close();
});

test.each([
  ["no certificate", { cert: "hunter2", key: KEY }],
  ["no key", { cert: CERT, key: CERT }],
])("refuses %s", async (_name, tls) => {
  await expect(start({ tls })).rejects.toMatchObject({ code: "INVALID_OPTIONS" });
});
