/** JSON schemas that several routes share. */

declare module "fastify" {
  interface FastifySchema {
    /** What the OpenAPI document says of a route. */
    readonly summary?: string;
    readonly tags?: readonly string[];
    /** The media types of a successful answer, when it is not JSON. */
    readonly produces?: readonly string[];
  }
}

export const groupIdParams = {
  type: "object",
  required: ["id"],
  properties: {
    id: { type: "string", description: "The group's id in its text form, percent-encoded: `words%2Fa`" },
  },
} as const;

export const problem = {
  type: "object",
  description: "RFC 9457, with the library's code",
  required: ["type", "title", "status", "code", "detail"],
  properties: {
    type: { type: "string" },
    title: { type: "string" },
    status: { type: "integer" },
    code: { type: "string" },
    detail: { type: "string" },
    applied: { type: "boolean", description: "The mutation took effect here; only its acknowledgement failed" },
    operation: { type: "integer", description: "Which operation of a batch was refused" },
    retryAfterSeconds: { type: "integer", description: "When to try again; also in `Retry-After`" },
  },
} as const;

/** A whole number in a query, which arrives as text. */
export function numberInQuery(description: string): object {
  return { type: "string", pattern: "^[0-9]{1,9}$", description };
}

export const group = {
  type: "object",
  required: [
    "id",
    "type",
    "domain",
    "epoch",
    "phase",
    "digest",
    "events",
    "snapshotAt",
    "snapshotBytes",
    "journalBytes",
    "degraded",
    "pendingBytes",
  ],
  additionalProperties: false,
  properties: {
    id: { type: "string", description: 'In its text form: `words/a` for `["words", "a"]`' },
    type: { type: "string" },
    domain: { type: "string" },
    epoch: { type: "integer", description: "Odd while the group lives; rises at each deletion and re-creation" },
    phase: { type: "string", enum: ["stored", "loading", "active", "deleted", "failed"] },
    digest: { type: "string", description: "Equal digests mean equal states, on whatever node" },
    events: { type: "integer" },
    snapshotAt: { type: ["string", "null"], description: "When the newest snapshot was taken" },
    snapshotBytes: { type: "integer" },
    journalBytes: { type: "integer" },
    degraded: { type: "boolean" },
    pendingBytes: { type: "integer", description: "Events received that wait for others" },
  },
} as const;
