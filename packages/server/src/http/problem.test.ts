import { CrdtError } from "@coppice/crdt";
import { ReplicationError } from "@coppice/replication";
import { StorageError } from "@coppice/storage";
import { expect, test } from "vitest";
import { ServerError } from "../error.ts";
import { RequestFailure, toProblem } from "./problem.ts";

test.each([
  [new CrdtError("MALFORMED", "m"), 422, "MALFORMED"],
  [new CrdtError("SOMETHING_NEW" as "MALFORMED", "m"), 422, "SOMETHING_NEW"],
  [new ReplicationError("SOMETHING_NEW" as "TIMEOUT", "m"), 503, "SOMETHING_NEW"],
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
