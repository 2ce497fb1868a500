import { type Command, InvalidArgumentError, Option } from "commander";
import type { DaemonOptions } from "../../daemon/daemon.ts";
import { type Log, jsonLog, textLog } from "../../daemon/log.ts";
import type { CliContext } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";

const HTTP_DEFAULT = "127.0.0.1:7475";
const SYNC_INTERVAL_MS = 5000;
const SNAPSHOT_INTERVAL_MS = 60_000;
const PORT_MAX = 65_535;
const SAME_SIGNAL_MS = 300;
/** The shell's convention for a process that a signal ended. */
const SIGNAL_STATUS = { SIGINT: 130, SIGTERM: 143 } as const;

interface StartOptions {
  readonly data: string;
  readonly listen: readonly string[];
  readonly peer: readonly string[];
  readonly allow?: readonly string[];
  readonly allowAny?: true;
  readonly durability: DaemonOptions["durability"];
  readonly http: { readonly host: string; readonly port: number } | false;
  readonly httpAllowRemote?: true;
  readonly allowHost: readonly string[];
  readonly allowOrigin: readonly string[];
  readonly snapshotInterval: number | false;
  readonly syncInterval: number;
  readonly logFormat?: "text" | "json";
}

const EXAMPLES = `
Examples:
  $ coppice start --data ./a
  $ coppice start --data ./a --listen /ip4/0.0.0.0/tcp/4001 --allow 12D3KooW…
  $ coppice start --data ./b --http 127.0.0.1:0 --peer /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…

It runs until SIGTERM or SIGINT, then flushes and exits with status 0; a second signal forces.`;

export function startCommand(program: Command, context: CliContext): void {
  program
    .command("start")
    .summary("run a node until SIGTERM or SIGINT")
    .description("Runs one node until SIGTERM or SIGINT.")
    .addOption(new Option("--data <dir>", "the data directory").env("COPPICE_DATA").makeOptionMandatory())
    .option("--listen <multiaddr...>", "where to accept peers", ["/ip4/127.0.0.1/tcp/0"])
    .option("--peer <multiaddr...>", "peers to stay connected with", [])
    .addOption(
      new Option("--allow <peerid...>", "who may connect; default: the peers given by --peer").conflicts("allowAny"),
    )
    .option("--allow-any", "let any peer connect")
    .addOption(
      new Option("--durability <mode>", "when a write is safe: in the next snapshot, in the log, or synced to disk")
        .choices(["snapshot", "log", "sync"])
        .default("log"),
    )
    .option(
      "--http <host:port>",
      'where to serve HTTP, or "off"; port 0 takes any free one',
      parseHttp,
      parseHttp(HTTP_DEFAULT),
    )
    .option("--http-allow-remote", "allow an HTTP address that other machines reach")
    .option("--allow-host <host:port...>", "further Host headers to answer for", [])
    .option("--allow-origin <origin...>", "web origins whose pages may call", [])
    .option("--snapshot-interval <seconds>", '"off" for only when it stops', parseInterval, SNAPSHOT_INTERVAL_MS)
    .option("--sync-interval <seconds>", "how often to compare with a peer", parseSync, SYNC_INTERVAL_MS)
    .addOption(new Option("--log-format <format>", "default: text on a terminal").choices(["text", "json"]))
    .addHelpText("after", EXAMPLES)
    .action(async (options: StartOptions) => {
      await start(options, context);
    });
}

async function start(options: StartOptions, { streams }: CliContext): Promise<void> {
  const format = options.logFormat ?? (streams.isTerminal ? "text" : "json");
  const log = format === "text" ? textLog(streams.out) : jsonLog(streams.out);
  const stop = stopSignals(log);
  try {
    // Loaded here, as no other command needs the network and the database.
    const { runDaemon } = await import("../../daemon/daemon.ts");
    await runDaemon(daemonOptions(options), log, stop.signal);
  } catch (error) {
    // A signal while the node was still starting is a stop like any other.
    if (!stop.signal.aborted || !isAbort(error)) throw error;
  } finally {
    stop.dispose();
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || ("code" in error && error.code === "ABORTED"));
}

function daemonOptions(options: StartOptions): DaemonOptions {
  const { http } = options;
  return {
    data: options.data,
    listen: options.listen,
    peers: options.peer,
    allow: options.allowAny === true ? "any" : options.allow,
    durability: options.durability,
    snapshotIntervalMs: options.snapshotInterval,
    syncIntervalMs: options.syncInterval,
    http:
      http === false
        ? undefined
        : {
            ...http,
            allowHosts: options.allowHost,
            allowOrigins: options.allowOrigin,
            allowRemote: options.httpAllowRemote === true,
          },
  };
}

/**
 * The first signal fires, a second one ends the process at once. Runners such as npx pass on a signal that the terminal
 * has sent to the whole process group already: what follows that closely is the same request.
 */
function stopSignals(log: Log): { signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  let firstAtMs = 0;
  const onSignal = (name: keyof typeof SIGNAL_STATUS): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstAtMs < SAME_SIGNAL_MS) return;
      log("warn", "forced", "forced to stop before everything was flushed");
      // Whatever still runs is what the second signal is to cut short.
      process.exit(SIGNAL_STATUS[name]);
    }
    firstAtMs = performance.now();
    const reason = new CliError(EXIT.ok, "ABORTED", name);
    reason.name = "AbortError";
    controller.abort(reason);
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}

function parseHttp(text: string): StartOptions["http"] {
  if (text === "off") return false;
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || port > PORT_MAX) {
    throw new InvalidArgumentError('It must be HOST:PORT, such as 127.0.0.1:7475 or [::1]:0, or "off".');
  }
  return { host, port };
}

function parseInterval(text: string): number | false {
  return text === "off" ? false : parseSync(text);
}

function parseSync(text: string): number {
  const seconds = Number(text);
  if (seconds >= 0.01 && seconds <= 86_400) return Math.round(seconds * 1000);
  throw new InvalidArgumentError("It must be a number of seconds from 0.01 to 86400.");
}
