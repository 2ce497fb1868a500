import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ServerError } from "../error.ts";
import type { View } from "../http/views.ts";

/**
 * Imports modules that export a list `views`: files, or packages as seen from the current directory. Throws
 * `INVALID_OPTIONS` for one that is missing, fails while it loads, or has no such list.
 */
export async function loadViews(modules: readonly string[]): Promise<View[]> {
  const views: View[] = [];
  for (const name of modules) {
    let loaded: { readonly views?: unknown };
    try {
      loaded = (await import(locate(name))) as { readonly views?: unknown };
    } catch (cause) {
      const reason = cause instanceof Error ? (cause.message.split("\n", 1)[0] ?? "") : String(cause);
      throw new ServerError("INVALID_OPTIONS", `the module ${name} of --views cannot be loaded: ${reason}`, { cause });
    }
    if (!Array.isArray(loaded.views)) {
      throw new ServerError("INVALID_OPTIONS", `the module ${name} of --views must export a list "views"`);
    }
    // Each is checked when the server takes it.
    views.push(...(loaded.views as View[]));
  }
  return views;
}

function locate(name: string): string {
  const path = resolve(name);
  if (existsSync(path)) return pathToFileURL(path).href;
  try {
    return pathToFileURL(createRequire(resolve("noname.js")).resolve(name)).href;
  } catch (cause) {
    throw new Error(`there is no file ${path}, and no such package`, { cause });
  }
}
