import { expect, test } from "vitest";
import { countResults } from "./count-results.mjs";

const file = (status, ...tests) => ({
  name: "a.test.ts",
  status,
  assertionResults: tests.map((result, index) => ({ status: result, fullName: `test ${index}` })),
});

test("counts tests by result", () => {
  const report = { testResults: [file("failed", "passed", "failed", "skipped", "todo"), file("passed", "passed")] };
  expect(countResults(report, 1)).toEqual({ passed: 2, failed: 1, skipped: 2, failures: ["test 1"] });
});

test("a file that fails outside of its tests is a failure", () => {
  expect(countResults({ testResults: [file("failed")] }, 1)).toMatchObject({ failed: 1, failures: ["a.test.ts"] });
  expect(countResults({ testResults: [file("failed", "passed")] }, 1)).toMatchObject({ passed: 1, failed: 1 });
});

test("a run that failed without a failed test is a failure", () => {
  expect(countResults({ testResults: [file("passed", "passed")] }, 1)).toMatchObject({ passed: 1, failed: 1 });
  expect(countResults(undefined, 0)).toMatchObject({ passed: 0, failed: 1 });
});
