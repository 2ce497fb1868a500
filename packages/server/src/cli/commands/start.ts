import { type Command, Option } from "commander";
import type { DaemonOptions } from "../../daemon/daemon.ts";
import { parseInvite } from "../../admission/invite-text.ts";
import { httpOptions } from "../../daemon/http-settings.ts";
import { type Log, jsonLog, textLog } from "../../daemon/log.ts";
import { DOMAINS_OPTION, SETTINGS, type Settings } from "../../daemon/settings.ts";
import { readSettingsFile, resolveSettings, settingsOf } from "../../daemon/settings.ts";
import { layoutOf } from "../../daemon/layout.ts";
import type { Resolved } from "../../daemon/settings.ts";
import { ServerError } from "../../error.ts";
import type { CliContext } from "../context.ts";
import { CliError, EXIT } from "../failure.ts";

const SAME_SIGNAL_MS = 300;
/** The shell's convention for a process that a signal ended. SIGHUP: the terminal was closed. */
const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** The flags of a command that has settings, as texts; {@link resolveSettings} reads them. */
interface SettingFlags {
  readonly config?: string;
  readonly [name: string]: unknown;
}

const EXAMPLES = `
Examples:
  $ coppice start --data ./a
  $ coppice start --data ./a --listen /ip4/0.0.0.0/tcp/4001 --allow 12D3KooW…
  $ coppice start --data ./b --http 127.0.0.1:0 --peer /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
  $ coppice start --config node.json

It runs until SIGTERM, SIGINT or SIGHUP, then flushes and exits with status 0; a second signal forces. Each option can also
stand in the environment (COPPICE_ALLOW_ANY=true) or in a JSON file; "coppice config" shows what counts.`;

export function startCommand(program: Command, context: CliContext): void {
  const command = program
    .command("start")
    .summary("run a node until it is told to stop")
    .description("Runs one node until it is told to stop.")
    .addHelpText("after", EXAMPLES);
  withSettings(command).action(async (flags: SettingFlags) => {
    await start(settingsOf(await resolve(flags)), context);
  });
}

/** Adds every setting as an option, and the one that names a file of settings. */
export function withSettings(command: Command): Command {
  for (const { option, description, fallback, choices } of SETTINGS) {
    const isNothing =
      fallback === undefined || fallback === false || (Array.isArray(fallback) && fallback.length === 0);
    const standard = Array.isArray(fallback) ? fallback.join(" ") : JSON.stringify(fallback);
    const text = isNothing ? description : `${description} (default: ${standard.replaceAll('"', "")})`;
    const added = new Option(option, text);
    command.addOption(choices === undefined ? added : added.choices(choices));
  }
  command.option(DOMAINS_OPTION.option, DOMAINS_OPTION.description);
  return command.option("--config <file>", "a JSON file of settings");
}

/** Every setting with where it comes from. */
export async function resolve(flags: SettingFlags): Promise<readonly Resolved[]> {
  const path = flags.config ?? process.env["COPPICE_CONFIG"];
  const file = path === undefined ? {} : { file: await readSettingsFile(path) };
  return resolveSettings({ flags, environment: process.env, ...file });
}

async function start(settings: Settings, { streams }: CliContext): Promise<void> {
  const options = await daemonOptions(settings);
  const format = settings.logFormat ?? (streams.isTerminal ? "text" : "json");
  const log = format === "text" ? textLog(streams.out) : jsonLog(streams.out);
  const stop = stopSignals(log);
  try {
    // Loaded here, as no other command needs the network and the database.
    const { runDaemon } = await import("../../daemon/daemon.ts");
    await runDaemon(options, log, stop.signal);
  } catch (error) {
    // A signal while the node was still starting is a stop like any other.
    if (!stop.signal.aborted || !isAbort(error)) throw error;
  } finally {
    stop.done();
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || ("code" in error && error.code === "ABORTED"));
}

/** What the daemon is to do. Throws `INVALID_OPTIONS` for settings that contradict each other. */
export async function daemonOptions(settings: Settings): Promise<DaemonOptions> {
  const { data, allow, allowAny, snapshotInterval } = settings;
  if (data === undefined) {
    throw new ServerError("INVALID_OPTIONS", "a node needs a data directory: --data DIR, or COPPICE_DATA");
  }
  if (allowAny && allow !== undefined) {
    throw new ServerError(
      "INVALID_OPTIONS",
      "--allow cannot be used with --allow-any: either lists peers, or admits all",
    );
  }
  return {
    data,
    listen: settings.listen,
    peers: settings.peer,
    allow: allowAny ? "any" : allow,
    introductions: settings.introductions === undefined ? allow === undefined : settings.introductions === "on",
    mdns: settings.mdns,
    networkKeyFile: settings.networkKeyFile,
    invite: settings.join === undefined ? undefined : parseInvite(settings.join),
    layout: layoutOf(data, settings),
    domains: settings.domains,
    interest: interestOf(settings),
    durability: settings.durability,
    snapshotIntervalMs: snapshotInterval === false ? false : snapshotInterval * 1000,
    syncIntervalMs: settings.syncInterval * 1000,
    views: settings.views,
    http: await httpOptions(settings),
  };
}

/** The domains to replicate: once anything says which, no others. */
function interestOf({ interest, domains }: Settings): readonly string[] | undefined {
  const isNamed = [...domains.values()].some((domain) => domain.interest !== undefined);
  if (!isNamed) return interest;
  const names = new Set(interest);
  for (const [name, domain] of domains) {
    if (domain.interest === false) names.delete(name);
    else if (domain.interest === true || interest === undefined) names.add(name);
  }
  return [...names];
}

/**
 * The first signal fires, a second one ends the process at once. Runners such as npx pass on a signal that the terminal
 * has sent to the whole process group already: what follows that closely is the same request. The handlers stay to the
 * end of the process, so that such a repetition cannot turn an orderly end into a killed one.
 */
function stopSignals(log: Log): { signal: AbortSignal; done(): void } {
  const controller = new AbortController();
  let firstAtMs = 0;
  let isDone = false;
  const onSignal = (name: keyof typeof SIGNAL_STATUS): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstAtMs < SAME_SIGNAL_MS) return;
      if (isDone) process.exit();
      log("warn", "forced", "forced to stop before everything was flushed");
      // Whatever still runs is what the second signal is to cut short.
      process.exit(SIGNAL_STATUS[name]);
    }
    firstAtMs = performance.now();
    const reason = new CliError(EXIT.ok, "ABORTED", name);
    reason.name = "AbortError";
    controller.abort(reason);
  };
  process.on("SIGHUP", onSignal);
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    done: () => {
      isDone = true;
    },
  };
}
