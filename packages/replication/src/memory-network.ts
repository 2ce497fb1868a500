import { MemoryLane, NO_FAULTS, type LaneEnvironment, type MemoryFaults } from "./memory-lane.ts";
import type { Link, LinkEnd } from "./transport.ts";

/** Runs `run` once after `delayMs` of the caller's clock; may return an undo. */
export type Schedule = (delayMs: number, run: () => void) => void | (() => void);

/** One end of a wire, as the transport that holds it sees it. */
export interface WireEnd {
  readonly name: string;
  /** The other side. */
  readonly link: Link;
  readonly out: MemoryLane;
  readonly in: MemoryLane;
  state: "handshake" | "up" | "ended";
  onFrame(frame: Uint8Array): void;
  onDrained(): void;
  onEnd(reason: LinkEnd): void;
}

/** What an end is made of, apart from its lanes. */
export type EndSeed = Pick<WireEnd, "name" | "link" | "onFrame" | "onDrained" | "onEnd">;

/** Two ends and the lanes between them. */
export interface Wire {
  readonly dialler: WireEnd;
  readonly acceptor: WireEnd;
  /** Cancel the timers that matter only while an end stands. */
  readonly undos: (() => void)[];
}

/** Time, chance, faults and wires of a simulated network; the transports on it are in `memory-transport.ts`. */
export class MemoryFabric {
  readonly #schedule: Schedule;
  readonly random: () => number;
  readonly #halfOpenMs: number;
  #faults: MemoryFaults;
  readonly #linkFaults = new Map<string, Partial<MemoryFaults>>();
  readonly #resolvedFaults = new Map<string, MemoryFaults>();
  /** Each partition with an identity of its own, so that an old one's timer does not count for a new one. */
  readonly #blocked = new Map<string, symbol>();
  readonly #wires = new Set<Wire>();

  constructor(schedule: Schedule, random: () => number, halfOpenMs: number, faults: Partial<MemoryFaults>) {
    this.#schedule = schedule;
    this.random = random;
    this.#halfOpenMs = halfOpenMs;
    this.#faults = { ...NO_FAULTS, ...faults };
  }

  /** Returns an undo, which does nothing if the injected schedule has none. */
  later(delayMs: number, run: () => void): () => void {
    let cancelled = false;
    const undo = this.#schedule(delayMs, () => {
      if (!cancelled) run();
    });
    return () => {
      cancelled = true;
      undo?.();
    };
  }

  setFaults(faults: Partial<MemoryFaults>, from: string | undefined, to: string | undefined): void {
    if (from === undefined || to === undefined) this.#faults = { ...this.#faults, ...faults };
    else this.#linkFaults.set(direction(from, to), { ...this.#linkFaults.get(direction(from, to)), ...faults });
    this.#resolvedFaults.clear();
    this.#wakeLanes();
  }

  clearFaults(): void {
    this.#faults = NO_FAULTS;
    this.#linkFaults.clear();
    this.#resolvedFaults.clear();
    this.#wakeLanes();
  }

  block(from: string, to: string): void {
    if (this.isBlocked(from, to)) return;
    const partition = Symbol();
    this.#blocked.set(direction(from, to), partition);
    for (const wire of this.#wires) this.#expectSilence(wire, from, to, partition);
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(direction(from, to));
  }

  unblockAll(): void {
    this.#blocked.clear();
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(direction(from, to));
  }

  /** How long a message takes now, for what does not travel in a lane. */
  delayMs(from: string, to: string): number {
    const [min, max] = this.#resolve(from, to).delayMs;
    return max > min ? min + this.random() * (max - min) : min;
  }

  /** The wire between two running processes that stands or is about to, whoever dialled. */
  find(name: string, other: string): Wire | undefined {
    for (const wire of this.#wires) {
      const { dialler, acceptor } = wire;
      const joins =
        (dialler.name === name && acceptor.name === other) || (dialler.name === other && acceptor.name === name);
      if (joins && dialler.state !== "ended" && acceptor.state !== "ended") return wire;
    }
    return undefined;
  }

  connect(dialler: EndSeed, acceptor: EndSeed): Wire {
    const ends: { wire?: Wire } = {};
    const there = new MemoryLane(
      this.#laneEnvironment(
        dialler.name,
        acceptor.name,
        () => ends.wire?.acceptor,
        () => ends.wire?.dialler,
      ),
      true,
    );
    const back = new MemoryLane(
      this.#laneEnvironment(
        acceptor.name,
        dialler.name,
        () => ends.wire?.dialler,
        () => ends.wire?.acceptor,
      ),
      true,
    );
    const wire: Wire = {
      dialler: { ...dialler, out: there, in: back, state: "handshake" },
      acceptor: { ...acceptor, out: back, in: there, state: "handshake" },
      undos: [],
    };
    ends.wire = wire;
    this.#wires.add(wire);
    return wire;
  }

  /** Ends one end here and now, and tells the other as the network allows. */
  end(end: WireEnd, reason: LinkEnd, tellOther: "goodbye" | "reset" | "nothing"): void {
    const wire = this.#wireOf(end);
    if (end.state === "ended" || wire === undefined) return;
    const other = wire.dialler === end ? wire.acceptor : wire.dialler;
    const wasUp = end.state === "up";
    end.state = "ended";
    end.in.close();
    if (other.state === "ended") {
      this.#wires.delete(wire);
      for (const undo of wire.undos) undo();
    } else {
      if (tellOther === "goodbye") end.out.sendGoodbye();
      if (tellOther === "reset" && !this.isBlocked(end.name, other.name)) {
        this.later(this.delayMs(end.name, other.name), () => this.end(other, "reset", "nothing"));
      }
      // Whatever happens to that message, the other end's probe finds out in the end.
      wire.undos.push(this.later(this.#halfOpenMs, () => this.end(other, "reset", "nothing")));
    }
    if (wasUp) end.onEnd(reason);
  }

  /** Ends whatever a stopping or crashing node takes part in. */
  endAll(name: string, reason: LinkEnd, tellOther: "goodbye" | "reset" | "nothing"): void {
    for (const { dialler, acceptor } of this.#wires) {
      if (dialler.name === name) this.end(dialler, reason, tellOther);
      if (acceptor.name === name) this.end(acceptor, reason, tellOther);
    }
  }

  #wireOf(end: WireEnd): Wire | undefined {
    for (const wire of this.#wires) if (wire.dialler === end || wire.acceptor === end) return wire;
    return undefined;
  }

  #laneEnvironment(
    from: string,
    to: string,
    receiver: () => WireEnd | undefined,
    sender: () => WireEnd | undefined,
  ): LaneEnvironment {
    return {
      schedule: (delayMs, run) => void this.later(delayMs, run),
      random: this.random,
      faults: () => this.#resolve(from, to),
      blocked: () => this.isBlocked(from, to),
      deliver: (frame) => {
        const end = receiver();
        if (end?.state === "up") end.onFrame(frame);
      },
      goodbye: () => {
        const end = receiver();
        if (end !== undefined) this.end(end, "closed", "nothing");
      },
      drained: () => {
        const end = sender();
        if (end?.state === "up") end.onDrained();
      },
    };
  }

  #resolve(from: string, to: string): MemoryFaults {
    const key = direction(from, to);
    const known = this.#resolvedFaults.get(key);
    if (known !== undefined) return known;
    const faults = { ...this.#faults, ...this.#linkFaults.get(key) };
    this.#resolvedFaults.set(key, faults);
    return faults;
  }

  #wakeLanes(): void {
    for (const wire of this.#wires) {
      wire.dialler.out.wake();
      wire.acceptor.out.wake();
    }
  }

  /** An end that hears nothing for long enough gives its link up, as a probe would. */
  #expectSilence(wire: Wire, from: string, to: string, partition: symbol): void {
    const deaf = wire.dialler.name === to ? wire.dialler : wire.acceptor;
    const mute = wire.dialler === deaf ? wire.acceptor : wire.dialler;
    if (deaf.name !== to || mute.name !== from) return;
    const undo = this.later(this.#halfOpenMs, () => {
      if (this.#blocked.get(direction(from, to)) === partition) this.end(deaf, "reset", "reset");
    });
    wire.undos.push(undo);
  }
}

function direction(from: string, to: string): string {
  return `${from}\n${to}`;
}
