import { ReplicationError } from "../error.ts";
import type { Link, Transport } from "../transport.ts";
import { linked, TestPeer } from "./test-peer.ts";

/** What a test wants of one transport. */
export interface FixtureTransportOptions {
  /** Whom the transport admits; dialled peers always. */
  readonly allow: readonly string[] | "any";
  /** The address under which the node must be found, such as that of its predecessor. */
  readonly at?: string;
}

/** Makes the transports of one test; all of them can reach each other. */
export interface TransportFixture {
  /** A transport for the node `name`, not started. A later one of the same name is the same node, restarted. */
  transport(name: string, options: FixtureTransportOptions): Transport;
  /** An address of the right form where nobody answers. */
  readonly deadAddress: string;
  /** Ends a transport as a killed process would, if the implementation can. */
  crash?(name: string, transport: Transport): void | Promise<void>;
  close?(): void | Promise<void>;
}

/** The nodes of one test, and what they have stored. */
export class Lab {
  readonly #fixture: TransportFixture;
  readonly #secrets = new Map<string, Map<string, Uint8Array>>();
  readonly #peers: TestPeer[] = [];

  constructor(fixture: TransportFixture) {
    this.#fixture = fixture;
  }

  get deadAddress(): string {
    return this.#fixture.deadAddress;
  }

  peer(name: string, options: Partial<FixtureTransportOptions> = {}): TestPeer {
    const secrets = this.#secrets.get(name) ?? new Map<string, Uint8Array>();
    this.#secrets.set(name, secrets);
    const incarnation = (this.#peers.length + 1).toString(16).padStart(16, "0");
    const peer = new TestPeer(this.#fixture.transport(name, { allow: "any", ...options }), secrets, incarnation);
    this.#peers.push(peer);
    return peer;
  }

  start(name: string, options: Partial<FixtureTransportOptions> = {}): Promise<TestPeer> {
    return this.peer(name, options).start();
  }

  /** Two nodes a and b; a has dialled b. */
  async pair(): Promise<[TestPeer, TestPeer]> {
    const a = await this.start("a");
    const b = await this.start("b");
    await a.transport.connect(b.address);
    await linked(a, b);
    return [a, b];
  }

  async crash(name: string, peer: TestPeer): Promise<void> {
    if (this.#fixture.crash === undefined) await peer.transport.stop();
    else await this.#fixture.crash(name, peer.transport);
  }

  async close(): Promise<void> {
    await Promise.all(this.#peers.map((peer) => peer.transport.stop()));
    await this.#fixture.close?.();
  }
}

export function lastLink(peer: TestPeer): Link | undefined {
  const told = peer.told.at(-1);
  return told?.kind === "down" ? told.link : undefined;
}

export function bytesOf(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

export function numberOf(bytes: Uint8Array | undefined): number {
  assert(bytes?.length === 4, "a frame of four bytes");
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

export function patterned(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) bytes[index] = index * 31 + seed;
  return bytes;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

export function assertEqual(actual: unknown, expected: unknown, what: string): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  assert(found === wanted, `${what}: expected ${wanted}, found ${found}`);
}

export function assertSameBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  assert(actual !== undefined && expected !== undefined, "a frame is missing");
  const same = actual.length === expected.length && actual.every((byte, index) => byte === expected[index]);
  assert(same, `a frame of ${expected.length} bytes arrived as another of ${actual.length}`);
}

/** @param expected the code of a `ReplicationError`, the class of an error, or the very error */
export async function assertRejects(
  promise: Promise<unknown>,
  expected: string | Error | typeof TypeError,
): Promise<void> {
  const outcome = await promise.then(
    () => "nothing",
    (error: unknown) => error,
  );
  const matches =
    typeof expected === "string"
      ? outcome instanceof ReplicationError && outcome.code === expected
      : typeof expected === "function"
        ? outcome instanceof expected
        : outcome === expected;
  assert(matches, `expected ${String(expected)}, not ${String(outcome)}`);
}
