/**
 * Automerge documents as a CRDT type. `@automerge/automerge` is an optional peer dependency.
 *
 * | item  | bytes                                                                          |
 * |-------|--------------------------------------------------------------------------------|
 * | delta | one or more changes of Automerge, each as bytes: all since before the callback |
 * | state | 0x01, the saved document, to the end                                           |
 *
 * The actor of a change is the event's own actor, so one that no other process uses.
 */
import * as A from "@automerge/automerge";
import { unixMs } from "./clock.ts";
import { Reader, Writer, malformed } from "./codec.ts";
import { CrdtError } from "./error.ts";
import type { CrdtType, Stamp, Transaction } from "./type.ts";

const VERSION = 1;
/** One character for each byte. */
const LATIN = new TextDecoder("latin1");

/** Reads a document. */
export interface AutomergeView<T> {
  /** The document as it is now: plain data, which Automerge keeps from being changed. */
  readonly doc: A.Doc<T>;
}

/** Changes a document. */
export interface AutomergeMutator<T> extends AutomergeView<T> {
  /** Changes the document, as `Automerge.change` does; returns it. A throw takes back all that `mutate` did. */
  change(change: (draft: T) => void): A.Doc<T>;
  /**
   * Applies changes that were made elsewhere, as `Automerge.applyChanges` does; returns the document. Throws `MALFORMED`
   * for what is no change, or builds on one that is not there.
   */
  applyChanges(changes: readonly Uint8Array[]): A.Doc<T>;
}

/** Changes kept beside what was saved, at least. */
const SINCE_BYTES_MIN = 64 * 1024;

/**
 * The document of a group. Automerge's documents are values: each change makes another one. Of a change that the library
 * refuses it may have kept a part, and then fails whenever it meets that; so what the document was made of is kept beside
 * it, as it was saved last and the changes since, to make it anew.
 */
class AutomergeState<T> {
  doc: A.Doc<T>;
  #saved: Uint8Array | undefined;
  #since: Uint8Array[] = [];
  #sinceBytes = 0;

  constructor(doc: A.Doc<T>, saved?: Uint8Array) {
    this.doc = doc;
    this.#saved = saved;
  }

  save(): Uint8Array {
    this.#saved = A.save(this.doc);
    this.#since = [];
    this.#sinceBytes = 0;
    return this.#saved;
  }

  /** Keeps the changes that the document has since `heads`; returns them. */
  took(heads: A.Heads): readonly Uint8Array[] {
    const changes = A.getChangesSince(this.doc, heads);
    for (const bytes of changes) {
      this.#since.push(bytes);
      this.#sinceBytes += bytes.length;
    }
    return changes;
  }

  /** The last changes, so many, were taken back: the document is without them. */
  dropped(count: number): void {
    // Saved meanwhile, with them.
    if (count > this.#since.length) {
      this.save();
      return;
    }
    for (const bytes of this.#since.splice(this.#since.length - count)) this.#sinceBytes -= bytes.length;
  }

  /**
   * Brings the document on by what came from elsewhere, all of it or, with `MALFORMED`, none; returns the new changes.
   *
   * @param check throws unless the document may be so
   */
  advance(
    what: string,
    next: (doc: A.Doc<T>) => A.Doc<T>,
    check: (doc: A.Doc<T>, heads: A.Heads) => void = () => {},
  ): readonly Uint8Array[] {
    if (this.#sinceBytes > Math.max(SINCE_BYTES_MIN, 2 * (this.#saved?.length ?? 0))) this.save();
    const heads = A.getHeads(this.doc);
    try {
      this.doc = next(this.doc);
      check(this.doc, heads);
      return this.took(heads);
    } catch (cause) {
      const saved = this.#saved === undefined ? A.init<T>() : A.load<T>(this.#saved);
      this.doc = this.#since.length === 0 ? saved : A.applyChanges(saved, this.#since)[0];
      throw cause instanceof CrdtError ? cause : malformed(`Automerge refuses a ${what}`, cause);
    }
  }
}

class AutomergeCursor<T> implements AutomergeMutator<T> {
  readonly #state: AutomergeState<T>;
  readonly #transaction: Transaction | undefined;

  constructor(state: AutomergeState<T>, transaction: Transaction | undefined) {
    this.#state = state;
    this.#transaction = transaction;
  }

  get doc(): A.Doc<T> {
    return this.#state.doc;
  }

  change(change: (draft: T) => void): A.Doc<T> {
    const transaction = this.#transaction;
    if (transaction === undefined) throw new TypeError("this is a read-only view: write inside mutate()");
    transaction.begin();
    const state = this.#state;
    if (A.getActorId(state.doc) !== transaction.actor) state.doc = A.clone(state.doc, { actor: transaction.actor });
    // The event's time, not the library's own: a type has no clock.
    const time = Math.floor(unixMs(transaction.time) / 1000);
    const heads = A.getHeads(state.doc);
    state.doc = A.change(state.doc, { time }, change);
    return this.#publish(heads, transaction, state.took(heads));
  }

  applyChanges(changes: readonly Uint8Array[]): A.Doc<T> {
    const transaction = this.#transaction;
    if (transaction === undefined) throw new TypeError("this is a read-only view: write inside mutate()");
    transaction.begin();
    const heads = A.getHeads(this.#state.doc);
    return this.#publish(heads, transaction, take(this.#state, changes));
  }

  /** Makes an event of the changes that the document has since `heads`. */
  #publish(heads: A.Heads, transaction: Transaction, changes: readonly Uint8Array[]): A.Doc<T> {
    const state = this.#state;
    if (changes.length === 0) return state.doc;
    for (const bytes of changes) transaction.delta.bytes(bytes);
    transaction.onRollback(() => {
      // A document cannot be taken back.
      state.doc = A.clone(A.view(state.doc, heads), { actor: A.getActorId(state.doc) });
      state.dropped(changes.length);
    });
    if (transaction.touched !== undefined) touch(state.doc, heads, transaction.touched);
    return state.doc;
  }
}

/** Notes the properties of the root under which something changed since `heads`. */
function touch<T>(doc: A.Doc<T>, heads: A.Heads, touched: Set<string>): void {
  for (const { path } of A.diff(doc, heads, A.getHeads(doc))) if (path[0] !== undefined) touched.add(String(path[0]));
}

function readChanges(delta: Uint8Array): Uint8Array[] {
  const reader = new Reader(delta);
  const changes: Uint8Array[] = [];
  while (reader.left > 0) changes.push(reader.bytes().slice());
  if (changes.length === 0) throw malformed("an event without changes");
  return changes;
}

/** Applies changes, all or none; returns those that are new. Throws `MALFORMED` for what Automerge cannot take. */
function take<T>(state: AutomergeState<T>, changes: readonly Uint8Array[]): readonly Uint8Array[] {
  return state.advance(
    "change",
    (doc) => A.applyChanges(doc, [...changes])[0],
    (doc, heads) => checkTaken(doc, heads, changes),
  );
}

/**
 * Throws unless the document has the changes, as they are and in order. Automerge keeps aside what builds on what is not
 * there, and takes changes in other forms than its own, or with operations numbered below those that they follow: then it
 * cannot load what it has saved.
 */
function checkTaken<T>(doc: A.Doc<T>, heads: A.Heads, changes: readonly Uint8Array[]): void {
  if (A.getMissingDeps(doc, []).length > 0) throw malformed("a change of Automerge builds on what is not there");
  const backend = A.getBackend(doc);
  for (const { startOp, deps } of A.getChangesMetaSince(doc, heads)) {
    if (deps.some((hash) => (backend.getChangeMetaByHash(hash)?.maxOp ?? 0) >= startOp)) {
      throw malformed("a change of Automerge has numbers that are taken");
    }
  }
  const given = new Set(changes.map((bytes) => LATIN.decode(bytes)));
  const others = A.getChangesSince(doc, heads).filter((bytes) => !given.has(LATIN.decode(bytes)));
  if (others.length === 0) return;
  // Packed otherwise, perhaps.
  const hashes = new Set(changes.map((bytes) => A.decodeChange(bytes).hash));
  if (others.some((bytes) => !hashes.has(A.decodeChange(bytes).hash))) {
    throw malformed("a change of Automerge is not in its form");
  }
}

function applyDelta<T>(state: AutomergeState<T>, delta: Uint8Array, _at: Stamp, touched?: Set<string>): void {
  const heads = A.getHeads(state.doc);
  take(state, readChanges(delta));
  if (touched !== undefined) touch(state.doc, heads, touched);
}

function load<T>(body: Uint8Array): A.Doc<T> {
  const reader = new Reader(body);
  const version = reader.byte();
  if (version !== VERSION) throw new CrdtError("UNSUPPORTED_VERSION", `state version ${version} is not known here`);
  try {
    return A.load<T>(reader.raw(reader.left).slice());
  } catch (cause) {
    throw malformed("not a document of Automerge", cause);
  }
}

/** Plain data, apart from the document: what a reader may keep. */
function plain<T>(doc: A.Doc<T>): T {
  const copy = A.toJS(doc);
  freeze(copy);
  return copy;
}

function freeze(value: unknown): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  for (const item of Object.values(value)) freeze(item);
  Object.freeze(value);
}

/**
 * An Automerge document. In `mutate`, call `change` as `Automerge.change`; a callback that throws is taken back.
 *
 * Do not initialise a document on each node: what two nodes create under one property are two objects, of which one is
 * shown. Create such objects once, or under keys of their own.
 */
export function automergeDoc<T extends object = Record<string, unknown>>(): CrdtType<
  AutomergeState<T>,
  T,
  AutomergeMutator<T>,
  AutomergeView<T>
> {
  return {
    name: "automerge",
    create: () => new AutomergeState(A.init<T>()),
    mutator: (state, transaction) => new AutomergeCursor(state, transaction),
    view: (state) => new AutomergeCursor(state, undefined),
    apply: applyDelta,
    join: (state, body, _ours, _theirs, touched) => {
      const theirs = load<T>(body);
      const heads = A.getHeads(state.doc);
      state.advance("document", (doc) => A.merge(doc, theirs));
      if (touched !== undefined) touch(state.doc, heads, touched);
    },
    encode: (state) => {
      const writer = new Writer();
      writer.byte(VERSION);
      writer.raw(state.save());
      return writer.take();
    },
    decode: (body) => new AutomergeState(load<T>(body), body.slice(1)),
    value: ({ doc }) => plain(doc),
    // `save` is not canonical; the heads name all changes by their hashes.
    canonical: ({ doc }, writer) => {
      for (const hash of [...A.getHeads(doc)].sort()) writer.string(hash);
    },
  };
}
