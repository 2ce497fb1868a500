/**
 * The daemon's settings: one schema for the command line, the environment and the configuration file. A value is taken
 * from the first of these that has one: flag, environment, file, default.
 */
import { readFile } from "node:fs/promises";
import { ServerError } from "../error.ts";
import { fileTrouble } from "../file-trouble.ts";
import { didYouMean } from "../suggest.ts";
import {
  type DomainSetting,
  type DomainSettings,
  domainsOf,
  readDomainText,
  readDomainsObject,
} from "./domain-settings.ts";
import { HTTP_SETTINGS, type HttpSettings } from "./http-settings.ts";
import { type SettingKind, type SettingValue, type StorageObject, readSetting } from "./setting-kinds.ts";

export interface Setting {
  /** The name in the configuration file, and of the option. */
  readonly name: SettingName;
  readonly kind: SettingKind;
  /** The command-line option as it is shown. */
  readonly option: string;
  readonly description: string;
  /** Whether it is not shown. */
  readonly isSecret?: true;
  readonly choices?: readonly string[];
  readonly fallback?: SettingValue;
}

export type SettingName = Exclude<keyof Settings, "domains">;
export type SettingSource = "flag" | "environment" | "file" | "default";

/** Every setting with its value. What has no default may be absent. */
export interface Settings extends HttpSettings {
  readonly data?: string;
  readonly listen: readonly string[];
  readonly peer: readonly string[];
  readonly allow?: readonly string[];
  readonly allowAny: boolean;
  readonly introductions?: "on" | "off";
  /** An invite. */
  readonly join?: string;
  readonly mdns: boolean;
  readonly networkKeyFile?: string;
  /** The domains to replicate; without it, all. */
  readonly interest?: readonly string[];
  readonly domains: ReadonlyMap<string, DomainSettings>;
  readonly storage?: string | StorageObject;
  readonly durability: "snapshot" | "log" | "sync";
  /** Seconds, false for off. */
  readonly snapshotInterval: number | false;
  readonly syncInterval: number;
  readonly views: readonly string[];
  readonly logFormat?: "text" | "json";
}

/** A setting's value and where it comes from. */
export interface Resolved {
  /** As in the file; of a domain's setting its way there: `domains.views.type`. */
  readonly name: string;
  /** The environment variable that could set it. */
  readonly variable: string;
  readonly value: SettingValue | undefined;
  readonly source: SettingSource;
  /** Whether the value is not to be shown. */
  readonly isSecret?: true;
  /** Of a domain's setting. */
  readonly domain?: DomainSetting;
}

export const SETTINGS: readonly Setting[] = [
  { name: "data", kind: "directory", option: "--data <dir>", description: "the data directory" },
  {
    name: "listen",
    kind: "list",
    option: "--listen <multiaddr...>",
    description: "where to accept peers",
    fallback: ["/ip4/127.0.0.1/tcp/0"],
  },
  {
    name: "peer",
    kind: "list",
    option: "--peer <multiaddr...>",
    description: "peers to stay connected with",
    fallback: [],
  },
  {
    name: "allow",
    kind: "list",
    option: "--allow <peerid...>",
    description: "who may connect; without it, the peers that --peer names",
  },
  {
    name: "join",
    kind: "text",
    option: "--join <invite>",
    description: "join the node that made this invite; needed once",
    isSecret: true,
  },
  { name: "allowAny", kind: "flag", option: "--allow-any", description: "let any peer connect", fallback: false },
  {
    name: "introductions",
    kind: "choice",
    option: "--introductions <on|off>",
    description: "admit peers that came to a member by an invite; on without it, unless --allow lists peers",
    choices: ["on", "off"],
  },
  {
    name: "mdns",
    kind: "flag",
    option: "--mdns",
    description: "find admitted peers on the local network, and be found",
    fallback: false,
  },
  {
    name: "networkKeyFile",
    kind: "text",
    option: "--network-key-file <file>",
    description: "the key of a private network (coppice network-key): only nodes with the same one can connect",
  },
  {
    name: "storage",
    kind: "storage",
    option: "--storage <uri>",
    description: "where groups are stored, such as level:/var/data; without it, in the data directory",
  },
  {
    name: "interest",
    kind: "list",
    option: "--interest <domain...>",
    description: "replicate only groups of these domains (the first part of their ids); without it, all",
  },
  {
    name: "durability",
    kind: "choice",
    option: "--durability <mode>",
    description: "when a write is safe: in the next snapshot, in the log, or synced to disk",
    choices: ["snapshot", "log", "sync"],
    fallback: "log",
  },
  {
    name: "snapshotInterval",
    kind: "secondsOrOff",
    option: "--snapshot-interval <seconds>",
    description: 'how often to snapshot what has changed, or "off"',
    fallback: 60,
  },
  {
    name: "syncInterval",
    kind: "seconds",
    option: "--sync-interval <seconds>",
    description: "how often to compare contents with a peer",
    fallback: 5,
  },
  ...HTTP_SETTINGS,
  {
    name: "views",
    kind: "list",
    option: "--views <module...>",
    description: "modules whose views to serve",
    fallback: [],
  },
  {
    name: "logFormat",
    kind: "choice",
    option: "--log-format <format>",
    description: "text or json; without it, text on a terminal",
    choices: ["text", "json"],
  },
];

/** The option that sets single domains, beside those of {@link SETTINGS}. */
export const DOMAINS_OPTION = {
  option: "--domains <domain.setting=value...>",
  description: "settings of single domains, such as views.type=gcounter; or all of them as JSON",
} as const;
const DOMAINS_VARIABLE = "COPPICE_DOMAINS";

/** The environment variable of a setting: `COPPICE_ALLOW_ANY` for `allowAny`. */
function environmentName(name: SettingName): string {
  return `COPPICE_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** Where values may come from; each is checked. */
export interface SettingSources {
  /** Parsed flags: texts, lists of texts, or true. */
  readonly flags: { readonly [name: string]: unknown };
  readonly environment: { readonly [name: string]: string | undefined };
  /** The object of a configuration file. */
  readonly file?: { readonly [name: string]: unknown };
}

/** Resolves every setting. Throws `INVALID_OPTIONS`, naming the setting and where its value stands. */
export function resolveSettings(sources: SettingSources): readonly Resolved[] {
  return [...SETTINGS.map((setting) => resolveOne(setting, sources)), ...resolveDomains(sources)];
}

function resolveOne(setting: Setting, sources: SettingSources): Resolved {
  const { name, fallback } = setting;
  const variable = environmentName(name);
  const found = (given: unknown, where: string, source: SettingSource): Resolved => {
    const secrecy = setting.isSecret === undefined ? {} : { isSecret: setting.isSecret };
    return { name, variable, value: readSetting(setting, given, where), source, ...secrecy };
  };
  const flag = sources.flags[name];
  if (flag !== undefined) return found(flag, setting.option, "flag");
  const text = sources.environment[variable];
  if (text !== undefined && text !== "") {
    return found(setting.kind === "list" ? splitList(text) : text, variable, "environment");
  }
  const given = sources.file?.[name];
  if (given !== undefined) return found(given, `"${name}" in the file`, "file");
  return { name, variable, value: fallback, source: "default" };
}

/** Those of domains, each on its own: a flag for one setting of a domain leaves the file its others. */
function resolveDomains({ flags, environment, file }: SettingSources): readonly Resolved[] {
  const text = environment[DOMAINS_VARIABLE];
  const given = flags["domains"];
  const bySource: readonly (readonly [SettingSource, readonly DomainSetting[]])[] = [
    ["file", file?.["domains"] === undefined ? [] : readDomainsObject(file["domains"], "domains")],
    ["environment", readDomainTexts(text === undefined || text === "" ? [] : splitDomains(text), DOMAINS_VARIABLE)],
    ["flag", readDomainTexts(Array.isArray(given) ? given : [], "--domains")],
  ];
  const resolved = new Map<string, Resolved>();
  for (const [source, settings] of bySource) {
    for (const domain of settings) {
      const name = `domains.${domain.domain}.${domain.name}`;
      resolved.set(name, { name, variable: DOMAINS_VARIABLE, value: domain.value, source, domain });
    }
  }
  return [...resolved.values()].toSorted((left, right) => (left.name < right.name ? -1 : 1));
}

function readDomainTexts(texts: readonly unknown[], where: string): readonly DomainSetting[] {
  return texts.flatMap((text) => readDomainText(String(text), where));
}

function splitDomains(text: string): readonly string[] {
  return text.trimStart().startsWith("{") ? [text.trim()] : splitList(text);
}

function splitList(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim());
}

/** The values alone. Throws `INVALID_OPTIONS` for those that contradict each other. */
export function settingsOf(resolved: readonly Resolved[]): Settings {
  const own = resolved.filter(({ value, domain }) => value !== undefined && domain === undefined);
  const domains = domainsOf(resolved.flatMap(({ domain }) => (domain === undefined ? [] : [domain])));
  // Each value was read by its setting's kind.
  return { ...Object.fromEntries(own.map(({ name, value }) => [name, value])), domains } as unknown as Settings;
}

/** Reads a configuration file. Throws `INVALID_OPTIONS` when it is missing, not JSON, or has a name that means nothing. */
export async function readSettingsFile(path: string): Promise<{ readonly [name: string]: unknown }> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? `is not JSON: ${cause.message}` : fileTrouble(cause);
    throw new ServerError("INVALID_OPTIONS", `the configuration file ${path} ${reason}`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new ServerError("INVALID_OPTIONS", `the configuration file ${path} must hold an object`);
  }
  const names = [...SETTINGS.map(({ name }): string => name), "domains"];
  for (const name of Object.keys(json)) {
    if (names.includes(name)) continue;
    const suggestion = didYouMean(name, names);
    throw new ServerError("INVALID_OPTIONS", `${path} has an unknown setting ${JSON.stringify(name)}.${suggestion}`);
  }
  return json as { readonly [name: string]: unknown };
}
