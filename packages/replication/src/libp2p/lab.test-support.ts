import { generateKeyPair } from "@libp2p/crypto/keys";
import type { Connection, Stream } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import type { Libp2p } from "libp2p";
import { TestPeer } from "../testing/test-peer.ts";
import { libp2pTransport, type Libp2pTransportOptions } from "./libp2p-transport.ts";
import { createNode } from "./node.ts";
import { encodeFrames, encodeHello, FrameReader, FrameType, HEADER_BYTES, PROTOCOL, type Frame } from "./wire.ts";

export const LOOPBACK = "/ip4/127.0.0.1/tcp/0";

/** Peers, and nodes that misbehave, for one test. */
export class Lab {
  readonly #stops: (() => unknown)[] = [];
  #incarnations = 0;

  /** A peer on loopback that admits everybody, unless told otherwise. */
  peer(options: Libp2pTransportOptions = {}, secrets: Map<string, Uint8Array> = new Map()): TestPeer {
    const transport = libp2pTransport({ listen: [LOOPBACK], allow: "any", ...options });
    const incarnation = (++this.#incarnations).toString(16).padStart(16, "0");
    this.#stops.push(() => transport.stop());
    return new TestPeer(transport, secrets, incarnation);
  }

  start(options: Libp2pTransportOptions = {}, secrets: Map<string, Uint8Array> = new Map()): Promise<TestPeer> {
    return this.peer(options, secrets).start();
  }

  /** A bare libp2p node, for whatever a real peer would not do. */
  async intruder(): Promise<Intruder> {
    const node = await createNode({
      privateKey: await generateKeyPair("Ed25519"),
      listen: [multiaddr(LOOPBACK)],
      announce: [],
      connectionsMax: 100,
      inboundConnectionsPerSecond: 100,
      connectionGater: {},
    });
    await node.start();
    this.#stops.push(() => node.stop());
    return new Intruder(node);
  }

  /** Something else to be stopped with the lab. */
  alsoStop(stop: () => unknown): void {
    this.#stops.push(stop);
  }

  async close(): Promise<void> {
    await Promise.all(this.#stops.splice(0).map((stop) => stop()));
  }
}

export class Intruder {
  readonly node: Libp2p;

  constructor(node: Libp2p) {
    this.node = node;
  }

  get id(): string {
    return this.node.peerId.toString();
  }

  async dial(victim: TestPeer): Promise<IntruderStream> {
    const connection = await this.node.dial(multiaddr(victim.address), { force: true });
    return new IntruderStream(await connection.newStream(PROTOCOL), connection);
  }

  /** A stream that has become the victim's link. */
  async link(victim: TestPeer, incarnation = "ffffffffffffffff"): Promise<IntruderStream> {
    const stream = await this.dial(victim);
    stream.send({ type: FrameType.hello, body: encodeHello(incarnation, []) });
    const decides = this.id < victim.id;
    if (decides) stream.send({ type: FrameType.accept, body: Uint8Array.of(0, 0, 0, 1) });
    await victim.until("link to the intruder", () => victim.links.get(this.id)?.incarnation === incarnation);
    return stream;
  }
}

export class IntruderStream {
  readonly stream: Stream;
  readonly connection: Connection;
  readonly received: Frame[] = [];
  ended = false;

  constructor(stream: Stream, connection: Connection) {
    this.stream = stream;
    this.connection = connection;
    const reader = new FrameReader();
    stream.addEventListener("message", ({ data }) => {
      for (const chunk of data instanceof Uint8Array ? [data] : data) reader.push(chunk);
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) this.received.push(frame);
    });
    stream.addEventListener("close", () => {
      this.ended = true;
    });
  }

  send(...frames: Frame[]): void {
    const bytes = frames.reduce((sum, { body }) => sum + HEADER_BYTES + body.length, 0);
    this.stream.send(encodeFrames(frames, bytes));
  }

  sendBytes(...bytes: number[]): void {
    this.stream.send(Uint8Array.from(bytes));
  }
}

export function noticed(peer: TestPeer, code: string): string | undefined {
  for (const told of peer.told) if (told.kind === "notice" && told.code === code) return told.message;
  return undefined;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
