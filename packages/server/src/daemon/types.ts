import { type AnyCrdtType, builtinTypes } from "@coppice/crdt";
import { ServerError } from "../error.ts";
import { didYouMean } from "../suggest.ts";
import type { DomainSettings } from "./domain-settings.ts";

/** Every type there is; those of documents where the libraries they stand on are installed. */
export async function availableTypes(): Promise<readonly AnyCrdtType[]> {
  const types = [...builtinTypes];
  try {
    const { yjsDoc } = await import("@coppice/crdt/yjs");
    types.push(yjsDoc({}));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
  }
  return types;
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
