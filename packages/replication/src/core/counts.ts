/** What has happened in a core since its start. Plain numbers, so that counting costs next to nothing. */
export interface Counts {
  /** Events written here, received by gossip, and received by anti-entropy. */
  eventsWritten: number;
  eventsReceived: number;
  eventsRepaired: number;
  /** States of peers that brought something new. */
  statesJoined: number;
  acksReceived: number;
  framesRejected: number;
  unloads: number;
}

export function noCounts(): Counts {
  return {
    eventsWritten: 0,
    eventsReceived: 0,
    eventsRepaired: 0,
    statesJoined: 0,
    acksReceived: 0,
    framesRejected: 0,
    unloads: 0,
  };
}
