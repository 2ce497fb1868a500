/** Bounds on what a peer can make this node hold; each has a documented default. */
export interface Limits {
  /**
   * Largest message (what one actor wrote in a tick, or a state), before fragmentation; should be the same on all nodes. A
   * larger one is not sent (notice `LIMIT_EXCEEDED`), and ends the link to a peer that sends it. Default 64 MiB.
   */
  readonly messageBytesMax: number;
  /** Events of one group that wait for others, in bytes. Default 4 MiB. */
  readonly pendingBytesMax: number;
  /**
   * Newest events of one group kept in memory to serve peers that are a little behind, in bytes: about 300 for each run
   * (what one actor wrote in one tick; 32 for a small one), and its own. Default 256 KiB.
   */
  readonly tailBytesMax: number;
  /**
   * Bytes queued for one peer before its events are dropped and its groups marked for comparison: an eighth of it for
   * answers, and while the link takes no more a thirty-second for each group. Default 8 MiB.
   */
  readonly queueBytesMax: number;
  /** Bytes taken from peers while a commit is under way, before their links are paused. Default 32 MiB. */
  readonly uncommittedBytesMax: number;
  /**
   * Loaded groups that nobody uses, in bytes (as stored, their newest events, and 2 KiB for each): over this the longest
   * unused are unloaded before `idleGraceMs` is over. Default 64 MiB.
   */
  readonly idleBytesMax: number;
  /** Actors of one group; over this the whole group takes nothing more from peers. Default 100 000. */
  readonly actorsPerGroupMax: number;
  /** Events a peer may send in a second; those above are asked for again later. Default 1 000 000. */
  readonly eventsPerSecondMax: number;
  /** Actors unknown here that a peer may bring in a minute; likewise. Default 10 000. */
  readonly newActorsPerMinuteMax: number;
  /** How far this node's clock may be ahead of all its peers' before own writes are refused. Default 3 600 000 (an hour). */
  readonly clockSkewMaxMs: number;
  /** Groups on one node. Default 1 000 000. */
  readonly groupsMax: number;
  /** Groups read from storage at the same time; the others wait, those that nobody waits for longest. Default 256. */
  readonly loadsMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  messageBytesMax: 64 * 1024 * 1024,
  pendingBytesMax: 4 * 1024 * 1024,
  tailBytesMax: 256 * 1024,
  queueBytesMax: 8 * 1024 * 1024,
  uncommittedBytesMax: 32 * 1024 * 1024,
  idleBytesMax: 64 * 1024 * 1024,
  actorsPerGroupMax: 100_000,
  eventsPerSecondMax: 1_000_000,
  newActorsPerMinuteMax: 10_000,
  clockSkewMaxMs: 3_600_000,
  groupsMax: 1_000_000,
  loadsMax: 256,
};
