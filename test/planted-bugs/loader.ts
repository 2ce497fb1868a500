// A module loader hook that plants one fault. Runs on the loader's own thread.
import type { PlantedBug } from "./bugs.ts";

let planted: PlantedBug | undefined;

export function initialize(bug: PlantedBug): void {
  planted = bug;
}

interface Loaded {
  readonly format: string;
  readonly source: string | Uint8Array;
}

export async function load(
  url: string,
  context: unknown,
  nextLoad: (url: string, context: unknown) => Promise<Loaded>,
): Promise<Loaded> {
  const loaded = await nextLoad(url, context);
  if (planted === undefined || !url.endsWith(`/${planted.file}`)) return loaded;
  const { source } = loaded;
  const text = typeof source === "string" ? source : new TextDecoder().decode(source);
  return { ...loaded, source: plant(text, planted) };
}

/** The text with the fault in it. Throws when its place is not there exactly once: then the list must be mended. */
export function plant(text: string, { name, file, find, replace }: PlantedBug): string {
  const times = text.split(find).length - 1;
  if (times !== 1) throw new Error(`planted bug "${name}": its place is ${times} times in ${file}`);
  return text.replace(find, () => replace);
}
