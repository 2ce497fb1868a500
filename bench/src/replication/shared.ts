/** The group that both processes of a measurement open. */
export const GROUP = ["bench", "peer"] as const;
/** The key that carries the time at which it was written. */
export const PROBE = "probe";
