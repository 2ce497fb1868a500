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
  /** Messages broadcast here, received from other nodes, and dropped for a limit or a full queue. */
  broadcastsSent: number;
  broadcastsReceived: number;
  broadcastsDropped: number;
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
    broadcastsSent: 0,
    broadcastsReceived: 0,
    broadcastsDropped: 0,
  };
}
