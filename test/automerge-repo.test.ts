import { type DocHandle, type PeerId, Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { Daemon, coppice, temporaryDirectory, until } from "./daemon.test-support.ts";

interface Note {
  title: string;
  items: string[];
}

async function client(daemon: Daemon, name: string): Promise<Repo> {
  const token = (await readFile(daemon.ready.tokenFile ?? "", "utf8")).trim();
  const url = `${daemon.ready.url?.replace("http", "ws")}/v1/automerge-repo?token=${token}`;
  const repo = new Repo({ peerId: name as PeerId, network: [new WebSocketClientAdapter(url, 200)] });
  onTestFinished(() => void repo.shutdown());
  return repo;
}

async function sees(handle: DocHandle<Note>, title: string): Promise<void> {
  await until(async () => handle.doc().title === title);
}

test("clients of automerge-repo edit through two daemons, one of which is killed", async () => {
  const data = await temporaryDirectory();
  const one = await Daemon.start(data, "--allow-any");
  const two = await Daemon.start(await temporaryDirectory(), "--peer", one.address, "--sync-interval", "0.3");
  const a = await client(one, "a");
  const b = await client(two, "b");
  const mine = a.create<Note>({ title: "Hello", items: [] });
  const id = `automerge/${mine.documentId}`;
  await until(async () => (await coppice(["get", id, "title", "--data", two.data])).status === 0);
  const theirs = await b.find<Note>(mine.url);
  expect(theirs.doc()).toEqual({ title: "Hello", items: [] });
  theirs.change((note) => void (note.title = "from b"));
  await sees(mine, "from b");
  // Written to the log before it is shown; the clients come back to the same address by themselves.
  await one.stop("SIGKILL");
  mine.change((note) => void (note.title = "while it was away"));
  const http = new URL(one.ready.url ?? "").host;
  const again = await Daemon.start(data, "--allow-any", "--listen", one.listenAddress, "--http", http);
  await sees(theirs, "while it was away");
  const { out } = await coppice(["get", id, "--json", "--data", again.data]);
  expect(JSON.parse(out)).toMatchObject({ type: "automerge", value: { title: "while it was away", items: [] } });
});
