/** Bounds on what a peer can make this node hold; each has a documented default. */
export interface Limits {
  /** Largest message (an event run or a state), before fragmentation. Default 64 MiB. */
  readonly messageBytesMax: number;
  /** Events of one group that wait for others, in bytes. Default 4 MiB. */
  readonly pendingBytesMax: number;
  /** Newest events of one group kept in memory to serve peers that are a little behind. Default 256 KiB. */
  readonly tailBytesMax: number;
  /** Bytes queued for one peer before its events are dropped and its groups marked for comparison. Default 8 MiB. */
  readonly queueBytesMax: number;
  /** Loaded groups that nobody uses, in bytes as stored: over this the longest unused are unloaded. Default 64 MiB. */
  readonly idleBytesMax: number;
  /** Groups on one node. Default 1 000 000. */
  readonly groupsMax: number;
}

export const DEFAULT_LIMITS: Limits = {
  messageBytesMax: 64 * 1024 * 1024,
  pendingBytesMax: 4 * 1024 * 1024,
  tailBytesMax: 256 * 1024,
  queueBytesMax: 8 * 1024 * 1024,
  idleBytesMax: 64 * 1024 * 1024,
  groupsMax: 1_000_000,
};
