import { type Node, gCounter, lwwRegister, orMap, struct } from "coppice";

/**
 * One group for each first letter. Counts and positions change together: a position says how many chunks of its share
 * a node has counted into this group, so whoever has the position has exactly those counts.
 */
export const letterType = struct({
  words: orMap(gCounter),
  total: gCounter,
  position: orMap(lwwRegister<number>()),
});

/** When each node last wrote here, to measure how long writes take to the other nodes. */
export const pulseType = orMap(lwwRegister<number>());

/** How often nodes were started. */
export const startsType = gCounter;

export const types = [letterType, pulseType, startsType];

/** Every group of this program, opened. */
export type Groups = Awaited<ReturnType<typeof openGroups>>;
export type LetterReplica = Awaited<ReturnType<typeof openLetter>>;
export type PulseReplica = Groups["pulse"];

const LATIN = "abcdefghijklmnopqrstuvwxyz".split("");
const DIGIT = "digit";
const OTHER = "other";

/** The last part of each letter group's id, `["words", letter]`. */
export const letters: readonly string[] = [...LATIN, DIGIT, OTHER];

/** The letter under which a word is counted: `é` counts as `e`; what is not Latin has a group in common. */
export function letterOf(word: string): string {
  const first = word.charAt(0);
  if (first >= "a" && first <= "z") return first;
  const plain = word.normalize("NFKD").charAt(0).toLowerCase();
  if (plain >= "a" && plain <= "z") return plain;
  return plain >= "0" && plain <= "9" ? DIGIT : OTHER;
}

/** Opens all groups on a node; what is stored there is loaded, what is new is created. */
export async function openGroups(node: Node) {
  const starts = await node.open(["cluster", "starts"], startsType);
  const pulse = await node.open(["cluster", "pulse"], pulseType);
  const byLetter = new Map<string, LetterReplica>();
  for (const letter of letters) byLetter.set(letter, await openLetter(node, letter));
  return { starts, pulse, byLetter };
}

function openLetter(node: Node, letter: string) {
  return node.open(["words", letter], letterType);
}
