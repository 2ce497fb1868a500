import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { keepPorts, withFormerPorts } from "./listen-ports.ts";

const TCP = "/ip4/127.0.0.1/tcp/0";

async function directory(): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), "coppice-ports-"));
  onTestFinished(() => rm(data, { recursive: true, force: true }));
  return data;
}

/** A port that was free a moment ago, and again is when `release` has ended. */
async function takenPort(): Promise<{ port: number; release(): Promise<void> }> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  const release = async (): Promise<void> => {
    if (server.listening) await once(server.close(), "close");
  };
  onTestFinished(release);
  return { port, release };
}

test("port 0 becomes the port of the last start once that is free", async () => {
  const data = await directory();
  const { port, release } = await takenPort();
  expect(await withFormerPorts(data, [TCP])).toEqual([TCP]);
  await keepPorts(data, [TCP], [`/ip4/127.0.0.1/tcp/${port}/p2p/12D3KooW`]);
  expect(await withFormerPorts(data, [TCP])).toEqual([TCP]);
  await release();
  expect(await withFormerPorts(data, [TCP])).toEqual([`/ip4/127.0.0.1/tcp/${port}`]);
});

test("TCP and WebSockets have ports of their own; others stay as they are", async () => {
  const data = await directory();
  const [one, two] = [await takenPort(), await takenPort()];
  const listen = [TCP, `${TCP}/ws`, "/ip4/127.0.0.1/tcp/4001"];
  const got = [`/ip4/127.0.0.1/tcp/${two.port}/ws/p2p/12D3KooW`, `/ip4/127.0.0.1/tcp/${one.port}/p2p/12D3KooW`];
  await keepPorts(data, listen.slice(0, 2), got);
  await Promise.all([one.release(), two.release()]);
  expect(await withFormerPorts(data, listen)).toEqual([
    `/ip4/127.0.0.1/tcp/${one.port}`,
    `/ip4/127.0.0.1/tcp/${two.port}/ws`,
    "/ip4/127.0.0.1/tcp/4001",
  ]);
});

test("what cannot be read, or is not to be told apart, means any port", async () => {
  const data = await directory();
  const listen = [TCP, "/ip4/0.0.0.0/tcp/0"];
  await keepPorts(data, listen, ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooW"]);
  expect(await withFormerPorts(data, listen)).toEqual(listen);
  await writeFile(join(data, "listen.json"), "{");
  expect(await withFormerPorts(data, listen)).toEqual(listen);
});
