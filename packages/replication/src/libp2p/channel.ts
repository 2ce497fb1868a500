import type { Connection, Stream, StreamMessageEvent } from "@libp2p/interface";
import { soon } from "#platform";
import { abortQuietly } from "./abort-quietly.ts";
import { encodeFrames, FrameReader, FrameType, HEADER_BYTES, PROTOCOL, WireError, type Frame } from "./wire.ts";

/** Bytes that go to libp2p in one piece; larger pieces carry no more and delay the first frame. */
const BATCH_BYTES = 64 * 1024;
/** Above this many bytes waiting here `send` answers false; `drained` comes at the lower mark. */
const QUEUE_BYTES_HIGH = 1024 * 1024;
const QUEUE_BYTES_LOW = 256 * 1024;
/** For how long frames are told in one turn of the event loop, before others have theirs. */
const TURN_MS_MAX = 10;
/** Intervals without a byte from the other side after which a channel counts as dead. */
const SILENT_INTERVALS_MAX = 3;
/** How long a graceful end may take before the connection is torn down. */
const CLOSE_MS_MAX = 250;

/** What a channel tells its owner; nothing comes after `ended`. */
export interface ChannelEvents {
  data(body: Uint8Array): void;
  /** The data that came together has been told. */
  delivered(): void;
  /** Any frame that is not data. */
  control(type: FrameType, body: Uint8Array): void;
  drained(): void;
  /** The stream has ended, or the other side broke the format, which `problem` says. */
  ended(problem: Error | undefined): void;
}

const NOTHING = new Uint8Array(0);

/**
 * Frames on one libp2p stream: batched on the way out, cut on the way in, with back-pressure both ways. What
 * waits leaves as one piece, because libp2p pays per piece and not per byte.
 */
export class Channel {
  readonly #stream: Stream;
  readonly #connection: Connection;
  readonly #events: ChannelEvents;
  readonly #reader = new FrameReader();
  #queue: Frame[] = [];
  #queueBytes = 0;
  #flushScheduled = false;
  /** libp2p takes no more until its `drain` event. */
  #blocked = false;
  #senderWaits = false;
  #paused = false;
  #streamPaused = false;
  #delivering = false;
  /** When frames began to be told in this turn; undefined when none were. */
  #turnStartedAt: number | undefined;
  /** Frames were told for long enough: the rest waits for the next turn. */
  #isTurnOver = false;
  #ended = false;
  #otherSideEnded: (() => void) | undefined;
  #sentSinceBeat = false;
  #heardSinceBeat = true;
  #silentIntervals = 0;

  constructor(stream: Stream, connection: Connection, events: ChannelEvents) {
    this.#stream = stream;
    this.#connection = connection;
    this.#events = events;
    stream.addEventListener("message", (event) => this.#onMessage(event));
    stream.addEventListener("drain", () => this.#onDrain());
    stream.addEventListener("idle", () => this.#onDrain());
    stream.addEventListener("remoteCloseWrite", () => this.#onOtherSideEnded());
    stream.addEventListener("close", () => this.#onOtherSideEnded());
  }

  /** False when the queue is above its mark; `drained` follows. */
  send(type: FrameType, body: Uint8Array = NOTHING): boolean {
    if (this.#ended) return true;
    // One answer serves many probes, or a peer that sends probes and reads nothing would fill the queue.
    if (type === FrameType.alive && this.#queue.at(-1)?.type === FrameType.alive) return !this.#senderWaits;
    this.#queue.push({ type, body });
    this.#queueBytes += HEADER_BYTES + body.length;
    // The user's frame holds a whole tick already; waiting for more would only delay it.
    if (type === FrameType.data || this.#queueBytes >= BATCH_BYTES) this.#flush();
    else this.#scheduleFlush();
    if (this.#queueBytes > QUEUE_BYTES_HIGH) this.#senderWaits = true;
    return !this.#senderWaits;
  }

  /** Holds data back; libp2p's window then fills, and the other side's `send` answers false. */
  pause(): void {
    this.#paused = true;
    // Not at once: a receiver that pauses and resumes within a frame's handling should not cost a message each.
    queueMicrotask(() => {
      if (this.#paused) this.#holdStream();
    });
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    soon(() => {
      if (this.#ended || this.#paused) return;
      this.#deliver();
      this.#resumeStream();
    });
  }

  /** Called at a fixed interval: shows life, and ends the channel when the other side has shown none for long. */
  beat(): void {
    if (!this.#sentSinceBeat) this.send(FrameType.alive);
    this.#sentSinceBeat = false;
    // Counting intervals, not time: after a pause of the whole process the first beat must not condemn everybody.
    if (this.#heardSinceBeat || this.#paused) this.#silentIntervals = 0;
    else this.#silentIntervals++;
    this.#heardSinceBeat = false;
    if (this.#silentIntervals >= SILENT_INTERVALS_MAX) this.abort(new Error("the other side has fallen silent"));
  }

  /**
   * Sends what is queued, waits a moment for the other side to end the stream, then ends the connection. Without
   * the wait the last frames would be lost: closing an encrypted connection drops what is still on its way out.
   * Tells the owner nothing.
   */
  async close(): Promise<void> {
    if (this.#ended) return;
    this.#flush();
    this.#ended = true;
    const signal = AbortSignal.timeout(CLOSE_MS_MAX);
    const over = new Promise<void>((resolve) => {
      this.#otherSideEnded = resolve;
      signal.addEventListener("abort", () => resolve());
      if (this.#stream.remoteWriteStatus === "closed") resolve();
    });
    try {
      // Nobody reads any more, and unread data would hold the other side's end back.
      await this.#stream.closeRead({ signal });
      await this.#stream.close({ signal });
      await over;
    } catch {
      // Too slow, or gone already: the connection goes either way.
    }
    this.#tearDown(new Error("closed"));
  }

  /** Ends the channel at once; the owner hears of it with `problem`. */
  abort(problem: Error): void {
    if (this.#ended) return;
    this.#end(problem);
    this.#tearDown(problem);
  }

  /** Ends the channel at once; tells the owner nothing. */
  drop(): void {
    this.#ended = true;
    this.#tearDown(new Error("dropped"));
  }

  #tearDown(problem: Error): void {
    abortQuietly(this.#stream, problem);
    if (this.#isAlone()) abortQuietly(this.#connection, problem);
  }

  /** Whether the connection carries no other stream of ours: two dials to one peer may share it. */
  #isAlone(): boolean {
    return !this.#connection.streams.some(
      (other) => other !== this.#stream && other.protocol === PROTOCOL && other.status === "open",
    );
  }

  #onOtherSideEnded(): void {
    this.#otherSideEnded?.();
    while (this.#isTurnOver && !this.#paused && !this.#ended) this.#nextTurn();
    this.#end(undefined);
  }

  #end(problem: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queue = [];
    this.#events.ended(problem);
    if (problem === undefined) this.#tearDown(new Error("the other side has ended the stream"));
  }

  #onMessage({ data }: StreamMessageEvent): void {
    this.#heardSinceBeat = true;
    if (data instanceof Uint8Array) this.#reader.push(data);
    else for (const chunk of data) this.#reader.push(chunk);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    let hasData = false;
    try {
      while (!this.#paused && !this.#ended && !this.#isTurnOver) {
        const frame = this.#reader.next();
        if (frame === undefined) break;
        this.#beginTurn();
        if (frame.type === FrameType.data) {
          hasData = true;
          this.#events.data(frame.body);
        } else {
          this.#events.control(frame.type, frame.body);
        }
        this.#checkTurn();
      }
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.abort(error);
    } finally {
      this.#delivering = false;
    }
    if (hasData) this.#events.delivered();
  }

  #beginTurn(): void {
    if (this.#turnStartedAt !== undefined) return;
    this.#turnStartedAt = performance.now();
    soon(() => this.#nextTurn());
  }

  #checkTurn(): void {
    if (performance.now() - (this.#turnStartedAt ?? 0) < TURN_MS_MAX) return;
    this.#isTurnOver = true;
    this.#holdStream();
  }

  #nextTurn(): void {
    this.#turnStartedAt = undefined;
    if (!this.#isTurnOver) return;
    this.#isTurnOver = false;
    this.#deliver();
    this.#resumeStream();
  }

  #holdStream(): void {
    if (this.#streamPaused || this.#stream.readStatus !== "readable") return;
    this.#streamPaused = true;
    this.#stream.pause();
  }

  #resumeStream(): void {
    if (!this.#streamPaused || this.#paused || this.#isTurnOver || this.#ended) return;
    this.#streamPaused = false;
    if (this.#stream.readStatus !== "paused") return;
    try {
      this.#stream.resume();
    } catch {
      // It tells what it has held at once, and that may have ended it.
    }
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled || this.#blocked) return;
    this.#flushScheduled = true;
    queueMicrotask(() => {
      this.#flushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    let taken = 0;
    while (!this.#blocked && !this.#ended && taken < this.#queue.length) {
      let bytes = 0;
      const first = taken;
      for (; taken < this.#queue.length && (bytes === 0 || bytes < BATCH_BYTES); taken++) {
        bytes += HEADER_BYTES + (this.#queue[taken]?.body.length ?? 0);
      }
      const whole = first === 0 && taken === this.#queue.length;
      const batch = encodeFrames(whole ? this.#queue : this.#queue.slice(first, taken), bytes);
      this.#queueBytes -= bytes;
      this.#sentSinceBeat = true;
      try {
        if (!this.#stream.send(batch)) this.#blocked = true;
      } catch (error) {
        this.abort(error instanceof Error ? error : new Error("sending failed", { cause: error }));
      }
    }
    if (taken > 0) this.#queue = taken === this.#queue.length ? [] : this.#queue.slice(taken);
  }

  #onDrain(): void {
    // Not at once: both come while libp2p is sending, and what it is given then it takes without a limit, until it breaks it.
    if (this.#blocked) queueMicrotask(() => this.#goOn());
  }

  #goOn(): void {
    // `drain` may come while libp2p still holds most of what it was given; more on top would break its limit, too.
    if (!this.#blocked || this.#stream.writeBufferLength > 0) return;
    this.#blocked = false;
    this.#flush();
    if (!this.#senderWaits || this.#ended || this.#queueBytes > QUEUE_BYTES_LOW) return;
    this.#senderWaits = false;
    this.#events.drained();
  }
}
