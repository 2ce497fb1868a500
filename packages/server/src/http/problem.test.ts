import { CrdtError } from "@coppice/crdt";
import { ReplicationError } from "@coppice/replication";
import { StorageError } from "@coppice/storage";
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ServerError } from "../error.ts";
import { RequestFailure, STATUS, toProblem } from "./problem.ts";

test("every documented error code has a status", () => {
  const page = readFileSync(new URL("../../../../docs/errors.md", import.meta.url), "utf8");
  const errors = page.slice(page.indexOf("## CrdtError"), page.indexOf("The command line has one more"));
  const codes = [...errors.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(40);
  expect(codes.filter((code) => code !== undefined && !(code in STATUS))).toEqual([]);
});

test.each([
  [new CrdtError("MALFORMED", "m"), 422, "MALFORMED"],
  [new StorageError("LOCKED", "m"), 409, "LOCKED"],
  [new ReplicationError("TIMEOUT", "m"), 504, "TIMEOUT"],
  [new ServerError("NOT_FOUND", "m"), 404, "NOT_FOUND"],
  [new DOMException("m", "TimeoutError"), 504, "TIMEOUT"],
])("%s", (error, status, code) => {
  expect(toProblem(error)).toMatchObject({ status, code, detail: "m", type: `urn:coppice:error:${code}` });
});

test("an unexpected error keeps its text to itself", () => {
  const problem = toProblem(new Error("secret"));
  expect(problem).toMatchObject({ status: 500, code: "INTERNAL" });
  expect(JSON.stringify(problem)).not.toContain("secret");
});

test("what the route knows is added", () => {
  const failure = new RequestFailure(new ReplicationError("TIMEOUT", "m"), { applied: true });
  expect(toProblem(failure)).toMatchObject({ status: 504, code: "TIMEOUT", applied: true });
});
