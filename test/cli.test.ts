import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { access, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, onTestFinished, test } from "vitest";
import { COMMAND, Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

describe("a node", () => {
  test("counts, lists and reads, and has everything again after a restart", async () => {
    const data = await temporaryDirectory();
    const env = { COPPICE_DATA: data };
    const daemon = await Daemon.start(data);
    expect(await coppice(["add", "counter/views", "5"], env)).toEqual({ status: 0, out: "5\n", err: "" });
    expect(await coppice(["add", "counter/views"], env)).toEqual({ status: 0, out: "6\n", err: "" });
    expect(await coppice(["add", "clicks", "2", "--ack", "sync", "--json"], env)).toMatchObject({ status: 0 });
    const stopped = await daemon.stop();
    expect(stopped).toMatchObject({ status: 0, err: "" });
    expect(daemon.events).toEqual(["starting", "ready", "stopping", "stopped"]);

    const again = await Daemon.start(data);
    expect(again.ready).toMatchObject({ peerId: daemon.ready.peerId, groups: 2 });
    expect(await coppice(["get", "counter/views"], env)).toEqual({ status: 0, out: "6\n", err: "" });
    const listed = await coppice(["groups"], env);
    expect(listed.out).toMatch(
      /^ID +TYPE +EVENTS +STORED +SNAPSHOT +STATE\nclicks +gcounter +1 .*\ncounter\/views +gcounter +2 /,
    );
    const json = await coppice(["groups", "--prefix", "counter/", "--json"], env);
    expect(
      json.out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([expect.objectContaining({ id: "counter/views", type: "gcounter", events: 2 })]);
    expect(await again.stop("SIGINT")).toMatchObject({ status: 0 });
  });

  test("loses no acknowledged write when it is killed", async () => {
    const data = await temporaryDirectory();
    const daemon = await Daemon.start(data);
    expect(await coppice(["add", "n", "7", "--data", data])).toMatchObject({ status: 0 });
    expect(await daemon.stop("SIGKILL")).toMatchObject({ status: null });
    const gone = await coppice(["get", "n", "--data", data]);
    expect(gone).toMatchObject({ status: 3, err: expect.stringContaining("has ended without a clean stop") as string });
    await Daemon.start(data);
    expect(await coppice(["get", "n", "--data", data])).toMatchObject({ status: 0, out: "7\n" });
  });

  test("replicates with its peers, both ways", async () => {
    const [a, b] = [await temporaryDirectory(), await temporaryDirectory()];
    const first = await Daemon.start(a, "--allow-any");
    await Daemon.start(b, "--peer", first.address);
    await coppice(["add", "n", "2", "--data", a]);
    await until(async () => (await coppice(["get", "n", "--data", b])).out === "2\n");
    await coppice(["add", "n", "3", "--data", b]);
    await until(async () => (await coppice(["get", "n", "--data", a])).out === "5\n");
  });

  test("keeps its token and its endpoint to its user", async () => {
    const data = await temporaryDirectory();
    const daemon = await Daemon.start(data);
    const { tokenFile = "" } = daemon.ready;
    expect((await stat(tokenFile)).mode & 0o777).toBe(0o600);
    expect((await stat(join(data, "endpoint.json"))).mode & 0o777).toBe(0o600);
    const token = await readFile(tokenFile, "utf8");
    expect(token).toMatch(/^cop_[0-9a-f]+_[A-Za-z0-9_-]{43}\n$/);
    await daemon.stop();
    await expect(access(join(data, "endpoint.json"))).rejects.toMatchObject({ code: "ENOENT" });
    await Daemon.start(data);
    expect(await readFile(tokenFile, "utf8")).toBe(token);
  });

  test("can be told to serve no HTTP", async () => {
    const data = await temporaryDirectory();
    const daemon = await Daemon.start(data, "--http", "off");
    expect(daemon.ready.url).toBeUndefined();
    expect(await coppice(["groups", "--data", data])).toMatchObject({ status: 3 });
  });
});

describe("starting", () => {
  test("refuses a directory in use, and leaves its node in peace", async () => {
    const data = await temporaryDirectory();
    await Daemon.start(data);
    const second = await coppice(["start", "--data", data, "--http", "127.0.0.1:0"]);
    expect(second).toMatchObject({ status: 6, err: expect.stringContaining("LOCKED") as string });
    expect(await coppice(["add", "n", "--data", data])).toMatchObject({ status: 0, out: "1\n" });
  });

  test("refuses a port in use, and says how to choose another", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    onTestFinished(() => void server.close());
    const { port } = server.address() as { port: number };
    const data = await temporaryDirectory();
    const result = await coppice(["start", "--data", data, "--http", `127.0.0.1:${port}`]);
    expect(result).toMatchObject({ status: 6, err: expect.stringContaining("choose another with --http") as string });
  });

  test.each([
    [["--listen", "nonsense"], 2, "BAD_ADDRESS"],
    [["--peer", "/ip4/127.0.0.1"], 2, "BAD_ADDRESS"],
    [["--http", "0.0.0.0:0"], 2, "UNSAFE_BIND"],
    [["--http", "7475"], 2, "HOST:PORT"],
    [["--durability", "yes"], 2, "Allowed choices are snapshot, log, sync"],
    [["--snapshot-interval", "soon"], 2, "number of seconds"],
    [["--allow", "x", "--allow-any"], 2, "cannot be used with"],
    [["--lisen", "/ip4/127.0.0.1/tcp/0"], 2, "--listen"],
  ])("refuses %j", async (args, status, text) => {
    const data = await temporaryDirectory();
    const result = await coppice(["start", "--data", data, "--http", "127.0.0.1:0", ...args]);
    expect(result).toMatchObject({ status, err: expect.stringContaining(text) as string });
  });

  test("needs a data directory", async () => {
    expect(await coppice(["start"])).toMatchObject({
      status: 2,
      err: expect.stringContaining("--data DIR") as string,
    });
  });
});

describe("bad requests", () => {
  test("say what is wrong and what to do", async () => {
    const data = await temporaryDirectory();
    await Daemon.start(data);
    await coppice(["add", "counter/views", "--data", data]);
    const cases: [string[], number, string][] = [
      [["get", "counter/veiws"], 5, 'Did you mean "counter/views"?'],
      [["get", "a//b"], 2, "not a group id"],
      [["add", "counter/views", "-1"], 2, "INVALID_OPERATION"],
      [["add", "counter/views", "0.5"], 2, "whole number"],
      [["add", "counter/views", "--ack", "often"], 2, "memory, log, sync"],
      [["add", "counter/views", "--ack", "3", "--timeout", "1000"], 7, "TIMEOUT"],
      [["gropus"], 2, "Did you mean groups?"],
      [["groups", "--jsno"], 2, "--json"],
      [["add", "new", "--type", "gcountr"], 2, 'Did you mean "gcounter"?'],
      [["add", "title", "--type", "lww"], 2, "the type lww has no operation"],
      [["do", "tags", "add", "--type", "orset"], 2, "add needs an argument"],
      [["get", "counter/views", "--consistency", "most"], 2, "local, a number of peers, majority, or all"],
      [["export", join(data, "none", "x")], 2, `there is no directory ${join(data, "none")}`],
      [["import", join(data, "none")], 2, `${join(data, "none")} does not exist`],
    ];
    for (const [args, status, text] of cases) {
      const result = await coppice([...args, ...(args[0] === "gropus" ? [] : ["--data", data])]);
      expect({ args, ...result }).toMatchObject({
        args,
        status,
        err: expect.stringContaining(text) as string,
        out: "",
      });
    }
    const json = await coppice(["get", "nothing", "--data", data, "--json"]);
    expect(JSON.parse(json.err)).toMatchObject({ error: { code: "UNKNOWN_GROUP" } });
  });

  test("of a start are refused before anything is made", async () => {
    const file = join(await temporaryDirectory(), "file");
    await writeFile(file, "");
    const cases: [string, string][] = [
      ["s3://bucket/prefix", "chosen by --storage"],
      ["level:./a", "chosen by --storage"],
      [file, `${file} is no directory`],
      [join(file, "below"), "a part of that path is a file"],
      // Nothing can be made there.
      ...(process.platform === "linux" ? [["/proc/nope/data", "/proc/nope does not exist"] as [string, string]] : []),
    ];
    for (const [data, text] of cases) {
      const result = await coppice(["start", "--http", "off", "--data", data]);
      expect({ data, ...result }).toMatchObject({ data, err: expect.stringContaining(text) as string });
      expect(result.status).not.toBe(0);
    }
    expect(existsSync("s3:")).toBe(false);
  });

  test("a wrong token, a missing one, no node at all", async () => {
    const data = await temporaryDirectory();
    const other = await temporaryDirectory();
    const { ready } = await Daemon.start(data);
    const tokenFile = join(other, "token");
    await writeFile(tokenFile, `${"x".repeat(43)}\n`);
    const url = ready.url ?? "";
    const wrong = await coppice(["groups", "--url", url, "--token-file", tokenFile]);
    expect(wrong).toMatchObject({ status: 4, err: expect.stringContaining("does not accept this token") as string });
    const right = await coppice(["groups", "--url", url, "--token-file", ready.tokenFile ?? ""]);
    expect(right).toEqual({ status: 0, out: "no groups\n", err: "" });
    expect(await coppice(["groups", "--url", url, "--token-file", join(other, "no")])).toMatchObject({ status: 2 });
    expect(await coppice(["groups", "--url", url])).toMatchObject({ status: 2 });
    expect(await coppice(["groups", "--url", "box", "--data", data])).toMatchObject({ status: 2 });
    expect(await coppice(["groups"])).toMatchObject({
      status: 2,
      err: expect.stringContaining("which node?") as string,
    });
    expect(await coppice(["groups", "--data", other])).toMatchObject({
      status: 3,
      err: expect.stringContaining("no node runs on") as string,
    });
  });
});

test("lists groups as asked, and compares them with a peer", async () => {
  const [a, b] = [await temporaryDirectory(), await temporaryDirectory()];
  const first = await Daemon.start(a, "--allow-any");
  await Daemon.start(b, "--peer", first.address);
  for (const [id, amount] of [
    ["big", "2"],
    ["n/small", "1"],
  ] as const) {
    await coppice(["add", id, amount, "--data", a]);
  }
  await coppice(["add", "big", "--data", a]);
  await coppice(["add", "tags", "x", "--type", "orset", "--data", a]);
  const ids = async (...args: string[]): Promise<unknown[]> => {
    const { out } = await coppice(["groups", "--data", a, "--json", ...args]);
    return out
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as { id: unknown }).id);
  };
  expect(await ids("--sort", "events", "--reverse", "--limit", "1")).toEqual(["big"]);
  expect(await ids("--type", "gcounter", "--sort", "id")).toEqual(["big", "n/small"]);
  const watching = spawn(process.execPath, [
    COMMAND,
    "groups",
    "--data",
    a,
    "--json",
    "--watch",
    "0.2",
    "--prefix",
    "n/",
  ]);
  onTestFinished(() => void watching.kill("SIGKILL"));
  const seen: string[] = [];
  createInterface(watching.stdout).on("line", (line) => seen.push(line));
  // Only what it has shown can be gone.
  await until(async () => seen.length > 0);
  await coppice(["delete", "n/small", "--data", a]);
  await until(async () => seen.at(-1) === '{"id":"n/small","gone":true}');
  await until(async () => (await coppice(["verify", "--data", b])).out === "2 groups, 1 peer: 2 equal, 0 divergent\n");
});

test("tells what a start would find, and refuses where a node runs", async () => {
  const data = await temporaryDirectory();
  const daemon = await Daemon.start(data);
  await coppice(["add", "n", "--data", data]);
  for (const command of ["check", "repair"]) {
    expect(await coppice([command, "--data", data])).toMatchObject({
      status: 6,
      err: expect.stringContaining(`is in use by the node of process ${daemon.child.pid}`) as string,
    });
  }
  await daemon.stop("SIGKILL");
  const dry = await coppice(["recover", "--dry-run", "--data", data]);
  expect(dry).toMatchObject({
    status: 0,
    out: expect.stringMatching(/^1 group, 1 with a journal to replay/) as string,
  });
  expect(await coppice(["recover", "--dry-run", "--data", join(data, "none")])).toMatchObject({ status: 2 });
  // A killed node has left its address, at which nobody answers.
  const token = await coppice(["token", "create", "--data", data]);
  expect(token).toMatchObject({ status: 0, out: expect.stringMatching(/^cop_/) as string });
  const file = join(data, "all.coppice");
  const exported = await coppice(["export", file, "--data", data]);
  expect(exported).toMatchObject({
    status: 0,
    out: expect.stringMatching(/all\.coppice: 1 group, \d+ B\n$/) as string,
  });
});

test("helps", async () => {
  const help = await coppice(["--help"]);
  expect(help).toMatchObject({ status: 0, err: "" });
  expect(help.out).toContain("Exit statuses:");
  expect((await coppice(["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
});
