/** What editors say of themselves, between daemons, with the clients that applications use. */
import { type DocHandle, type PeerId, Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { Daemon, temporaryDirectory, until } from "./daemon.test-support.ts";

async function pair(): Promise<{ one: Daemon; two: Daemon; oneData: string }> {
  const oneData = await temporaryDirectory();
  const one = await Daemon.start(oneData, "--allow-any");
  const two = await Daemon.start(await temporaryDirectory(), "--peer", one.address, "--sync-interval", "0.3");
  return { one, two, oneData };
}

async function tokenOf({ ready }: Daemon): Promise<string> {
  return (await readFile(ready.tokenFile ?? "", "utf8")).trim();
}

async function editor(daemon: Daemon, name = "note"): Promise<WebsocketProvider> {
  const doc = new Y.Doc();
  const url = `${daemon.ready.url?.replace("http", "ws")}/v1/yjs`;
  const provider = new WebsocketProvider(url, name, doc, {
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
    protocols: ["coppice", `bearer.${await tokenOf(daemon)}`],
    disableBc: true,
    maxBackoffTime: 300,
  });
  onTestFinished(() => {
    provider.destroy();
    doc.destroy();
  });
  await until(async () => provider.synced);
  return provider;
}

test(
  "cursors of Yjs editors reach other daemons, and go with a daemon that is killed",
  { timeout: 180_000 },
  async () => {
    const { one, two, oneData } = await pair();
    const [a, b, alone] = [await editor(one), await editor(two), await editor(two, "alone")];
    const startedAt = performance.now();
    let losses = 0;
    alone.on("connection-close", () => void losses++);
    const seen = (): { cursor?: number } | undefined => b.awareness.getStates().get(a.doc.clientID);
    const clocks: number[] = [];
    b.awareness.on("update", () => clocks.push(b.awareness.meta.get(a.doc.clientID)?.clock ?? 0));
    for (const cursor of [1, 2, 3]) {
      a.awareness.setLocalStateField("cursor", cursor);
      await until(async () => seen()?.cursor === cursor);
    }
    const killedAt = performance.now();
    await one.stop("SIGKILL");
    // One that comes later is told of it, too, as long as it counts as there.
    const late = await editor(two);
    await until(async () => late.awareness.getStates().get(a.doc.clientID)?.["cursor"] === 3);
    await until(async () => seen() === undefined, 45_000);
    expect(performance.now() - killedAt).toBeGreaterThan(10_000);
    await until(async () => !late.awareness.getStates().has(a.doc.clientID), 5000);

    // The client comes back by itself and is seen at once, by those who have seen it go, too.
    const http = new URL(one.ready.url ?? "").host;
    await Daemon.start(oneData, "--allow-any", "--listen", one.listenAddress, "--http", http);
    await until(async () => a.synced);
    a.awareness.setLocalStateField("cursor", 4);
    await until(async () => seen()?.cursor === 4 && late.awareness.getStates().get(a.doc.clientID)?.["cursor"] === 4);
    expect(clocks).toEqual(clocks.toSorted((left, right) => left - right));
    // The provider gives a connection up when it hears nothing for 30 seconds.
    await until(async () => performance.now() - startedAt > 36_000, 40_000);
    expect(losses).toBe(0);
  },
);

async function repo(daemon: Daemon, name: string): Promise<Repo> {
  const url = `${daemon.ready.url?.replace("http", "ws")}/v1/automerge-repo?token=${await tokenOf(daemon)}`;
  const made = new Repo({ peerId: name as PeerId, network: [new WebSocketClientAdapter(url, 200)] });
  onTestFinished(() => void made.shutdown());
  return made;
}

/** What a client hears, in order. */
function heardBy(handle: DocHandle<unknown>): unknown[] {
  const heard: unknown[] = [];
  handle.on("ephemeral-message", ({ message, senderId }) => heard.push([senderId, message]));
  return heard;
}

test(
  "ephemeral messages of automerge-repo reach other daemons, also one that was killed",
  { timeout: 180_000 },
  async () => {
    const { one, two, oneData } = await pair();
    const [a, b] = [await repo(one, "a"), await repo(two, "b")];
    const mine = a.create({ title: "Hello" });
    let theirs: DocHandle<unknown> | undefined;
    await until(async () => {
      theirs ??= await b.find(mine.url).catch(() => undefined);
      return theirs !== undefined;
    });
    if (theirs === undefined) throw new TypeError("it was found");
    const [byA, byB] = [heardBy(mine), heardBy(theirs)];
    for (let at = 1; at <= 100; at++) mine.broadcast({ at });
    await until(async () => byB.length >= 100);
    expect(byB).toEqual(Array.from({ length: 100 }, (_, index) => ["a", { at: index + 1 }]));
    await one.stop("SIGKILL");
    const http = new URL(one.ready.url ?? "").host;
    await Daemon.start(oneData, "--allow-any", "--listen", one.listenAddress, "--http", http);
    let at = 0;
    await until(async () => {
      theirs?.broadcast({ at: ++at });
      return byA.length > 0;
    }, 30_000);
    mine.broadcast({ at: 101 });
    await until(async () => byB.length > 100);
    expect(byB.at(-1)).toEqual(["a", { at: 101 }]);
    expect(byB).toHaveLength(101);
  },
);
