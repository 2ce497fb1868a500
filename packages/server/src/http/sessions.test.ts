import { expect, onTestFinished, test } from "vitest";
import { Sessions } from "./sessions.ts";

test("who has begun as many sessions as there may be keeps nobody else from it", () => {
  const sessions = new Sessions();
  onTestFinished(() => sessions.endAll());
  const [first] = Array.from({ length: 10_000 }, () => sessions.create("a").id);
  expect(() => sessions.create("a")).toThrow(/^this token has 10000 sessions already: end some; try again in 60 s$/);
  const other = sessions.create("b");
  expect(sessions.use(other.id)).toBe(other);
  expect(sessions.end(first ?? "")).toBe(true);
  expect(sessions.end(first ?? "")).toBe(false);
  sessions.create("a");
  expect(() => sessions.create("a")).toThrow(/already/);
});
