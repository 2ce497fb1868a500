const REASONS: ReadonlyMap<string, string> = new Map([
  ["EACCES", "may not be used by this user"],
  ["EEXIST", "is no directory"],
  ["EISDIR", "is a directory"],
  ["ENOENT", "does not exist"],
  ["ENOSPC", "has no space left on its disk"],
  ["ENOTDIR", "cannot be, as a part of that path is a file"],
  ["EPERM", "may not be used by this user"],
  ["EROFS", "is on a file system that can only be read"],
]);

/** What the file system said of a path, in words that follow it: `does not exist`. */
export function fileTrouble(error: unknown): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return REASONS.get(code) ?? `cannot be used: ${message}`;
}
