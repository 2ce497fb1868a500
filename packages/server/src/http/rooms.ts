import { ReplicationError } from "@coppice/replication";
import { type GroupId, encodeGroupId } from "@coppice/storage";
import type { Places } from "./places.ts";

/**
 * Tells whether the group of a replica has been deleted since, on whatever node. One that was created anew is another: it
 * has another view.
 */
export function followEnd<View>(replica: { read<R>(fn: (view: View) => R): R }): () => boolean {
  const current = (): View => replica.read((view) => view);
  const known = current();
  return () => {
    try {
      return current() !== known;
    } catch (error) {
      if (!(error instanceof ReplicationError)) throw error;
      return true;
    }
  };
}

/** What users of a document have in common. */
interface Room {
  /** Whether its group was deleted, on whatever node; perhaps there is another of this name by now. */
  readonly isGone: boolean;
  close(): void;
}

interface Entry<R extends Room> {
  readonly opening: Promise<R>;
  /** Once it is open. */
  room: R | undefined;
  users: number;
}

/** The rooms of one kind of document that have somebody in them: one opens for the first and closes after the last. */
export class Rooms<R extends Room> {
  readonly #open: (id: GroupId) => Promise<R>;
  readonly #places: Places;
  readonly #rooms = new Map<string, Entry<R>>();

  constructor(places: Places, open: (id: GroupId) => Promise<R>) {
    this.#places = places;
    this.#open = open;
  }

  /** The caller leaves, once. Fails as opening does, and with `RATE_LIMITED` when too many watch or edit already. */
  async enter(id: GroupId): Promise<{ readonly room: R; readonly leave: () => void }> {
    const givePlaceBack = this.#places.take();
    const key = encodeGroupId(id);
    const known = this.#rooms.get(key);
    // Those in a room that is gone are on their way out.
    const entry = known === undefined || known.room?.isGone === true ? this.#newEntry(id) : known;
    this.#rooms.set(key, entry);
    entry.users++;
    const leave = (): void => {
      givePlaceBack();
      entry.users--;
      if (entry.users > 0) return;
      if (this.#rooms.get(key) === entry) this.#rooms.delete(key);
      void entry.opening.then(
        (room) => room.close(),
        () => undefined,
      );
    };
    try {
      return { room: await entry.opening, leave };
    } catch (error) {
      leave();
      throw error;
    }
  }

  #newEntry(id: GroupId): Entry<R> {
    const opening = this.#open(id).then((room) => (entry.room = room));
    const entry: Entry<R> = { opening, room: undefined, users: 0 };
    return entry;
  }
}
