import { type AnyCrdtType, builtinTypes } from "@coppice/crdt";
import { ServerError } from "../error.ts";
import { didYouMean } from "../suggest.ts";
import type { DomainSettings } from "./domain-settings.ts";

/** Every type there is; those of documents where the libraries they stand on are installed. */
export async function availableTypes(): Promise<readonly AnyCrdtType[]> {
  const documents: readonly (() => Promise<AnyCrdtType>)[] = [
    async () => (await import("@coppice/crdt/yjs")).yjsDoc(),
    async () => (await import("@coppice/crdt/automerge")).automergeDoc(),
  ];
  const available = await Promise.all(documents.map(unlessMissing));
  return [...builtinTypes, ...available.flat()];
}

async function unlessMissing(load: () => Promise<AnyCrdtType>): Promise<readonly AnyCrdtType[]> {
  try {
    return [await load()];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND") return [];
    throw error;
  }
}

/** Throws `INVALID_OPTIONS` for a domain of a type that there is not. */
export function checkDomainTypes(domains: ReadonlyMap<string, DomainSettings>, types: readonly AnyCrdtType[]): void {
  const names = types.map(({ name }) => name);
  for (const [domain, { type }] of domains) {
    if (type === undefined || names.includes(type)) continue;
    const detail = `domains.${domain}.type: no type is called ${JSON.stringify(type)}; there are ${names.join(", ")}`;
    throw new ServerError("INVALID_OPTIONS", `${detail}.${didYouMean(type, names)}`);
  }
}
