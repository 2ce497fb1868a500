/** Settings of single domains: `domains` in the configuration file, and the option and variable of that name. */
import { ServerError } from "../error.ts";
import { didYouMean } from "../suggest.ts";
import { type SettingSpec, type SettingValue, type StorageObject, readSetting } from "./setting-kinds.ts";

/** How one domain differs from the node's own settings; what is absent is as there. */
export interface DomainSettings {
  /** The type of groups that are created without one. */
  readonly type?: string;
  readonly storage?: string | StorageObject;
  readonly durability?: "snapshot" | "log" | "sync";
  /** Seconds, false for off. */
  readonly snapshotInterval?: number | false;
  readonly inMemory?: boolean;
  /** Seconds, false for off. */
  readonly autoSave?: number | false;
  readonly interest?: boolean;
  /** The ids of all nodes that write in it: what `majority` and `all` are of. */
  readonly roster?: readonly string[];
}

export type DomainSettingName = keyof DomainSettings;

export const DOMAIN_SETTINGS: ReadonlyMap<string, SettingSpec> = new Map<DomainSettingName, SettingSpec>([
  ["type", { kind: "text" }],
  ["storage", { kind: "storage" }],
  ["durability", { kind: "choice", choices: ["snapshot", "log", "sync"] }],
  ["snapshotInterval", { kind: "secondsOrOff" }],
  ["inMemory", { kind: "flag" }],
  ["autoSave", { kind: "secondsOrOff" }],
  ["interest", { kind: "flag" }],
  ["roster", { kind: "members" }],
]);

/** One given setting of a domain. */
export interface DomainSetting {
  readonly domain: string;
  readonly name: string;
  readonly value: SettingValue;
}

/**
 * Reads `domains` of a configuration file: an object of objects, or, in a variable, that as JSON. `where` names the
 * place in errors. Throws `INVALID_OPTIONS`.
 */
export function readDomainsObject(given: unknown, where: string): readonly DomainSetting[] {
  if (!isRecord(given)) {
    throw invalid(`${where} must be an object such as {"views": {"type": "gcounter"}}, not ${JSON.stringify(given)}`);
  }
  return Object.entries(given).flatMap(([domain, settings]) => {
    const place = `${where}.${domain}`;
    if (!isRecord(settings)) {
      throw invalid(`${place} must be an object such as {"type": "gcounter"}, not ${JSON.stringify(settings)}`);
    }
    return Object.entries(settings).map(([name, value]) => readOne(domain, name, value, `${place}.${name}`));
  });
}

/** Reads `views.type=gcounter`, or such an object as JSON. Throws `INVALID_OPTIONS`. */
export function readDomainText(text: string, where: string): readonly DomainSetting[] {
  if (text.startsWith("{")) return readDomainsObject(parseJson(text, where), where);
  const [, domain, name, value] = /^(.*?)\.([A-Za-z]+)=(.*)$/s.exec(text) ?? [];
  if (domain === undefined || name === undefined || value === undefined) {
    throw invalid(`${where} must be DOMAIN.SETTING=VALUE such as views.type=gcounter, not ${JSON.stringify(text)}`);
  }
  return [readOne(domain, name, value, `${where} ${domain}.${name}`)];
}

/** The settings of each domain. Throws `INVALID_OPTIONS` for those that contradict each other. */
export function domainsOf(settings: Iterable<DomainSetting>): ReadonlyMap<string, DomainSettings> {
  const domains = new Map<string, Record<string, SettingValue>>();
  for (const { domain, name, value } of settings) {
    const own = domains.get(domain) ?? {};
    own[name] = value;
    domains.set(domain, own);
  }
  for (const [domain, { inMemory, autoSave }] of domains) {
    if (autoSave === undefined || inMemory === true) continue;
    throw invalid(`domains.${domain}.autoSave goes with domains.${domain}.inMemory: set that to true, or leave it out`);
  }
  // Each value was read by its setting's kind.
  return domains as ReadonlyMap<string, DomainSettings>;
}

function readOne(domain: string, name: string, given: unknown, where: string): DomainSetting {
  const spec = DOMAIN_SETTINGS.get(name);
  if (spec !== undefined) return { domain, name, value: readSetting(spec, given, where) };
  const names = [...DOMAIN_SETTINGS.keys()];
  throw invalid(
    `${where}: a domain has no setting ${JSON.stringify(name)}, it has ${names.join(", ")}.${didYouMean(name, names)}`,
  );
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ServerError("INVALID_OPTIONS", `${where} is not JSON: ${String(cause)}`, { cause });
  }
}

function isRecord(given: unknown): given is Record<string, unknown> {
  return typeof given === "object" && given !== null && !Array.isArray(given);
}

function invalid(message: string): ServerError {
  return new ServerError("INVALID_OPTIONS", message);
}
