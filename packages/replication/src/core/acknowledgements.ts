import type { Actor } from "@coppice/crdt";
import type { PeerId } from "../transport.ts";
import { type CoreContext, refOf } from "./context.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Ack, Events } from "./messages.ts";
import type { Peer } from "./peer.ts";
import type { Run } from "./run.ts";

/** Which peers a write waits for. */
export interface PeerAckLevel {
  /** How many distinct peers must have it. */
  readonly replicas: number;
  /** Whether it must be on their stable storage. */
  readonly durable: boolean;
  /** The peers that count; undefined means all. */
  readonly among: ReadonlySet<PeerId> | undefined;
}

/** A write that waits for peers. */
interface Waiting extends PeerAckLevel {
  readonly epoch: number;
  readonly actor: Actor;
  readonly seq: number;
  readonly answered: Set<PeerId>;
  /** Of a durable level: who has it, and cannot promise stable storage. */
  readonly undurable: Set<PeerId>;
  readonly done: () => void;
}

/**
 * A write that waits; `cancel` stops waiting, `answered` names who has answered so far, `undurable` who has the write but
 * cannot promise stable storage.
 */
export interface AckHandle {
  answered(): readonly PeerId[];
  undurable(): readonly PeerId[];
  cancel(): void;
}

/** How a node asks that what was just received be on stable storage before it answers. */
export interface DurableAnswer {
  /** Calls back once everything the group holds now is synced; false when its storage cannot promise that. */
  whenSynced(group: Group, then: (isDurable: boolean) => void): void;
}

/** Acknowledgements by direct peers: the writer asks for one in the events message, the receiver answers once. */
export class Acknowledgements {
  readonly #core: CoreContext;
  readonly #durable: DurableAnswer;
  readonly #waiting = new Map<string, Set<Waiting>>();

  constructor(core: CoreContext, durable: DurableAnswer) {
    this.#core = core;
    this.#durable = durable;
  }

  /** Waits until `replicas` distinct peers have event `seq` of `actor`. Call it before the event is published. */
  expect(
    group: Group,
    write: PeerAckLevel & { readonly actor: Actor; readonly seq: number },
    done: () => void,
  ): AckHandle {
    const waiting: Waiting = { ...write, epoch: group.epoch, answered: new Set(), undurable: new Set(), done };
    const others = this.#waiting.get(group.key) ?? new Set();
    others.add(waiting);
    this.#waiting.set(group.key, others);
    return {
      answered: () => [...waiting.answered],
      undurable: () => [...waiting.undurable],
      cancel: () => this.#remove(group.key, waiting),
    };
  }

  /** What to ask of the peers that get this run. */
  wanted(group: Group, run: Run): Events["wants"] {
    let wants: Events["wants"] = "nothing";
    for (const { epoch, actor, seq, durable } of this.#waiting.get(group.key) ?? []) {
      if (epoch !== group.epoch || actor !== run.actor || seq < run.firstSeq || seq > run.lastSeq) continue;
      if (durable) return "durable";
      wants = "applied";
    }
    return wants;
  }

  /** Whether any write of the group waits for peers. */
  isWaiting(group: Group): boolean {
    return this.#waiting.has(group.key);
  }

  /**
   * Asks once more whoever has not answered: the question or the answer may have been lost. The last write that waits
   * speaks for all before it, for who lacks those asks for them: so a peer that is slow, or silent, costs no more when many wait.
   */
  resend(): void {
    for (const [key, writes] of this.#waiting) {
      const group = this.#core.groups.get(key);
      if (group?.server === undefined) continue;
      for (const peer of this.#core.peers.values()) {
        if (!peer.isInterestedIn(group.domain)) continue;
        const open = [...writes].filter((write) => write.epoch === group.epoch && isOpen(write, peer.id));
        for (const last of lastOfEachActor(open)) this.#askAgain(peer, group, last, open);
      }
    }
  }

  #askAgain(peer: Peer, group: Group, { actor, seq }: Waiting, open: readonly Waiting[]): void {
    const before = group.vector.clone();
    before.set(actor, seq - 1);
    const [run] = group.server?.runsSince(before) ?? [];
    const durable = open.some((write) => write.actor === actor && write.durable);
    const { key, epoch } = group;
    // What the tail does not hold any more has reached the peer as a state, if at all, which asks for no answer.
    const message =
      run === undefined
        ? encodeMessage({ kind: "remind", key, epoch, actor, seq, durable })
        : encodeEvents(group, run, true, durable ? "durable" : "applied");
    this.#core.respond(group, () => () => peer.post(message, group.key));
  }

  /** Answers a peer that asked, once all of the run is applied here, and with `wantsDurable` synced. */
  answer(peer: Peer, group: Group, run: Pick<Run, "actor" | "lastSeq">, wantsDurable: boolean): void {
    if (group.vector.get(run.actor) < run.lastSeq) return;
    const { epoch, key } = group;
    const { actor, lastSeq: seq } = run;
    const send = (durable: boolean): void => peer.post(encodeMessage({ kind: "ack", key, epoch, actor, seq, durable }));
    if (wantsDurable) this.#durable.whenSynced(group, send);
    else this.#core.respond(group, () => () => send(false));
  }

  /** A peer asks for the answer to a write that it does not send once more. */
  onReminder(peer: Peer, { key, epoch, actor, seq, durable }: Ack): void {
    const known = this.#core.groups.get(key);
    if (known === undefined) return;
    this.#core.load(known, (group) => {
      if (group.epoch === epoch) this.answer(peer, group, { actor, lastSeq: seq }, durable);
    });
  }

  onAck(peer: Peer, ack: Ack): void {
    const group = this.#core.groups.get(ack.key);
    if (group?.epoch === ack.epoch && group.server?.incarnation.issuer === ack.actor) {
      this.#core.unseen.acknowledged(group, ack.seq);
    }
    for (const waiting of this.#waiting.get(ack.key) ?? []) {
      // An actor numbers its events anew in each epoch.
      if (waiting.epoch !== ack.epoch) continue;
      if (waiting.actor !== ack.actor || ack.seq < waiting.seq) continue;
      if (waiting.among?.has(peer.id) === false) continue;
      if (waiting.durable && !ack.durable) {
        waiting.undurable.add(peer.id);
        continue;
      }
      waiting.answered.add(peer.id);
      if (waiting.answered.size < waiting.replicas) continue;
      this.#remove(ack.key, waiting);
      waiting.done();
    }
  }

  #remove(key: string, waiting: Waiting): void {
    const others = this.#waiting.get(key);
    others?.delete(waiting);
    if (others?.size === 0) this.#waiting.delete(key);
  }
}

/** Whether a write waits for an answer of this peer. */
function isOpen({ answered, among }: Waiting, peer: PeerId): boolean {
  return !answered.has(peer) && among?.has(peer) !== false;
}

/** For each actor its last write: a node writes under another one when it has to give up the one it had. */
function lastOfEachActor(writes: readonly Waiting[]): Iterable<Waiting> {
  const last = new Map<Actor, Waiting>();
  for (const write of writes) if (write.seq > (last.get(write.actor)?.seq ?? 0)) last.set(write.actor, write);
  return last.values();
}

/** A run as a message. */
export function encodeEvents(group: Group, run: Run, repaired: boolean, wants: Events["wants"]): Uint8Array {
  return encodeMessage({ kind: "events", group: refOf(group), repaired, wants, run: run.bytes });
}
