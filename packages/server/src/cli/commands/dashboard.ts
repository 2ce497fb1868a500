import type { Command } from "commander";
import { type CliContext, type ClientOptions, connect, withConnection } from "../context.ts";

export function dashboardCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("dashboard")
    .summary("print a link that opens a node's dashboard")
    .description(
      "Prints a link that opens the dashboard of a running node in a browser, signed in for reading. Who opens it first is " +
        "signed in, within a minute.",
    )
    .addHelpText("after", "\nExample:\n  $ coppice dashboard --data ./a");
  withConnection(command).action(async (options: ClientOptions) => {
    const { url } = await (await connect(options)).request<{ url: string }>("POST", "/v1/dashboard/links", {});
    streams.out(options.json === true ? `${JSON.stringify({ url })}\n` : `${url}\n`);
  });
}
