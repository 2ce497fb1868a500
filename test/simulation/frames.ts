import { type Message, Run, decodeMessage, unpackFrame } from "@coppice/replication/testing";
import { type Holdings, missing } from "./guarantees.ts";
import type { Machine } from "./machine.ts";
import type { SimProcess } from "./process.ts";

function messages(frame: Uint8Array): Message[] {
  return unpackFrame(frame)
    .map((bytes) => decodeMessage(bytes))
    .filter((message) => message !== undefined);
}

/** What a frame says, for the trace. */
export function describeFrame(frame: Uint8Array): string {
  return messages(frame).map(describe).join("; ");
}

function describe(message: Message): string {
  switch (message.kind) {
    case "events": {
      const { actor, firstSeq, lastSeq } = Run.decode(message.run);
      const { key, epoch } = message.group;
      const flags = `${message.repaired ? " repaired" : ""}${message.wants === "nothing" ? "" : ` wants ${message.wants}`}`;
      return `events ${key}/${epoch} ${actor}:${firstSeq}-${lastSeq}${flags}`;
    }
    case "vector": {
      const { key, epoch } = message.group;
      const entries = [...message.vector].map(([actor, seq]) => `${actor}:${seq}`).sort();
      return `vector ${key}/${epoch} ${message.intent} {${entries.join(" ")}}`;
    }
    case "state": {
      const { key, epoch } = message.group;
      const entries = [...message.vector].map(([actor, seq]) => `${actor}:${seq}`).sort();
      return `state ${key}/${epoch} {${entries.join(" ")}}`;
    }
    case "ack":
      return `ack ${message.key}/${message.epoch} ${message.actor}:${message.seq}${message.durable ? " durable" : ""}`;
    case "sums":
      return `sums${message.isReply ? " reply" : ""} ${message.sums.map(({ groups, digest }) => `${groups}:${digest.join(".")}`).join(" ")}`;
    case "list":
      return `list of ${message.entries.length}`;
    case "want":
      return `want of ${message.hashes.length}`;
    case "hello":
      return `hello${message.heard ? " heard" : ""}`;
    case "heartbeat":
      return `heartbeat ${message.hears?.join(" ") ?? "as before"}`;
    case "conflict":
      return `conflict ${message.group.key}`;
    case "fragment":
      return `fragment ${message.index + 1} of ${message.count}`;
    default:
      return message.kind;
  }
}

/** Why a frame of a journalling process must not leave it yet; undefined when it may. */
export function checkFrame(process: SimProcess, machine: Machine, frame: Uint8Array): string | undefined {
  for (const message of messages(frame)) {
    const problem = checkMessage(message, process.published, machine);
    if (problem !== undefined) return `${describe(message)}: not committed here: ${problem}`;
  }
  return undefined;
}

function checkMessage(message: Message, published: Holdings, machine: Machine): string | undefined {
  if (message.kind === "ack") {
    return message.durable && !machine.isRotten ? checkDurable(message, machine) : undefined;
  }
  if (message.kind === "point") {
    if (message.vector.size === 0) return undefined;
    const held = published.get(message.key);
    return missing(message, held?.epoch, held?.vector);
  }
  if (message.kind !== "events" && message.kind !== "vector" && message.kind !== "state") return undefined;
  const { key, epoch } = message.group;
  const held = published.get(key);
  if (message.kind === "events") {
    const { actor, lastSeq } = Run.decode(message.run);
    // Of a former epoch, whose events are forgotten here: it waited in its queue while the group started anew.
    if (held !== undefined && held.epoch > epoch) return undefined;
    if (held?.epoch !== epoch || held.vector.get(actor) < lastSeq) return `${actor}:${lastSeq}`;
    return undefined;
  }
  // A tombstone's vector says what was known of the epoch before it.
  if (message.vector.size === 0 || epoch % 2 === 0) return undefined;
  return missing({ epoch, vector: message.vector }, held?.epoch, held?.vector);
}

function checkDurable(ack: Extract<Message, { seq: number }>, machine: Machine): string | undefined {
  const held = machine.guarantees.synced.get(ack.key);
  if (held === undefined || held.epoch < ack.epoch) return `epoch ${ack.epoch} is not synced`;
  if (held.epoch > ack.epoch || held.vector.get(ack.actor) >= ack.seq) return undefined;
  return `${ack.actor}:${ack.seq} is not synced`;
}
