/** Commands about the node as a whole and its peers. */
import type { Command } from "commander";
import type { DomainsBody, PeersBody, RecoveryBody, StatusBody, TypesBody } from "../../http/api.ts";
import { type CliContext, type ClientOptions, connect, groupId, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { formatBytes, printable, table } from "../output.ts";

interface RecoverOptions extends ClientOptions {
  readonly dryRun?: true;
}

export function nodeCommands(program: Command, context: CliContext): void {
  statusCommand(program, context);
  typesCommand(program, context);
  domainsCommand(program, context);
  peersCommand(program, context);
  connectCommand(program, context);
  disconnectCommand(program, context);
  snapshotCommand(program, context);
  recoverCommand(program, context);
}

function statusCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("status")
    .summary("show what a node is and whether it is ready")
    .description("Shows what a node is. Fails with status 8 when its storage does not take writes.");
  withConnection(command).action(async (options: ClientOptions) => {
    const client = await connect(options);
    const status = await client.request<StatusBody>("GET", "/v1/status");
    await client.request("GET", "/v1/ready");
    if (options.json === true) {
      streams.out(`${JSON.stringify(status)}\n`);
      return;
    }
    const rows = [
      ["version", status.version],
      ["peer id", status.peerId],
      ["incarnation", status.incarnation],
      ...status.addresses.map((address) => ["address", address]),
      ["started", status.startedAt],
      ["groups", String(status.groups)],
      ["peers", String(status.peers)],
    ];
    for (const [name = "", value = ""] of rows) streams.out(`${name.padEnd(13)}${value}\n`);
  });
}

function typesCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("types")
    .summary("list the types of groups and their operations")
    .description("Lists the types that groups can have on a node, and their operations.");
  withConnection(command).action(async (options: ClientOptions) => {
    const { types } = await (await connect(options)).request<TypesBody>("GET", "/v1/types");
    if (options.json === true) for (const type of types) streams.out(`${JSON.stringify(type)}\n`);
    else
      streams.out(
        table(
          ["TYPE", "OPERATIONS"],
          types.map(({ name, operations }) => [name, operations.join(", ")]),
        ),
      );
  });
}

function domainsCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("domains")
    .summary("list the domains and how each is kept")
    .description("Lists the domains that are configured or have groups, and how each is kept.")
    .addHelpText("after", "\nExample:\n  $ coppice domains --data ./a");
  withConnection(command).action(async (options: ClientOptions) => {
    const { domains } = await (await connect(options)).request<DomainsBody>("GET", "/v1/domains");
    if (options.json === true) {
      for (const domain of domains) streams.out(`${JSON.stringify(domain)}\n`);
      return;
    }
    const rows = domains.map(({ name, groups, type, storage, durability, inMemory, replicated }) => [
      printable(name),
      groups,
      type ?? "-",
      durability ?? "-",
      replicated === null ? "-" : replicated ? "yes" : "no",
      storage === null ? "-" : `${storage}${inMemory === true ? ", in memory" : ""}`,
    ]);
    const head = ["DOMAIN", "GROUPS", "TYPE", "DURABILITY", "REPLICATED", "STORAGE"];
    streams.out(rows.length === 0 ? "no domains\n" : table(head, rows));
  });
}

function peersCommand(program: Command, { streams }: CliContext): void {
  const command = program.command("peers").summary("list the linked peers").description("Lists the linked peers.");
  withConnection(command).action(async (options: ClientOptions) => {
    const { peers } = await (await connect(options)).request<PeersBody>("GET", "/v1/peers");
    if (options.json === true) {
      for (const peer of peers) streams.out(`${JSON.stringify(peer)}\n`);
      return;
    }
    const rows = peers.map(({ id, events, bytesIn, bytesOut, queueBytes, lastSyncAt, addresses }) => [
      id,
      events,
      formatBytes(bytesIn),
      formatBytes(bytesOut),
      formatBytes(queueBytes),
      lastSyncAt ?? "never",
      printable(addresses[0] ?? ""),
    ]);
    const head = ["PEER", "EVENTS", "IN", "OUT", "QUEUED", "COMPARED", "ADDRESS"];
    streams.out(rows.length === 0 ? "no peers\n" : table(head, rows));
  });
}

function connectCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("connect")
    .summary("connect a node to a peer")
    .description("Connects a node to a peer, and again whenever the link is lost, until the node stops.")
    .argument("<multiaddr>", "the peer's address")
    .addHelpText("after", "\nExample:\n  $ coppice connect /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW… --data ./a");
  withConnection(command).action(async (address: string, options: ClientOptions) => {
    const client = await connect(options);
    const body = { address, timeoutMs: Math.ceil(options.timeout * 0.8) };
    const { peer } = await client.request<{ peer: string }>("POST", "/v1/peers", body);
    streams.out(options.json === true ? `${JSON.stringify({ peer })}\n` : `connected with ${peer}\n`);
  });
}

function disconnectCommand(program: Command, _context: CliContext): void {
  const command = program
    .command("disconnect")
    .summary("end the link to a peer")
    .description("Ends the link to a peer and stops connecting to it. The peer may still connect by itself.")
    .argument("<peerid>", "as `coppice peers` lists it");
  withConnection(command).action(async (peer: string, options: ClientOptions) => {
    await (await connect(options)).request("DELETE", `/v1/peers/${encodeURIComponent(peer)}`);
  });
}

function snapshotCommand(program: Command, _context: CliContext): void {
  const command = program
    .command("snapshot")
    .summary("take snapshots now")
    .description("Takes snapshots of every group that has changed, or of one. Ends once they are stored.")
    .argument("[id]", "the group, such as counter/views", groupId);
  withConnection(command).action(async (group: string | undefined, options: ClientOptions) => {
    await (await connect(options)).request("POST", "/v1/snapshots", group === undefined ? {} : { group });
  });
}

function recoverCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("recover")
    .summary("load every stored group and report what was found")
    .description("Loads every stored group of a running node. Fails with status 8 when one cannot be read.")
    .option("--dry-run", "load nothing, only report what is stored");
  withConnection(command).action(async (options: RecoverOptions) => {
    const client = await connect(options);
    const report = await client.request<RecoveryBody>("POST", "/v1/recoveries", { dryRun: options.dryRun === true });
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
    if (report.failed.length > 0) {
      throw new CliError(EXIT.unavailable, "GROUP_DEGRADED", `${report.failed.length} groups cannot be read`);
    }
  });
}

function describe(report: RecoveryBody): string {
  const seconds = (report.durationMs / 1000).toFixed(2);
  const lines = [`${report.groups} groups, ${report.recovered} loaded, ${report.events} events, ${seconds} s`];
  for (const kind of ["degraded", "failed", "unknown"] as const) {
    for (const { id, type } of report[kind]) lines.push(`${kind.padEnd(9)} ${printable(id)} (${type})`);
  }
  return `${lines.join("\n")}\n`;
}
