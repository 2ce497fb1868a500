import { type Actor, Writer, createActor } from "@coppice/crdt";
import type { Link, MemoryNetwork, Transport } from "@coppice/replication";
import { type Message, encodeMessage, packFrames } from "@coppice/replication/testing";

const PROTOCOL = 1;

/** A peer that was admitted, says what a scenario makes it say, and answers nothing. */
export class Stranger {
  /** One that no node writes under. */
  readonly actor: Actor = createActor(new Uint8Array(8).fill(0xee), new Uint8Array(8).fill(0xee));
  readonly #transport: Transport;
  #link: Link | undefined;
  #fragments = 0;
  /** How often its link was ended. */
  timesDropped = 0;

  constructor(network: MemoryNetwork, name = "stranger") {
    this.#transport = network.transport(name);
  }

  /** Links to a node and greets it, now and whenever its link was ended. */
  async link(to: string): Promise<void> {
    await this.#transport.start({
      incarnation: "0123456789abcdef",
      readSecret: async () => undefined,
      writeSecret: async () => {},
      events: {
        linkUp: (link) => {
          this.#link = link;
          this.say({ kind: "hello", protocol: PROTOCOL, heard: true, domains: undefined });
        },
        linkDown: () => {
          this.#link = undefined;
          this.timesDropped++;
        },
        frame: () => {},
        drained: () => {},
        notice: () => {},
      },
    });
    await this.#transport.connect(`memory:/${to}`);
  }

  /** All in as few frames as it takes; nothing while it is not linked. */
  say(...messages: readonly Message[]): void {
    for (const frame of packFrames(messages.map(encodeMessage), () => this.#fragments++)) this.sayBytes(frame);
  }

  sayBytes(frame: Uint8Array): void {
    if (this.#link !== undefined) this.#transport.send(this.#link, frame);
  }

  leave(): Promise<void> {
    return this.#transport.stop();
  }
}

/** One event as gossip, whatever its delta says. */
export function eventMessage(
  group: { readonly key: string; readonly type: string; readonly epoch: number },
  event: { readonly actor: Actor; readonly seq: number; readonly time: number; readonly delta: Uint8Array },
): Message {
  const run = new Writer();
  run.actor(event.actor);
  run.uint(event.seq);
  run.uint(1);
  run.uint(event.time);
  run.uint(0);
  run.uint(event.delta.length);
  run.raw(event.delta);
  return { kind: "events", group, repaired: false, wants: "nothing", run: run.take() };
}
