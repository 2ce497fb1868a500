import { spawnSync } from "node:child_process";
import { closeSync, cpSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../simulation/random.ts";
import type { Cluster } from "./cluster.ts";
import type { Member } from "./member.ts";

/** Kinds of faults, and what they do to processes, links, disks and clocks. */
export const FAULTS = [
  "kill",
  "kill-all",
  "kill-at-start",
  "restart",
  "stop",
  "cut",
  "reset",
  "full-disk",
  "clock",
  "copy-after",
  "copy-beside",
] as const;

export type FaultKind = (typeof FAULTS)[number];

/** Which faults a campaign makes. */
export const PROFILES: Readonly<Record<string, readonly FaultKind[]>> = {
  all: FAULTS,
  kill: ["kill", "kill-all", "kill-at-start"],
  network: ["cut", "reset", "stop", "kill"],
  disk: ["full-disk", "copy-after", "copy-beside", "kill"],
};

/** How likely kills are, for they are what most is asked of. */
const KILLS: readonly FaultKind[] = ["kill", "kill-all", "kill-at-start"];
const KILL_SHARE = 0.6;

export function drawFault(random: Random, kinds: readonly FaultKind[]): FaultKind {
  const kills = kinds.filter((kind) => KILLS.includes(kind));
  const others = kinds.filter((kind) => !KILLS.includes(kind));
  if (others.length === 0 || (kills.length > 0 && random.chance(KILL_SHARE))) return random.pick(kills);
  return random.pick(others);
}

/** Makes a fault happen and lasts as long as it does; false where this machine does not permit it. */
export async function applyFault(cluster: Cluster, kind: FaultKind, random: Random): Promise<boolean> {
  const running = cluster.members.filter(({ isRunning }) => isRunning);
  if (running.length === 0) return false;
  const member = random.pick(running);
  switch (kind) {
    case "kill":
      await sleep(random.int(150));
      await cluster.kill(member);
      return true;
    case "kill-all":
      await sleep(random.int(150));
      await Promise.all(running.map((each) => cluster.kill(each)));
      return true;
    case "kill-at-start":
      await cluster.kill(member);
      cluster.start(member);
      await sleep(random.int(2500));
      await cluster.kill(member);
      return true;
    case "restart":
      await member.end("close");
      return true;
    case "stop":
      member.signal("SIGSTOP");
      await sleep(50 + random.int(1500));
      member.signal("SIGCONT");
      return true;
    case "cut":
    case "reset":
      return await breakLink(cluster, kind, random);
    case "full-disk":
      return await fillDisk(cluster, random);
    case "clock":
      member.tell({ order: "clock", offsetMs: Math.floor(random.between(-2, 2) * 3_600_000) });
      return true;
    case "copy-after":
      return await replaceByCopy(cluster, member);
    case "copy-beside":
      return await runBeside(cluster, member, random);
  }
}

async function breakLink(cluster: Cluster, kind: "cut" | "reset", random: Random): Promise<boolean> {
  const proxy = random.pick(cluster.proxies);
  if (kind === "reset") {
    proxy.reset();
    return true;
  }
  proxy.cut();
  await sleep(100 + random.int(4000));
  proxy.heal();
  return true;
}

const CHUNK = new Uint8Array(1 << 20);

/** Nothing can be written to the disk of one member for a while. */
async function fillDisk(cluster: Cluster, random: Random): Promise<boolean> {
  const { smallDisk } = cluster;
  if (smallDisk === undefined) return false;
  const path = join(smallDisk, "filler");
  const file = openSync(path, "w");
  for (let size = CHUNK.length; size >= 512;) {
    try {
      writeSync(file, CHUNK, 0, size);
    } catch {
      size >>= 1;
    }
  }
  closeSync(file);
  await sleep(100 + random.int(1500));
  const member = cluster.members.at(-1);
  if (member !== undefined && random.chance(0.3)) await cluster.kill(member);
  rmSync(path);
  return true;
}

/** A disk of its own for one member, small enough to be filled; undefined where that is not permitted. */
export function mountSmallDisk(path: string): string | undefined {
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=96m", "tmpfs", path], { stdio: "ignore" });
  return status === 0 ? path : undefined;
}

export function unmount(path: string): void {
  spawnSync("umount", [path], { stdio: "ignore" });
}

/** A copy of a killed member's directory goes on in its place. */
async function replaceByCopy(cluster: Cluster, member: Member): Promise<boolean> {
  await cluster.kill(member);
  const { data } = member.settings;
  cpSync(data, `${data}.copy`, { recursive: true });
  rmSync(data, { recursive: true });
  renameSync(`${data}.copy`, data);
  return true;
}

/**
 * A copy of a member's directory runs beside the original, under the same identity. Then, as its notice advises, it gets
 * one of its own, so that what it has acknowledged reaches the others.
 */
async function runBeside(cluster: Cluster, member: Member, random: Random): Promise<boolean> {
  if (cluster.twin !== undefined) return false;
  await cluster.kill(member);
  const twin = await cluster.addTwin(member);
  cluster.start(member);
  cluster.start(twin);
  await sleep(1500 + random.int(3000));
  await cluster.kill(twin);
  rmSync(join(twin.settings.data, "secrets"), { recursive: true, force: true });
  cluster.start(twin);
  return true;
}
