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

async function peersOf(daemon: Daemon): Promise<readonly (string | undefined)[]> {
  return ((await call(daemon, "/v1/peers")) as { peers: { id: string }[] }).peers.map(({ id }) => id);
}

async function linked(daemon: Daemon, ...others: readonly Daemon[]): Promise<void> {
  await until(async () => {
    const peers = await peersOf(daemon);
    return others.every(({ ready }) => peers.includes(ready.peerId));
  }, 60_000);
}

test("two nodes that both restart find each other where they were, though they took any port", async () => {
  const [a, b] = [await temporaryDirectory(), await temporaryDirectory()];
  const host = await Daemon.start(a);
  const invite = (await coppice(["invite", "--data", a])).out.trim();
  const joiner = await Daemon.start(b, "--join", invite);
  await linked(host, joiner);
  await Promise.all([host.stop(), joiner.stop()]);
  const again = await Daemon.start(a);
  expect(again.address).toBe(host.address);
  await linked(again, await Daemon.start(b));
});

async function inviteOf(host: Daemon, label: string): Promise<string> {
  return (await coppice(["invite", "--label", label, "--data", host.data])).out.trim();
}

test(
  "whom an invite lets in, every member admits, and whom one member forgets, none",
  { timeout: 300_000 },
  async () => {
    const settings = ["--sync-interval", "0.3"];
    const one = await Daemon.start(await temporaryDirectory(), ...settings);
    const join = async (label: string, ...more: string[]): Promise<Daemon> => {
      const invite = await inviteOf(one, label);
      return await Daemon.start(await temporaryDirectory(), "--join", invite, ...settings, ...more);
    };
    const two = await join("two");
    const three = await join("three");
    await linked(two, one, three);
    // A list of its own stays what counts.
    const listed = await join("listed", "--allow", one.ready.peerId ?? "");
    await linked(listed, one);
    const late = await join("late");
    await linked(late, one, two, three);
    await until(async () => (await coppice(["invite", "list", "--data", three.data])).out.includes("late (told by "));
    expect(two.events).toContain("peer-introduced");
    expect(await peersOf(listed)).toEqual([one.ready.peerId]);

    // The host of the invites is not needed any more, not even after a restart.
    await one.stop("SIGKILL");
    await late.stop();
    const again = await Daemon.start(late.data, ...settings);
    await linked(again, two, three);
    await coppice(["add", "notes/a", "3", "--data", again.data]);
    await hasValue(two, "notes/a", 3);

    expect(await coppice(["invite", "forget", again.ready.peerId ?? "", "--data", two.data])).toMatchObject({
      status: 0,
    });
    await until(async () => (await peersOf(again)).length === 0, 60_000);
    // One that was away hears of it, and does not bring it back.
    const back = await Daemon.start(one.data, "--listen", one.listenAddress, ...settings);
    await linked(back, two, three);
    await until(async () => back.events.includes("peer-removed"), 30_000);
    await three.stop();
    const threeAgain = await Daemon.start(three.data, ...settings);
    await linked(threeAgain, two);
    await coppice(["add", "notes/a", "--data", again.data]);
    await new Promise((resolve) => setTimeout(resolve, 5000));
    for (const daemon of [back, two, threeAgain]) {
      expect(await peersOf(daemon)).not.toContain(again.ready.peerId);
      await hasValue(daemon, "notes/a", 3);
    }

    // A new invite does.
    await again.stop();
    const returned = await Daemon.start(again.data, "--join", await inviteOf(two, "returned"), ...settings);
    await linked(returned, two, threeAgain);
    await hasValue(back, "notes/a", 4);
  },
);

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
