import { Level } from "level";
import { prepareDirectory } from "#platform";

/**
 * A lock on a directory for engines that have none: held by one process, and gone with it however it ends.
 *
 * Node.js cannot lock files. LevelDB can, so the lock is an empty LevelDB in `lock/`; `take` fails with an error that
 * has a cause of code `LEVEL_LOCKED`.
 */
export class DirectoryLock {
  readonly #location: string;
  #level: Level | undefined;

  constructor(location: string) {
    this.#location = location;
  }

  async take(): Promise<void> {
    const level = new Level(await prepareDirectory(this.#location, "lock"));
    try {
      await level.open();
    } catch (error) {
      await level.close();
      throw error;
    }
    this.#level = level;
  }

  async release(): Promise<void> {
    const level = this.#level;
    this.#level = undefined;
    await level?.close();
  }
}
