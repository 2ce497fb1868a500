import { automergeDoc, type AutomergeMutator } from "@coppice/crdt/automerge";
import { yjsDoc, type YjsMutator } from "@coppice/crdt/yjs";
import type { Note } from "./history.ts";
import type { Random } from "./random.ts";
import type { Subject } from "./subject.ts";

const yjsType = yjsDoc({ text: "text", map: "map", list: "array" });
const automergeType = automergeDoc<Record<string, unknown>>();

/** Documents have no model of their own: they leave a note, so that an event is expected. */
const SOMETHING: Note = { op: "set", path: [], value: 0 };
const KEYS = ["a", "b", "c"];

function writeYjs({ doc }: YjsMutator, random: Random): void {
  const text = doc.getText("text");
  const list = doc.getArray<number>("list");
  const map = doc.getMap("map");
  const kind = random.int(6);
  if (kind < 2) return text.insert(random.int(text.length + 1), random.pick(["x", "yz", "é"]));
  if (kind === 2 && text.length > 0) return text.delete(random.int(text.length), 1);
  if (kind === 3 && list.length > 0) return list.delete(random.int(list.length), 1);
  if (kind === 4) return list.insert(random.int(list.length + 1), [random.int(100)]);
  map.set(random.pick(KEYS), random.int(1000));
}

function writeAutomerge(mutator: AutomergeMutator<Record<string, unknown>>, random: Random): void {
  mutator.change((draft) => {
    const key = random.pick(KEYS);
    const list = draft["list"];
    const kind = random.int(5);
    if (kind === 0 && key in draft) delete draft[key];
    else if (kind === 1 && Array.isArray(list)) list.splice(random.int(list.length + 1), 0, random.int(100));
    else if (kind === 2 && Array.isArray(list) && list.length > 0) list.splice(random.int(list.length), 1);
    else if (kind === 3 && !Array.isArray(list)) draft["list"] = [random.int(100)];
    else draft[key] = random.int(1000);
  });
}

/** Documents of Yjs and Automerge. */
export const DOCUMENTS: ReadonlyMap<string, Subject> = new Map<string, Subject>([
  [
    "yjs",
    {
      type: yjsType,
      write(mutator, random) {
        writeYjs(mutator as YjsMutator, random);
        return [SOMETHING];
      },
    },
  ],
  [
    "automerge",
    {
      type: automergeType,
      write(mutator, random) {
        writeAutomerge(mutator as AutomergeMutator<Record<string, unknown>>, random);
        return [SOMETHING];
      },
    },
  ],
]);
