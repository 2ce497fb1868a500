import * as A from "@automerge/automerge";
import { builtinTypes } from "@coppice/crdt";
import { automergeDoc } from "@coppice/crdt/automerge";
import { yjsDoc } from "@coppice/crdt/yjs";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { READ_TOKEN, type Served, TOKEN, serve } from "../gateway.test-support.ts";

const types = [...builtinTypes, yjsDoc({ note: "text" }), automergeDoc()];

async function post(served: Served, path: string, body: Uint8Array, headers: Record<string, string> = {}) {
  const response = await fetch(`${served.gateway.url}/v1/groups/${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}`, "content-type": "application/octet-stream", ...headers },
    body: new Uint8Array(body),
  });
  return { status: response.status, body: (await response.json()) as { code?: string; digest?: string } };
}

async function get(served: Served, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${served.gateway.url}/v1/groups/${path}`, {
    headers: { authorization: `Bearer ${TOKEN}`, ...headers },
  });
  const { status } = response;
  return { status, etag: response.headers.get("etag") ?? "", bytes: new Uint8Array(await response.arrayBuffer()) };
}

test("Yjs documents are written and read as updates", async () => {
  const served = await serve({ types }, { types });
  const mine = new Y.Doc();
  mine.getText("note").insert(0, "Hello");
  const created = await post(served, "notes%2Fa/document?type=yjs&ack=memory", Y.encodeStateAsUpdate(mine));
  expect(created).toMatchObject({ status: 200, body: { digest: expect.any(String) as string } });
  const vector = Y.encodeStateVector(mine);
  mine.getText("note").insert(5, ", world");
  expect(await post(served, "notes%2Fa/document", Y.encodeStateAsUpdate(mine, vector))).toMatchObject({ status: 200 });

  const all = await get(served, "notes%2Fa/document");
  const theirs = new Y.Doc();
  Y.applyUpdate(theirs, all.bytes);
  expect(theirs.getText("note").toJSON()).toBe("Hello, world");
  const since = Buffer.from(vector).toString("base64url");
  const rest = await get(served, `notes%2Fa/document?since=${since}`);
  expect(rest.bytes.length).toBeLessThan(all.bytes.length);
  expect(await get(served, "notes%2Fa/document", { "if-none-match": all.etag })).toMatchObject({ status: 304 });
});

test("Automerge documents are written and read as Automerge saves them", async () => {
  const served = await serve({ types }, { types });
  type Note = { title?: string; n?: number };
  const first = A.from<Note>({ title: "Hello" });
  expect(await post(served, "notes%2Fb/document?type=automerge", A.save(first))).toMatchObject({ status: 200 });
  const heads = A.getHeads(first);
  const second = A.change(first, (note) => void (note.n = 2));
  const changes = Buffer.concat(A.getChangesSince(second, heads));
  expect(await post(served, "notes%2Fb/document", changes)).toMatchObject({ status: 200 });
  expect(A.toJS(A.load<Note>((await get(served, "notes%2Fb/document")).bytes))).toEqual({ title: "Hello", n: 2 });
  const rest = (await get(served, `notes%2Fb/document?since=${heads.join(",")}`)).bytes;
  expect(A.toJS(A.loadIncremental(A.clone(first), rest))).toEqual({ title: "Hello", n: 2 });
});

test("refuses what is no update, what has a hole before it, and other types", async () => {
  const served = await serve({ types }, { types });
  const doc = new Y.Doc();
  doc.getText("note").insert(0, "a");
  const vector = Y.encodeStateVector(doc);
  doc.getText("note").insert(1, "b");
  const late = Y.encodeStateAsUpdate(doc, vector);
  // The first of its author, but it stands behind what another wrote.
  const other = new Y.Doc();
  Y.applyUpdate(other, Y.encodeStateAsUpdate(doc));
  const seen = Y.encodeStateVector(other);
  other.getText("note").insert(2, "c");
  const onOther = Y.encodeStateAsUpdate(other, seen);
  const note = A.from({ a: 1 });
  const after = A.change(note, (draft) => void (draft.a = 2));
  const lateChanges = Buffer.concat(A.getChangesSince(after, A.getHeads(note)));
  const junk = Uint8Array.from({ length: 40 }, (_, index) => index * 7 + 200);
  const refused: [path: string, bytes: Uint8Array, status: number, code: string][] = [
    ["y/document?type=yjs", junk, 422, "INVALID_OPERATION"],
    ["y/document?type=yjs", late, 422, "INVALID_OPERATION"],
    ["y/document?type=yjs", onOther, 422, "INVALID_OPERATION"],
    ["m/document?type=automerge", junk, 422, "INVALID_OPERATION"],
    ["m/document?type=automerge", lateChanges, 422, "INVALID_OPERATION"],
    ["new/document", Y.encodeStateAsUpdate(doc), 404, "UNKNOWN_GROUP"],
    ["y/document?type=gcounter", junk, 400, "INVALID_REQUEST"],
  ];
  for (const [path, bytes, status, code] of refused) {
    expect({ path, ...(await post(served, path, bytes)) }).toMatchObject({ path, status, body: { code } });
  }
  expect([...served.node.groups()]).toEqual([]);
  expect(await post(served, "y/document?type=yjs", Y.encodeStateAsUpdate(doc))).toMatchObject({ status: 200 });
  expect(await post(served, "y/document?type=automerge", A.save(note))).toMatchObject({
    status: 409,
    body: { code: "TYPE_CONFLICT" },
  });
  await served.call("POST", "/v1/groups/n/operations", {
    body: { type: "gcounter", operations: [{ op: "increment" }] },
  });
  expect(await served.call("GET", "/v1/groups/n/document")).toMatchObject({ status: 400 });
  expect(await served.call("GET", "/v1/groups/y/document?since=%00")).toMatchObject({ status: 400 });
  expect(served.errors).toEqual([]);
});

test("bytes must be declared as such, and JSON is not taken for them", async () => {
  const served = await serve({ types }, { types });
  const update = Y.encodeStateAsUpdate(new Y.Doc());
  for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded"]) {
    const answer = await post(served, "y/document?type=yjs", update, { "content-type": type });
    expect(answer).toMatchObject({ status: 415, body: { code: "UNSUPPORTED_MEDIA_TYPE" } });
  }
  const bytes = await post(served, "n/operations", new TextEncoder().encode('{"operations": []}'));
  expect(bytes).toMatchObject({ status: 415 });
  const reader = await post(served, "y/document?type=yjs", update, { authorization: `Bearer ${READ_TOKEN}` });
  expect(reader).toMatchObject({ status: 403 });
});
