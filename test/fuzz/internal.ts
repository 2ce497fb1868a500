/**
 * A built module that its package does not export, for the decoders behind it. What it exports is described where it is
 * used, as far as it is used.
 *
 * @param path below `packages`, for example `storage/dist/sealed.js`
 */
export async function internal<Module>(path: string): Promise<Module> {
  // From `test/dist/fuzz`, where this runs.
  return (await import(new URL(`../../../packages/${path}`, import.meta.url).href)) as Module;
}
