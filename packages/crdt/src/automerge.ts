/**
 * Automerge documents as a CRDT type. `@automerge/automerge` is an optional peer dependency.
 *
 * | item  | bytes                                                                        |
 * |-------|------------------------------------------------------------------------------|
 * | delta | one or more changes of Automerge, each as bytes: all since before the callback |
 * | state | 0x01, the saved document, to the end                                         |
 *
 * The actor of a change is the event's own actor, so one that no other process uses.
 */
import * as A from "@automerge/automerge";
import { unixMs } from "./clock.ts";
import { Reader, Writer, malformed } from "./codec.ts";
import { CrdtError } from "./error.ts";
import type { CrdtType, Stamp, Transaction } from "./type.ts";

const VERSION = 1;

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

/** The document of a group. Automerge's documents are values: each change makes another one. */
class AutomergeState<T> {
  doc: A.Doc<T>;

  constructor(doc: A.Doc<T>) {
    this.doc = doc;
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
    return this.#record(A.getHeads(state.doc), transaction, A.change(state.doc, { time }, change));
  }

  applyChanges(changes: readonly Uint8Array[]): A.Doc<T> {
    const transaction = this.#transaction;
    if (transaction === undefined) throw new TypeError("this is a read-only view: write inside mutate()");
    const state = this.#state;
    checkChanges(state.doc, changes);
    transaction.begin();
    const heads = A.getHeads(state.doc);
    const changed = advance(state, "change", (doc) => A.applyChanges(doc, [...changes])[0]);
    return this.#record(heads, transaction, changed);
  }

  /** Makes an event of what the document has since `heads`. */
  #record(heads: A.Heads, transaction: Transaction, changed: A.Doc<T>): A.Doc<T> {
    const state = this.#state;
    const changes = A.getChangesSince(changed, heads);
    state.doc = changed;
    if (changes.length === 0) return changed;
    for (const bytes of changes) transaction.delta.bytes(bytes);
    transaction.onRollback(() => {
      state.doc = without(state.doc, heads);
    });
    if (transaction.touched !== undefined) touch(changed, heads, transaction.touched);
    return changed;
  }
}

/** The document as it was at `heads`, made of its changes anew: a document cannot be taken back. */
function without<T>(doc: A.Doc<T>, heads: A.Heads): A.Doc<T> {
  const later = new Set(A.getChangesSince(doc, heads).map((bytes) => A.decodeChange(bytes).hash));
  const kept = A.getAllChanges(doc).filter((bytes) => !later.has(A.decodeChange(bytes).hash));
  return A.applyChanges(A.init<T>({ actor: A.getActorId(doc) }), kept)[0];
}

function decodeChange(bytes: Uint8Array): A.DecodedChange {
  try {
    return A.decodeChange(bytes);
  } catch (cause) {
    throw malformed("not a change of Automerge", cause);
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

/** Throws `MALFORMED` for what is no change, or builds on one that is not there: Automerge would keep it aside. */
function checkChanges<T>(doc: A.Doc<T>, changes: readonly Uint8Array[]): void {
  const decoded = changes.map(decodeChange);
  const known = new Set(decoded.map(({ hash }) => hash));
  for (const { deps } of decoded) {
    for (const hash of deps) {
      if (!known.has(hash) && !A.hasHeads(doc, [hash]))
        throw malformed("a change of Automerge builds on what is not there");
    }
  }
}

/** Brings the document on. Automerge keeps what it took before it refused something: that is taken back. */
function advance<T>(state: AutomergeState<T>, what: string, next: (doc: A.Doc<T>) => A.Doc<T>): A.Doc<T> {
  const heads = A.getHeads(state.doc);
  try {
    state.doc = next(state.doc);
    return state.doc;
  } catch (cause) {
    state.doc = without(state.doc, heads);
    throw malformed(`Automerge refuses a ${what}`, cause);
  }
}

function applyDelta<T>(state: AutomergeState<T>, delta: Uint8Array, _at: Stamp, touched?: Set<string>): void {
  const changes = readChanges(delta);
  checkChanges(state.doc, changes);
  const heads = A.getHeads(state.doc);
  const changed = advance(state, "change", (doc) => A.applyChanges(doc, [...changes])[0]);
  if (touched !== undefined) touch(changed, heads, touched);
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
export function automergeDoc<T extends Record<string, unknown>>(): CrdtType<
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
      const merged = advance(state, "document", (doc) => A.merge(doc, theirs));
      if (touched !== undefined) touch(merged, heads, touched);
    },
    encode: ({ doc }) => {
      const writer = new Writer();
      writer.byte(VERSION);
      writer.raw(A.save(doc));
      return writer.take();
    },
    decode: (body) => new AutomergeState(load<T>(body)),
    value: ({ doc }) => plain(doc),
    // `save` is not canonical; the heads name all changes by their hashes.
    canonical: ({ doc }, writer) => {
      for (const hash of [...A.getHeads(doc)].sort()) writer.string(hash);
    },
  };
}
