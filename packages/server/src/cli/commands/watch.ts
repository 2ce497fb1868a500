import type { Command } from "commander";
import type { ValueBody } from "../../http/api.ts";
import type { Problem } from "../../http/problem.ts";
import { type Client, groupPath } from "../client.ts";
import {
  type CliContext,
  type ClientOptions,
  aboutGroup,
  connect,
  groupId,
  parseCount,
  withConnection,
} from "../context.ts";
import { readEvents } from "../event-stream.ts";
import { CliError, EXIT, exitStatus } from "../failure.ts";
import { display } from "../output.ts";

const RETRY_MS = 500;

interface WatchOptions extends ClientOptions {
  readonly count?: number;
}

export function watchCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("watch")
    .summary("print a group's value whenever it changes")
    .description(
      "Prints the value of a group, now and after each change. Ends when the group is deleted, or interrupted. When " +
        "the node restarts, it goes on where it was.",
    )
    .argument("<id>", "the group, such as counter/views", groupId)
    .option("--count <n>", "end after so many values", parseCount)
    .addHelpText("after", "\nExample:\n  $ coppice watch counter/views --data ./a --json");
  withConnection(command).action(async (id: string, options: WatchOptions) => {
    let left = options.count ?? Number.POSITIVE_INFINITY;
    for await (const body of follow(options, id)) {
      streams.out(`${options.json === true ? JSON.stringify(body) : display(body.value)}\n`);
      left--;
      if (left <= 0) return;
    }
  });
}

/** The values of a group. Connects again when the connection is lost, for as long as `--timeout` allows. */
async function* follow(options: ClientOptions, id: string): AsyncGenerator<ValueBody, void, undefined> {
  let last = "";
  let lostAtMs: number | undefined;
  for (;;) {
    try {
      // Found anew each time: a restarted node may serve on another port.
      const client = await connect(options);
      const stream = await open(client, id, last);
      lostAtMs = undefined;
      for await (const { event, id: digest, data } of readEvents(stream)) {
        if (event === "deleted") return;
        if (event === "error") throw refusal(data);
        last = digest;
        yield JSON.parse(data) as ValueBody;
      }
    } catch (error) {
      // What is wrong before the first value is reported; afterwards the node is probably restarting.
      const isLost = error instanceof CliError ? error.status === EXIT.unreachable : true;
      if (last === "" || !isLost) throw error;
    }
    lostAtMs ??= performance.now();
    if (performance.now() - lostAtMs > options.timeout) {
      throw new CliError(EXIT.unreachable, "UNREACHABLE", `the node has not come back within ${options.timeout} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** The node ends a stream whose token was revoked. */
function refusal(data: string): CliError {
  const { code, detail } = JSON.parse(data) as Problem;
  return new CliError(exitStatus(code), code, detail);
}

async function open(client: Client, id: string, last: string): Promise<AsyncIterable<Uint8Array>> {
  const query = last === "" ? "" : `?after=${last}`;
  const path = groupPath(id, `/watch${query}`);
  const response = await aboutGroup(client, id, () => client.stream(path));
  if (response.body === null) throw new CliError(EXIT.unreachable, "UNREACHABLE", "the node answered without a stream");
  return response.body;
}
