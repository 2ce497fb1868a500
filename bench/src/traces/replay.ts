import * as A from "@automerge/automerge";
import { createNode } from "coppice";
import { automergeDoc } from "coppice/automerge";
import { yjsDoc } from "coppice/yjs";
import * as Y from "yjs";
import { type Figure, cpuNs, median, nowNs, turn } from "../replication/figure.ts";

type Patch = readonly [position: number, deleted: number, inserted: string];

export interface Trace {
  readonly startContent: string;
  readonly endContent: string;
  readonly txns: readonly { readonly patches: readonly Patch[] }[];
}

const ROUNDS = 3;
/** Of Automerge, whose changes take some ten times as long as those of Yjs. */
const AUTOMERGE_EDITS_MAX = 20_000;
/** Edits between two turns of the event loop. */
const EDITS_A_TURN = 100;
const GROUP = ["bench", "trace"] as const;

/** A document being replayed into. */
interface Replayed {
  edit(patches: readonly Patch[]): void;
  text(): string;
  /** Bytes of the whole document as it is stored and sent. */
  stateBytes(): number;
  close(): Promise<void>;
}

type Open = () => Promise<Replayed>;

function editYjs(text: Y.Text, patches: readonly Patch[]): void {
  for (const [position, deleted, inserted] of patches) {
    if (deleted > 0) text.delete(position, deleted);
    if (inserted !== "") text.insert(position, inserted);
  }
}

async function plainYjs(): Promise<Replayed> {
  const doc = new Y.Doc();
  let updateBytes = 0;
  doc.on("update", (update) => (updateBytes += update.length));
  const text = doc.getText("text");
  return {
    edit: (patches) => doc.transact(() => editYjs(text, patches)),
    text: () => text.toJSON(),
    stateBytes: () => Y.encodeStateAsUpdate(doc).length,
    close: async () => doc.destroy(),
  };
}

async function yjsInReplica(): Promise<Replayed> {
  const type = yjsDoc({ text: "text" });
  const node = await createNode({ types: [type] });
  const replica = await node.open(GROUP, type);
  return {
    edit: (patches) => void replica.mutate(({ doc }) => doc.transact(() => editYjs(doc.getText("text"), patches))),
    text: () => replica.value().text,
    stateBytes: () => replica.read(({ doc }) => Y.encodeStateAsUpdate(doc).length),
    close: () => node.close(),
  };
}

interface Text extends Record<string, unknown> {
  text: string;
}

function editAutomerge(draft: A.Doc<Text>, patches: readonly Patch[]): void {
  for (const [position, deleted, inserted] of patches) A.splice(draft, ["text"], position, deleted, inserted);
}

async function plainAutomerge(): Promise<Replayed> {
  let doc = A.from<Text>({ text: "" });
  let changeBytes = 0;
  return {
    edit(patches) {
      doc = A.change(doc, (draft) => editAutomerge(draft, patches));
      changeBytes += A.getLastLocalChange(doc)?.length ?? 0;
    },
    text: () => doc.text,
    stateBytes: () => A.save(doc).length,
    close: async () => A.free(doc),
  };
}

async function automergeInReplica(): Promise<Replayed> {
  const type = automergeDoc<Text>();
  const node = await createNode({ types: [type] });
  const replica = await node.open(GROUP, type);
  replica.mutate((page) => page.change((draft) => (draft.text = "")));
  return {
    edit: (patches) => void replica.mutate((page) => page.change((draft) => editAutomerge(draft, patches))),
    text: () => replica.value().text,
    stateBytes: () => replica.read(({ doc }) => A.save(doc).length),
    close: () => node.close(),
  };
}

interface Replay {
  readonly ns: number;
  readonly cpuNs: number;
  readonly bytes: number;
}

/** Replays a trace into a fresh document; times are of one edit. */
async function replay(open: Open, trace: Trace, edits: number): Promise<Replay> {
  const replayed = await open();
  try {
    replayed.edit([[0, 0, trace.startContent]]);
    const startNs = nowNs();
    const startCpuNs = cpuNs();
    for (let edit = 0; edit < edits; edit++) {
      replayed.edit(trace.txns[edit]?.patches ?? []);
      if (edit % EDITS_A_TURN === 0) await turn();
    }
    const found = { ns: (nowNs() - startNs) / edits, cpuNs: (cpuNs() - startCpuNs) / edits };
    if (edits === trace.txns.length && replayed.text() !== trace.endContent) throw new Error("another text came out");
    return { ...found, bytes: replayed.stateBytes() };
  } finally {
    await replayed.close();
  }
}

async function compare(
  name: string,
  library: string,
  plain: Open,
  ours: Open,
  trace: Trace,
  edits: number,
): Promise<Figure[]> {
  const rounds: { readonly plain: Replay; readonly ours: Replay }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push({ plain: await replay(plain, trace, edits), ours: await replay(ours, trace, edits) });
  }
  const of = (whose: "plain" | "ours", what: keyof Replay): number => median(rounds.map((each) => each[whose][what]));
  const title = `${name}, ${edits} edits, ${library}`;
  const measures = "replica in memory";
  return [
    {
      name: `${title}: each`,
      measures,
      value: of("ours", "ns") / 1e3,
      unit: "us",
      cpuNs: of("ours", "cpuNs"),
      raw: { name: `us ${library} alone`, value: of("plain", "ns") / 1e3 },
      note: `processor time ${(of("ours", "cpuNs") / of("plain", "cpuNs")).toFixed(2)} x`,
    },
    {
      name: `${title}: the state`,
      measures,
      value: of("ours", "bytes"),
      unit: "B",
      raw: { name: `B ${library} alone`, value: of("plain", "bytes") },
    },
  ];
}

/** One trace in both libraries. */
export async function traceFigures(name: string, trace: Trace): Promise<Figure[]> {
  const all = trace.txns.length;
  const few = Math.min(all, AUTOMERGE_EDITS_MAX);
  return [
    ...(await compare(name, "Yjs", plainYjs, yjsInReplica, trace, all)),
    ...(await compare(name, "Automerge", plainAutomerge, automergeInReplica, trace, few)),
  ];
}
