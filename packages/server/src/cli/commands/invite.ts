/** Letting peers in, by invites. */
import type { Command } from "commander";
import type { InvitesBody, NewInviteBody } from "../../http/api.ts";
import { type CliContext, type ClientOptions, connect, withConnection } from "../context.ts";
import { printable, table } from "../output.ts";
import { parseInvite } from "../../admission/invite-text.ts";
import { parseDuration } from "./token.ts";

interface CreateOptions extends ClientOptions {
  /** Seconds. */
  readonly expires?: number;
  readonly label?: string;
}

const LOCAL_ADDRESS = /^\/(?:ip4\/127\.|ip6\/::1\/)/;

export function inviteCommand(program: Command, context: CliContext): void {
  const command = program
    .command("invite")
    .summary("make an invite, with which one peer can join")
    .description(
      "Makes an invite and prints it. It is good for one peer: `coppice start --join INVITE` brings the addresses, the " +
        "domains and the network key along, and gets the peer admitted here. Pass it on as you would a password.",
    )
    .addHelpText("after", "\nExample:\n  $ coppice invite --data ./a");
  createCommand(command, context);
  listCommand(command, context);
  removeCommand(command, "revoke", "<id>", "end an invite that nobody has used", "invites");
  removeCommand(command, "forget", "<peerid>", "admit a peer no longer that came with an invite", "admitted");
}

function createCommand(parent: Command, { streams }: CliContext): void {
  const command = parent
    .command("create", { isDefault: true })
    .summary("make an invite and print it (what `coppice invite` does)")
    .description("Makes an invite and prints it.")
    .option("--expires <time>", "how long it is good for, such as 90m or 7d; a day without it", parseDuration)
    .option("--label <text>", "who it is for")
    .addHelpText("after", "\nExample:\n  $ coppice invite --expires 2h --label berlin --data ./a");
  withConnection(command).action(async (options: CreateOptions) => {
    const { expires, label } = options;
    const created = await (
      await connect(options)
    ).request<NewInviteBody>("POST", "/v1/invites", {
      ...(expires === undefined ? {} : { expiresInSeconds: expires }),
      ...(label === undefined ? {} : { label }),
    });
    streams.out(options.json === true ? `${JSON.stringify(created)}\n` : `${created.invite}\n`);
    if (parseInvite(created.invite).addresses.every((address) => LOCAL_ADDRESS.test(address))) {
      streams.err("note: this node listens on loopback only, so the invite is good on this machine only\n");
    }
  });
}

function listCommand(parent: Command, { streams }: CliContext): void {
  const command = parent
    .command("list")
    .summary("list the open invites, and the peers that came with one")
    .description("Lists the open invites, and the peers that came with one, here or to a member that told of it.");
  withConnection(command).action(async (options: ClientOptions) => {
    const body = await (await connect(options)).request<InvitesBody>("GET", "/v1/invites");
    if (options.json === true) {
      streams.out(`${JSON.stringify(body)}\n`);
      return;
    }
    const rows = [
      ...body.invites.map(({ id, expiresAt, label }) => ["open", id, `ends ${expiresAt}`, printable(label)]),
      ...body.admitted.map(({ peer, admittedAt, label, by }) => {
        return ["admitted", peer, admittedAt, `${printable(label)}${by === null ? "" : ` (told by ${by})`}`];
      }),
    ];
    streams.out(rows.length === 0 ? "no invites\n" : table(["STATE", "ID", "TIME", "LABEL"], rows));
  });
}

function removeCommand(parent: Command, name: string, argument: string, summary: string, path: string): void {
  const command = parent
    .command(name)
    .summary(summary)
    .description(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`)
    .argument(argument, "as `coppice invite list` shows it");
  withConnection(command).action(async (id: string, options: ClientOptions) => {
    await (await connect(options)).request("DELETE", `/v1/${path}/${encodeURIComponent(id)}`);
  });
}
