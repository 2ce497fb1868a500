import { builtinTypes } from "@coppice/crdt";
import { createMemoryNetwork } from "@coppice/replication";
import { yjsDoc } from "@coppice/crdt/yjs";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";
import { READ_TOKEN, TOKEN, type Served, serve } from "../gateway.test-support.ts";
import { MESSAGE_SYNC, SYNC_STEP_1, SYNC_STEP_2, WireReader, wire } from "../yjs-wire.ts";

const types = [...builtinTypes, yjsDoc({ note: "text" })];

interface Editor {
  readonly doc: Y.Doc;
  readonly text: Y.Text;
  readonly read: () => string;
  readonly provider: WebsocketProvider;
}

/** A client as applications use it. */
function edit(served: Served, id: string, token = TOKEN): Editor {
  const doc = new Y.Doc();
  const provider = new WebsocketProvider(
    `${served.gateway.url.replace("http", "ws")}/v1/yjs`,
    encodeURIComponent(id),
    doc,
    {
      WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
      protocols: ["coppice", `bearer.${token}`],
      disableBc: true,
    },
  );
  onTestFinished(() => {
    provider.destroy();
    doc.destroy();
  });
  const text = doc.getText("note");
  return { doc, text, read: () => text.toJSON(), provider };
}

test("clients of y-websocket edit one document, which the node keeps", async () => {
  const served = await serve({ types }, { types });
  const a = edit(served, "notes/a");
  const b = edit(served, "notes/a");
  await expect.poll(() => a.provider.synced && b.provider.synced).toBe(true);
  a.text.insert(0, "Hello");
  await expect.poll(() => b.read()).toBe("Hello");
  b.text.insert(5, ", world");
  await expect.poll(() => a.read()).toBe("Hello, world");
  const { body } = await served.call("GET", "/v1/groups/notes%2Fa/value");
  expect(body).toMatchObject({ type: "yjs", value: { note: "Hello, world" } });

  a.provider.disconnect();
  b.provider.disconnect();
  a.text.insert(0, "A: ");
  b.text.insert(b.text.length, "!");
  a.provider.connect();
  b.provider.connect();
  await expect.poll(() => a.read()).toBe("A: Hello, world!");
  await expect.poll(() => b.read()).toBe("A: Hello, world!");
  const late = edit(served, "notes/a");
  await expect.poll(() => late.read()).toBe("A: Hello, world!");
});

test("changes from elsewhere reach the editors", async () => {
  const served = await serve({ types }, { types });
  const editor = edit(served, "notes");
  await expect.poll(() => editor.provider.synced).toBe(true);
  const replica = await served.node.open("notes", yjsDoc({ note: "text" }));
  replica.mutate(({ doc }) => doc.getText("note").insert(0, "from the node"));
  await expect.poll(() => editor.read()).toBe("from the node");
});

test("presence is passed on, and goes with the connection", async () => {
  const served = await serve({ types }, { types });
  const a = edit(served, "n");
  const b = edit(served, "n");
  await expect.poll(() => a.provider.synced && b.provider.synced).toBe(true);
  a.provider.awareness.setLocalStateField("user", { name: "Ann" });
  const seen = (): unknown => b.provider.awareness.getStates().get(a.doc.clientID);
  await expect.poll(seen).toEqual({ user: { name: "Ann" } });
  const late = edit(served, "n");
  await expect.poll(() => late.provider.awareness.getStates().get(a.doc.clientID)).toEqual({ user: { name: "Ann" } });
  a.provider.ws?.close();
  a.provider.shouldConnect = false;
  await expect.poll(seen).toBeUndefined();
});

test("presence reaches the editors at other nodes, and goes with the connection there, too", async () => {
  const network = createMemoryNetwork();
  const [one, two] = await Promise.all(
    ["one", "two"].map((name) => serve({ types }, { types, transport: network.transport(name), syncIntervalMs: 200 })),
  );
  if (one === undefined || two === undefined) throw new TypeError("two were started");
  const a = edit(one, "n");
  await expect.poll(() => a.provider.synced).toBe(true);
  a.provider.awareness.setLocalStateField("user", { name: "Ann" });
  // Linked only when both rooms are open: they tell each other then.
  const b = edit(two, "n");
  await expect.poll(() => b.provider.synced).toBe(true);
  await two.node.connect("memory:/one");
  const seenBy = (editor: Editor): unknown => editor.provider.awareness.getStates().get(a.doc.clientID);
  await expect.poll(() => seenBy(b), { timeout: 5000 }).toEqual({ user: { name: "Ann" } });
  a.provider.awareness.setLocalStateField("cursor", 3);
  await expect.poll(() => seenBy(b)).toEqual({ user: { name: "Ann" }, cursor: 3 });
  // A room that opens asks.
  const other = edit(two, "other");
  other.provider.awareness.setLocalStateField("user", { name: "Bob" });
  const asked = edit(one, "other");
  await expect.poll(() => asked.provider.awareness.getStates().has(other.doc.clientID)).toBe(true);

  const reader = edit(two, "n", READ_TOKEN);
  await expect.poll(() => seenBy(reader)).toEqual({ user: { name: "Ann" }, cursor: 3 });
  a.provider.disconnect();
  await expect.poll(() => seenBy(b)).toBeUndefined();
  // It comes back with the clock that it had, and is seen at once.
  a.provider.connect();
  await expect.poll(() => seenBy(b), { timeout: 5000 }).toEqual({ user: { name: "Ann" }, cursor: 3 });
  expect(a.provider.awareness.getStates().has(reader.doc.clientID)).toBe(false);
});

test("a token for reading sees everything and changes nothing", async () => {
  const served = await serve({ types }, { types });
  const writer = edit(served, "n");
  await expect.poll(() => writer.provider.synced).toBe(true);
  writer.text.insert(0, "mine");
  const reader = edit(served, "n", READ_TOKEN);
  await expect.poll(() => reader.read()).toBe("mine");
  reader.text.insert(0, "not ");
  writer.text.insert(4, "!");
  await expect.poll(() => reader.read()).toBe("not mine!");
  expect(writer.read()).toBe("mine!");
  reader.provider.awareness.setLocalStateField("user", { name: "Reader" });
  writer.provider.awareness.setLocalStateField("user", { name: "Writer" });
  await expect
    .poll(() => reader.provider.awareness.getStates().get(writer.doc.clientID))
    .toEqual({ user: { name: "Writer" } });
  expect(writer.provider.awareness.getStates().has(reader.doc.clientID)).toBe(false);
  const stranger = edit(served, "new", READ_TOKEN);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(stranger.provider.synced).toBe(false);
  expect([...served.node.groups()]).toHaveLength(1);
});

test("what is no message of the protocol ends the connection, and no other", async () => {
  const served = await serve({ types }, { types });
  const editor = edit(served, "n");
  await expect.poll(() => editor.provider.synced).toBe(true);
  for (const bytes of [[0], [0, 2, 200], [0, 2, 3, 255, 255, 255], [1, 1], [1, 2, 5, 1]]) {
    const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/yjs/n`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    const code = new Promise((resolve) => socket.on("close", resolve));
    socket.on("open", () => socket.send(Uint8Array.from(bytes)));
    expect(await code).toBe(1008);
  }
  editor.text.insert(0, "still here");
  const late = edit(served, "n");
  await expect.poll(() => late.read()).toBe("still here");
});

test("a group of another type is refused", async () => {
  const served = await serve({ types }, { types });
  const body = { type: "gcounter", operations: [{ op: "increment" }] };
  await served.call("POST", "/v1/groups/n/operations", { body });
  const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/yjs/n`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const reason = new Promise((resolve) => socket.on("close", (_code, text: Buffer) => resolve(text.toString())));
  expect(await reason).toBe("TYPE_CONFLICT");
});

test("who edits a document that is deleted is disconnected, and does not keep others from the one after it", async () => {
  const served = await serve({ types }, { types });
  const reader = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/yjs/n`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  const reason = new Promise((resolve) => reader.on("close", (_code, text: Buffer) => resolve(text.toString())));
  await new Promise((resolve) => reader.once("message", resolve));
  await served.node.delete("n");
  const again = await served.node.open("n", yjsDoc({ note: "text" }), { recreate: true });
  again.mutate(({ doc }) => doc.getText("note").insert(0, "anew"));
  const late = edit(served, "n");
  await expect.poll(() => late.read()).toBe("anew");
  late.text.insert(0, "all ");
  await expect.poll(() => again.value().note).toBe("all anew");
  expect(await reason).toBe("GROUP_DELETED");
});

test("the same question is answered with what the document holds by then", async () => {
  const served = await serve({ types }, { types });
  const replica = await served.node.open("n", yjsDoc({ note: "text" }));
  const socket = new WebSocket(`${served.gateway.url.replace("http", "ws")}/v1/yjs/n`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  onTestFinished(() => socket.terminate());
  const answers: string[] = [];
  socket.on("message", (data: Buffer) => {
    const reader = new WireReader(data);
    if (reader.uint() !== MESSAGE_SYNC || reader.uint() !== SYNC_STEP_2) return;
    const doc = new Y.Doc();
    Y.applyUpdate(doc, reader.bytes());
    answers.push(doc.getText("note").toJSON());
  });
  await new Promise((resolve) => socket.once("message", resolve));
  for (const held of ["a", "ab"]) {
    await replica.mutate(({ doc }) => doc.getText("note").insert(held.length - 1, held.slice(-1)));
    for (const since of [[0], [0], [1, 7, 1]]) {
      socket.send(wire(MESSAGE_SYNC, SYNC_STEP_1, Uint8Array.from(since)));
    }
    await expect.poll(() => answers).toEqual([held, held, held]);
    answers.length = 0;
  }
});
