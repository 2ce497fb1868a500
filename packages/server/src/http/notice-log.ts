import type { Notice } from "@coppice/replication";

/** A notice, and when it came. */
export interface LoggedNotice {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly code: string;
  readonly message: string;
  readonly peer: string | undefined;
}

const NOTICES_MAX = 200;

/** The last notices of a node, for who looks later: give `add` to the node as `onNotice`. */
export class NoticeLog {
  readonly #notices: LoggedNotice[] = [];

  add(notice: Pick<Notice, "code" | "message" | "peer">): void {
    const { code, message, peer } = notice;
    this.#notices.push({ at: Date.now(), code, message, peer });
    if (this.#notices.length > NOTICES_MAX) this.#notices.shift();
  }

  /** Newest first. */
  latest(count: number): readonly LoggedNotice[] {
    return this.#notices.slice(-count).toReversed();
  }
}
