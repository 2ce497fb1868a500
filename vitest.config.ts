import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

// Workspace packages resolve to their sources, so a stale build is never what gets tested.
// Tests that start real processes run `dist`, which `pretest` has just built.
const conditions = ["@coppice/source", "module", "node", "development|production"];

function project(name: string, include: string[], testTimeout: number) {
  return {
    resolve: { conditions },
    ssr: { resolve: { conditions, externalConditions: ["node"] } },
    test: {
      name,
      include,
      exclude: ["**/node_modules/**", "**/dist/**", "**/.tsbuild/**"],
      environment: "node",
      testTimeout,
      hookTimeout: testTimeout,
      // What is waited for comes when it comes: a busy machine is no failure.
      expect: { poll: { timeout: 15_000 } },
    },
  };
}

export default defineConfig({
  test: {
    // Many tests wait for processes of theirs: two files at a time keep two cores busy, where vitest would run one.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      project("unit", ["packages/*/src/**/*.test.ts", "scripts/**/*.test.mjs"], 20_000),
      project("system", ["test/**/*.test.ts", "examples/**/*.test.ts", "bench/**/*.test.ts"], 60_000),
    ],
  },
});
