/**
 * A node that listens on port 0 asks for the port that it was given at its last start: its peers know it by that, and
 * would not find each other again when all of them had started anew. The ports stand in `listen.json` of its data
 * directory: `{"/ip4/127.0.0.1/tcp/0": 40623}`.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { readIfThere, writePrivate } from "@coppice/storage/private-file";

const FILE = "listen.json";
const ANY_PORT = /^\/ip[46]\/([^/]+)\/tcp\/0(\/ws)?$/;

/** The addresses with the ports of the last start in them, as far as these are free. */
export async function withFormerPorts(data: string, listen: readonly string[]): Promise<readonly string[]> {
  const ports = parse(await readIfThere(join(data, FILE)));
  return await Promise.all(
    listen.map(async (address) => {
      const host = ANY_PORT.exec(address)?.[1];
      const port = ports.get(address);
      if (host === undefined || port === undefined || !(await isFree(host, port))) return address;
      return address.replace("/tcp/0", `/tcp/${port}`);
    }),
  );
}

/** Keeps the ports that the node has got. Of several addresses that differ in the host only, none is kept. */
export async function keepPorts(data: string, listen: readonly string[], got: readonly string[]): Promise<void> {
  const kept: Record<string, number> = {};
  const suffixes = listen.map((address) => ANY_PORT.exec(address)?.[2] ?? "");
  for (const [index, address] of listen.entries()) {
    const suffix = suffixes[index] ?? "";
    if (!ANY_PORT.test(address) || suffixes.filter((other) => other === suffix).length > 1) continue;
    const pattern = new RegExp(`/tcp/(\\d+)${suffix}/p2p/`);
    const [port] = got.flatMap((one) => pattern.exec(one)?.[1] ?? []);
    if (port !== undefined) kept[address] = Number(port);
  }
  const text = `${JSON.stringify(kept)}\n`;
  const path = join(data, FILE);
  if (Object.keys(kept).length > 0 && text !== (await readIfThere(path))) await writePrivate(path, text);
}

/** What cannot be read is no reason not to start: then any port will do. */
function parse(text = "{}"): ReadonlyMap<string, number> {
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return new Map(entries.filter((entry): entry is [string, number] => Number.isInteger(entry[1])));
  } catch {
    return new Map();
  }
}

async function isFree(host: string, port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, host), "listening");
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
