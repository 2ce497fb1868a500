import { expect, test } from "vitest";
import * as Y from "yjs";
import { readShared } from "./yjs-undeclared.ts";

/** A document of the same content in which nobody has asked for a shared type. */
function received(doc: Y.Doc): Y.Doc {
  const copy = new Y.Doc();
  Y.applyUpdate(copy, Y.encodeStateAsUpdate(doc));
  return copy;
}

test("what is in a shared type tells what it is", () => {
  const doc = new Y.Doc();
  doc.getText("body").insert(0, "Hello");
  doc.getText("body").format(0, 2, { bold: true });
  doc.getText("body").delete(4, 1);
  const map = doc.getMap("meta");
  map.set("title", "old");
  map.set("title", "new");
  map.set("gone", 1);
  map.delete("gone");
  map.set("tags", Y.Array.from(["a", "b"]));
  doc.getArray("list").push([1, "two", { three: 3 }, new Y.Text("four"), new Uint8Array([5])]);
  const paragraph = new Y.XmlElement("p");
  paragraph.insert(0, [new Y.XmlText("Hi")]);
  doc.getXmlFragment("page").insert(0, [paragraph]);
  const value = {
    body: "Hell",
    meta: { title: "new", tags: ["a", "b"] },
    list: [1, "two", { three: 3 }, "four", new Uint8Array([5])],
    page: "<p>Hi</p>",
  };
  expect(readShared(received(doc))).toEqual(value);
  // And so it is where each was asked for.
  expect(readShared(doc)).toEqual(value);
});

test("reading declares nothing: each can still be asked for as what it is", () => {
  const doc = new Y.Doc();
  doc.getText("body").insert(0, "Hello");
  const copy = received(doc);
  readShared(copy);
  expect(copy.getText("body").toJSON()).toBe("Hello");
});

test("nothing tells what an empty one is, so it is left out; an emptied map is one still", () => {
  const doc = new Y.Doc();
  doc.getText("body").insert(0, "x");
  doc.getText("body").delete(0, 1);
  doc.getMap("meta").set("a", 1);
  doc.getMap("meta").delete("a");
  expect(readShared(received(doc))).toEqual({ meta: {} });
});
