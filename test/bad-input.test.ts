import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Of the real server; `fetch` would not let a test choose `Host`. */
async function call(daemon: Daemon, path: string, { method = "GET", headers = {}, body }: Call = {}): Promise<Answer> {
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const type = body === undefined ? {} : { "content-type": "application/json" };
  return await new Promise((resolve, reject) => {
    const options = { method, headers: { authorization: `Bearer ${token}`, ...type, ...headers } };
    const request = httpRequest(`${daemon.ready.url}${path}`, options, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) }),
      );
    });
    request.on("error", reject);
    request.end(body);
  });
}

function operations(list: readonly unknown[], rest: object = {}): string {
  return JSON.stringify({ operations: list, ...rest });
}

test("bad input of each kind is a problem with a code, and the node goes on", async () => {
  const daemon = await Daemon.start(await temporaryDirectory());
  const path = "/v1/groups/n/operations";
  const increment = operations([{ op: "increment" }], { type: "gcounter" });
  expect(await call(daemon, path, { method: "POST", body: increment })).toMatchObject({ status: 200 });
  const post = (body: string, headers: Record<string, string> = {}): Call => ({ method: "POST", body, headers });
  const cases: [string, Call, number, string][] = [
    [path, post(operations([{ op: "increment" }], { type: "lww" })), 409, "TYPE_CONFLICT"],
    ["/v1/groups/x/operations", post(operations([{ op: "increment" }], { type: "gconter" })), 422, "UNKNOWN_TYPE"],
    ["/v1/groups/x/operations", post(operations([{ op: "increment" }])), 404, "UNKNOWN_GROUP"],
    ["/v1/groups/x/value", {}, 404, "UNKNOWN_GROUP"],
    ["/v1/groups/a%2F%2Fb/value", {}, 400, "INVALID_GROUP_ID"],
    [path, post("{"), 400, "INVALID_REQUEST"],
    [path, post("[]"), 400, "INVALID_REQUEST"],
    [path, post(operations([{ op: "increment", amount: 5 }])), 400, "INVALID_REQUEST"],
    [path, post(operations([{ op: "increment", args: [-1] }])), 422, "INVALID_OPERATION"],
    [path, post(operations([{ op: "incremnt" }])), 422, "UNKNOWN_OPERATION"],
    [path, post(operations([{ op: "increment", args: ["x".repeat(1 << 20)] }])), 413, "BODY_TOO_LARGE"],
    [path, post(increment, { "content-type": "text/plain" }), 415, "UNSUPPORTED_MEDIA_TYPE"],
    [path, post(increment, { authorization: "Bearer wrong" }), 401, "UNAUTHORIZED"],
    [path, post(increment, { host: "evil.example" }), 421, "HOST_NOT_ALLOWED"],
    [path, post(increment, { origin: "http://evil.example" }), 403, "ORIGIN_NOT_ALLOWED"],
    ["/v1/groups/n/value", { headers: { "session-token": "?" } }, 400, "INVALID_TOKEN"],
    ["/v1/nothing", {}, 404, "NOT_FOUND"],
  ];
  for (const [where, request, status, code] of cases) {
    const answer = await call(daemon, where, request);
    expect({ where, code, answer }).toMatchObject({
      answer: { status, body: { status, code, type: `urn:coppice:error:${code}` } },
    });
  }
  expect(await call(daemon, "/v1/groups/n/value")).toMatchObject({ status: 200, body: { value: 1 } });
  expect(await daemon.stop()).toMatchObject({ status: 0, err: "" });
});

test("a second signal ends at once what the first one waits for", async () => {
  const data = await temporaryDirectory();
  const views = join(data, "views.mjs");
  // A storage that never finishes would do the same.
  await writeFile(
    views,
    `const handler = (_params, { node }) => { node.close = () => new Promise(() => {}); };
     export const views = [{ name: "hang", kind: "scalar", handler }];`,
  );
  const daemon = await Daemon.start(data, "--views", views);
  await coppice(["add", "n", "--data", data]);
  expect(await call(daemon, "/v1/views/hang", { method: "POST", body: "{}" })).toMatchObject({ status: 200 });
  const ended = daemon.stop("SIGTERM");
  await until(async () => daemon.events.includes("stopping"));
  // What follows sooner is taken for the same signal, passed on twice.
  await new Promise((resolve) => setTimeout(resolve, 400));
  daemon.child.kill("SIGTERM");
  expect(await ended).toMatchObject({ status: 143 });
  await Daemon.start(data);
  expect(await coppice(["get", "n", "--data", data])).toMatchObject({ status: 0, out: "1\n" });
});

/** A disk of so many KiB; undefined where this user may not mount one. */
async function smallDisk(kib: number): Promise<string | undefined> {
  const directory = await temporaryDirectory();
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k`, "tmpfs", directory], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  onTestFinished(() => void execFileSync("umount", ["-l", directory]));
  return directory;
}

test("on a full disk the node lives, is not ready, and refuses writes; with space it goes on", async ({ skip }) => {
  const data = await smallDisk(8192);
  if (data === undefined) return skip("mounting a small disk is not permitted here");
  const daemon = await Daemon.start(data);
  const write = (size: number): Promise<Answer> =>
    call(daemon, "/v1/groups/n/operations", {
      method: "POST",
      body: operations([{ op: "set", args: [randomBytes(size).toString("hex")] }], { type: "lww", ack: "sync" }),
    });
  expect(await call(daemon, "/v1/ready")).toMatchObject({ status: 200 });
  await until(async () => (await write(250_000)).status !== 200);
  await until(async () => (await call(daemon, "/v1/ready")).status === 503);
  expect(await call(daemon, "/v1/live")).toMatchObject({ status: 200 });
  expect(await write(1)).toMatchObject({ status: 503, body: { code: "STORAGE_FAILED" } });
  expect(await coppice(["status", "--data", data])).toMatchObject({ status: 8 });
  execFileSync("mount", ["-o", "remount,size=64m", data]);
  await until(async () => (await call(daemon, "/v1/ready")).status === 200);
  expect(await write(1)).toMatchObject({ status: 200 });
});
