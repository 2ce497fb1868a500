/** Where the server listens, and by which names it is called. */
import type { FastifyInstance } from "fastify";
import { ServerError } from "../error.ts";

const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "::1", "localhost"]);
const DEFAULT_PORTS = { http: 80, https: 443 } as const;

export type UrlScheme = keyof typeof DEFAULT_PORTS;

/** Throws `UNSAFE_BIND` for a host that is not loopback, unless that is safe (with TLS) or allowed. */
export function checkBind(host: string, isAllowed: boolean): void {
  if (LOOPBACK.has(host) || isAllowed) return;
  throw new ServerError(
    "UNSAFE_BIND",
    `${host} can be reached from other machines, and HTTP shows them the token and the data; serve with TLS ` +
      "(--http-tls-cert, --http-tls-key), put a TLS proxy before a loopback address, or allow it explicitly with " +
      "--http-allow-remote",
  );
}

/** Resolves to the port. Fails with `ADDRESS_IN_USE`; the application is then closed. */
export async function listen(app: FastifyInstance, host: string, port: number): Promise<number> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await app.close();
    const { code } = cause as NodeJS.ErrnoException;
    const reason = code === "EADDRINUSE" ? "is in use" : `cannot be listened on (${code ?? String(cause)})`;
    throw new ServerError(
      "ADDRESS_IN_USE",
      `${bracketed(host)}:${port} ${reason}; choose another with --http HOST:PORT (port 0 takes any free one)`,
      { cause },
    );
  }
  const address = app.server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}

/** The values of `Host` that clients send for an address. */
export function hostNames(scheme: UrlScheme, host: string, port: number): string[] {
  const names = LOOPBACK.has(host) ? ["127.0.0.1", "localhost", "[::1]"] : [bracketed(host)];
  // Browsers and clients leave out the port when it is the scheme's own.
  return names.flatMap((name) => (port === DEFAULT_PORTS[scheme] ? [name, `${name}:${port}`] : [`${name}:${port}`]));
}

export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
