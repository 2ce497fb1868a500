import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

async function call(daemon: Daemon, path: string): Promise<unknown> {
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const response = await fetch(`${daemon.ready.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
  return await response.json();
}

async function hasValue(daemon: Daemon, id: string, value: number): Promise<void> {
  await until(async () => {
    const body = (await call(daemon, `/v1/groups/${encodeURIComponent(id)}/value`)) as { value?: unknown };
    return body.value === value;
  });
}

test("an invite brings a new node in, once, and for good", { timeout: 180_000 }, async () => {
  const host = await Daemon.start(await temporaryDirectory(), "--interest", "notes", "--sync-interval", "0.3");
  await coppice(["add", "notes/a", "2", "--data", host.data]);
  await coppice(["add", "words/a", "2", "--data", host.data]);
  const made = await coppice(["invite", "--label", "berlin", "--data", host.data]);
  expect(made).toMatchObject({ status: 0, err: expect.stringContaining("loopback only") as string });
  const invite = made.out.trim();

  const data = await temporaryDirectory();
  const joiner = await Daemon.start(data, "--join", invite, "--sync-interval", "0.3");
  await hasValue(joiner, "notes/a", 2);
  expect((await stat(join(data, "admission.json"))).mode & 0o777).toBe(0o600);
  const list = await coppice(["invite", "list", "--data", host.data]);
  expect(list.out).toMatch(new RegExp(`admitted +${joiner.ready.peerId} .* berlin\n`));

  const late = await coppice(["start", "--data", await temporaryDirectory(), "--http", "off", "--join", invite]);
  expect(late).toMatchObject({ status: 8, err: expect.stringMatching(/NOT_ADMITTED|DIAL_FAILED/) as string });

  // Without the invite, and with it again: the node knows where it belongs.
  await joiner.stop();
  const again = await Daemon.start(data, "--join", invite, "--sync-interval", "0.3");
  await coppice(["add", "notes/a", "5", "--data", data]);
  await hasValue(host, "notes/a", 7);

  await coppice(["invite", "forget", again.ready.peerId ?? "", "--data", host.data]);
  await until(async () => ((await call(host, "/v1/status")) as { peers: number }).peers === 0);
  await coppice(["add", "notes/a", "--data", data]);
  await hasValue(host, "notes/a", 7);
});

test("an invite that has ended, was revoked, or is none starts nothing", { timeout: 120_000 }, async () => {
  const host = await Daemon.start(await temporaryDirectory());
  const made = await coppice(["invite", "--json", "--data", host.data]);
  const { invite, id } = JSON.parse(made.out) as { invite: string; id: string };
  expect(await coppice(["invite", "revoke", id, "--data", host.data])).toMatchObject({ status: 0 });
  expect(await coppice(["invite", "revoke", id, "--data", host.data])).toMatchObject({ status: 5 });
  const start = ["start", "--http", "off", "--data"];
  const revoked = await coppice([...start, await temporaryDirectory(), "--join", invite]);
  expect(revoked).toMatchObject({ status: 8 });
  const none = await coppice([...start, await temporaryDirectory(), "--join", invite.slice(0, 40)]);
  expect(none).toMatchObject({ status: 2, err: expect.stringContaining("no invite") as string });
  const shown = await coppice(["config", "--join", invite]);
  expect(shown.out).toMatch(/join +\(secret\)/);
});
