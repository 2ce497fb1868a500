import type { Link, PeerId } from "../transport.ts";
import { PeerAnswers } from "./answers.ts";
import { Reassembly, packFrames } from "./frames.ts";
import type { Limits } from "./limits.ts";
import type { Hello } from "./messages.ts";
import { PeerMeter } from "./peer-meter.ts";
import { PeerPulls } from "./pulls.ts";
import { CELL_WORDS, SKETCH_CELLS_MAX } from "./sketch.ts";

/** The part of the queue beyond which answers wait: what is queued can no longer be left to another node. */
const ANSWERS_PART = 1 / 32;
/** Bytes of answers that are sent before there are more: the peer works on them meanwhile. Each time twice as many. */
const FIRST_ANSWERS_BYTES = 16 * 1024;
/** The part of it for each group while the transport takes no more: what comes on top is old before it leaves. */
const BLOCKED_PART = 1 / 32;

/** Cells of one version of a sketch, from the first on. */
export interface PeerSketch {
  readonly version: number;
  readonly cells: Uint32Array;
}

/** A linked peer: what it is interested in, whom it hears, and what waits to be sent to it. */
export class Peer {
  readonly link: Link;
  readonly reassembly: Reassembly;
  readonly #queueBytesMax: number;
  readonly #messageBytesMax: number;
  readonly #tooLarge: (key: string, bytes: number) => void;
  /** What it said first; nothing is sent but our own hello before it came. */
  hello: Hello | undefined;
  #hears: ReadonlySet<PeerId> = new Set();
  #hearsHash = 0;
  #heardAt = Number.NEGATIVE_INFINITY;
  /** Messages that wait to be packed into frames. */
  #queue: Uint8Array[] = [];
  #queueBytes = 0;
  /** Bytes in the queue from which on answers wait. */
  #answersBytesMax: number;
  #isBlocked = false;
  /** Domains whose list is queued. */
  readonly #lists = new Set<string>();
  /** Bytes of each group queued since the transport takes no more. */
  readonly #blockedBytes = new Map<string, number>();
  #fragments = 0;
  /** Groups of which something was dropped because the queue was full. */
  readonly #dropped = new Set<string>();
  /** The hash of those that this node has told it to hear. */
  toldHearsHash = 0;
  /** What it has asked for. */
  readonly answers: PeerAnswers = new PeerAnswers();
  /** What it was asked for, and what it offers. */
  readonly pulls: PeerPulls = new PeerPulls();
  /** Groups of which its answer under way has brought something new. */
  readonly brought: Set<string> = new Set();
  /** Events from it that were new here, and bytes both ways. */
  readonly counts: { events: number; bytesIn: number; bytesOut: number } = { events: 0, bytesIn: 0, bytesOut: 0 };
  lastSyncAt = 0;
  /** Cells of the peer's sketches, by domain, while they are too few; of all domains as many as of the longest one. */
  readonly #sketches = new Map<string, PeerSketch>();

  readonly meter: PeerMeter;
  /** Groups of which events were ignored because they came too fast. */
  readonly deferred: Set<string> = new Set();
  /** How far its wall clock is ahead of ours, in milliseconds; undefined before its first heartbeat. */
  clockAheadMs: number | undefined;

  /** @param tooLarge told of messages of a group that no peer would take */
  constructor(
    link: Link,
    limits: Limits,
    meter: PeerMeter = new PeerMeter(limits),
    tooLarge: (key: string, bytes: number) => void = () => {},
  ) {
    this.link = link;
    this.#tooLarge = tooLarge;
    this.#messageBytesMax = limits.messageBytesMax;
    this.meter = meter;
    this.reassembly = new Reassembly(limits.messageBytesMax);
    this.#queueBytesMax = limits.queueBytesMax;
    this.#answersBytesMax = Math.min(FIRST_ANSWERS_BYTES, ANSWERS_PART * limits.queueBytesMax);
  }

  get id(): PeerId {
    return this.link.peer;
  }

  get queueBytes(): number {
    return this.#queueBytes;
  }

  isInterestedIn(domain: string): boolean {
    if (this.hello === undefined) return false;
    return this.hello.domains === undefined || this.hello.domains.includes(domain);
  }

  /** The cells of a domain's sketch that came so far; they are forgotten here. */
  takeSketch(domain: string): PeerSketch | undefined {
    const sketch = this.#sketches.get(domain);
    this.#sketches.delete(domain);
    return sketch;
  }

  /** Keeps the cells of a sketch until more come. Whoever has too many of them open loses the oldest. */
  keepSketch(domain: string, sketch: PeerSketch): void {
    this.#sketches.set(domain, sketch);
    let words = 0;
    for (const { cells } of this.#sketches.values()) words += cells.length;
    for (const [oldest, { cells }] of this.#sketches) {
      if (words <= SKETCH_CELLS_MAX * CELL_WORDS) return;
      words -= cells.length;
      this.#sketches.delete(oldest);
    }
  }

  /** Takes note of whom the peer hears: those named, or if it names none, those that it named with the same hash. */
  setHears(hears: Iterable<PeerId> | undefined, hash: number, now: number): void {
    if (hears !== undefined) {
      this.#hears = new Set(hears);
      this.#hearsHash = hash;
    }
    if (hash === this.#hearsHash) this.#heardAt = now;
  }

  /** Whether the peer said, not before `since`, that it hears `other` itself. */
  hears(other: PeerId, since: number): boolean {
    return this.#heardAt >= since && this.#hears.has(other);
  }

  /**
   * Queues a message. Over the byte cap, and over that of its group while the transport takes no more, it is dropped, and
   * its group noted as one to compare again. So a group that is written to faster than the link carries does not hold up
   * the others, and its peer gets what it has become. What belongs to no group (questions, which are repeated) has as much
   * room again.
   */
  post(message: Uint8Array, key?: string): void {
    if (key !== undefined && message.length > this.#messageBytesMax) return this.#tooLarge(key, message.length);
    if (this.#takes(message.length, key)) {
      this.#queue.push(message);
      this.#queueBytes += message.length;
    } else if (key !== undefined) {
      this.#dropped.add(key);
    }
  }

  #takes(bytes: number, key: string | undefined): boolean {
    const bytesMax = key === undefined ? 2 * this.#queueBytesMax : this.#queueBytesMax;
    if (this.#queueBytes > 0 && this.#queueBytes + bytes > bytesMax) return false;
    if (key === undefined || !this.#isBlocked) return true;
    const before = this.#blockedBytes.get(key) ?? 0;
    if (before > 0 && before + bytes > BLOCKED_PART * this.#queueBytesMax) return false;
    this.#blockedBytes.set(key, before + bytes);
    return true;
  }

  /** Whether the list of a domain may be queued: once, until what is queued has left. */
  takesList(domain: string): boolean {
    if (this.#lists.has(domain)) return false;
    this.#lists.add(domain);
    return true;
  }

  /** Whether an answer may be queued. */
  get hasRoom(): boolean {
    return this.#queueBytes < this.#answersBytesMax;
  }

  /** Queues a part of an answer, for which there was room when it was begun. */
  answer(message: Uint8Array, key: string): void {
    if (message.length > this.#messageBytesMax) return this.#tooLarge(key, message.length);
    this.#queue.push(message);
    this.#queueBytes += message.length;
  }

  /** Queues a message that may as well be lost; false when there is no room for it. */
  postIfRoom(message: Uint8Array): boolean {
    if (this.#queueBytes + message.length > this.#queueBytesMax) return false;
    this.post(message);
    return true;
  }

  /**
   * Hands what is queued to the transport, unless that takes no more. Returns the groups of which something was dropped
   * and for which there is room again.
   */
  flush(send: (link: Link, frame: Uint8Array) => boolean): string[] {
    if (this.#isBlocked) return [];
    if (this.#queue.length === 0) return this.#takeDropped();
    const frames = packFrames(this.#queue, () => this.#fragments++);
    const nextMax = this.hasRoom ? FIRST_ANSWERS_BYTES : 2 * this.#answersBytesMax;
    this.#answersBytesMax = Math.min(nextMax, ANSWERS_PART * this.#queueBytesMax);
    this.#queue = [];
    this.#queueBytes = 0;
    this.#blockedBytes.clear();
    this.#lists.clear();
    for (const frame of frames) {
      this.counts.bytesOut += frame.length;
      if (!send(this.link, frame)) this.#isBlocked = true;
    }
    return this.#isBlocked ? [] : this.#takeDropped();
  }

  /** The transport takes more again. */
  drained(): void {
    this.#isBlocked = false;
  }

  #takeDropped(): string[] {
    if (this.#dropped.size === 0) return [];
    const dropped = [...this.#dropped];
    this.#dropped.clear();
    return dropped;
  }
}
