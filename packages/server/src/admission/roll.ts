import type { Introductions, Roll, RollEntry } from "@coppice/replication/libp2p";

/** A decision, and which member told of it; undefined for one that was made here. */
export interface StoredEntry extends RollEntry {
  readonly by?: string;
}

/** Entries taken from members, beside those made here. */
const ENTRIES_MAX = 1000;
/** Members named by others that a node which came by an invite admits. */
const NAMED_MAX = 1000;
/** How far ahead of this node's clock a decision may be. */
const AHEAD_MS_MAX = 86_400_000;
const PEER_ID = /^[1-9A-HJ-NP-Za-km-z]{40,70}$/;
const LABEL_LENGTH_MAX = 100;

/** Which members a node believes. */
export interface Trust {
  /** Whether members may introduce others; else it is only remembered who was introduced. */
  readonly takesIntroductions: boolean;
  /** Whether this node came by an invite: then it admits whom its members are linked with, for it knows nobody else. */
  readonly isNewcomer: boolean;
  /** Told of each decision of another node that counts here from now on. */
  readonly onTold?: (entry: StoredEntry) => void;
}

/**
 * Whom invites have let in on whatever node, and who was removed. The later decision counts, of two at once the
 * removal; a decision made here is always later than all that is known. So everybody comes to the same roll in whatever
 * order they hear of it, and a peer that was removed comes back by a new invite only.
 */
export class AdmissionRoll implements Roll {
  readonly #trust: Trust;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #named = new Map<string, string>();
  /** Introduced to a node that takes no introductions, and by whom. */
  readonly #unheeded = new Map<string, string>();
  readonly #watchers = new Set<() => void>();
  readonly #save: () => Promise<void>;

  /** @param save stores the entries; what was heard of counts once it is done */
  constructor(entries: readonly StoredEntry[], trust: Trust, save: () => Promise<void>) {
    for (const entry of entries) this.#entries.set(entry.peer, entry);
    this.#trust = trust;
    this.#save = save;
  }

  admits(peer: string): boolean {
    const entry = this.#entries.get(peer);
    return entry === undefined ? this.#named.has(peer) : !entry.isRemoved;
  }

  isRemoved(peer: string): boolean {
    return this.#entries.get(peer)?.isRemoved === true;
  }

  entries(): readonly StoredEntry[] {
    return [...this.#entries.values()];
  }

  /** Decides here; takes effect at once. Returns what takes it back, should it not be stored. */
  decide(peer: string, isRemoved: boolean, label: string): () => void {
    const known = this.#entries.get(peer);
    const at = Math.max(Date.now(), (known?.at ?? 0) + 1);
    // What is told must be well-formed.
    this.#entries.set(peer, { peer, at, isRemoved, label: Buffer.from(label).toString() });
    return () => {
      if (known === undefined) this.#entries.delete(peer);
      else this.#entries.set(peer, known);
    };
  }

  /** Tells the members, once what was decided here is stored. */
  decided(): void {
    for (const watcher of this.#watchers) watcher();
  }

  introduce(by: string, { roll, members }: Introductions): void {
    if (!this.#trust.takesIntroductions) {
      for (const { peer, isRemoved } of roll) if (!isRemoved) remember(this.#unheeded, peer, by);
      return;
    }
    if (this.#trust.isNewcomer) for (const peer of members) if (PEER_ID.test(peer)) remember(this.#named, peer, by);
    const news = roll.filter((entry) => this.#isNews(entry));
    if (news.length === 0) return;
    for (const { peer, at, isRemoved, label } of news) {
      if (this.#entries.size >= ENTRIES_MAX && !this.#entries.has(peer)) continue;
      const entry = { peer, at, isRemoved, label: label.slice(0, LABEL_LENGTH_MAX), by };
      this.#entries.set(peer, entry);
      this.#trust.onTold?.(entry);
    }
    // It counts at once: should it not be stored, members tell it again after a restart.
    this.decided();
    void this.#save().catch(() => undefined);
  }

  introducerOf(peer: string): string | undefined {
    return this.#unheeded.get(peer);
  }

  onChange(fn: () => void): () => void {
    this.#watchers.add(fn);
    return () => void this.#watchers.delete(fn);
  }

  #isNews({ peer, at, isRemoved }: RollEntry): boolean {
    if (!PEER_ID.test(peer) || at > Date.now() + AHEAD_MS_MAX) return false;
    const known = this.#entries.get(peer);
    if (known === undefined || at > known.at) return true;
    return at === known.at && isRemoved && !known.isRemoved;
  }
}

function remember(names: Map<string, string>, peer: string, by: string): void {
  if (names.size < NAMED_MAX) names.set(peer, by);
}
