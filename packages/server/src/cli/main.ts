#!/usr/bin/env node
import { exitStatus } from "./failure.ts";
import { run } from "./program.ts";

const args = process.argv.slice(2);
const isDaemon = args[0] === "start";

// A reader that has seen enough (`| head`) ends a command. A daemon goes on, whether nobody listens or the disk of its log
// is full.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (isDaemon) return;
  if (error.code === "EPIPE") process.exit();
  process.stderr.write(`error: the output cannot be written: ${error.message} (${error.code})\n`);
  process.exit(exitStatus(error.code === "ENOSPC" ? "FULL" : "IO"));
});
process.stderr.on("error", () => {});

// Whatever a command writes is for its owner only: data and exports are plain text.
process.umask(0o077);
process.exitCode = await run(args, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
  isErrTerminal: process.stderr.isTTY === true,
});
