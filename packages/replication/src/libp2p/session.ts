import type { Connection, Stream } from "@libp2p/interface";
import { unref } from "#platform";
import type { Link, PeerId } from "../transport.ts";
import { Channel } from "./channel.ts";
import type { FrameType, Hello } from "./wire.ts";

/** What a session tells the table it belongs to. */
export interface SessionEvents {
  data(session: Session, body: Uint8Array): void;
  /** The frames that came together have been told. */
  delivered(): void;
  control(session: Session, type: FrameType, body: Uint8Array): void;
  drained(session: Session): void;
  ended(session: Session, problem: Error | undefined): void;
}

/**
 * - `greeting`: waits for the other side's hello
 * - `waiting`: waits for the decision, which is ours (a standing link is being probed) or the other side's
 * - `up`: carries the link
 * - `retired`: another process has taken over; kept for a moment to learn whether the old one is alive
 * - `ended`: for nothing any more
 */
export type SessionState = "greeting" | "waiting" | "up" | "retired" | "ended";

/** One stream on its way to being the link with a peer, and after. */
export class Session {
  readonly peer: PeerId;
  readonly channel: Channel;
  state: SessionState = "greeting";
  hello: Hello | undefined;
  link: Link | undefined;
  /** The number under which the deciding side accepted this stream. */
  decision = 0;
  timer: NodeJS.Timeout | undefined;
  /** Settles the dial that made this stream; absent where the other side dialled. */
  readonly outcome: { resolve(link: Link): void; reject(error: Error): void } | undefined;

  constructor(stream: Stream, connection: Connection, events: SessionEvents, outcome: Session["outcome"]) {
    this.peer = connection.remotePeer.toString();
    this.outcome = outcome;
    this.channel = new Channel(stream, connection, {
      data: (body) => events.data(this, body),
      delivered: () => events.delivered(),
      control: (type, body) => events.control(this, type, body),
      drained: () => events.drained(this),
      ended: (problem) => events.ended(this, problem),
    });
  }

  /** Runs `run` unless the session gets another timer or ends first. */
  after(delayMs: number, run: () => void): void {
    clearTimeout(this.timer);
    this.timer = unref(setTimeout(run, delayMs));
  }

  end(): void {
    clearTimeout(this.timer);
    this.state = "ended";
  }
}
