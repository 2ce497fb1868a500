import type { Link, Transport, TransportContext } from "@coppice/replication";

/** One frame that passed, in the direction of the transport that sent it. */
export interface Recorded {
  readonly from: string;
  readonly bytes: Uint8Array;
}

/** A transport that writes down what it sends. */
export function recording(from: string, inner: Transport, frames: Recorded[]): Transport {
  return {
    start: (context, options) => inner.start(context, options),
    addresses: () => inner.addresses(),
    send(link, bytes) {
      frames.push({ from, bytes });
      return inner.send(link, bytes);
    },
    pause: (link) => inner.pause(link),
    resume: (link) => inner.resume(link),
    connect: (address, options) => inner.connect(address, options),
    discovered: (addresses, source) => inner.discovered(addresses, source),
    disconnect: (peer) => inner.disconnect(peer),
    stop: () => inner.stop(),
  };
}

/** A transport of one link, whose other side says what it is made to say and hears nothing. */
export class Puppet implements Transport {
  readonly #self: string;
  readonly #link: Link;
  #context: TransportContext | undefined;

  constructor(self: string, peer: string) {
    this.#self = self;
    this.#link = { peer, incarnation: "00112233445566aa", addresses: [] };
  }

  async start(context: TransportContext): Promise<string> {
    this.#context = context;
    return this.#self;
  }

  link(): void {
    this.#context?.events.linkUp(this.#link);
  }

  say(frame: Uint8Array): void {
    this.#context?.events.frame(this.#link, frame);
  }

  addresses(): readonly string[] {
    return [];
  }

  send(): boolean {
    return true;
  }

  pause(): void {}

  resume(): void {}

  discovered(): void {}

  async connect(): Promise<Link> {
    return this.#link;
  }

  async disconnect(): Promise<void> {}

  async stop(): Promise<void> {}
}
