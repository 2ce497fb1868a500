/** What settings hold, and how each kind of value is read from a text or from JSON. */
import { ServerError } from "../error.ts";

export type SettingKind =
  | "text"
  | "directory"
  | "count"
  | "list"
  | "flag"
  | "seconds"
  | "secondsOrOff"
  | "choice"
  | "storage"
  | "members";
export type SettingValue = string | number | boolean | readonly string[] | StorageObject;

/** A storage as an object; see `resolveStorage` in `@coppice/storage/registry`. */
export interface StorageObject {
  readonly scheme: string;
  readonly location?: string;
  readonly [option: string]: unknown;
}

/** What is common to all settings. */
export interface SettingSpec {
  readonly kind: SettingKind;
  readonly choices?: readonly string[];
}

const SECONDS_MIN = 0.01;
const SECONDS_MAX = 86_400;

/** The value of a setting. Throws `INVALID_OPTIONS`, which says where it stands and what it must be. */
export function readSetting(spec: SettingSpec, given: unknown, where: string): SettingValue {
  const value = READERS[spec.kind](given, spec);
  if (value !== undefined) return value;
  throw new ServerError("INVALID_OPTIONS", `${where} must be ${WANTED[spec.kind](spec)}, not ${JSON.stringify(given)}`);
}

type Reader = (given: unknown, spec: SettingSpec) => SettingValue | undefined;

const READERS: { readonly [Kind in SettingKind]: Reader } = {
  text: (given) => (typeof given === "string" && given !== "" ? given : undefined),
  directory: (given) => (typeof given === "string" && isDirectoryName(given) ? given : undefined),
  count: (given) => {
    const count = typeof given === "string" && /^\d+$/.test(given) ? Number(given) : given;
    return typeof count === "number" && Number.isSafeInteger(count) && count > 0 ? count : undefined;
  },
  list: (given) => (isTextList(given) ? given : undefined),
  flag: (given) =>
    given === true || given === "true" ? true : given === false || given === "false" ? false : undefined,
  seconds: (given) => {
    const seconds = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
    return typeof seconds === "number" && seconds >= SECONDS_MIN && seconds <= SECONDS_MAX ? seconds : undefined;
  },
  secondsOrOff: (given, spec) => (given === "off" || given === false ? false : READERS.seconds(given, spec)),
  choice: (given, { choices }) => (typeof given === "string" && choices?.includes(given) === true ? given : undefined),
  members: (given) => READERS.list(typeof given === "string" ? given.split("+") : given, { kind: "list" }),
  storage: (given) => (isStorageObject(given) ? given : READERS.text(given, { kind: "text" })),
};

/** Whether a text may be meant as a directory. A URI is not; a letter before a colon is a disk of Windows. */
function isDirectoryName(text: string): boolean {
  return text !== "" && !/^[a-z][a-z0-9+.-]+:/i.test(text);
}

function isTextList(given: unknown): given is readonly string[] {
  return Array.isArray(given) && given.every((item) => typeof item === "string" && item !== "");
}

function isStorageObject(given: unknown): given is StorageObject {
  return typeof given === "object" && given !== null && "scheme" in given && typeof given.scheme === "string";
}

const SECONDS = `a number of seconds from ${SECONDS_MIN} to ${SECONDS_MAX}`;
const WANTED: { readonly [Kind in SettingKind]: (spec: SettingSpec) => string } = {
  text: () => "a text",
  directory: () => 'a directory (a storage such as "level:/var/data" is chosen by --storage)',
  count: () => "a whole number above 0",
  list: () => "a list of texts",
  flag: () => "true or false",
  seconds: () => SECONDS,
  secondsOrOff: () => `${SECONDS}, or "off"`,
  choice: ({ choices = [] }) => `one of ${choices.join(", ")}`,
  members: () => "a list of peer ids, as a text joined by +",
  storage: () => 'a storage such as "level:/var/data", or an object with a "scheme"',
};
