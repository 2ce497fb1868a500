/**
 * Coppice beside automerge-repo and Hocuspocus, in one run: the same small maps, in processes of their own on loopback.
 * Ours are nodes over libp2p, encrypted; theirs speak over WebSockets that are not.
 *
 * Run: `node bench/dist/peers.js [--json FILE] [section…]`; the sections are those below, all by default.
 */
import { lateJoiner, restart } from "./peers/many-maps.ts";
import { reconnection } from "./peers/reconnection.ts";
import { writes } from "./peers/writes.ts";
import { runSections } from "./replication/sections.ts";

await runSections(
  new Map([
    ["writes", writes],
    ["late-joiner", lateJoiner],
    ["reconnection", reconnection],
    ["restart", restart],
  ]),
);
