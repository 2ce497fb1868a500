import type { Link, LinkEnd, PeerId, Transport, TransportContext } from "../transport.ts";

/** Something a transport told its node. */
export type Told =
  | { readonly kind: "up"; readonly link: Link }
  | { readonly kind: "down"; readonly link: Link; readonly reason: LinkEnd }
  | { readonly kind: "notice"; readonly code: string; readonly message: string; readonly peer: PeerId | undefined };

const PATIENCE_MS = 20_000;

/** A node that only records what its transport tells it. */
export class TestPeer {
  readonly transport: Transport;
  readonly incarnation: string;
  readonly told: Told[] = [];
  readonly frames: { readonly link: Link; readonly bytes: Uint8Array }[] = [];
  readonly drains: Link[] = [];
  /** How many frames had been kept at each call of `delivered`. */
  readonly deliveries: number[] = [];
  id: PeerId = "";
  /** Called with every frame, before it is recorded; returns whether to record it. */
  onFrame: (link: Link, bytes: Uint8Array) => boolean = () => true;
  onDrained: (link: Link) => void = () => undefined;
  /** Links that stand, by peer. */
  readonly links: Map<PeerId, Link> = new Map();
  readonly #secrets: Map<string, Uint8Array>;
  readonly #watchers = new Set<() => void>();

  /** @param secrets what earlier peers under the same name have stored */
  constructor(transport: Transport, secrets: Map<string, Uint8Array>, incarnation: string) {
    this.transport = transport;
    this.incarnation = incarnation;
    this.#secrets = secrets;
  }

  async start(options: { signal?: AbortSignal } = {}): Promise<this> {
    this.id = await this.transport.start(this.#context(), options);
    return this;
  }

  get address(): string {
    const [address] = this.transport.addresses();
    if (address === undefined) throw new Error(`${this.id} has no address`);
    return address;
  }

  linkTo(other: TestPeer): Link {
    const link = this.links.get(other.id);
    if (link === undefined) throw new Error(`no link from ${this.id} to ${other.id}`);
    return link;
  }

  count(kind: Told["kind"]): number {
    return this.told.filter((told) => told.kind === kind).length;
  }

  /** Resolves once `condition` holds, looked at after everything told. */
  until(what: string, condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look);
        const seen = this.told.map((told) => JSON.stringify(told)).join("\n  ");
        reject(new Error(`waited in vain for: ${what}; ${this.frames.length} frames; told:\n  ${seen}`));
      }, PATIENCE_MS);
      const look = (): void => {
        if (!condition()) return;
        clearTimeout(timer);
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
    });
  }

  #context(): TransportContext {
    return {
      incarnation: this.incarnation,
      readSecret: async (name) => this.#secrets.get(name),
      writeSecret: async (name, bytes) => void this.#secrets.set(name, bytes),
      events: {
        linkUp: (link) => {
          if (this.links.has(link.peer)) throw new Error(`two links to ${link.peer} at ${this.id}`);
          this.links.set(link.peer, link);
          this.#tell({ kind: "up", link });
        },
        linkDown: (link, reason) => {
          if (this.links.get(link.peer) !== link) throw new Error(`a link went down that was not up: ${link.peer}`);
          this.links.delete(link.peer);
          this.#tell({ kind: "down", link, reason });
        },
        frame: (link, bytes) => {
          if (this.links.get(link.peer) !== link) throw new Error(`a frame on a link that is not up: ${link.peer}`);
          if (this.onFrame(link, bytes)) this.frames.push({ link, bytes });
          this.#look();
        },
        delivered: () => void this.deliveries.push(this.frames.length),
        drained: (link) => {
          this.drains.push(link);
          this.onDrained(link);
          this.#look();
        },
        notice: (code, message, peer) => this.#tell({ kind: "notice", code, message, peer }),
      },
    };
  }

  #tell(told: Told): void {
    this.told.push(told);
    this.#look();
  }

  #look(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Resolves once both ends have their link. */
export async function linked(a: TestPeer, b: TestPeer): Promise<void> {
  await Promise.all([
    a.until(`link to ${b.id}`, () => a.links.get(b.id)?.incarnation === b.incarnation),
    b.until(`link to ${a.id}`, () => b.links.get(a.id)?.incarnation === a.incarnation),
  ]);
}
