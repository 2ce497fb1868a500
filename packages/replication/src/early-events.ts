import type { TransportEvents } from "./transport.ts";

/** Holds what a transport says while its node is still starting, and passes everything on, in order, from `attach` on. */
export class EarlyEvents {
  #target: TransportEvents | undefined;
  #waiting: ((target: TransportEvents) => void)[] = [];

  readonly events: TransportEvents = {
    linkUp: (link) => this.#pass((target) => target.linkUp(link)),
    linkDown: (link, reason) => this.#pass((target) => target.linkDown(link, reason)),
    frame: (link, bytes) => this.#pass((target) => target.frame(link, bytes)),
    delivered: () => this.#target?.delivered?.(),
    drained: (link) => this.#pass((target) => target.drained(link)),
    notice: (code, message, peer) => this.#pass((target) => target.notice(code, message, peer)),
  };

  attach(target: TransportEvents): void {
    this.#target = target;
    for (const event of this.#waiting) event(target);
    this.#waiting = [];
  }

  #pass(event: (target: TransportEvents) => void): void {
    if (this.#target === undefined) this.#waiting.push(event);
    else event(this.#target);
  }
}
