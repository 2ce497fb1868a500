import { generateKeyPair } from "@libp2p/crypto/keys";
import { generateCertificate } from "@libp2p/tls/utils";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { Duplex } from "node:stream";
import { TLSSocket, connect } from "node:tls";
import { afterEach, expect, it, vi } from "vitest";
import { linked } from "../testing/test-peer.ts";
import { Lab, LOOPBACK } from "./lab.test-support.ts";

const lab = new Lab();
afterEach(() => lab.close());

/** The port of a multiaddr. */
function portOf(address: string): number {
  return Number(/\/tcp\/(\d+)/.exec(address)?.[1]);
}

it("a frame and what stands before it are written at once, to the socket itself", async () => {
  const a = await lab.start();
  const b = await lab.start();
  await a.transport.connect(b.address);
  await linked(a, b);
  const write = vi.spyOn(TLSSocket.prototype, "write");
  a.transport.send(a.linkTo(b), Uint8Array.of(1, 2, 3));
  const sizes = write.mock.calls.map(([bytes]) => bytes.length);
  const [socket] = write.mock.contexts as TLSSocket[];
  write.mockRestore();
  expect(sizes).toEqual([12 + 4 + 3]);
  // A stream in between has no port.
  expect(socket?.remotePort).toBe(portOf(b.address));
});

it("what is no TCP socket is encrypted all the same", async () => {
  const [networkKey, ws] = ["ab".repeat(32), "/ip4/127.0.0.1/tcp/0/ws"];
  for (const options of [{ networkKey }, { listen: [ws] }]) {
    const [a, b] = [await lab.start(options), await lab.start(options)];
    await a.transport.connect(b.address);
    await linked(a, b);
    a.transport.send(a.linkTo(b), Uint8Array.of(1, 2, 3));
    await b.until("the frame", () => b.frames.length > 0);
  }
});

it("a peer may begin the handshake before its protocol was accepted", async () => {
  const b = await lab.start({ listen: [LOOPBACK] });
  const tcp = connectTcp(portOf(b.address), "127.0.0.1");
  await once(tcp, "connect");
  const choice = ["/multistream/1.0.0\n", "/tls/1.0.0\n"]
    .map((line) => String.fromCharCode(line.length) + line)
    .join("");
  const parts: Buffer[] = [Buffer.from(choice)];
  let answer = choice.length;
  const duplex = new Duplex({
    write(chunk: Buffer, _encoding, done) {
      tcp.write(Buffer.concat([...parts.splice(0), chunk]), done);
    },
    read() {},
  });
  tcp.on("data", (bytes) => {
    const skipped = Math.min(answer, bytes.length);
    answer -= skipped;
    if (skipped < bytes.length) duplex.push(bytes.subarray(skipped));
  });
  const { cert, key } = await generateCertificate(await generateKeyPair("Ed25519"));
  const client = connect({ socket: duplex, cert, key, rejectUnauthorized: false, ALPNProtocols: ["/yamux/1.0.0"] });
  await once(client, "secureConnect");
  expect(client.alpnProtocol).toBe("/yamux/1.0.0");
  client.destroy();
  tcp.destroy();
});

it("a node has one certificate for all its connections", async () => {
  const b = await lab.start();
  const handshakes = vi.spyOn(TLSSocket.prototype, "getPeerCertificate");
  for (let dials = 0; dials < 2; dials++) await (await lab.intruder()).dial(b);
  const seen = handshakes.mock.results.map(({ value }) => (value as { fingerprint256: string }).fingerprint256);
  handshakes.mockRestore();
  // Both intruders have seen that of b, and b one of each.
  expect(seen).toHaveLength(4);
  expect(new Set(seen).size).toBe(3);
});
