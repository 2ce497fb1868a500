import { readFileSync } from "node:fs";
import * as A from "@automerge/automerge";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { z } from "zod";
import { automergeDoc } from "./automerge.ts";
import * as crdt from "./index.ts";
import { type TestEvent, type TestReplica, createReplicas, syncAll } from "./testing/index.ts";
import type { AnyCrdtType } from "./type.ts";
import { yjsDoc } from "./yjs.ts";

const text = readFileSync(new URL("../../../docs/types.md", import.meta.url), "utf8");
const examples = [...text.matchAll(/^## (.*?)$|^```ts\n([\s\S]*?)^```$/gm)];

type Check = (actual: unknown, expected: unknown) => void;
type Example = (scope: Record<string, unknown>, check: Check) => void;

/** An example as a function: `expression; // => expected` becomes a check. */
function compile(source: string): { run: Example; checks: number } {
  let checks = 0;
  const body = source.replaceAll(/^(.+); \/\/ => (.+)$/gm, (_, expression: string, expected: string) => {
    checks++;
    return `check(${expression}, ${expected});`;
  });
  // oxlint-disable-next-line typescript/no-implied-eval -- the documentation is the code under test.
  return { run: new Function("scope", "check", `with (scope) {${body}}`) as Example, checks };
}

function scope(): Record<string, unknown> {
  let made: TestReplica<unknown, unknown, unknown, unknown>[] = [];
  return {
    ...crdt,
    z,
    A,
    Y,
    automergeDoc,
    yjsDoc,
    replicas: (type: AnyCrdtType) => (made = createReplicas(type, 2)),
    sync: () => syncAll(made),
    bytes: (event: TestEvent | undefined) => event?.delta.length,
    code: (change: () => void) => {
      try {
        change();
      } catch (error) {
        return (error as { code?: unknown }).code;
      }
      return undefined;
    },
  };
}

describe("docs/types.md", () => {
  let heading = "";
  for (const [, title, source] of examples) {
    if (title !== undefined) heading = title;
    if (source === undefined) continue;
    it(`runs the example of ${heading}`, () => {
      const { run, checks } = compile(source);
      expect(checks).toBeGreaterThan(0);
      run(scope(), (actual, expected) =>
        expect(JSON.parse(JSON.stringify(actual) ?? "null")).toEqual(expected ?? null),
      );
    });
  }

  it("has an example of every type", () => {
    const sources = examples.map(([, , source]) => source ?? "").join("\n");
    for (const name of [
      "gCounter",
      "pnCounter",
      "boundedCounter",
      "lwwRegister",
      "mvRegister",
      "ewFlag",
      "dwFlag",
      "lwwMap",
      "orMap",
      "struct",
      "schemaMap",
      "jsonMap",
      "orSet",
      "rwSet",
      "gSet",
      "twoPSet",
      "orLog",
      "tree",
      "yjsDoc",
      "automergeDoc",
    ]) {
      expect(sources).toContain(`${name}(`.replace(/\($/, ""));
    }
  });
});
