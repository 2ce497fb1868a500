import type { TokenInfo } from "../auth/grant.ts";
import type { TokenBody } from "./api.ts";

/** The body that describes a token. */
export function tokenBody({ id, label, scope, domains, createdAt, expiresAt }: TokenInfo): TokenBody {
  return {
    id,
    label,
    scope,
    domains: domains ?? null,
    createdAt: new Date(createdAt).toISOString(),
    expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
  };
}
