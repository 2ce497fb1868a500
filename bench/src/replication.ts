/**
 * What a node does, beside the raw limit of each: local writes, remote applies, propagation between two processes,
 * catching up, and memory. Every figure is a median of several rounds in which the subjects take turns, and says what
 * it measures.
 *
 * Run: `node bench/dist/replication.js [--json FILE] [section…]`; the sections are those below, all by default.
 */
import { lateJoiner, reconnection } from "./replication/catching-up.ts";
import type { Figure } from "./replication/figure.ts";
import { localWrites } from "./replication/local-writes.ts";
import { manyGroups } from "./replication/many-groups.ts";
import { memory } from "./replication/memory.ts";
import { propagation } from "./replication/propagation.ts";
import { remoteApply } from "./replication/remote-apply.ts";
import { runSections } from "./replication/sections.ts";

/** `scale.ts` measures ten times as many. */
const MANY_GROUPS = 10_000;

const SECTIONS = new Map<string, () => Promise<Figure[]>>([
  // First: what the others leave behind would be counted.
  ["memory", memory],
  ["local-writes", localWrites],
  ["remote-apply", remoteApply],
  ["propagation", propagation],
  ["reconnection", reconnection],
  ["late-joiner", lateJoiner],
  ["many-groups", () => manyGroups(MANY_GROUPS)],
]);

await runSections(SECTIONS);
