/**
 * The daemon's settings: one schema for the command line, the environment and the configuration file. A value is taken
 * from the first of these that has one: flag, environment, file, default.
 */
import { readFile } from "node:fs/promises";
import { ServerError } from "../error.ts";
import { didYouMean } from "../suggest.ts";

/** What a setting holds, and so how its text is read. */
export type SettingKind = "text" | "list" | "flag" | "seconds" | "secondsOrOff" | "choice";

export interface Setting {
  /** The name in the configuration file, and of the option. */
  readonly name: SettingName;
  readonly kind: SettingKind;
  /** The command-line option as it is shown. */
  readonly option: string;
  readonly description: string;
  readonly choices?: readonly string[];
  readonly fallback?: SettingValue;
}

export type SettingName = keyof Settings;
export type SettingValue = string | number | boolean | readonly string[];
export type SettingSource = "flag" | "environment" | "file" | "default";

/** Every setting with its value. What has no default may be absent. */
export interface Settings {
  readonly data?: string;
  readonly listen: readonly string[];
  readonly peer: readonly string[];
  readonly allow?: readonly string[];
  readonly allowAny: boolean;
  readonly domain?: readonly string[];
  readonly durability: "snapshot" | "log" | "sync";
  /** Seconds, false for off. */
  readonly snapshotInterval: number | false;
  readonly syncInterval: number;
  readonly http: string;
  readonly httpAllowRemote: boolean;
  readonly allowHost: readonly string[];
  readonly allowOrigin: readonly string[];
  readonly views: readonly string[];
  readonly logFormat?: "text" | "json";
}

/** A setting's value and where it comes from. */
export interface Resolved {
  readonly setting: Setting;
  readonly value: SettingValue | undefined;
  readonly source: SettingSource;
}

const SECONDS_MIN = 0.01;
const SECONDS_MAX = 86_400;

export const SETTINGS: readonly Setting[] = [
  { name: "data", kind: "text", option: "--data <dir>", description: "the data directory" },
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
  { name: "allowAny", kind: "flag", option: "--allow-any", description: "let any peer connect", fallback: false },
  {
    name: "domain",
    kind: "list",
    option: "--domain <name...>",
    description: "replicate only groups whose id begins with one of these; without it, all",
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
  {
    name: "http",
    kind: "text",
    option: "--http <host:port>",
    description: 'where to serve HTTP, or "off"; port 0 takes any free one',
    fallback: "127.0.0.1:7475",
  },
  {
    name: "httpAllowRemote",
    kind: "flag",
    option: "--http-allow-remote",
    description: "allow an HTTP address that other machines reach",
    fallback: false,
  },
  {
    name: "allowHost",
    kind: "list",
    option: "--allow-host <host:port...>",
    description: "further Host headers to answer for",
    fallback: [],
  },
  {
    name: "allowOrigin",
    kind: "list",
    option: "--allow-origin <origin...>",
    description: "web origins whose pages may call",
    fallback: [],
  },
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

/** The environment variable of a setting: `COPPICE_ALLOW_ANY` for `allowAny`. */
export function environmentName(name: SettingName): string {
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
  return SETTINGS.map((setting) => {
    const { name, fallback } = setting;
    const flag = sources.flags[name];
    if (flag !== undefined) return { setting, value: read(setting, flag, setting.option), source: "flag" };
    const variable = environmentName(name);
    const text = sources.environment[variable];
    if (text !== undefined && text !== "") {
      const given = setting.kind === "list" ? text.split(",").map((part) => part.trim()) : text;
      return { setting, value: read(setting, given, variable), source: "environment" };
    }
    const given = sources.file?.[name];
    if (given !== undefined) return { setting, value: read(setting, given, `"${name}" in the file`), source: "file" };
    return { setting, value: fallback, source: "default" };
  });
}

/** The values alone. */
export function settingsOf(resolved: readonly Resolved[]): Settings {
  const entries = resolved
    .filter(({ value }) => value !== undefined)
    .map(({ setting, value }) => [setting.name, value]);
  // Each value was read by its setting's kind.
  return Object.fromEntries(entries) as unknown as Settings;
}

/** Reads a configuration file. Throws `INVALID_OPTIONS` when it is missing, not JSON, or has a name that means nothing. */
export async function readSettingsFile(path: string): Promise<{ readonly [name: string]: unknown }> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? `is not JSON: ${cause.message}` : "cannot be read";
    throw new ServerError("INVALID_OPTIONS", `the configuration file ${path} ${reason}`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new ServerError("INVALID_OPTIONS", `the configuration file ${path} must hold an object`);
  }
  const names = SETTINGS.map(({ name }) => name);
  for (const name of Object.keys(json)) {
    if (names.includes(name as SettingName)) continue;
    const suggestion = didYouMean(name, names);
    throw new ServerError("INVALID_OPTIONS", `${path} has an unknown setting ${JSON.stringify(name)}.${suggestion}`);
  }
  return json as { readonly [name: string]: unknown };
}

function read(setting: Setting, given: unknown, where: string): SettingValue {
  const value = READERS[setting.kind](given, setting);
  if (value !== undefined) return value;
  throw new ServerError(
    "INVALID_OPTIONS",
    `${where} must be ${WANTED[setting.kind](setting)}, not ${JSON.stringify(given)}`,
  );
}

type Reader = (given: unknown, setting: Setting) => SettingValue | undefined;

const READERS: { readonly [Kind in SettingKind]: Reader } = {
  text: (given) => (typeof given === "string" && given !== "" ? given : undefined),
  list: (given) => (isTextList(given) ? given : undefined),
  flag: (given) =>
    given === true || given === "true" ? true : given === false || given === "false" ? false : undefined,
  seconds: (given) => {
    const seconds = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
    return typeof seconds === "number" && seconds >= SECONDS_MIN && seconds <= SECONDS_MAX ? seconds : undefined;
  },
  secondsOrOff: (given, setting) => (given === "off" || given === false ? false : READERS.seconds(given, setting)),
  choice: (given, { choices }) => (typeof given === "string" && choices?.includes(given) === true ? given : undefined),
};

function isTextList(given: unknown): given is readonly string[] {
  return Array.isArray(given) && given.every((item) => typeof item === "string" && item !== "");
}

const SECONDS = `a number of seconds from ${SECONDS_MIN} to ${SECONDS_MAX}`;
const WANTED: { readonly [Kind in SettingKind]: (setting: Setting) => string } = {
  text: () => "a text",
  list: () => "a list of texts",
  flag: () => "true or false",
  seconds: () => SECONDS,
  secondsOrOff: () => `${SECONDS}, or "off"`,
  choice: ({ choices = [] }) => `one of ${choices.join(", ")}`,
};
