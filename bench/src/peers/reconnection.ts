import { setTimeout as sleep } from "node:timers/promises";
import type { Figure } from "../replication/figure.ts";
import { COMPARED, Processes, startCluster } from "./cluster.ts";
import { type Way, compare } from "./compare.ts";
import { CountingProxy } from "./counting-proxy.ts";
import type { SystemName } from "./system.ts";

const KEYS = 10_000;
const CHANGED = 10;
/** In which everything that a link brings has passed. */
const QUIET_MS = 1_000;

/** Bytes both ways over TCP when a link comes back, with nothing changed meanwhile and with a few keys. */
async function reconnect(name: SystemName): Promise<{ idleBytes: number; bytes: number }> {
  using proxy = new CountingProxy();
  using processes = new Processes();
  const { host, member } = await startCluster(processes, name, { way: (address) => proxy.before(address) });
  await member.ask("watch");
  const write = async (command: "write" | "writeAtOnce", prefix: string, keys: number): Promise<void> => {
    await member.ask("expect", { key: `${prefix}${keys - 1}` });
    await host.ask(command, { prefix, keys });
  };
  const again = async (whileApart: () => Promise<void>): Promise<number> => {
    await member.ask("disconnect");
    await whileApart();
    await sleep(QUIET_MS);
    proxy.bytes = 0;
    await member.ask("connect");
    await member.ask("reached");
    await sleep(QUIET_MS);
    return proxy.bytes;
  };
  await write("writeAtOnce", "key", KEYS);
  await member.ask("reached");
  await sleep(QUIET_MS);
  return {
    idleBytes: await again(async () => {}),
    bytes: await again(() => write("write", "changed", CHANGED)),
  };
}

/** What it costs to learn a few changes after a reconnection, and the reconnection with them. */
export async function reconnection(): Promise<Figure[]> {
  const changes = new Map<Way, number>();
  const all = new Map<Way, number>();
  for (const name of COMPARED) {
    const { idleBytes, bytes } = await reconnect(name);
    changes.set(name, bytes - idleBytes);
    all.set(name, bytes);
  }
  const name = `reconnect, ${CHANGED} of ${KEYS} keys changed`;
  return [
    ...compare({ name: `${name}: what the changes add`, unit: "B" }, changes),
    ...compare({ name: `${name}: all of it over TCP`, unit: "B" }, all, {
      note: "ours has the handshake of TLS in it",
    }),
  ];
}
