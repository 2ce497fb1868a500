import type { CoreContext } from "./context.ts";
import { groupHash } from "./digest.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Peer } from "./peer.ts";
import { AGAIN_MS, type PeerPulls, isLost, questionsMax } from "./pulls.ts";

/** As long as fewer questions may be asked, they wait until they make a message that is worth while. */
const QUESTIONS_MIN = 64;
/** Hashes listed by one peer that are remembered, some 50 bytes each. The next comparison finds the others. */
export const LISTED_MAX: number = 2 ** 16;

/**
 * Groups that this node does not know, and peers have. All that is known of them is the hash in the lists of those peers,
 * and that is enough to ask for them: small ones come at once, others are told of, and shared out (`pulls.ts`). Several
 * peers often list the same: each group is asked of one of them, so many at a time that a node that comes late gets its
 * groups from all its peers, a part from each.
 */
export class Wants {
  readonly #core: CoreContext;
  readonly #compare: (peer: Peer) => void;

  /** @param compare begins another comparison with a peer */
  constructor(core: CoreContext, compare: (peer: Peer) => void) {
    this.#core = core;
    this.#compare = compare;
  }

  /** A peer has groups of a domain with these hashes, and this node has none. */
  listed(peer: Peer, domain: string, hashes: Iterable<number>): void {
    const { pulls } = peer;
    for (const hash of hashes) {
      if (pulls.wanted.has(hash)) continue;
      if (pulls.listed.size < LISTED_MAX) pulls.listed.set(hash, domain);
      else pulls.hasSkipped = true;
    }
    this.#fill(peer);
  }

  /** A peer has said what it has of a group that may have been wanted: if that was brought, it came before. */
  answered(peer: Peer, key: string): void {
    const { wanted } = peer.pulls;
    if (wanted.size > 0 && wanted.delete(groupHash(key))) this.#fillAll();
  }

  /** A peer has gone: the others are asked for what it owes. */
  left(): void {
    this.#fillAll();
  }

  /** Gives up what got lost, which the next comparison will find, and shares out what waits for a slow peer. */
  tick(): void {
    const now = this.#core.now();
    for (const { pulls } of this.#core.peers.values()) {
      for (const [hash, at] of pulls.wanted) if (isLost(pulls, at, now)) pulls.wanted.delete(hash);
    }
    this.#fillAll();
    for (const peer of this.#core.peers.values()) {
      if (peer.pulls.open === 0 && peer.pulls.listed.size > 0) this.#takeOver(peer, now - AGAIN_MS);
    }
  }

  #fillAll(): void {
    for (const peer of this.#core.peers.values()) this.#fill(peer);
  }

  /** Wants as much of a peer as it has places for. When all is here, the two compare again what was left out. */
  #fill(peer: Peer): void {
    const { pulls } = peer;
    if (pulls.listed.size > 0) this.#want(peer, this.#next(pulls));
    if (pulls.listed.size > 0 || pulls.wanted.size > 0 || !pulls.hasSkipped) return;
    pulls.hasSkipped = false;
    this.#compare(peer);
  }

  /** Which hashes to want of a peer now. */
  #next(pulls: PeerPulls): number[] {
    const hashes: number[] = [];
    const room = this.#core.room();
    if (room === 0) pulls.listed.clear();
    const places = Math.min(questionsMax(this.#core.peers.size) - pulls.open, room - this.#wantedOfAll());
    if (places < QUESTIONS_MIN && pulls.wanted.size > 0) return hashes;
    for (let looks = pulls.listed.size; looks > 0 && hashes.length < places; looks--) {
      const [hash, domain] = pulls.nextListed() ?? [];
      if (hash === undefined || domain === undefined) break;
      if (this.#isKnown(hash, domain)) this.#skip(pulls, hash);
      else if (!this.#isWanted(hash)) hashes.push(hash);
    }
    return hashes;
  }

  #wantedOfAll(): number {
    let wanted = 0;
    for (const { pulls } of this.#core.peers.values()) wanted += pulls.wanted.size;
    return wanted;
  }

  #isKnown(hash: number, domain: string): boolean {
    return this.#core.groups.withHash(hash).some((group) => group.domain === domain);
  }

  #isWanted(hash: number): boolean {
    for (const { pulls } of this.#core.peers.values()) if (pulls.wanted.has(hash)) return true;
    return false;
  }

  /** Another peer has brought it, but perhaps not all that this one has. */
  #skip(pulls: PeerPulls, hash: number): void {
    pulls.listed.delete(hash);
    pulls.hasSkipped = true;
  }

  #want(peer: Peer, hashes: readonly number[]): void {
    if (hashes.length === 0) return;
    const now = this.#core.now();
    for (const hash of hashes) {
      peer.pulls.listed.delete(hash);
      peer.pulls.wanted.set(hash, now);
    }
    peer.post(encodeMessage({ kind: "want", hashes }));
  }

  /** Wants of a peer that has nothing to do half of what another one has not come to since then: the last ones. */
  #takeOver(peer: Peer, since: number): void {
    const { listed } = peer.pulls;
    const waiting = [...this.#core.peers.values()].map(({ pulls }) =>
      [...pulls.wanted].filter(([hash, at]) => at <= since && listed.has(hash)).map(([hash]) => hash),
    );
    const most = waiting.reduce((longest, hashes) => (hashes.length > longest.length ? hashes : longest), []);
    const last = most.slice(Math.ceil(most.length / 2));
    this.#want(peer, last.slice(-questionsMax(this.#core.peers.size)));
  }
}
