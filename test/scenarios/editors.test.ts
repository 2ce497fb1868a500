// Editors that send what no library of theirs would: it is refused at the door, and every node reads the same document.
import { once } from "node:events";
import * as Automerge from "@automerge/automerge";
import { cbor } from "@automerge/automerge-repo";
import { type AnyCrdtType, builtinTypes } from "@coppice/crdt";
import { automergeDoc } from "@coppice/crdt/automerge";
import { yjsDoc } from "@coppice/crdt/yjs";
import { type Node, createMemoryNetwork, createNode } from "@coppice/replication";
import { memoryStorage } from "@coppice/storage";
import { type Gateway, startGateway } from "coppice/http";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";

const TOKEN = "t".repeat(43);
const REFUSED = 1008;

/** Two nodes that replicate one type, of which the first is served to editors, and can start again. */
class Served {
  readonly #network = createMemoryNetwork();
  readonly #storage = memoryStorage();
  readonly #type: AnyCrdtType;
  readonly defects: unknown[] = [];
  gateway: Gateway | undefined;

  constructor(type: AnyCrdtType) {
    this.#type = type;
  }

  async start(name: string, peers: readonly string[] = []): Promise<Node> {
    const types = [...builtinTypes, this.#type];
    const storage = name === "a" ? this.#storage : memoryStorage();
    const node = await createNode({ types, storage, transport: this.#network.transport(name), syncIntervalMs: 200 });
    onTestFinished(() => node.close());
    for (const peer of peers) await node.connect(`memory:/${peer}`);
    if (name !== "a") return node;
    const tokens = new Map([[TOKEN, "admin"]] as const);
    const gateway = await startGateway({ node, types, tokens, onError: (error) => this.defects.push(error) });
    onTestFinished(() => gateway.close());
    this.gateway = gateway;
    return node;
  }

  async connect(path: string): Promise<WebSocket> {
    const url = `${this.gateway?.url.replace("http", "ws")}${path}`;
    const socket = new WebSocket(url, path.includes("token") ? [] : ["coppice", `bearer.${TOKEN}`]);
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    return socket;
  }
}

test.each([
  ["builds on what is not there", "000221010290fcfab60600010b010501077b22780401c9746578ffffffffff0f70016101"],
  ["has a length beyond all bounds", "000221010290fcfab60600040104746578740568656c6c6f80808080808080808001036d61"],
  ["deletes what is not there", "000221000290fcfab60600040568656c6c6f80808080808080808001036d61700161017d"],
  ["leaves something that no event says", "000221010390fcfab6050001010501077b2278800001c97465787461700101ff61017d89"],
  ["Yjs would refuse once it is applied", "0002210102900600040104746578740568656c6c6f408080800080808080808001036d61"],
  ["holds an item of no length", "0002210102900700040104746578740568656c6c6f408080800080808080800001036d61"],
])("an update of Yjs that %s ends its editor's connection and reaches no document", async (_, message) => {
  const type = yjsDoc({ text: "text", map: "map" });
  const served = new Served(type);
  const a = await served.start("a");
  const b = await served.start("b", ["a"]);
  const here = await a.open("note", type);
  const there = await b.open("note", type);
  const socket = await served.connect("/v1/yjs/note");
  socket.send(Buffer.from(message, "hex"));
  const [code] = (await once(socket, "close", { signal: AbortSignal.timeout(5000) })) as [number];
  expect(code).toBe(REFUSED);
  here.mutate(({ doc }) => doc.getText("text").insert(0, "after it"));
  await expect.poll(() => there.value(), { timeout: 5000 }).toEqual({ text: "after it", map: {} });
  const hash = here.contentHash();
  expect(there.contentHash()).toBe(hash);
  await served.gateway?.close();
  await a.close();
  const again = await (await served.start("a", ["b"])).open("note", type);
  expect(again.contentHash()).toBe(hash);
  expect(served.defects).toEqual([]);
});

const DOCUMENT = "4NMNnkMhL8jXrdJ9jamS58PAVdXu";

/** A client of automerge-repo that has opened the document. */
async function joined(served: Served, senderId: string): Promise<WebSocket> {
  const socket = await served.connect(`/v1/automerge-repo?token=${TOKEN}`);
  socket.send(cbor.encode({ type: "join", senderId, peerMetadata: {}, supportedProtocolVersions: ["1"] }));
  await once(socket, "message");
  const [, data] = Automerge.generateSyncMessage(Automerge.init(), Automerge.initSyncState());
  socket.send(cbor.encode({ type: "request", senderId, targetId: "a", documentId: DOCUMENT, data }));
  await once(socket, "message");
  return socket;
}

/** A change by itself, forged. */
const FORGED: Readonly<Record<string, (change: Automerge.DecodedChange) => Uint8Array>> = {
  "in an object that is not there": (change) => {
    const ops = change.ops.map((op) => ({ ...op, obj: "9@0123456789abcdef" }));
    return Automerge.encodeChange({ ...change, ops } as Automerge.DecodedChange);
  },
  "behind changes that are missing": (change) => Automerge.encodeChange({ ...change, seq: 9 }),
};

test.each(Object.entries(FORGED))(
  "a change of Automerge %s ends its editor's connection, and the others go on",
  async (_, forge) => {
    const type = automergeDoc<Record<string, unknown>>();
    const served = new Served(type);
    const [a, b] = [await served.start("a"), await served.start("b", ["a"])];
    const id = ["automerge", DOCUMENT];
    const here = await a.open(id, type);
    const there = await b.open(id, type);
    here.mutate((mutator) => mutator.change((doc) => void (doc["title"] = "x")));
    const other = await joined(served, "other");
    const socket = await joined(served, "hostile");
    const [honest = new Uint8Array()] = Automerge.getAllChanges(Automerge.from({ key: 1 }));
    const { hash: _hash, ...change } = Automerge.decodeChange(honest);
    const forged = forge(change as Automerge.DecodedChange);
    const { hash } = Automerge.decodeChange(forged);
    const data = Automerge.encodeSyncMessage({ heads: [hash], need: [], have: [], changes: [forged] });
    socket.send(cbor.encode({ type: "sync", senderId: "hostile", targetId: "a", documentId: DOCUMENT, data }));
    const closed = once(socket, "close", { signal: AbortSignal.timeout(5000) });
    const [code, reason] = (await closed) as [number, Buffer];
    expect({ code, reason: reason.toString() }).toEqual({ code: REFUSED, reason: "INVALID_REQUEST" });
    const told = once(other, "message", { signal: AbortSignal.timeout(5000) });
    there.mutate((mutator) => mutator.change((doc) => void (doc["title"] = "y")));
    await told;
    expect(here.value()).toEqual({ title: "y" });
    await joined(served, "late");
    expect(served.defects).toEqual([]);
  },
);

test("a message of automerge-repo that can be read, but not passed on, is refused with its reason", async () => {
  const type = automergeDoc<Record<string, unknown>>();
  const served = new Served(type);
  const a = await served.start("a");
  const replica = await a.open(["automerge", DOCUMENT], type);
  replica.mutate((mutator) => mutator.change((doc) => void (doc["title"] = "x")));
  await joined(served, "other");
  const socket = await joined(served, "hostile");
  const head = { type: "ephemeral", senderId: "hostile", targetId: "a", documentId: DOCUMENT };
  const message = Buffer.from(cbor.encode({ ...head, sessionId: "s", count: 7, data: 0 }));
  // A count that is the end of something that never began.
  message[message.indexOf("ecount") + "ecount".length] = 0xff;
  socket.send(message);
  const closed = once(socket, "close", { signal: AbortSignal.timeout(5000) });
  const [code, reason] = (await closed) as [number, Buffer];
  expect({ code, reason: reason.toString() }).toEqual({ code: REFUSED, reason: "INVALID_REQUEST" });
  expect(served.defects).toEqual([]);
});
