import { X509Certificate, createPrivateKey } from "node:crypto";
import type { Socket } from "node:net";
import { Server as TlsServer, createSecureContext } from "node:tls";
import { type FastifyInstance, type FastifyReply, fastify } from "fastify";
import { ServerError } from "../error.ts";
import { limitConnections } from "./connections.ts";
import { knownMethods } from "./known-methods.ts";
import type { HttpLimits } from "./limits.ts";
import { toProblem } from "./problem.ts";

/** A certificate and its key, as PEM. */
export interface TlsOptions {
  /** With the intermediate certificates behind it. */
  readonly cert: string;
  readonly key: string;
}

export interface AppOptions {
  readonly limits: HttpLimits;
  readonly tls: TlsOptions | undefined;
  /** Gets errors that are defects. */
  readonly onError: ((error: unknown) => void) | undefined;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How late a timeout may be noticed. */
const TIMEOUT_CHECK_MS = 2000;
const TLS_VERSION_MIN = "TLSv1.2";

/** An application without routes that answers every failure as a problem. Throws `INVALID_OPTIONS` for a bad certificate. */
export function createApp({ limits, tls, onError }: AppOptions): FastifyInstance {
  const server = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
  };
  const options = {
    bodyLimit: limits.bodyBytesMax,
    forceCloseConnections: "idle" as const,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // What is too long for an id is told as such.
    routerOptions: { maxParamLength: limits.headerBytesMax },
    // A number sent as a text, or a misspelt field, is a mistake to report and not to correct.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } } as const,
    // The default answers to a failed connection or request would bypass the problem format.
    frameworkErrors: (error: unknown, _request: unknown, reply: unknown) =>
      sendProblem(error, reply as FastifyReply, onError),
    clientErrorHandler: refuseConnection,
  };
  const app = tls === undefined ? fastify({ ...options, http: server }) : createTlsApp(options, server, tls);
  app.server.maxConnections = limits.connectionsMax;
  limitConnections(app.server, limits.connectionsPerAddressMax);
  app.removeContentTypeParser("text/plain");
  readJson(app);
  // The schemas of responses describe them; what leaves is the JSON of the value, whole.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler((error, _request, reply) => sendProblem(error, reply, onError));
  const methodsOf = knownMethods(app);
  app.setNotFoundHandler(({ method, url }, reply) => {
    const [path = ""] = url.split("?", 1);
    const methods = methodsOf(path).join(", ");
    if (methods !== "") void reply.header("allow", methods);
    sendProblem(methods === "" ? noRoute(method, path) : noMethod(method, path, methods), reply, onError);
  });
  return app;
}

/**
 * Reads bodies strictly: what is not UTF-8 would otherwise be stored with other characters in its place. A key
 * `__proto__` is one as any other: `JSON.parse` defines it, and nothing here assigns the keys of a body.
 */
function readJson(app: FastifyInstance): void {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser<Buffer>("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    let json: unknown;
    try {
      json = JSON.parse(decoder.decode(body));
    } catch (cause) {
      return done(new ServerError("INVALID_REQUEST", `the body is ${unreadable(body, cause)}`, { cause }));
    }
    done(null, json);
  });
}

function unreadable({ length }: Buffer, cause: unknown): string {
  if (length === 0) return "empty, and declared as JSON";
  return cause instanceof SyntaxError ? `no JSON: ${cause.message}` : "not UTF-8";
}

function noRoute(method: string, path: string): ServerError {
  const hint = /^\/v1\/groups\/[^/]+\/./.test(path) ? "; a / in the id of a group is written %2F" : "";
  return new ServerError("NOT_FOUND", `there is no ${method} ${path}${hint}`);
}

function noMethod(method: string, path: string, methods: string): ServerError {
  return new ServerError("METHOD_NOT_ALLOWED", `there is no ${method} ${path}, but ${methods}`);
}

function createTlsApp(options: object, server: object, tls: TlsOptions): FastifyInstance {
  try {
    const https = { ...server, ...checkedTls(tls) };
    // Fastify has a type of its own for each kind of server; nothing here depends on which it is.
    return fastify({ ...options, https }) as unknown as FastifyInstance;
  } catch (cause) {
    throw unusable(cause);
  }
}

/**
 * Connections from now on get another certificate. Returns when that ends. Throws `INVALID_OPTIONS` for one that cannot be
 * used or has ended, and for a server without TLS: then nothing changes.
 */
export function replaceCertificate({ server }: FastifyInstance, tls: TlsOptions): Date {
  if (!(server instanceof TlsServer))
    throw new ServerError("INVALID_OPTIONS", "the server has no certificate to renew");
  try {
    const options = checkedTls(tls);
    const endsAt = new Date(new X509Certificate(tls.cert).validTo);
    if (endsAt.getTime() <= Date.now()) throw new Error(`it ended at ${endsAt.toISOString()}`);
    server.setSecureContext(options);
    return endsAt;
  } catch (cause) {
    throw unusable(cause);
  }
}

/** What a server is to be given: it takes an empty text for none, and what it was given counts even where it throws. */
function checkedTls({ cert, key }: TlsOptions): TlsOptions & { readonly minVersion: typeof TLS_VERSION_MIN } {
  const certificate = read("the certificate", () => new X509Certificate(cert));
  const privateKey = read("the key", () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) throw new Error("they do not belong together");
  const options = { cert, key, minVersion: TLS_VERSION_MIN } as const;
  createSecureContext(options);
  return options;
}

function read<Parsed>(name: string, parse: () => Parsed): Parsed {
  try {
    return parse();
  } catch (cause) {
    throw new Error(`${name} is not in PEM form (${String((cause as NodeJS.ErrnoException).code)})`, { cause });
  }
}

function unusable(cause: unknown): ServerError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ServerError("INVALID_OPTIONS", `the certificate and its key cannot be used: ${reason}`, { cause });
}

function sendProblem(error: unknown, reply: FastifyReply, onError: AppOptions["onError"]): void {
  const problem = toProblem(error);
  if (problem.code === "INTERNAL") onError?.(error);
  if (problem.code === "VIEW_FAILED" && error instanceof Error) onError?.(error.cause);
  // Fastify closes the connection of a body that it refuses: then a client that is still sending sees that and no answer.
  // Node reads on, in the time that a request has. One that was to become a WebSocket ends here.
  if (reply.request.ws) void reply.header("connection", "close");
  else void reply.removeHeader("connection");
  if (problem.status === 401) void reply.header("www-authenticate", "Bearer");
  if (problem.retryAfterSeconds !== undefined) void reply.header("retry-after", String(problem.retryAfterSeconds));
  void reply.code(problem.status).type("application/problem+json").send(JSON.stringify(problem));
}

const REFUSALS: ReadonlyMap<string, readonly [status: number, phrase: string, detail: string]> = new Map([
  ["HPE_HEADER_OVERFLOW", [431, "Request Header Fields Too Large", "the head of the request is too large"]],
  ["ERR_HTTP_REQUEST_TIMEOUT", [408, "Request Timeout", "the request did not arrive whole in time"]],
]);

/** What is no HTTP, has too large a head, or takes too long to arrive never becomes a request. */
function refuseConnection(error: Error & { readonly code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, phrase, detail] = REFUSALS.get(error.code ?? "") ?? [400, "Bad Request", "this is no HTTP request"];
  const body = JSON.stringify({ ...toProblem(new ServerError("INVALID_REQUEST", detail)), status });
  const head = [
    `HTTP/1.1 ${status} ${phrase}`,
    "content-type: application/problem+json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
