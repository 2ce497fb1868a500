import type { Damage } from "@coppice/storage";
import type { TransportEvents } from "./transport.ts";

/** What a node hears from its transport and its storage. */
export interface NodeEvents extends TransportEvents {
  /** The storage has found a damaged record. */
  damaged(damage: Damage): void;
}

/** Holds what is said while a node is still starting, and passes everything on, in order, from `attach` on. */
export class EarlyEvents {
  #target: NodeEvents | undefined;
  #waiting: ((target: NodeEvents) => void)[] = [];

  readonly events: NodeEvents = {
    linkUp: (link) => this.#pass((target) => target.linkUp(link)),
    linkDown: (link, reason) => this.#pass((target) => target.linkDown(link, reason)),
    frame: (link, bytes) => this.#pass((target) => target.frame(link, bytes)),
    delivered: () => this.#target?.delivered?.(),
    drained: (link) => this.#pass((target) => target.drained(link)),
    notice: (code, message, peer) => this.#pass((target) => target.notice(code, message, peer)),
    damaged: (damage) => this.#pass((target) => target.damaged(damage)),
  };

  attach(target: NodeEvents): void {
    this.#target = target;
    for (const event of this.#waiting) event(target);
    this.#waiting = [];
  }

  #pass(event: (target: NodeEvents) => void): void {
    if (this.#target === undefined) this.#waiting.push(event);
    else event(this.#target);
  }
}
