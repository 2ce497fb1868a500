import * as Automerge from "@automerge/automerge";
import { type AutomergeMutator, automergeDoc } from "@coppice/crdt/automerge";
import { type YjsMutator, yjsDoc } from "@coppice/crdt/yjs";
import * as Y from "yjs";
import type { Note } from "./history.ts";
import type { Random } from "./random.ts";
import type { Subject } from "./subject.ts";

const SHAPE = { text: "text", map: "map", list: "array" } as const;
const yjsType = yjsDoc(SHAPE);
const automergeType = automergeDoc<Record<string, unknown>>();
const KEYS = ["a", "b", "c"];

/** Documents whose client id was drawn from the seed: that of the library itself is no run's to repeat. */
const seeded = new WeakSet<Y.Doc>();

function seedClient(doc: Y.Doc, random: Random): void {
  if (seeded.has(doc)) return;
  seeded.add(doc);
  doc.clientID = random.int(2 ** 21) * 2 ** 32 + random.int(2 ** 32);
}

function changeYjs(doc: Y.Doc, random: Random): void {
  const text = doc.getText("text");
  const list = doc.getArray<number>("list");
  const kind = random.int(6);
  if (kind < 2) return text.insert(random.int(text.length + 1), random.pick(["x", "yz", "é"]));
  if (kind === 2 && text.length > 0) return text.delete(random.int(text.length), 1);
  if (kind === 3 && list.length > 0) return list.delete(random.int(list.length), 1);
  if (kind === 4) return list.insert(random.int(list.length + 1), [random.int(100)]);
  doc.getMap("map").set(random.pick(KEYS), random.int(1000));
}

function writeYjs({ doc }: YjsMutator, random: Random): Note[] {
  seedClient(doc, random);
  const update: Uint8Array[] = [];
  const note = (bytes: Uint8Array): void => void update.push(bytes);
  doc.on("update", note);
  changeYjs(doc, random);
  doc.off("update", note);
  return [{ op: "update", path: [], update }];
}

/** What Yjs itself makes of all updates, without Coppice. */
function readYjs(updates: readonly Uint8Array[]): unknown {
  const doc = new Y.Doc();
  if (updates.length > 0) Y.applyUpdate(doc, Y.mergeUpdates([...updates]));
  return { text: doc.getText("text").toJSON(), map: doc.getMap("map").toJSON(), list: doc.getArray("list").toJSON() };
}

function changeAutomerge(draft: Record<string, unknown>, random: Random): void {
  const key = random.pick(KEYS);
  const list = draft["list"];
  const kind = random.int(5);
  if (kind === 0 && key in draft) delete draft[key];
  else if (kind === 1 && Array.isArray(list)) list.splice(random.int(list.length + 1), 0, random.int(100));
  else if (kind === 2 && Array.isArray(list) && list.length > 0) list.splice(random.int(list.length), 1);
  else if (kind === 3 && !Array.isArray(list)) draft["list"] = [random.int(100)];
  else draft[key] = random.int(1000);
}

function writeAutomerge(mutator: AutomergeMutator<Record<string, unknown>>, random: Random): Note[] {
  const before = Automerge.getHeads(mutator.doc);
  const changed = mutator.change((draft) => changeAutomerge(draft, random));
  const update = Automerge.getChangesSince(changed, before);
  return update.length === 0 ? [] : [{ op: "update", path: [], update }];
}

/** What Automerge itself makes of all changes. */
function readAutomerge(updates: readonly Uint8Array[]): unknown {
  return Automerge.toJS(Automerge.applyChanges(Automerge.init<Record<string, unknown>>(), [...updates])[0]);
}

/** Documents of Yjs and Automerge, each read as its own library reads all its updates. */
export const DOCUMENTS: ReadonlyMap<string, Subject> = new Map<string, Subject>([
  [
    "yjs",
    {
      type: yjsType,
      write: (mutator, random) => writeYjs(mutator as YjsMutator, random),
      read: ({ updates }) => readYjs(updates),
      onThrow: "publish",
    },
  ],
  [
    "automerge",
    {
      type: automergeType,
      write: (mutator, random) => writeAutomerge(mutator as AutomergeMutator<Record<string, unknown>>, random),
      read: ({ updates }) => readAutomerge(updates),
    },
  ],
]);
