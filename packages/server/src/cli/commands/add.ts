import { type Command, InvalidArgumentError } from "commander";
import type { OperationsBody } from "../../http/api.ts";
import { type Client, groupPath } from "../client.ts";
import { type CliContext, type ClientOptions, connect, groupId, withConnection } from "../context.ts";
import { CliError } from "../failure.ts";

const COUNTER_TYPE = "gcounter";

type Ack = "memory" | "log" | "sync" | { readonly replicas: number };

interface AddOptions extends ClientOptions {
  readonly ack?: Ack;
}

export function addCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("add")
    .summary("add to a counter")
    .description("Adds to a counter and prints its new value. Creates a grow-only counter when there is no such group.")
    .argument("<id>", "the group, such as counter/views", groupId)
    .argument("[amount]", "a whole number", parseAmount, 1)
    .option("--ack <level>", "what to wait for: memory, log, sync, or a number of peers", parseAck)
    .addHelpText("after", "\nExample:\n  $ coppice add counter/views 5 --data ./a");
  withConnection(command).action(async (id: string, amount: number, options: AddOptions) => {
    const client = await connect(options);
    const { value, digest } = await add(client, id, amount, options.ack);
    streams.out(`${options.json === true ? JSON.stringify({ id, value, digest }) : String(value)}\n`);
  });
}

/** What the group is decides; only a group that does not exist is created. */
async function add(client: Client, id: string, amount: number, ack: Ack | undefined): Promise<OperationsBody> {
  const path = groupPath(id, "/operations");
  const body = {
    operations: [{ op: "increment", args: [amount] }],
    value: true,
    ...(ack === undefined ? {} : { ack }),
  };
  try {
    return await client.request<OperationsBody>("POST", path, body);
  } catch (error) {
    if (!(error instanceof CliError) || error.code !== "UNKNOWN_GROUP") throw error;
    return await client.request<OperationsBody>("POST", path, { ...body, type: COUNTER_TYPE });
  }
}

function parseAmount(text: string): number {
  const amount = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(amount)) return amount;
  throw new InvalidArgumentError("It must be a whole number.");
}

/** For the option that says what to wait for. */
export function parseAck(text: string): Ack {
  if (text === "memory" || text === "log" || text === "sync") return text;
  const replicas = Number(text);
  if (Number.isSafeInteger(replicas) && replicas > 0) return { replicas };
  throw new InvalidArgumentError("It must be memory, log, sync, or a number of peers.");
}
