/** With the client that applications use. */
import { type DocHandle, type DocumentId, type PeerId, Repo } from "@automerge/automerge-repo";
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket";
import { builtinTypes } from "@coppice/crdt";
import { automergeDoc } from "@coppice/crdt/automerge";
import { type Node, createMemoryNetwork } from "@coppice/replication";
import { createGroupStore, memoryStorage } from "@coppice/storage";
import { decode, encode } from "cborg";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { TokenStore } from "../../auth/token-store.ts";
import { READ_TOKEN, type Served, TOKEN, bytesInUse, serve } from "../gateway.test-support.ts";

interface Note {
  title?: string;
  items?: string[];
  from?: string;
}

const types = [...builtinTypes, automergeDoc()];
const RETRY_MS = 100;

function client(url: string | readonly string[], name: string, token = TOKEN): Repo {
  const network = [url].flat().map((each) => {
    return new WebSocketClientAdapter(`${each.replace("http", "ws")}/v1/automerge-repo?token=${token}`, RETRY_MS);
  });
  const repo = new Repo({ peerId: name as PeerId, network });
  onTestFinished(() => void repo.shutdown());
  return repo;
}

async function start(
  options: Parameters<typeof serve>[0] = {},
  nodeOptions: Parameters<typeof serve>[1] = {},
): Promise<Served> {
  return await serve({ types, ...options }, { types, ...nodeOptions });
}

/** A client that asks before the document has arrived is told that it is unavailable. */
async function stored(node: Node | undefined, { documentId }: DocHandle<Note>): Promise<void> {
  await expect.poll(() => node?.group(["automerge", documentId])).toBeDefined();
}

function title(handle: DocHandle<Note>): string | undefined {
  return handle.doc().title;
}

test("two clients edit one document, which the node keeps as a group", async () => {
  const served = await start();
  const a = client(served.gateway.url, "a");
  const b = client(served.gateway.url, "b");
  const mine = a.create<Note>({ title: "Hello", items: [] });
  await stored(served.node, mine);
  const theirs = await b.find<Note>(mine.url);
  expect(title(theirs)).toBe("Hello");
  theirs.change((note) => void note.items?.push("from b"));
  mine.change((note) => void note.items?.push("from a"));
  await expect.poll(() => [mine.doc().items?.length, theirs.doc().items?.length]).toEqual([2, 2]);
  expect(mine.doc().items).toEqual(theirs.doc().items);
  const { body } = await served.call("GET", `/v1/groups/automerge%2F${mine.documentId}/value`);
  expect(body).toMatchObject({ type: "automerge", value: { title: "Hello", items: mine.doc().items } });
  expect(served.errors).toEqual([]);
});

test("changes from elsewhere reach the clients, and a client that comes later", async () => {
  const served = await start({ automergeDomain: "notes" });
  const a = client(served.gateway.url, "a");
  const mine = a.create<Note>({ title: "first" });
  await expect.poll(() => served.node.group(["notes", mine.documentId])).toBeDefined();
  const replica = await served.node.open(["notes", mine.documentId], automergeDoc<{ title?: string }>());
  await expect.poll(() => replica.value().title).toBe("first");
  replica.mutate((mutator) => mutator.change((draft) => void (draft.title = "by the node")));
  await expect.poll(() => title(mine)).toBe("by the node");
  const late = client(served.gateway.url, "late");
  expect(title(await late.find<Note>(mine.url))).toBe("by the node");
});

test("clients go on after a lost connection, with what they did meanwhile", async () => {
  const storage = createGroupStore(memoryStorage());
  const first = await start({}, { storage });
  const { port } = new URL(first.gateway.url);
  const a = client(first.gateway.url, "a");
  const b = client(first.gateway.url, "b");
  const mine = a.create<Note>({ title: "before", items: [] });
  await stored(first.node, mine);
  const theirs = await b.find<Note>(mine.url);
  await first.gateway.close();
  mine.change((note) => void (note.title = "offline"));
  theirs.change((note) => void note.items?.push("offline too"));
  await serve({ types, node: first.node, port: Number(port) }, { types });
  await expect.poll(() => title(theirs), { timeout: 10_000 }).toBe("offline");
  await expect.poll(() => mine.doc().items, { timeout: 10_000 }).toEqual(["offline too"]);
});

test("a document that is nowhere is unavailable; one that a client brings later is not", async () => {
  const served = await start();
  const a = client(served.gateway.url, "a");
  const lonely = new Repo({ network: [] });
  const handle = lonely.create<Note>({ title: "hidden" });
  await expect(a.find<Note>(handle.url)).rejects.toThrow(/unavailable/);
  const b = client(served.gateway.url, "b");
  b.import<Note>((await lonely.export(handle.documentId)) ?? new Uint8Array(), { docId: handle.documentId });
  await expect
    .poll(async () => (await a.find<Note>(handle.url).then(title, () => undefined)) ?? "", { timeout: 10_000 })
    .toBe("hidden");
  await lonely.shutdown();
});

test("ephemeral messages are passed on and never stored", async () => {
  const served = await start();
  const a = client(served.gateway.url, "a");
  const b = client(served.gateway.url, "b");
  const mine = a.create<Note>({ title: "x" });
  await stored(served.node, mine);
  const theirs = await b.find<Note>(mine.url);
  const seen: unknown[] = [];
  theirs.on("ephemeral-message", ({ message, senderId }) => seen.push([senderId, message]));
  const before = (await served.call("GET", "/v1/groups")).body;
  await expect
    .poll(() => {
      mine.broadcast({ cursor: 7 });
      return seen[0];
    })
    .toEqual(["a", { cursor: 7 }]);
  expect((await served.call("GET", "/v1/groups")).body).toEqual(before);
});

test("a token for reading sees everything and changes nothing", async () => {
  const served = await start();
  const writer = client(served.gateway.url, "writer");
  const reader = client(served.gateway.url, "reader", READ_TOKEN);
  const mine = writer.create<Note>({ title: "mine" });
  await stored(served.node, mine);
  const theirs = await reader.find<Note>(mine.url);
  theirs.change((note) => void (note.title = "not mine"));
  mine.change((note) => void (note.from = "writer"));
  await expect.poll(() => theirs.doc().from).toBe("writer");
  expect(title(mine)).toBe("mine");
  const own = reader.create<Note>({ title: "new" });
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(served.node.group(["automerge", own.documentId])).toBeUndefined();
});

test("a token for other domains is told that there is nothing, and a revoked one nothing more", async () => {
  const tokens = TokenStore.of(new Map([[TOKEN, "admin"]]));
  const served = await start({ tokens });
  const mine = client(served.gateway.url, "a").create<Note>({ title: "mine" });
  await stored(served.node, mine);
  const { text } = await tokens.create({ scope: "write", domains: ["words"] });
  await expect(client(served.gateway.url, "b", text).find<Note>(mine.url)).rejects.toThrow(/unavailable/);
  const { text: short, info } = await tokens.create({ scope: "write", domains: ["automerge"] });
  const url = `${served.gateway.url.replace("http", "ws")}/v1/automerge-repo?token=${short}`;
  const socket = new WebSocket(url);
  await once(socket, "open");
  await tokens.revoke(info.id);
  const [code, reason] = (await once(socket, "close")) as [number, Buffer];
  expect(`${code} ${reason.toString()}`).toBe("1008 TOKEN_REVOKED");
  // The URL is the place of last resort: elsewhere it is no token.
  expect(await served.call("GET", `/v1/status?token=${TOKEN}`, { token: undefined })).toMatchObject({ status: 401 });
});

test("clients of two nodes edit one document, and hear each other's ephemeral messages once", async () => {
  const network = createMemoryNetwork();
  const nodes: { node: Node; url: string }[] = [];
  for (const name of ["one", "two"]) {
    const { node, gateway } = await start({}, { transport: network.transport(name), syncIntervalMs: 200 });
    nodes.push({ node, url: gateway.url });
  }
  const [one, two] = nodes;
  await two?.node.connect("memory:/one");
  const a = client(one?.url ?? "", "a");
  const b = client(two?.url ?? "", "b");
  const mine = a.create<Note>({ title: "Hello", items: [] });
  await stored(one?.node, mine);
  const theirs = await b.find<Note>(mine.url);
  expect(title(theirs)).toBe("Hello");
  theirs.change((note) => void note.items?.push("from b"));
  await expect.poll(() => mine.doc().items, { timeout: 5000 }).toEqual(["from b"]);
  mine.change((note) => void (note.title = "Bye"));
  await expect.poll(() => title(theirs), { timeout: 5000 }).toBe("Bye");

  // One that is connected to both passes on what it hears, so that everything goes round.
  const both = client(
    nodes.map(({ url }) => url),
    "both",
  );
  await both.find<Note>(mine.url);
  const heard = new Map<string, unknown[]>();
  for (const [name, handle] of [["a", mine] as const, ["b", theirs] as const]) {
    heard.set(name, []);
    handle.on("ephemeral-message", ({ message, senderId }) => heard.get(name)?.push([senderId, message]));
  }
  for (const cursor of [1, 2, 3]) mine.broadcast({ cursor });
  await expect.poll(() => heard.get("b")).toEqual([1, 2, 3].map((cursor) => ["a", { cursor }]));
  theirs.broadcast({ cursor: 9 });
  await expect.poll(() => heard.get("a")).toEqual([["b", { cursor: 9 }]]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(heard.get("a")).toHaveLength(1);
  expect(heard.get("b")).toHaveLength(3);
});

test("what is no message of the protocol ends the connection, and no other", async () => {
  const served = await start();
  const mine = client(served.gateway.url, "a").create<Note>({ title: "x" });
  await stored(served.node, mine);
  const { documentId } = mine;
  const sync = { type: "sync", senderId: "x", targetId: "y", documentId };
  const join = { type: "join", senderId: "x", supportedProtocolVersions: ["1"] };
  const deep = new Uint8Array(100_000).fill(0x81);
  const attempts: (readonly unknown[])[] = [
    [sync],
    [join, { ...sync, data: "text" }],
    [join, { ...sync, data: Uint8Array.of(1, 2, 3) }],
    [join, { ...sync, documentId: "../../etc", data: Uint8Array.of(0x42) }],
    [{ type: "join", senderId: 7 }],
    [{ ...join, supportedProtocolVersions: ["9"] }],
    [[1, 2, 3]],
    [Uint8Array.of(0xff)],
    [deep],
  ];
  for (const messages of attempts) {
    const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/automerge-repo?token=${TOKEN}`);
    const closed = once(socket, "close");
    await once(socket, "open");
    for (const message of messages) socket.send(message instanceof Uint8Array ? message : encode(message));
    const [code] = (await closed) as [number];
    expect(code).toBe(1008);
  }
  mine.change((note) => void (note.title = "still here"));
  const late = client(served.gateway.url, "late");
  await expect.poll(async () => title(await late.find<Note>(mine.url))).toBe("still here");
  expect(served.errors).toEqual([]);
});

test("a group of another type, and one that was deleted, are unavailable", async () => {
  const served = await start();
  const a = client(served.gateway.url, "a");
  const mine = a.create<Note>({ title: "x" });
  await stored(served.node, mine);
  const documentId: DocumentId = mine.documentId;
  await served.call("DELETE", `/v1/groups/automerge%2F${documentId}`);
  const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/automerge-repo?token=${TOKEN}`);
  onTestFinished(() => socket.terminate());
  const messages: unknown[] = [];
  socket.on("message", (data: Buffer) => messages.push(decode(data)));
  await once(socket, "open");
  socket.send(encode({ type: "join", senderId: "b", peerMetadata: {}, supportedProtocolVersions: ["1"] }));
  // Of a client that has nothing and asks for the document.
  socket.send(encode({ type: "request", senderId: "b", documentId, data: Uint8Array.of(0x42, 0, 0, 0, 0) }));
  await expect.poll(() => messages.at(1)).toMatchObject({ type: "doc-unavailable", documentId, targetId: "b" });
});

test("what a client says of documents that are nowhere is kept up to a limit", async () => {
  const served = await start();
  const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/automerge-repo?token=${READ_TOKEN}`);
  onTestFinished(() => socket.terminate());
  let refused = 0;
  socket.on("message", (data: Buffer) => {
    if ((decode(data) as { type: string }).type === "doc-unavailable") refused++;
  });
  await once(socket, "open");
  socket.send(encode({ type: "join", senderId: "b", peerMetadata: {}, supportedProtocolVersions: ["1"] }));
  // A sync message of Automerge with one change that is none: nobody looks at it before there is a document.
  const length = 4_000_000;
  const data = Buffer.concat([Uint8Array.of(0x42, 0, 0, 0, 1, 0x80, 0x92, 0xf4, 0x01), new Uint8Array(length)]);
  const before = bytesInUse();
  for (let number = 0; number < 20; number++) {
    const documentId = `2akvofn6L1o4RMUEMQi7qzwRjK${"123456789ABCDEFGHJKL"[number] ?? ""}`;
    socket.send(encode({ type: "request", senderId: "b", documentId, data }));
  }
  await expect.poll(() => refused, { timeout: 10_000 }).toBe(20);
  // What was just sent and read goes a little later.
  await expect.poll(() => bytesInUse() - before).toBeLessThan(50_000_000);
});

test("who edits a document that is deleted does not keep others from the one after it", async () => {
  const served = await start();
  const mine = client(served.gateway.url, "a").create<Note>({ title: "x" });
  await stored(served.node, mine);
  const id = ["automerge", mine.documentId];
  await served.node.delete(id);
  const again = await served.node.open(id, automergeDoc<Note>(), { recreate: true });
  // Not the title: the first client may come back with its own.
  await again.mutate((note) => note.change((draft) => void (draft.items = ["anew"])));
  const reader = client(served.gateway.url, "b", READ_TOKEN);
  const found = await reader.find<Note>(mine.url);
  expect(found.doc().items).toEqual(["anew"]);
  await again.mutate((note) => note.change((draft) => void draft.items?.push("and on")));
  await expect.poll(() => found.doc().items).toEqual(["anew", "and on"]);
});
