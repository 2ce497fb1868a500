import { expect, test } from "vitest";
import { serve } from "./gateway.test-support.ts";

interface Described {
  readonly operationId: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly required: boolean }[];
}

// That answers are as described is checked for every request of the other tests: see `serve`.
test("the document describes every route, and itself", async () => {
  const { call } = await serve();
  const { body } = await call("GET", "/v1/openapi.json");
  const document = body as { openapi: string; paths: Record<string, Record<string, Described>> };
  expect(document.openapi).toBe("3.1.0");
  expect(Object.keys(document.paths)).toContain("/v1/openapi.json");
  expect(Object.keys(document.paths)).toContain("/v1/groups/{id}/operations");
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.values(methods).map((operation) => ({ path, ...operation })),
  );
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length);
  for (const { path, summary, tags, parameters } of operations) {
    expect(summary).toMatch(/^[A-Z]/);
    expect(tags).toHaveLength(1);
    const inPath = parameters.filter((parameter) => parameter.in === "path");
    expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
    expect(inPath.every(({ required }) => required)).toBe(true);
  }
});
