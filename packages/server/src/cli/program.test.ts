import { expect, test } from "vitest";
import { run } from "./program.ts";

async function output(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const streams = {
    out: (text: string) => (out += text),
    err: (text: string) => (err += text),
    isTerminal: false,
    isErrTerminal: false,
  };
  return { status: await run(args, streams), out, err };
}

test("every command helps, with an example", async () => {
  const help = await output("--help");
  const commands = [...help.out.matchAll(/^ {2}([a-z-]+)[ |]/gm)].map(([, name = ""]) => name);
  expect(commands.length).toBeGreaterThan(20);
  for (const command of commands.filter((name) => name !== "help")) {
    const { status, out } = await output(command, "--help");
    expect({ command, status, out }).toEqual({
      command,
      status: 0,
      out: expect.stringMatching(/Examples?[:,]/) as string,
    });
  }
});

test.each([
  [["gropus"], "Did you mean groups?"],
  [["groups", "--sort", "size"], "Allowed choices are id"],
  [["groups", "--watch", "0"], "number of seconds"],
  [["bench", "--seconds", "1000"], "number of seconds from 0.1 to 60"],
  [["get", "a//b"], "not a group id"],
  [
    ["restore", "x", "--data", "y", "--at", "yesterday"],
    "such as 2026-01-31T12:00:00Z, or so long ago: -90m, -1h, -2d",
  ],
  [["restore", "x", "--data", "y", "--at", "2026-01-31 12:00"], "a time with its zone"],
])("refuses %j", async (args, message) => {
  expect(await output(...args)).toMatchObject({ status: 2, err: expect.stringContaining(message) as string });
});
