import { existsSync } from "node:fs";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

async function post(daemon: Daemon, path: string, body: unknown): Promise<unknown> {
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const response = await fetch(`${daemon.ready.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return await response.json();
}

describe("settings", () => {
  test("come from flag, environment, file and default, in this order", async () => {
    const data = await temporaryDirectory();
    const file = join(data, "node.json");
    await writeFile(
      file,
      JSON.stringify({ data, durability: "sync", syncInterval: 7, listen: ["/ip4/127.0.0.1/tcp/1"] }),
    );
    const env = {
      COPPICE_CONFIG: file,
      COPPICE_DURABILITY: "snapshot",
      COPPICE_PEER: "/ip4/1.2.3.4/tcp/1, /ip4/1.2.3.4/tcp/2",
    };
    const { out, status } = await coppice(["config", "--listen", "/ip4/127.0.0.1/tcp/2", "--json"], env);
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      data: { value: data, source: "file" },
      listen: { value: ["/ip4/127.0.0.1/tcp/2"], source: "flag" },
      durability: { value: "snapshot", source: "environment" },
      peer: { value: ["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/2"], source: "environment" },
      syncInterval: { value: 7, source: "file" },
      snapshotInterval: { value: 60, source: "default" },
    });
  });

  test.each([
    ['{"durabilty": "log"}', 'Did you mean "durability"?'],
    ['{"listen": "/ip4/127.0.0.1/tcp/1"}', "must be a list of texts"],
    ['{"syncInterval": "5 minutes"}', "must be a number of seconds"],
    ['{"allowAny": 1}', "must be true or false"],
    ["{", "is not JSON"],
    ["[]", "must hold an object"],
  ])("refuses the file %s", async (text, message) => {
    const file = join(await temporaryDirectory(), "node.json");
    await writeFile(file, text);
    const result = await coppice(["config", "--config", file]);
    expect(result).toMatchObject({ status: 2, err: expect.stringContaining(message) as string });
  });

  test("a file that is missing, and a bad variable", async () => {
    expect(await coppice(["config", "--config", "/nowhere.json"])).toMatchObject({ status: 2 });
    const { status, err } = await coppice(["config"], { COPPICE_ALLOW_ANY: "yes" });
    expect({ status, err }).toMatchObject({ status: 2, err: expect.stringContaining("COPPICE_ALLOW_ANY") as string });
  });
});

test("domains have their type and storage, and commands find them all when the node is gone", async () => {
  const data = await temporaryDirectory();
  const file = join(data, "node.json");
  const archive = { storage: `level:${join(data, "archive")}`, durability: "sync", type: "orset" };
  const views = { type: "pncounter", inMemory: true, autoSave: "off" };
  await writeFile(file, JSON.stringify({ domains: { views, archive, scratch: { storage: "memory:" } } }));
  const daemon = await Daemon.start(data, "--config", file);
  const env = { COPPICE_DATA: data };
  expect(await coppice(["add", "views/home", "3"], env)).toMatchObject({ status: 0, out: "3\n" });
  expect(
    await post(daemon, "/v1/groups/archive%2Fa/operations", { operations: [{ op: "add", args: ["x"] }] }),
  ).toMatchObject({
    results: [null],
  });
  await coppice(["add", "scratch/a", "1"], env);
  const early = await post(daemon, "/v1/groups/views%2Fhome/operations", {
    operations: [{ op: "increment" }],
    ack: "log",
  });
  expect(early).toMatchObject({ code: "ACK_UNAVAILABLE", detail: expect.stringContaining("kept in memory") as string });
  const { out } = await coppice(["domains", "--json"], env);
  const domains = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  expect(domains).toMatchObject([
    { name: "archive", groups: 1, type: "orset", durability: "sync", inMemory: false },
    { name: "scratch", groups: 1, type: null, durability: "snapshot" },
    { name: "views", groups: 1, type: "pncounter", durability: "log", inMemory: true, autoSaveMs: null },
  ]);
  await daemon.stop();
  expect(JSON.parse((await coppice(["check", "--json"], env)).out)).toMatchObject({ groups: 2, damaged: 0 });
  const wrong = await coppice(["config", "--domains", "views.type=gconter"]);
  expect(wrong).toMatchObject({ status: 2, err: expect.stringContaining('Did you mean "gcounter"?') as string });

  const moved = await Daemon.start(data, "--domains", 'archive.storage={"scheme":"memory"}', "views.inMemory=true");
  expect(moved.events).toContain("storage-moved");
  expect(await coppice(["get", "views/home"], env)).toMatchObject({ out: "3\n" });
});

test("what the last start left of its layout is written anew where it is damaged, and nothing else is lost", async () => {
  const data = await temporaryDirectory();
  const first = await Daemon.start(data);
  await coppice(["add", "n", "3", "--data", data]);
  await first.stop();
  await writeFile(join(data, "storage.json"), "{");
  expect(await coppice(["check", "--data", data])).toMatchObject({
    status: 2,
    err: expect.stringContaining("a start of the node writes it anew") as string,
  });
  const again = await Daemon.start(data);
  expect(again.events).toContain("layout-damaged");
  expect(await coppice(["get", "n", "--data", data])).toMatchObject({ out: "3\n" });
  await again.stop();
  expect(await coppice(["check", "--data", data])).toMatchObject({ status: 0 });
});

test("serves the views of a module", async () => {
  const data = await temporaryDirectory();
  const file = join(data, "views.mjs");
  await writeFile(
    file,
    `let loaded = 0;
     export const views = [
       { name: "groups", kind: "scalar", load: () => { loaded++; }, handler: (_params, { node }) => [...node.groups()].length + loaded },
       { name: "upper", kind: "batch", handler: (texts) => texts.map((text) => text.toUpperCase()) },
     ];`,
  );
  const daemon = await Daemon.start(data, "--views", file);
  await coppice(["add", "n", "--data", data]);
  expect(await post(daemon, "/v1/views/groups", {})).toEqual({ result: 2 });
  expect(await post(daemon, "/v1/views/upper", { params: ["a", "b"] })).toEqual({ result: ["A", "B"] });
  await daemon.stop();
  const other = join(data, "other");
  const missing = await coppice(["start", "--data", other, "--http", "127.0.0.1:0", "--views", "./none.js"]);
  expect(missing).toMatchObject({ status: 2, err: expect.stringContaining("--views") as string });
  expect(existsSync(other)).toBe(false);
});

test("the watch command goes on when its node restarts", async () => {
  const data = await temporaryDirectory();
  const daemon = await Daemon.start(data);
  await coppice(["add", "n", "--data", data]);
  const watching = coppice(["watch", "n", "--count", "2", "--data", data]);
  await until(async () => {
    const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
    const response = await fetch(`${daemon.ready.url}/v1/metrics`, { headers: { authorization: `Bearer ${token}` } });
    return (await response.text()).includes("coppice_watchers 1");
  });
  await daemon.stop("SIGKILL");
  await Daemon.start(data);
  await coppice(["add", "n", "--data", data]);
  expect(await watching).toEqual({ status: 0, out: "1\n2\n", err: "" });
});

test("a token for reading reads, and is refused for anything else", async () => {
  const data = await temporaryDirectory();
  await Daemon.start(data);
  const tokenFile = join(data, "token.read");
  expect((await stat(tokenFile)).mode & 0o777).toBe(0o600);
  await coppice(["add", "n", "--data", data]);
  expect(await coppice(["get", "n", "--data", data, "--token-file", tokenFile])).toMatchObject({
    status: 0,
    out: "1\n",
  });
  const refused = await coppice(["add", "n", "--data", data, "--token-file", tokenFile]);
  expect(refused).toMatchObject({ status: 4, err: expect.stringContaining("FORBIDDEN") as string });
});

test("tokens are made, used and revoked by the command line, with a node and without", async () => {
  const data = await temporaryDirectory();
  const daemon = await Daemon.start(data);
  await coppice(["add", "notes/a", "--data", data]);
  const tokenFile = join(data, "ann.token");
  const made = await coppice(["token", "create", "--domain", "notes", "--json", "--data", data]);
  const { token, id } = JSON.parse(made.out) as { token: string; id: string };
  await writeFile(tokenFile, token);
  const get = ["get", "notes/a", "--data", data, "--token-file", tokenFile];
  expect(await coppice(get)).toMatchObject({ status: 0, out: "1\n" });
  const watching = coppice(["watch", "notes/a", "--data", data, "--token-file", tokenFile]);
  await until(async () => {
    const headers = { authorization: `Bearer ${(await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim()}` };
    return (await (await fetch(`${daemon.ready.url}/v1/metrics`, { headers })).text()).includes("coppice_watchers 1");
  });
  expect(await coppice(["token", "revoke", id, "--data", data])).toMatchObject({ status: 0 });
  expect(await watching).toMatchObject({
    status: 4,
    out: "1\n",
    err: expect.stringContaining("TOKEN_REVOKED") as string,
  });
  expect(await coppice(get)).toMatchObject({ status: 4 });
  await daemon.stop();
  const offline = await coppice(["token", "create", "--label", "offline", "--data", data]);
  await writeFile(tokenFile, offline.out);
  await Daemon.start(data);
  expect(await coppice(get)).toMatchObject({ status: 0 });
  expect((await coppice(["token", "list", "--data", data])).out).toMatch(/read +all +never +offline/);
  const other = await temporaryDirectory();
  expect(await coppice(["token", "list", "--data", other])).toMatchObject({ status: 2 });
  expect(await readdir(other)).toEqual([]);
  const nowhere = await coppice(["token", "list", "--data", join(data, "none")]);
  expect(nowhere).toMatchObject({ status: 3 });
});

test("serves HTTPS with a certificate, and starts on no open address without one", async () => {
  const data = await temporaryDirectory();
  const fixture = await readFile(new URL("../packages/server/src/http/tls.test-support.ts", import.meta.url), "utf8");
  const [certificate = "", privateKey = ""] = fixture.match(/-----BEGIN[^`]*/g) ?? [];
  const [cert, key] = [join(data, "cert.pem"), join(data, "key.pem")];
  await Promise.all([writeFile(cert, certificate), writeFile(key, privateKey)]);
  const open = ["start", "--data", join(data, "open"), "--http", "0.0.0.0:0"];
  const start = await coppice(open);
  expect(start).toMatchObject({ status: 2, err: expect.stringContaining("UNSAFE_BIND") as string });
  const half = await coppice([...open, "--http-tls-cert", cert]);
  expect(half).toMatchObject({ status: 2, err: expect.stringContaining("go together") as string });
  const wrong = await coppice([...open, "--http-tls-cert", cert, "--http-tls-key", cert]);
  expect(wrong).toMatchObject({ status: 2, err: expect.stringContaining("INVALID_OPTIONS") as string });
  const daemon = await Daemon.start(data, "--http-tls-cert", cert, "--http-tls-key", key);
  expect(daemon.ready.url).toMatch(/^https:/);
  const trusting = { NODE_EXTRA_CA_CERTS: cert };
  expect(await coppice(["add", "n", "--data", data], trusting)).toMatchObject({ status: 0, out: "1\n" });
  expect(await coppice(["get", "n", "--data", data])).toMatchObject({
    status: 3,
    err: expect.stringMatching(/certificate of .* is not trusted: .*NODE_EXTRA_CA_CERTS/) as string,
  });

  // Renewed: first one that does not go with the key, then both.
  const [, , renewed = "", , renewedKey = ""] = fixture.match(/-----BEGIN[^`]*/g) ?? [];
  const renewedCert = join(data, "renewed.pem");
  await Promise.all([writeFile(renewedCert, renewed), writeFile(cert, renewed)]);
  await until(async () => daemon.events.includes("certificate-refused"), 30_000);
  await writeFile(join(data, "trusted.pem"), certificate);
  const former = { NODE_EXTRA_CA_CERTS: join(data, "trusted.pem") };
  expect(await coppice(["get", "n", "--data", data], former)).toMatchObject({ status: 0 });
  await writeFile(key, renewedKey);
  await until(async () => daemon.events.includes("certificate-renewed"), 30_000);
  expect(await coppice(["get", "n", "--data", data], { NODE_EXTRA_CA_CERTS: renewedCert })).toMatchObject({
    status: 0,
  });
  expect(await coppice(["get", "n", "--data", data], former)).toMatchObject({ status: 3 });
});

test("a terminal that is closed stops its node in order", async () => {
  const daemon = await Daemon.start(await temporaryDirectory());
  expect(await daemon.stop("SIGHUP")).toMatchObject({ status: 0 });
  expect(daemon.events).toContain("stopped");
});

test("a signal that a runner passes on twice is one request", async () => {
  const data = await temporaryDirectory();
  const daemon = await Daemon.start(data);
  const ended = daemon.stop("SIGTERM");
  await until(async () => daemon.events.includes("stopping") || daemon.child.exitCode !== null);
  daemon.child.kill("SIGTERM");
  expect(await ended).toMatchObject({ status: 0 });
});
