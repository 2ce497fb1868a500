import { Level } from "level";
import { lockLocation, prepareDirectory } from "#platform";

/**
 * A lock on a directory for engines that have none: held by one process, and gone with it however it ends.
 *
 * Node.js cannot lock files. LevelDB can, so the lock is an empty LevelDB in `lock/`; `take` fails with an error that
 * has a cause of code `LEVEL_LOCKED`.
 */
export class DirectoryLock {
  readonly #location: string;
  #level: Level | undefined;
  #unlock: (() => void) | undefined;

  constructor(location: string) {
    this.#location = location;
  }

  async take(): Promise<void> {
    const path = await prepareDirectory(this.#location, "lock");
    const unlock = await lockLocation(this.#location, path);
    const level = new Level(path);
    try {
      await level.open();
    } catch (error) {
      await level.close();
      unlock?.();
      throw error;
    }
    this.#level = level;
    this.#unlock = unlock;
  }

  async release(): Promise<void> {
    const [level, unlock] = [this.#level, this.#unlock];
    this.#level = undefined;
    this.#unlock = undefined;
    await level?.close();
    unlock?.();
  }
}
