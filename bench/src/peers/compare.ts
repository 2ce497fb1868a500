import type { Figure } from "../replication/figure.ts";
import type { SystemName } from "./system.ts";

/** The way that a write or a document takes. */
export type Way = SystemName | "hocuspocus-clients" | "coppice-stored" | "automerge-repo-stored";

const WAYS: Readonly<Record<Way, Figure["measures"]>> = {
  coppice: "Coppice: node to node, encrypted",
  "automerge-repo": "automerge-repo: node to node, plain",
  hocuspocus: "Hocuspocus: client to server, plain",
  "hocuspocus-tls": "Hocuspocus: client to server, encrypted",
  "hocuspocus-clients": "Hocuspocus: client to client, plain",
  "raw-stream": "libp2p: a number over a stream",
  "coppice-stored": "Coppice: stored in LevelDB",
  "automerge-repo-stored": "automerge-repo: stored in files",
};

/** One figure of all systems, a row each: ours first, with the goal that it is ahead of every other. */
export function compare(
  figure: Pick<Figure, "name" | "unit">,
  values: ReadonlyMap<Way, number>,
  { isMoreBetter = false, ...more }: { isMoreBetter?: boolean } & Pick<Figure, "raw" | "note"> = {},
): Figure[] {
  const [[way, ours] = [], ...peers] = values;
  if (way === undefined || ours === undefined) throw new TypeError("nothing to compare");
  const isAhead = peers.every(([, value]) => (isMoreBetter ? ours > value : ours < value));
  const goal = { text: "ahead of every peer", isMet: isAhead };
  return [
    { ...figure, measures: WAYS[way], value: ours, goal, ...more },
    ...peers.map(([peer, value]) => ({
      ...figure,
      measures: WAYS[peer],
      value,
      other: { name: "Coppice", value: ours },
    })),
  ];
}
