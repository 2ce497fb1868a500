import { Reader, type Value, Writer, readValue, writeValue } from "@coppice/crdt";
import { PRESENCE_BYTES_MAX } from "./core/messages.ts";
import { checkFunction } from "./error.ts";
import type { PeerId } from "./transport.ts";

/** What a presence handle needs of its group. */
export interface PresenceHost {
  set(state: Uint8Array | undefined): void;
  states(): ReadonlyMap<PeerId, Uint8Array>;
  watch(fn: () => void): () => void;
}

/**
 * Who is in a group right now, and where: a small state of each node (a cursor, a selection, a name), told to the other
 * nodes at once, never stored, forgotten 15 seconds after a node was last heard or when it leaves.
 */
export class Presence {
  readonly #host: PresenceHost;

  constructor(host: PresenceHost) {
    this.#host = host;
  }

  /** This node's state from now on; at most 4 KiB encoded (`RangeError`). */
  set(state: Value): void {
    const writer = new Writer();
    writeValue(writer, state);
    if (writer.length > PRESENCE_BYTES_MAX) {
      throw new RangeError(`a presence state of ${writer.length} bytes is above ${PRESENCE_BYTES_MAX}`);
    }
    this.#host.set(writer.take());
  }

  /** This node has no state any more. */
  clear(): void {
    this.#host.set(undefined);
  }

  /** The states of all nodes that have one, this node's included. */
  states(): ReadonlyMap<PeerId, Value> {
    const states = new Map<PeerId, Value>();
    for (const [peer, bytes] of this.#host.states()) {
      try {
        states.set(peer, readValue(new Reader(bytes)));
      } catch {
        // A state that cannot be read is as good as none: it is replaced or forgotten within seconds.
      }
    }
    return states;
  }

  /** Calls `fn` after each change of the states, until its replica closes; returns how to stop. */
  subscribe(fn: (states: ReadonlyMap<PeerId, Value>) => void): () => void {
    checkFunction(fn, "subscribe");
    return this.#host.watch(() => fn(this.states()));
  }
}
