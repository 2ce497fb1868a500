/**
 * Counts vitest's JSON report. A file that fails outside of its tests (a syntax error, a failing import or hook)
 * counts as one failure, and so does a run that failed for a reason the report does not show: an unhandled
 * rejection, no tests found, a crash.
 */
export function countResults(report, exitStatus) {
  const count = { passed: 0, failed: 0, skipped: 0, failures: [] };
  const fail = (name) => {
    count.failed += 1;
    count.failures.push(name);
  };
  for (const file of report?.testResults ?? []) {
    const failedBefore = count.failed;
    for (const test of file.assertionResults) {
      if (test.status === "passed") count.passed += 1;
      else if (test.status === "failed") fail(test.fullName);
      else count.skipped += 1;
    }
    if (file.status === "failed" && count.failed === failedBefore) fail(file.name);
  }
  if (report === undefined) fail("vitest wrote no report");
  else if (exitStatus !== 0 && count.failed === 0) fail(`vitest ended with status ${exitStatus}`);
  return count;
}
