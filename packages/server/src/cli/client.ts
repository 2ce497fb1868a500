/** The command line's way to a running node: its HTTP server. */
import { once } from "node:events";
import { connect } from "node:net";
import type { Problem } from "../http/problem.ts";
import { readTokenText } from "../auth/token-files.ts";
import { readEndpoint, tokenPath } from "../daemon/files.ts";
import { readEvents } from "./event-stream.ts";
import { CliError, EXIT, exitStatus } from "./failure.ts";

export interface Connection {
  readonly url: string;
  readonly token: string;
  /** Longest wait for an answer. */
  readonly timeoutMs: number;
  /** The process that should be listening there, when an endpoint file says so. */
  readonly pid?: number;
  readonly data?: string;
}

/** How a node was named on the command line or in the environment. */
export interface ConnectionOptions {
  readonly data?: string;
  readonly url?: string;
  readonly tokenFile?: string;
  readonly timeout: number;
}

/** Finds a node by its data directory, or takes it as given by a URL and a token file. */
export async function findNode(options: ConnectionOptions): Promise<Connection> {
  const { data, url, tokenFile, timeout } = options;
  if (url === undefined && data === undefined) {
    throw new CliError(
      EXIT.usage,
      "INVALID_OPTIONS",
      "which node? Give its data directory with --data DIR (or COPPICE_DATA), or --url URL and --token-file FILE",
    );
  }
  const file = tokenFile ?? (data === undefined ? undefined : tokenPath(data));
  if (file === undefined) {
    throw new CliError(EXIT.usage, "INVALID_OPTIONS", "--url needs --token-file FILE (or --data DIR, which holds one)");
  }
  if (url !== undefined) return { url: checkUrl(url), token: await loadToken(file), timeoutMs: timeout };
  return await fromDirectory(data ?? "", file, timeout);
}

const PROBE_MS = 2000;
const PORTS: ReadonlyMap<string, number> = new Map([
  ["http:", 80],
  ["https:", 443],
]);

/** Whether a node serves a data directory. One that was killed has left its address, at which nobody listens. */
export async function isServed(data: string): Promise<boolean> {
  const endpoint = await readEndpoint(data);
  if (endpoint === undefined) return false;
  const { protocol, hostname, port } = new URL(endpoint.url);
  const host = hostname.replaceAll(/[[\]]/g, "");
  const socket = connect({ host, port: port === "" ? (PORTS.get(protocol) ?? 0) : Number(port) });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(PROBE_MS) });
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ECONNREFUSED";
  } finally {
    socket.destroy();
  }
}

async function fromDirectory(data: string, file: string, timeoutMs: number): Promise<Connection> {
  const endpoint = await readEndpoint(data).catch((error: unknown) => {
    throw cannotRead(data, error);
  });
  if (endpoint === undefined) {
    throw new CliError(
      EXIT.unreachable,
      "UNREACHABLE",
      `no node runs on ${data}, or none that serves HTTP; start it: coppice start --data ${data}`,
    );
  }
  return { url: endpoint.url, token: await loadToken(file), timeoutMs, pid: endpoint.pid, data };
}

async function loadToken(file: string): Promise<string> {
  let text: string | undefined;
  try {
    text = await readTokenText(file);
  } catch (error) {
    throw cannotRead(file, error);
  }
  if (text === undefined) throw new CliError(EXIT.usage, "INVALID_OPTIONS", `there is no ${file}`);
  return text;
}

function cannotRead(path: string, error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new CliError(EXIT.usage, "INVALID_OPTIONS", `there is no ${path}`, { cause: error });
  if (code === "EACCES" || code === "EPERM") {
    return new CliError(EXIT.refused, "UNAUTHORIZED", `${path} may not be read by this user`, { cause: error });
  }
  return error;
}

function checkUrl(url: string): string {
  if (!/^https?:\/\/[^/?#]+\/?$/.test(url) || !URL.canParse(url)) {
    throw new CliError(
      EXIT.usage,
      "INVALID_OPTIONS",
      `${url} is no URL of a node; it looks like http://127.0.0.1:7475`,
    );
  }
  return url.replace(/\/$/, "");
}

/** Codes of OpenSSL and Node.js for a certificate that is not taken. */
const CERTIFICATE = /CERT|SIGNATURE|ALTNAME/;

/** The path of a group, from its text form. */
export function groupPath(id: string, rest = ""): string {
  return `/v1/groups/${encodeURIComponent(id)}${rest}`;
}

/** Sends requests to one node. */
export class Client {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Where the node serves HTTP. */
  get url(): string {
    return this.#connection.url;
  }

  /** The JSON of the answer, undefined when it has none. Throws `CliError` for every failure. */
  async request<Body>(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<Body> {
    const response = await this.#fetch(method, path, body, AbortSignal.timeout(this.#connection.timeoutMs));
    const text = await this.#read(response);
    return (text === "" ? undefined : JSON.parse(text)) as Body;
  }

  /** Work that may take minutes: the time limit is for the node to begin it. */
  async work<Body>(path: string, body: unknown, tell: (done: number, total: number) => void): Promise<Body> {
    const response = await this.#head("POST", path, body, "text/event-stream");
    const { body: events } = response;
    if (events === null) throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node answered without a stream");
    for await (const { event, data } of readEvents(unlessLost(events))) {
      const parsed = JSON.parse(data) as unknown;
      if (event === "result") return parsed as Body;
      if (event === "error") throw this.#refused(response, data);
      const { done, total } = parsed as { readonly done: number; readonly total: number };
      tell(done, total);
    }
    throw nodeLost();
  }

  /** A response that goes on: the time limit is for its head only. */
  async stream(path: string): Promise<Response> {
    return await this.#head("GET", path, undefined, "*/*");
  }

  async #head(method: string, path: string, body: unknown, accept: string): Promise<Response> {
    const controller = new AbortController();
    const { timeoutMs } = this.#connection;
    const timer = setTimeout(() => controller.abort(new DOMException("no answer", "TimeoutError")), timeoutMs);
    try {
      return await this.#fetch(method, path, body, controller.signal, accept);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The response once its head is there; one that is an error is thrown. */
  async #fetch(method: string, path: string, body: unknown, signal: AbortSignal, accept = "*/*"): Promise<Response> {
    const { url, token } = this.#connection;
    let response: Response;
    try {
      response = await fetch(url + path, {
        method,
        redirect: "error",
        signal,
        headers: {
          accept,
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (!response.ok) throw this.#refused(response, await this.#read(response));
    return response;
  }

  async #read(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #unreachable(error: unknown): CliError {
    const { url, pid, data, timeoutMs } = this.#connection;
    const options = { cause: error };
    if (error instanceof Error && error.name === "TimeoutError") {
      return new CliError(EXIT.unreachable, "TIMEOUT", `${url} did not answer within ${timeoutMs} ms`, options);
    }
    const { code = "", message = "" } = (error as { readonly cause?: NodeJS.ErrnoException }).cause ?? {};
    if (CERTIFICATE.test(code)) {
      const advice = "name the file of the authority that made it in NODE_EXTRA_CA_CERTS";
      const text = `the certificate of ${url} is not trusted: ${message}; ${advice}`;
      return new CliError(EXIT.unreachable, "UNREACHABLE", text, options);
    }
    const hint =
      data === undefined || code !== "ECONNREFUSED"
        ? `is the node running there?${code === "" ? "" : ` (${code})`}`
        : `its process ${pid ?? "?"} has ended without a clean stop; start it: coppice start --data ${data}`;
    return new CliError(EXIT.unreachable, "UNREACHABLE", `no node answers at ${url}; ${hint}`, options);
  }

  #refused(response: Response, text: string): CliError {
    const problem = parseProblem(text);
    if (problem === undefined) {
      const message = `${this.#connection.url} answered ${response.status}, not as a coppice node does`;
      return new CliError(EXIT.unreachable, "UNREACHABLE", message);
    }
    const { code, detail } = problem;
    if (problem.applied === true) {
      return new CliError(EXIT.unacknowledged, code, `applied, but not acknowledged as asked: ${detail}`);
    }
    if (code === "UNAUTHORIZED") {
      return new CliError(EXIT.refused, code, "the node does not accept this token; check --token-file");
    }
    return new CliError(exitStatus(code), code, detail);
  }
}

/** The body of a stream, whose loss is a failure that can be shown. */
export async function* unlessLost(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw nodeLost(cause);
  }
}

function nodeLost(cause?: unknown): CliError {
  return new CliError(EXIT.unreachable, "UNREACHABLE", "the node went away before it was done", { cause });
}

function parseProblem(text: string): Problem | undefined {
  try {
    const body = JSON.parse(text) as Partial<Problem>;
    return typeof body.code === "string" && typeof body.detail === "string" ? (body as Problem) : undefined;
  } catch {
    return undefined;
  }
}
