import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A real file system in memory, of any size. Linux, and a user who may mount. */
export class SmallDisk implements Disposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** Undefined where mounting is not permitted. */
  static mount(size: string): SmallDisk | undefined {
    const directory = mkdtempSync(join(tmpdir(), "coppice-disk-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory], { stdio: "ignore" });
    } catch {
      rmSync(directory, { recursive: true });
      return undefined;
    }
    return new SmallDisk(directory);
  }

  remount(...options: string[]): void {
    execFileSync("mount", ["-o", ["remount", ...options].join(), this.directory]);
  }

  /** Leaves so many KiB free. */
  leave(freeKb: number): void {
    const used = Number(execFileSync("df", ["--output=used", "-k", this.directory]).toString().split("\n")[1]);
    this.remount(`size=${used + freeKb}k`);
  }

  [Symbol.dispose](): void {
    // Lazily, so that a file that a failed test left open does not keep the mount.
    execFileSync("umount", ["-l", this.directory]);
    rmSync(this.directory, { recursive: true });
  }
}
