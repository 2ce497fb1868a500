/** The settings of the HTTP server. */
import { readFile } from "node:fs/promises";
import { ServerError } from "../error.ts";
import { fileTrouble } from "../file-trouble.ts";
import type { TlsOptions } from "../http/app.ts";
import { type HttpLimits, LIMITS, LIMIT_NAMES, type LimitName } from "../http/limits.ts";
import type { Setting } from "./settings.ts";

/** A setting for each limit: `httpBodyBytesMax` for `bodyBytesMax`. */
type LimitSettings = { readonly [Name in LimitName as `http${Capitalize<Name>}`]: number };

export interface HttpSettings extends LimitSettings {
  readonly http: string;
  readonly httpAllowRemote: boolean;
  /** Files of PEM. */
  readonly httpTlsCert?: string;
  readonly httpTlsKey?: string;
  readonly allowHost: readonly string[];
  readonly allowOrigin: readonly string[];
  readonly automergeDomain: string;
}

/** What the server is to do. */
export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly allowHosts: readonly string[];
  readonly allowOrigins: readonly string[];
  readonly allowRemote: boolean;
  readonly tls?: TlsOptions;
  /** Where that was read. */
  readonly tlsFiles?: TlsFiles;
  readonly automergeDomain: string;
  readonly limits: HttpLimits;
}

/** Paths of a certificate and its key, as PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

const PORT_MAX = 65_535;

function limitSetting(limit: LimitName): `http${Capitalize<LimitName>}` {
  return `http${limit.charAt(0).toUpperCase()}${limit.slice(1)}` as `http${Capitalize<LimitName>}`;
}

export const HTTP_SETTINGS: readonly Setting[] = [
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
    name: "httpTlsCert",
    kind: "text",
    option: "--http-tls-cert <file>",
    description: "serve HTTPS with this certificate (PEM)",
  },
  { name: "httpTlsKey", kind: "text", option: "--http-tls-key <file>", description: "the certificate's key (PEM)" },
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
    name: "automergeDomain",
    kind: "text",
    option: "--automerge-domain <domain>",
    description: "the domain of the documents of automerge-repo clients",
    fallback: "automerge",
  },
  ...LIMIT_NAMES.map((limit): Setting => {
    const name = limitSetting(limit);
    const option = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} <n>`;
    return { name, kind: "count", option, ...LIMITS[limit] };
  }),
];

/** Reads the settings of the server, and the files they name; undefined for none. Throws `INVALID_OPTIONS`. */
export async function httpOptions(settings: HttpSettings): Promise<HttpOptions | undefined> {
  const { http, httpAllowRemote, allowHost, allowOrigin } = settings;
  if (http === "off") return undefined;
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(http);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > PORT_MAX) {
    const detail = `--http must be HOST:PORT, such as 127.0.0.1:7475 or [::1]:0, or "off", not ${JSON.stringify(http)}`;
    throw new ServerError("INVALID_OPTIONS", detail);
  }
  const tlsFiles = tlsFilesOf(settings);
  return {
    host,
    port,
    allowHosts: allowHost,
    allowOrigins: allowOrigin,
    allowRemote: httpAllowRemote,
    automergeDomain: settings.automergeDomain,
    ...(tlsFiles === undefined ? {} : { tlsFiles, tls: await readTls(tlsFiles) }),
    // Every limit has its setting.
    limits: Object.fromEntries(
      LIMIT_NAMES.map((limit) => [limit, settings[limitSetting(limit)]]),
    ) as unknown as HttpLimits,
  };
}

function tlsFilesOf({ httpTlsCert, httpTlsKey }: HttpSettings): TlsFiles | undefined {
  if (httpTlsCert === undefined && httpTlsKey === undefined) return undefined;
  if (httpTlsCert === undefined || httpTlsKey === undefined) {
    throw new ServerError("INVALID_OPTIONS", "--http-tls-cert and --http-tls-key go together");
  }
  return { cert: httpTlsCert, key: httpTlsKey };
}

/** Throws `INVALID_OPTIONS` for a file that cannot be read. */
export async function readTls({ cert, key }: TlsFiles): Promise<TlsOptions> {
  return { cert: await readPem(cert), key: await readPem(key) };
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new ServerError("INVALID_OPTIONS", `${path} ${fileTrouble(cause)}`, { cause });
  }
}
