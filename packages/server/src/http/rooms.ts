import { type GroupId, encodeGroupId } from "@coppice/storage";
import type { Places } from "./places.ts";

/** The rooms of one kind of document that have somebody in them: one opens for the first and closes after the last. */
export class Rooms<Room extends { close(): void }> {
  readonly #open: (id: GroupId) => Promise<Room>;
  readonly #places: Places;
  readonly #rooms = new Map<string, { readonly room: Promise<Room>; users: number }>();

  constructor(places: Places, open: (id: GroupId) => Promise<Room>) {
    this.#places = places;
    this.#open = open;
  }

  /** The caller leaves, once. Fails as opening does, and with `RATE_LIMITED` when too many watch or edit already. */
  async enter(id: GroupId): Promise<{ readonly room: Room; readonly leave: () => void }> {
    const givePlaceBack = this.#places.take();
    const key = encodeGroupId(id);
    const entry = this.#rooms.get(key) ?? { room: this.#open(id), users: 0 };
    this.#rooms.set(key, entry);
    entry.users++;
    const leave = (): void => {
      givePlaceBack();
      entry.users--;
      if (entry.users > 0) return;
      if (this.#rooms.get(key) === entry) this.#rooms.delete(key);
      void entry.room.then(
        (room) => room.close(),
        () => undefined,
      );
    };
    try {
      return { room: await entry.room, leave };
    } catch (error) {
      leave();
      throw error;
    }
  }
}
