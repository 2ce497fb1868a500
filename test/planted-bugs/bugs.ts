import type { PlanOptions } from "../simulation/plan.ts";

/** One small fault, put into the built code as it is loaded, and never into what ships. */
export interface PlantedBug {
  readonly name: string;
  /** Package and file under its `dist`. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** Runs in which it shows sooner than in any. */
  readonly options?: PlanOptions;
}

const core = (name: string, file: string, find: string, replace: string, options: PlanOptions = {}): PlantedBug => ({
  name,
  file: `replication/dist/core/${file}.js`,
  find,
  replace,
  options,
});
const replication = (
  name: string,
  file: string,
  find: string,
  replace: string,
  options: PlanOptions = {},
): PlantedBug => ({ name, file: `replication/dist/${file}.js`, find, replace, options });
const storage = (name: string, file: string, find: string, replace: string): PlantedBug => ({
  name,
  file: `storage/dist/${file}.js`,
  find,
  replace,
});
const crdt = (name: string, file: string, find: string, replace: string): PlantedBug => ({
  name,
  file: `crdt/dist/${file}.js`,
  find,
  replace,
});

/** Many reads, where members miss what others have. */
const READS: PlanOptions = { kinds: ["partition", "loss", "delay", "kill"], fixed: { sessions: 3 } };

/** The faults that the simulation must notice. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  // Sequence and causality
  core("dependencies are not checked", "causal-past", "if (index >= from && !this.covers(list))", "if (false)"),
  core("a gap in the sequence is ignored", "replication-server", "if (first < 0)", "if (first < -2)"),
  core(
    "events carry no dependencies",
    "causal-past",
    "dependencies.push({ actor: other, seq: this.known(other) });",
    ";",
  ),
  core("joined states forget their frontier", "causal-past", "const union = new Set();", "const union = { add() {} };"),
  core(
    "a stored frontier is empty",
    "replication-server",
    "frontier: this.#past.frontier,\n            time",
    "frontier: [],\n            time",
    { kinds: ["restart", "loss", "partition"] },
  ),
  core("observed times do not move the clock", "replication-server", "this.#clock.observe(time);", ";"),
  core("the time of a joined state is not observed", "replication-server", "this.#clock.observe(theirs.time);", ";"),
  crdt("the clock may stand still", "clock", "physical : this.#last + 1", "physical : this.#last"),
  crdt("an actor is the same after a restart", "actor", "bytes.set(incarnation, 8);", ";"),
  core(
    "a reloaded group begins its sequence anew",
    "incarnation",
    "this.#seq = seq;\n            this.#publishedSeq",
    "this.#seq = 0;\n            this.#publishedSeq",
  ),
  // Digests and anti-entropy
  core(
    "the digest leaves out sequence numbers",
    "digest",
    "mix(high, seq), mix(low, Math.imul(seq, 0x9e3779b1))",
    "high, low",
  ),
  core("what a peer lacks is not sent", "anti-entropy", "for (const message of messages)", "for (const message of [])"),
  core(
    "a later epoch in a vector is ignored",
    "anti-entropy",
    "if (isNewEpoch && !this.#core.enterEpoch(group, ref, vector))",
    "if (false)",
  ),
  core("the tail forgets its floor", "tail", "if (!vector.includes(this.#floor))", "if (false)"),
  core(
    "a state join leaves the tail as it was",
    "replication-server",
    "this.#tail.reset(this.#past.vector);\n        this.snapshotRequired",
    "this.snapshotRequired",
  ),
  core(
    "a state is encoded for the wrong vector",
    "replication-server",
    "this.#type.encodeSince?.(this.#state, vector)",
    "this.#type.encodeSince?.(this.#state, this.#past.vector)",
  ),
  core(
    "a part of a state is not asked for whole",
    "anti-entropy",
    "group.server?.isOpaque && !message.whole &&",
    "false &&",
    { hasOpaque: true, kinds: ["partition", "loss"], fixed: { tailBytesMax: 1 } },
  ),
  core("a lost hello is not repeated", "core", "this.#protocol.greetAgain();", ";", {
    nodes: 2,
    kinds: ["loss", "reset", "storm"],
  }),
  core("intervals follow the wall clock", "steady-clock", "offset = last - now;", ";"),
  crdt(
    "a vector includes what is one event ahead",
    "vector",
    "if (this.get(other.#actors[at]) < other.#seqs[at])",
    "if (this.get(other.#actors[at]) + 1 < other.#seqs[at])",
  ),
  // Persist before publish
  core(
    "events are published before their commit",
    "commit-pipeline",
    "const positionBefore = server.position;",
    "const positionBefore = server.position; this.#environment.publish(group, fresh);",
  ),
  core("answers do not wait for what is dirty", "commit-pipeline", "if (this.#dirty.has(group)) {", "if (false) {"),
  core("answers do not wait for the commit under way", "commit-pipeline", "if (part === undefined)", "if (true)"),
  core(
    "events of a former epoch are published into the next",
    "commit-pipeline",
    "if (isCurrent && part.fresh",
    "if (part.fresh",
    { kinds: ["delete", "slow-disk"] },
  ),
  core(
    "nothing is synced",
    "commit-pipeline",
    "this.#contents(this.#inFlight), isSynced)",
    "this.#contents(this.#inFlight), false)",
  ),
  storage(
    "the store does not sync",
    "group-store",
    "const sync = commits.some((commit) => commit.sync);",
    "const sync = false;",
  ),
  // Failures
  core("after a failure the journal's end is guessed", "commit-pipeline", "server.position = position;", ";"),
  core("after a failure no snapshot is taken", "commit-pipeline", "server.snapshotRequired = true;", ";"),
  core("what failed is not put back", "commit-pipeline", "server.putBack(fresh);", ";", {
    hasOpaque: true,
    kinds: ["write-error", "full-disk", "kill"],
  }),
  core("a joined state is not stored", "replication-server", "this.snapshotRequired = true;", ";"),
  core(
    "a group is unloaded before it is stored",
    "commit-pipeline",
    "if (this.#dirty.has(group) || this.#due.has(group) || this.failure !== undefined)",
    "return true; if (false)",
    { kinds: ["slow-disk"], fixed: { idleGraceMs: 10, watches: false } },
  ),
  core(
    "a throw leaves what it did",
    "undo-log",
    "undo(this.#slots[at + 1], this.#slots[at + 2], this.#slots[at + 3]);",
    ";",
  ),
  // Acknowledgements
  core(
    "a peer acknowledges what it has not applied",
    "acknowledgements",
    "if (group.vector.get(run.actor) < run.lastSeq)",
    "if (false)",
  ),
  core(
    "one answer is enough for any number of replicas",
    "acknowledgements",
    "if (waiting.answered.size < waiting.replicas)",
    "if (waiting.answered.size < 1)",
  ),
  core(
    "a durable answer does not wait for the sync",
    "core",
    "this.pipeline.whenCommitted(ticket, () => then(true), () => { });",
    "then(true);",
  ),
  // Reads
  core(
    "a reader is told one event too early",
    "catch-up",
    "group.vector.includes(vector));",
    "[...vector].every(([actor, seq]) => group.vector.get(actor) + 1 >= seq));",
    READS,
  ),
  core(
    "one answer counts twice",
    "member-reads",
    "question.reached.add(peer.id);",
    "question.reached.add(peer.id); question.reached.add(message);",
    READS,
  ),
  core(
    "a read does not wait for what the answers name",
    "member-reads",
    "question.stops.push(this.#catchUp.reach(question.group, message, done, peer.id));",
    "done();",
    READS,
  ),
  core(
    "an answer names one of several writers",
    "member-reads",
    "for (const actor of group.frontier)",
    "for (const actor of group.frontier.slice(0, 1))",
    READS,
  ),
  core("a member answers before its journal is read", "member-reads", "if (group.isUnsettled) {", "if (false) {", {
    nodes: 2,
    kinds: ["kill", "slow-disk"],
    size: "large",
    hasDocuments: false,
    fixed: { sessions: 12, topology: "mesh" },
  }),
  replication("who has no say counts", "group-host", "among: new Set(others) }", "among: undefined }", {
    nodes: 2,
    kinds: ["join", "partition", "loss"],
    fixed: { sessions: 3, topology: "mesh" },
  }),
  replication(
    "a majority is one too few",
    "group-host",
    "Math.floor(size / 2) + 1 - (size",
    "Math.floor(size / 2) - (size",
    READS,
  ),
  replication(
    "a merged token keeps the first writers",
    "session-token",
    "known.vector.merge(point.vector);",
    ";",
    READS,
  ),
  replication("a read waits for ever", "waiting", "startTimer(timeoutMs,", "startTimer(2 ** 31,", READS),
  // The store
  storage(
    "replay begins one record late",
    "group-reader",
    "readLog(log, state.nextSeq, {",
    "readLog(log, state.nextSeq + 1, {",
  ),
  storage("a snapshot's mark is one record late", "group-state", "seq: nextSeq, isApart", "seq: nextSeq + 1, isApart"),
  storage(
    "a deletion is not kept",
    "commit-planner",
    "for (const group of commit.deletions)",
    "for (const group of [])",
  ),
  storage("the mark of a clean stop stays", "journal-tails", 'ops.some(({ op }) => op === "append")', "false"),
  {
    ...storage(
      "the mark of a clean stop is removed unsynced",
      "store-engine",
      "guarded.removes ? { ...options, sync: true } : options",
      "options",
    ),
    options: { kinds: ["restart", "power-cut-scattered"] },
  },
  storage(
    "a stop is marked clean where a journal goes on",
    "journal-tails",
    "const { areNone } = this;",
    "const areNone = true;",
  ),
  // Types
  crdt(
    "a removal spares the last increment",
    "kernel/removal",
    "cancelled: row.last, remover",
    "cancelled: row.last - 1, remover",
  ),
  crdt("the first write wins", "kernel/register", "return a.time > b.time;", "return a.time < b.time;"),
];
