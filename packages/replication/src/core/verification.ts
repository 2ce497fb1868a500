import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import type { PeerId } from "../transport.ts";
import type { CoreContext } from "./context.ts";
import { equalDigest } from "./digest.ts";
import type { Group } from "./group.ts";
import { encodeMessage } from "./message-codec.ts";
import type { Check } from "./messages.ts";
import type { Peer } from "./peer.ts";

/**
 * What a peer's content says: `equal`; `other-events`, it knows other events, as happens while writes are under way;
 * `divergent`, it knows the same events and yet holds another content, which must never be.
 */
export type Verdict = "equal" | "other-events" | "divergent" | "unreadable";

interface Question {
  readonly group: Group;
  readonly left: Set<PeerId>;
  readonly verdicts: Map<PeerId, Verdict>;
  readonly done: (verdicts: ReadonlyMap<PeerId, Verdict>) => void;
}

/** Compares a group's events and content with every interested peer, and names who differs. */
export class Verification {
  readonly #core: CoreContext;
  readonly #questions = new Map<number, Question>();
  #lastId = 0;

  constructor(core: CoreContext) {
    this.#core = core;
  }

  /** Asks every interested peer; calls back once all have answered. Returns how to stop, which calls back at once. */
  ask(group: Group, done: Question["done"]): () => void {
    const peers = [...this.#core.peers.values()].filter((peer) => peer.isInterestedIn(group.domain));
    const id = ++this.#lastId;
    const question = { group, left: new Set(peers.map((peer) => peer.id)), verdicts: new Map(), done };
    this.#questions.set(id, question);
    for (const peer of peers) peer.post(encodeMessage({ ...NOTHING, key: group.key, id }));
    if (peers.length === 0) this.#end(id);
    return () => this.#end(id);
  }

  onCheck(peer: Peer, check: Check): void {
    if (!check.isReply) return this.#answer(peer, check);
    const question = this.#questions.get(check.id);
    if (question === undefined || !question.left.delete(peer.id)) return;
    question.verdicts.set(peer.id, verdict(question.group, check));
    if (question.left.size === 0) this.#end(check.id);
  }

  #answer(peer: Peer, { key, id }: Check): void {
    const group = this.#core.groups.get(key);
    if (group === undefined) return peer.post(encodeMessage({ ...NOTHING, key, id, isReply: true }));
    this.#core.load(group, () => {
      this.#core.respond(group, () => {
        const { epoch } = group;
        const reply: Check = {
          kind: "check",
          key,
          epoch,
          id,
          isReply: true,
          digest: group.digest(),
          hash: hash(group),
        };
        return () => peer.post(encodeMessage(reply));
      });
    });
  }

  #end(id: number): void {
    const question = this.#questions.get(id);
    this.#questions.delete(id);
    question?.done(question.verdicts);
  }
}

const NOTHING: Check = { kind: "check", key: "", epoch: 0, id: 0, isReply: false, digest: [0, 0], hash: "" };

/** SHA-256 of the canonical content; empty when this node has no code to read it. */
function hash(group: Group): string {
  const { server } = group;
  return server === undefined || server.isOpaque ? "" : bytesToHex(sha256(server.canonical()));
}

function verdict(group: Group, check: Check): Verdict {
  if (check.epoch !== group.epoch || !equalDigest(check.digest, group.digest())) return "other-events";
  const ours = hash(group);
  if (ours === "" || check.hash === "") return "unreadable";
  return ours === check.hash ? "equal" : "divergent";
}
