import type { Link, PeerId } from "../transport.ts";
import type { Peer } from "./peer.ts";

/** What backpressure acts on. */
export interface Valves {
  pause(link: Link): void;
  resume(link: Link): void;
}

/** While the storage is behind by too many bytes, the peers' frames wait in their links until it has caught up. */
export class Backpressure {
  readonly #peers: ReadonlyMap<PeerId, Peer>;
  readonly #valves: Valves;
  readonly #bytesMax: number;
  readonly #paused = new Set<Link>();
  /** Bytes of frames taken since the storage last had everything. */
  #bytes = 0;

  constructor(peers: ReadonlyMap<PeerId, Peer>, valves: Valves, bytesMax: number) {
    this.#peers = peers;
    this.#valves = valves;
    this.#bytesMax = bytesMax;
  }

  take(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#bytesMax) return;
    for (const { link } of this.#peers.values()) {
      if (this.#paused.has(link)) continue;
      this.#paused.add(link);
      this.#valves.pause(link);
    }
  }

  /** The storage has caught up. */
  release(): void {
    this.#bytes = 0;
    for (const link of this.#paused) this.#valves.resume(link);
    this.#paused.clear();
  }
}
