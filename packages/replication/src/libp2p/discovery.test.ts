import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { linked, TestPeer } from "../testing/test-peer.ts";
import { Lab, LOOPBACK, pause } from "./lab.test-support.ts";
import { type Libp2pTransportOptions, libp2pTransport } from "./libp2p-transport.ts";
import { createNetworkKey } from "./network-key.ts";

const lab = new Lab();
afterEach(() => lab.close());

const withoutId = (address: string): string => address.replace(/\/p2p\/.*/, "");

/** A peer with the options of its test alone: `Lab.start` admits everybody. */
async function strict(options: Libp2pTransportOptions): Promise<TestPeer> {
  const peer = new TestPeer(libp2pTransport({ listen: [LOOPBACK], ...options }), new Map(), "00000000000000aa");
  lab.alsoStop(() => peer.transport.stop());
  return peer.start();
}

describe("a hint", () => {
  it("of peers leads to a link with whoever is admitted, and to nobody else", async () => {
    const [friend, stranger] = [await lab.start(), await lab.start()];
    const a = await strict({ allow: [friend.id] });
    a.transport.discovered([stranger.address, withoutId(friend.address), "nonsense", a.address], "peers");
    await pause(100);
    expect(a.told).toEqual([]);
    a.transport.discovered([friend.address], "peers");
    await linked(a, friend);
    expect(stranger.told).toEqual([]);
  });

  it("of the last run admits the peer, unless there is a list that it is not on", async () => {
    const b = await lab.start();
    const open = await strict({});
    open.transport.discovered([b.address], "record");
    await linked(open, b);
    const listed = await strict({ allow: [open.id] });
    listed.transport.discovered([b.address], "record");
    await pause(100);
    expect(listed.told).toEqual([]);
  });

  it("that leads nowhere raises no notice", async () => {
    const [a, b] = [await lab.start(), await lab.start()];
    const { address } = b;
    await b.transport.stop();
    a.transport.discovered([address], "peers");
    await pause(300);
    expect(a.told).toEqual([]);
  });

  it("is replaced when the peer comes back elsewhere", async () => {
    const secrets = new Map<string, Uint8Array>();
    const a = await lab.start();
    const first = await lab.start({}, secrets);
    a.transport.discovered([first.address], "peers");
    await linked(a, first);
    const { address } = first;
    await first.transport.stop();
    await a.until("redial failed", () => a.told.some(({ kind }) => kind === "notice"));
    const moved = await lab.start({ peers: [a.address] }, secrets);
    expect(moved.address).not.toBe(address);
    await linked(a, moved);
    // It redials no more: only `a` can bring the link back, at the new address.
    await moved.transport.disconnect(a.id);
    await a.until("link again", () => a.count("up") === 3);
    await linked(a, moved);
  });
});

describe("a network key", () => {
  it("lets only those talk that hold the same", async () => {
    const key = createNetworkKey();
    const a = await lab.start({ networkKey: key });
    const b = await lab.start({ networkKey: key });
    await a.transport.connect(b.address);
    await linked(a, b);
    a.transport.send(a.linkTo(b), new Uint8Array(100_000).fill(7));
    await b.until("frame", () => b.frames[0]?.bytes.length === 100_000);
    for (const other of [await lab.start(), await lab.start({ networkKey: createNetworkKey() })]) {
      await expect(other.transport.connect(a.address)).rejects.toMatchObject({
        code: "DIAL_FAILED",
        message: expect.stringContaining("network key"),
      });
    }
    expect(a.count("up")).toBe(1);
  });

  it("is taken as a file's text, as digits and as bytes, and refused otherwise without being shown", () => {
    const digits = "0123456789abcdef".repeat(4);
    for (const networkKey of [digits, `/key/swarm/psk/1.0.0/\r\n/base16/\r\n${digits}\n`, new Uint8Array(32)]) {
      expect(() => libp2pTransport({ networkKey })).not.toThrow();
    }
    for (const networkKey of [digits.slice(1), `${digits}zz`, new Uint8Array(31), ""]) {
      const refused = expect.objectContaining({
        code: "INVALID_OPTIONS",
        message: expect.not.stringContaining("0123"),
      });
      expect(() => libp2pTransport({ networkKey })).toThrow(refused);
    }
  });
});

/** Two nodes with nothing but multicast DNS; prints when both are linked. It runs what is built. */
const PROGRAM = `
  import { libp2pTransport } from ${JSON.stringify(new URL("../../dist/libp2p/index.js", import.meta.url).href)};
  const start = async (options, incarnation, onLink) => {
    const transport = libp2pTransport({ listen: ["/ip4/127.0.0.1/tcp/0"], mdns: 200, ...options });
    const events = { linkUp: onLink, linkDown() {}, frame() {}, drained() {}, notice: (code) => console.log(code) };
    const id = await transport.start({ incarnation, events, readSecret: async () => undefined, writeSecret: async () => {} });
    return { transport, id };
  };
  const links = [];
  const a = await start({ allow: "any" }, "000000000000000a", () => links.push("a"));
  const b = await start({ allow: [a.id] }, "000000000000000b", () => links.push("b"));
  const stranger = await start({ allow: ["12D3KooWGzh3UkLxWKbQkYbW2VQqyYhWYbFVXnNZ4cVVaUAQLCGc"] }, "000000000000000c", () => links.push("c"));
  while (links.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  console.log("linked " + links.sort().join(" "));
  await Promise.all([a, b, stranger].map(({ transport }) => transport.stop()));
  console.log("stopped");
`;

/** A network of its own, with a loopback that carries multicasts: nothing gets out. */
const NAMESPACE = 'ip link set lo up && ip link set lo multicast on && ip route add 224.0.0.0/4 dev lo && exec "$@"';
const canUnshare = spawnSync("unshare", ["-n", "sh", "-c", NAMESPACE, "sh", "true"]).status === 0;

describe("multicast DNS", () => {
  // Needs a network namespace, so that no test multicasts into a real network.
  it.skipIf(!canUnshare)(
    "finds those on the local network that are admitted, and ends with the transport",
    async () => {
      const node = [process.execPath, "--input-type=module", "-e", PROGRAM];
      const child = spawn("unshare", ["-n", "sh", "-c", NAMESPACE, "sh", ...node], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const lines: string[] = [];
      createInterface(child.stdout).on("line", (line) => lines.push(line));
      const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
      await once(child, "close");
      clearTimeout(timer);
      expect(lines.filter((line) => /linked|stopped/.test(line))).toEqual(["linked a b", "stopped"]);
    },
  );
});
