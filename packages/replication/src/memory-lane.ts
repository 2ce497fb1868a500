/**
 * What can go wrong on one direction of a link. Loss, duplication and reordering go deliberately beyond what the
 * transport contract allows: the replication core must survive them.
 */
export interface MemoryFaults {
  /** Probability from 0 to 1 that a frame vanishes. */
  readonly loss: number;
  /** Probability from 0 to 1 that a frame arrives twice. */
  readonly duplication: number;
  /** Probability from 0 to 1 that a frame leaves the queue and arrives whenever its own delay is over. */
  readonly reordering: number;
  /** Shortest and longest delay; frames keep their order unless `reordering` says otherwise. */
  readonly delayMs: readonly [min: number, max: number];
  /** Capacity; 0 clogs the link: nothing arrives, the sender's queue fills and `send` answers false. */
  readonly bytesPerSecond: number;
}

export const NO_FAULTS: MemoryFaults = {
  loss: 0,
  duplication: 0,
  reordering: 0,
  delayMs: [0, 0],
  bytesPerSecond: Number.POSITIVE_INFINITY,
};

/** Above this many queued bytes `send` answers false; `drained` comes at half of it. */
export const QUEUE_BYTES_HIGH: number = 1024 * 1024;

export interface LaneEnvironment {
  schedule(delayMs: number, run: () => void): void;
  /** From 0 inclusive to 1 exclusive. */
  random(): number;
  faults(): MemoryFaults;
  /** Whether a partition swallows what is sent in this direction. */
  blocked(): boolean;
  deliver(frame: Uint8Array): void;
  /** The sender said goodbye and everything before it has been delivered. */
  goodbye(): void;
  drained(): void;
}

interface Entry {
  /** Undefined marks the sender's goodbye. */
  readonly frame: Uint8Array | undefined;
  ready: boolean;
}

/** One direction of a link: a queue in order, with the faults of {@link MemoryFaults}. */
export class MemoryLane {
  readonly #environment: LaneEnvironment;
  #queue: Entry[] = [];
  #head = 0;
  #bytes = 0;
  #senderWaits = false;
  #receiverPaused: boolean;
  #pumpScheduled = false;
  /** Tells the pump that is scheduled from those that were and do not count any more. */
  #pumpNumber = 0;
  #closed = false;

  /** @param receiverPaused hold everything back until the first `resume()` */
  constructor(environment: LaneEnvironment, receiverPaused: boolean) {
    this.#environment = environment;
    this.#receiverPaused = receiverPaused;
  }

  send(frame: Uint8Array): boolean {
    const { loss, duplication, reordering } = this.#environment.faults();
    if (this.#environment.blocked() || this.#chance(loss)) return !this.#senderWaits;
    const copies = this.#chance(duplication) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance(reordering)) this.#sendAside(frame);
      else this.#enqueue(frame);
    }
    if (this.#bytes > QUEUE_BYTES_HIGH) this.#senderWaits = true;
    return !this.#senderWaits;
  }

  /** Ends the lane after everything queued; swallowed by a partition. */
  sendGoodbye(): void {
    if (!this.#environment.blocked()) this.#enqueue(undefined);
  }

  /** Drops everything; nothing is delivered any more. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#head = 0;
    this.#bytes = 0;
  }

  pause(): void {
    this.#receiverPaused = true;
  }

  resume(): void {
    this.#receiverPaused = false;
    this.#schedulePump(0);
  }

  /** Goes on after the capacity has changed: nothing waits as long as it would have taken before. */
  wake(): void {
    this.#pumpScheduled = false;
    this.#schedulePump(0);
  }

  delayMs(): number {
    const [min, max] = this.#environment.faults().delayMs;
    return max > min ? min + this.#environment.random() * (max - min) : min;
  }

  #chance(probability: number): boolean {
    // No draw for a fault that is off, so that switching one on leaves the others' random sequence alone.
    return probability > 0 && this.#environment.random() < probability;
  }

  #enqueue(frame: Uint8Array | undefined): void {
    const delayMs = this.delayMs();
    const entry: Entry = { frame, ready: delayMs === 0 };
    this.#queue.push(entry);
    this.#bytes += frame?.length ?? 0;
    if (entry.ready) {
      this.#schedulePump(0);
      return;
    }
    this.#environment.schedule(delayMs, () => {
      entry.ready = true;
      this.#pump();
    });
  }

  #sendAside(frame: Uint8Array): void {
    this.#environment.schedule(this.delayMs(), () => {
      // A frame outside the queue cannot wait for a paused receiver: it counts as lost.
      if (!this.#closed && !this.#receiverPaused && this.#environment.faults().bytesPerSecond > 0) {
        this.#environment.deliver(frame.slice());
      }
    });
  }

  #schedulePump(delayMs: number): void {
    if (this.#pumpScheduled || this.#closed) return;
    this.#pumpScheduled = true;
    const number = ++this.#pumpNumber;
    this.#environment.schedule(delayMs, () => {
      if (number !== this.#pumpNumber) return;
      this.#pumpScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#pumpScheduled) return;
    for (;;) {
      const { bytesPerSecond } = this.#environment.faults();
      const entry = this.#queue[this.#head];
      if (this.#closed || this.#receiverPaused || bytesPerSecond <= 0 || entry?.ready !== true) return;
      this.#head++;
      if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
        this.#queue = this.#queue.slice(this.#head);
        this.#head = 0;
      }
      if (entry.frame === undefined) {
        this.#environment.goodbye();
        return;
      }
      this.#bytes -= entry.frame.length;
      // A copy, because a receiver may keep its frame while the sender sends the same bytes to others.
      this.#environment.deliver(entry.frame.slice());
      this.#announceDrained();
      if (Number.isFinite(bytesPerSecond)) {
        this.#schedulePump((entry.frame.length / bytesPerSecond) * 1000);
        return;
      }
    }
  }

  #announceDrained(): void {
    if (!this.#senderWaits || this.#closed || this.#bytes > QUEUE_BYTES_HIGH / 2) return;
    this.#senderWaits = false;
    this.#environment.drained();
  }
}
