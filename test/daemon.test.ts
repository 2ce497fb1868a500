import { readFile, stat, writeFile } from "node:fs/promises";
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
  const missing = await coppice(["start", "--data", data, "--http", "127.0.0.1:0", "--views", "./none.js"]);
  expect(missing).toMatchObject({ status: 2, err: expect.stringContaining("--views") as string });
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

test("a signal that a runner passes on twice is one request", async () => {
  const data = await temporaryDirectory();
  const daemon = await Daemon.start(data);
  const ended = daemon.stop("SIGTERM");
  await until(async () => daemon.events.includes("stopping") || daemon.child.exitCode !== null);
  daemon.child.kill("SIGTERM");
  expect(await ended).toMatchObject({ status: 0 });
});
