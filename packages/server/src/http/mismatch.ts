/** Requests that do not match their schema, in words. */
import type { FastifySchemaValidationError } from "fastify/types/schema.js";

/** A pattern that a text of digits matches. */
const WHOLE_NUMBER = /^\^\[[01]-9\]/;

/**
 * What is wrong with a part of a request: `body/ack must be one of "memory", "log", "sync"`. Of the ways to match that a
 * schema allows, the ones that came furthest count.
 */
export function describeMismatch(errors: readonly FastifySchemaValidationError[], part: string): string {
  const depth = Math.max(...errors.map(({ instancePath }) => instancePath.length));
  const deepest = errors.filter(({ instancePath, keyword }) => instancePath.length === depth && keyword !== "anyOf");
  const closest = deepest.filter(({ keyword }) => keyword !== "type");
  const reasons = new Set((closest.length > 0 ? closest : deepest).map(reasonOf));
  const path = deepest[0]?.instancePath ?? "";
  const place = part === "querystring" ? path.slice(1) || "the query" : `${part}${path}`;
  return `${place} ${[...reasons].join(", or ")}`;
}

function reasonOf({ keyword, params, message = "does not match" }: FastifySchemaValidationError): string {
  if (keyword === "additionalProperties") return `cannot have ${JSON.stringify(params["additionalProperty"])}`;
  if (keyword === "required") return `lacks ${JSON.stringify(params["missingProperty"])}`;
  if (keyword === "enum") return `must be one of ${(params["allowedValues"] as string[]).map(quoted).join(", ")}`;
  if (keyword === "pattern" && WHOLE_NUMBER.test(String(params["pattern"]))) return "must be a whole number";
  return message;
}

function quoted(value: string): string {
  return JSON.stringify(value);
}
