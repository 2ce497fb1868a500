import { type AwarenessEntry, GONE, awarenessMessage } from "./yjs-wire.ts";

/** Clients that one connection may speak for; a page is one. */
const OF_ONE_OWNER_MAX = 100;
/** Clients known of one document. */
const ENTRIES_MAX = 10_000;
/** Characters of what one client says of itself, and all clients of one document. */
const STATE_LENGTH_MAX = 64 << 10;
const STATES_LENGTH_MAX = 16 << 20;
/** How long a client is there without a word, as in y-protocols, which says something every 15 seconds. */
const EXPIRE_MS = 30_000;

interface Known<Owner> {
  readonly entry: AwarenessEntry;
  /** The connection it came over; undefined for a client of another node. */
  readonly owner: Owner | undefined;
  heardAt: number;
}

/** What is to be said to a connection, or, without one, to other nodes. */
interface Reply<Owner> {
  readonly to: Owner | undefined;
  readonly entry: AwarenessEntry;
}

/**
 * What the editors of a document say of themselves, here and on other nodes. The newest clock of a client counts; with
 * the same clock it can only go. Libraries also say back what they heard of others, so that alone changes nothing: a
 * client belongs to whoever brought its clock, and is taken for gone at that clock when that connection ends, its own
 * node says so, or nothing new came for 30 seconds. A client that is there after all goes on with a higher clock as soon
 * as it is told so; nobody else makes clocks.
 */
export class AwarenessTable<Owner> {
  readonly #known = new Map<number, Known<Owner>>();
  /** Of all states. */
  #length = 0;

  /**
   * Takes what a connection, or another node, has said. `news` is for everybody; `replies` for those who say that a
   * client is there which has gone, and for those whose client is said to have gone.
   */
  take(
    entries: readonly AwarenessEntry[],
    owner: Owner | undefined,
    nowMs: number,
  ): { readonly news: AwarenessEntry[]; readonly replies: Reply<Owner>[] } {
    const news: AwarenessEntry[] = [];
    const replies: Reply<Owner>[] = [];
    for (const entry of entries) {
      const known = this.#known.get(entry.client);
      const isNews = known === undefined ? this.#isRoomFor(entry, owner) : isNewer(entry, owner, known);
      if (isNews && this.#fits(entry)) {
        this.#put({ entry, owner, heardAt: nowMs });
        news.push(entry);
      } else if (known !== undefined && known.entry.state === GONE) {
        if (entry.state !== GONE) replies.push({ to: owner, entry: known.entry });
      } else if (known?.entry.clock === entry.clock) {
        if (entry.state === GONE && known.owner !== undefined) replies.push({ to: known.owner, entry });
        // Its node says that it is there.
        if (entry.state !== GONE && owner === undefined) known.heardAt = nowMs;
      }
    }
    return { news, replies };
  }

  /** A connection has ended: its clients have gone. Returns what is to be told. */
  leave(owner: Owner, nowMs: number): AwarenessEntry[] {
    return this.#end((known) => known.owner === owner, nowMs);
  }

  /** Clients that said nothing for too long have gone. Returns what is to be told. */
  expire(nowMs: number): AwarenessEntry[] {
    const isOld = ({ heardAt }: Known<Owner>): boolean => heardAt + EXPIRE_MS <= nowMs;
    for (const [client, known] of this.#known) {
      if (known.entry.state !== GONE || !isOld(known)) continue;
      this.#known.delete(client);
      this.#length -= GONE.length;
    }
    return this.#end(isOld, nowMs);
  }

  /** Everything known, those that have just gone included. */
  all(): AwarenessEntry[] {
    return [...this.#known.values()].map(({ entry }) => entry);
  }

  present(): AwarenessEntry[] {
    return this.all().filter(({ state }) => state !== GONE);
  }

  /** The clients of this node. */
  own(): AwarenessEntry[] {
    const own = [...this.#known.values()].filter(({ entry, owner }) => owner !== undefined && entry.state !== GONE);
    return own.map(({ entry }) => entry);
  }

  #end(isEnded: (known: Known<Owner>) => boolean, nowMs: number): AwarenessEntry[] {
    const gone: AwarenessEntry[] = [];
    for (const known of this.#known.values()) {
      if (known.entry.state === GONE || !isEnded(known)) continue;
      const entry = { ...known.entry, state: GONE };
      this.#put({ entry, owner: known.owner, heardAt: nowMs });
      gone.push(entry);
    }
    return gone;
  }

  #put(known: Known<Owner>): void {
    const { client, state } = known.entry;
    this.#length += state.length - this.#lengthOf(client);
    this.#known.set(client, known);
  }

  #fits({ client, state }: AwarenessEntry): boolean {
    return (
      state.length <= STATE_LENGTH_MAX && this.#length - this.#lengthOf(client) + state.length <= STATES_LENGTH_MAX
    );
  }

  #lengthOf(client: number): number {
    return this.#known.get(client)?.entry.state.length ?? 0;
  }

  #isRoomFor({ state }: AwarenessEntry, owner: Owner | undefined): boolean {
    if (state === GONE || this.#known.size >= ENTRIES_MAX) return false;
    if (owner === undefined) return true;
    return [...this.#known.values()].filter((known) => known.owner === owner).length < OF_ONE_OWNER_MAX;
  }
}

function isNewer<Owner>(entry: AwarenessEntry, owner: Owner | undefined, known: Known<Owner>): boolean {
  if (entry.clock !== known.entry.clock) return entry.clock > known.entry.clock;
  return entry.state === GONE && known.entry.state !== GONE && owner === known.owner;
}

/** Messages of at most so many bytes; what is larger alone is left out. */
export function awarenessMessages(entries: readonly AwarenessEntry[], bytesMax: number): Uint8Array[] {
  if (entries.length === 0) return [];
  const whole = awarenessMessage(entries);
  if (whole.length <= bytesMax) return [whole];
  if (entries.length === 1) return [];
  const middle = Math.ceil(entries.length / 2);
  return [entries.slice(0, middle), entries.slice(middle)].flatMap((half) => awarenessMessages(half, bytesMax));
}
