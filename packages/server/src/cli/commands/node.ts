/** Commands about the node as a whole and its peers. */
import type { Command } from "commander";
import type { StoredReport } from "../../daemon/offline.ts";
import type { DomainsBody, PeersBody, RecoveryBody, StatusBody, TypesBody, VerificationBody } from "../../http/api.ts";
import { isServed } from "../client.ts";
import { type CliContext, type ClientOptions, aboutGroup, connect, groupId, withConnection } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";
import { counted, figure, formatBytes, printable, table, tally } from "../output.ts";
import { withProgress } from "../progress.ts";

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
  verifyCommand(program, context);
}

function statusCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("status")
    .summary("show what a node is and whether it is ready")
    .description("Shows what a node is. Fails with status 8 when its storage does not take writes.")
    .addHelpText("after", "\nExample:\n  $ coppice status --data ./a");
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
      ["http", client.url],
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
    .description("Lists the types that groups can have on a node, and their operations.")
    .addHelpText("after", "\nExample:\n  $ coppice types --data ./a");
  withConnection(command).action(async (options: ClientOptions) => {
    const { types } = await (await connect(options)).request<TypesBody>("GET", "/v1/types");
    if (options.json === true) for (const type of types) streams.out(`${JSON.stringify(type)}\n`);
    else
      streams.out(
        table(
          ["TYPE", "OPERATIONS"],
          types.map(({ name, operations }) => [name, operations.join(", ") || "(a document, see docs/http.md)"]),
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
      name === "" ? "(none)" : printable(name),
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
  const command = program
    .command("peers")
    .summary("list the linked peers")
    .description("Lists the linked peers.")
    .addHelpText("after", "\nExample:\n  $ coppice peers --data ./a");
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
    .argument("<peerid>", "as `coppice peers` lists it")
    .addHelpText("after", "\nExample:\n  $ coppice disconnect 12D3KooW… --data ./a");
  withConnection(command).action(async (peer: string, options: ClientOptions) => {
    await (await connect(options)).request("DELETE", `/v1/peers/${encodeURIComponent(peer)}`);
  });
}

function snapshotCommand(program: Command, _context: CliContext): void {
  const command = program
    .command("snapshot")
    .summary("take snapshots now")
    .description("Takes snapshots of every group that has changed, or of one. Ends once they are stored.")
    .argument("[id]", "the group, such as counter/views", groupId)
    .addHelpText(
      "after",
      "\nExamples:\n  $ coppice snapshot --data ./a\n  $ coppice snapshot counter/views --data ./a",
    );
  withConnection(command).action(async (group: string | undefined, options: ClientOptions) => {
    await (await connect(options)).request("POST", "/v1/snapshots", group === undefined ? {} : { group });
  });
}

function recoverCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("recover")
    .summary("load every stored group and report what was found")
    .description(
      "Loads every stored group of a running node. Fails with status 8 when one cannot be read. With --dry-run it loads " +
        "nothing, and needs no running node: it tells what a start would find in the data directory.",
    )
    .option("--dry-run", "load nothing, only report what is stored")
    .addHelpText("after", "\nExamples:\n  $ coppice recover --dry-run --data ./a\n  $ coppice recover --data ./a");
  withConnection(command).action(async (options: RecoverOptions) => {
    const { data, url, dryRun = false } = options;
    if (dryRun && url === undefined && data !== undefined && !(await isServed(data))) {
      const { listDirectory } = await import("../../daemon/offline.ts");
      const stored = await listDirectory(data);
      streams.out(options.json === true ? `${JSON.stringify(stored)}\n` : describeStored(stored));
      return;
    }
    const client = await connect(options);
    const report = await withProgress(streams, options, ["recovering", "groups"], ({ tell }) =>
      client.work<RecoveryBody>("/v1/recoveries", { dryRun }, tell),
    );
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : describe(report));
    if (report.failed.length > 0) {
      throw new CliError(
        EXIT.unavailable,
        "GROUP_DEGRADED",
        `${counted(report.failed.length, "group")} cannot be read`,
      );
    }
  });
}

function verifyCommand(program: Command, { streams }: CliContext): void {
  const command = program
    .command("verify")
    .summary("compare a group, or all, with every peer")
    .description(
      "Compares what a running node and its peers hold, and names who differs. While writes are under way, peers may know " +
        "other events for a moment; the same events with another content must never be, and end it with status 6.",
    )
    .argument("[id]", "the group, such as counter/views; without it, all", groupId)
    .addHelpText("after", "\nExamples:\n  $ coppice verify --data ./a\n  $ coppice verify counter/views --data ./a");
  withConnection(command).action(async (group: string | undefined, options: ClientOptions) => {
    const client = await connect(options);
    const report = await withProgress(streams, options, ["comparing", "groups"], ({ tell }) =>
      aboutGroup(client, group ?? "", () =>
        client.work<VerificationBody>("/v1/verifications", group === undefined ? {} : { group }, tell),
      ),
    );
    streams.out(options.json === true ? `${JSON.stringify(report)}\n` : describeVerification(report));
    if (report.divergent.length > 0) {
      const differ = report.divergent.length === 1 ? "differs" : "differ";
      const message = `${counted(report.divergent.length, "group")} ${differ} from a peer's`;
      throw new CliError(EXIT.conflict, "DIVERGENT", message);
    }
  });
}

function describeVerification({ groups, peers, equal, different, divergent }: VerificationBody): string {
  if (peers === 0) return `${counted(groups, "group")}, and no peers to compare with\n`;
  const lines = [
    `${counted(groups, "group")}, ${counted(peers, "peer")}: ${tally({ equal, divergent: divergent.length })}`,
  ];
  for (const { id, peers: verdicts, code } of [...divergent, ...different]) {
    if (code !== undefined) lines.push(`${printable(id)}: not compared (${code})`);
    for (const [peer, verdict] of Object.entries(verdicts)) {
      if (verdict !== "equal") lines.push(`${printable(id)}: ${verdict} at ${peer}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function describeStored({ groups, deleted, journalled, snapshotBytes, degraded, domains }: StoredReport): string {
  const lines = [
    `${counted(groups, "group")}, ${figure(journalled)} with a journal to replay, ${formatBytes(snapshotBytes)} of snapshots, ` +
      `${deleted} deleted, ${degraded.length} degraded`,
    ...domains.map(({ name, groups: count }) => `domain    ${printable(name) || "(none)"}: ${figure(count)}`),
    ...degraded.map((id) => `degraded  ${printable(id)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function describe(report: RecoveryBody): string {
  const seconds = (report.durationMs / 1000).toFixed(2);
  const { groups, recovered, events } = report;
  const lines = [`${counted(groups, "group")}, ${figure(recovered)} loaded, ${counted(events, "event")}, ${seconds} s`];
  for (const kind of ["degraded", "failed", "unknown"] as const) {
    for (const { id, type } of report[kind]) lines.push(`${kind.padEnd(9)} ${printable(id)} (${type})`);
  }
  return `${lines.join("\n")}\n`;
}
