#!/usr/bin/env node
import { run } from "./program.ts";

const args = process.argv.slice(2);
const isDaemon = args[0] === "start";

// A reader that has seen enough (`| head`) ends a command; a daemon that nobody listens to goes on.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  if (!isDaemon) process.exit();
});

// Whatever a command writes is for its owner only: data and exports are plain text.
process.umask(0o077);
process.exitCode = await run(args, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTerminal: process.stdout.isTTY === true,
  isErrTerminal: process.stderr.isTTY === true,
});
