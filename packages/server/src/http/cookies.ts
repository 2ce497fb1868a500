import type { FastifyRequest } from "fastify";

/** Browsers keep one set of cookies for all ports of a host, so the name tells the servers apart. */
export function sessionCookieName({ headers }: FastifyRequest): string {
  return `coppice_${(headers.host ?? "").replaceAll(/[^\w]/g, "_")}`;
}

/** The secret of a browser's session, if the request carries one. */
export function cookieOf(request: FastifyRequest): string | undefined {
  const name = sessionCookieName(request);
  for (const part of (request.headers.cookie ?? "").split(";")) {
    const [key = "", value] = part.trim().split("=", 2);
    if (key === name && value !== undefined && value !== "") return value;
  }
  return undefined;
}
